package hsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
)

// The soft token of opencryptoki, which has ML-DSA of its own, is in no suite that
// this program is built on. Its packages are unpacked into a root of their own,
// which a second process of this test enters in namespaces of its own: nothing is
// installed, and what runs there ends with it.
const (
	ockSuite  = "forky"
	ockModule = "/usr/lib/x86_64-linux-gnu/pkcs11/libopencryptoki.so"
	ockLabel  = "ock"
	ockSOPIN  = "so-pin-1" // 4 to 8 characters
	ockPIN    = "user-pin"

	ockEnter  = "HSM_TEST_ENTER"  // root that the process is to enter
	ockInside = "HSM_TEST_INSIDE" // it has
)

var ockPackages = []string{"opencryptoki", "libopencryptoki0", "libc6", "libgcc-s1", "libssl3t64", "openssl-provider-legacy",
	"libldap2", "libsasl2-2", "zlib1g", "libzstd1", "libcap2"}

// ockRoot unpacks the packages. What cannot be had skips the test, by name.
func ockRoot(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("opencryptoki: entering a root and namespaces needs root")
	}
	dir := t.TempDir()
	root, apt := filepath.Join(dir, "root"), filepath.Join(dir, "apt")
	for _, d := range []string{"etc/apt/sources.list.d", "etc/apt/preferences.d", "etc/apt/apt.conf.d", "etc/apt/trusted.gpg.d",
		"var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg", "debs"} {
		require.NoError(t, os.MkdirAll(filepath.Join(apt, d), 0o755))
	}
	write := func(path, text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o644)) }
	write(filepath.Join(apt, "var/lib/dpkg/status"), "")
	write(filepath.Join(apt, "etc/apt/sources.list"),
		"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian "+ockSuite+" main\n")
	// The age of the index does not matter here; its signature does.
	write(filepath.Join(apt, "apt.conf"), fmt.Sprintf("Dir %q;\nDir::State::status %q;\nAPT::Sandbox::User \"root\";\n"+
		"Acquire::Languages \"none\";\nAcquire::Check-Valid-Until \"false\";\nAcquire::Retries \"2\";\n",
		apt+"/", filepath.Join(apt, "var/lib/dpkg/status")))
	run := func(name string, args ...string) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir, cmd.Env = filepath.Join(apt, "debs"), append(os.Environ(), "APT_CONFIG="+filepath.Join(apt, "apt.conf"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("opencryptoki: Debian %s does not serve it here: %s %s: %v\n%s", ockSuite, name, strings.Join(args, " "), err, out)
		}
	}
	run("apt-get", "update")
	run("apt-get", append([]string{"download"}, ockPackages...)...)
	debs, err := filepath.Glob(filepath.Join(apt, "debs", "*.deb"))
	require.NoError(t, err)
	require.Len(t, debs, len(ockPackages))
	for _, deb := range debs {
		run("dpkg-deb", "-x", deb, root)
	}
	ockConfigure(t, root)
	return root
}

// ockConfigure does what the packages' scripts would, for one slot.
func ockConfigure(t *testing.T, root string) {
	t.Helper()
	const group = 901
	in := func(path string) string { return filepath.Join(root, path) }
	for _, d := range []struct {
		path string
		mode os.FileMode
	}{{"dev", 0o755}, {"proc", 0o755}, {"tmp", 0o777}, {"run/lock/opencryptoki", 0o770}, {"run/lock/opencryptoki/swtok", 0o770}, {"run/opencryptoki", 0o710},
		{"var/lib/opencryptoki/swtok", 0o770}, {"var/lib/opencryptoki/swtok/TOK_OBJ", 0o770}, {"var/log/opencryptoki", 0o770}} {
		require.NoError(t, os.MkdirAll(in(d.path), 0o755)) // its parents are for everyone
		require.NoError(t, os.Chmod(in(d.path), d.mode))
	}
	for link, to := range map[string]string{"lib": "usr/lib", "lib64": "usr/lib64", "var/lock": "../run/lock", "var/run": "../run"} {
		require.NoError(t, os.Symlink(to, in(link)))
	}
	for path, text := range map[string]string{
		"etc/passwd":                         fmt.Sprintf("root:x:0:0::/:/x\npkcsslotd:x:%d:%d::/:/x\n", group, group),
		"etc/group":                          fmt.Sprintf("root:x:0:\npkcs11:x:%d:root\n", group),
		"etc/opencryptoki/opencryptoki.conf": "version opencryptoki-3.27\nslot 0\n{\nstdll = libpkcs11_sw.so\ntokversion = 3.12\n}\n",
	} {
		require.NoError(t, os.WriteFile(in(path), []byte(text), 0o644))
	}
	for _, tree := range []string{"var/lib/opencryptoki", "var/log/opencryptoki", "run/lock/opencryptoki", "etc/opencryptoki"} {
		require.NoError(t, filepath.WalkDir(in(tree), func(path string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Chown(path, 0, group))
		}))
	}
	require.NoError(t, os.Chmod(in("etc/opencryptoki/strength.conf"), 0o640))
	require.NoError(t, os.Chown(in("run/opencryptoki"), group, group))
}

// ockEnterRoot makes this process, the first one of its namespaces, another that
// runs in the root.
func ockEnterRoot(root string) error {
	if err := errors.Join(ockMount(root), os.Unsetenv(ockEnter), os.Setenv(ockInside, "1")); err != nil {
		return err
	}
	return syscall.Exec("/hsm.test", append([]string{"/hsm.test"}, os.Args[1:]...), os.Environ())
}

// ockMount makes the root this process's, with the shared directories at the same
// paths as outside.
func ockMount(root string, shared ...string) error {
	type mount struct {
		source, target, kind string
		flags                uintptr
	}
	all := []mount{{"none", "/", "", syscall.MS_REC | syscall.MS_PRIVATE}, {"/dev", root + "/dev", "", syscall.MS_BIND},
		{"none", root + "/dev/shm", "tmpfs", 0}, {"proc", root + "/proc", "proc", 0}}
	for _, dir := range shared {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			return err
		}
		all = append(all, mount{dir, root + dir, "", syscall.MS_BIND})
	}
	for _, m := range all {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return errors.Join(syscall.Chroot(root), os.Chdir("/"))
}

// ockNamespaces are what a process of the root has for itself; it dies with its
// parent's thread.
func ockNamespaces() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC}
}

// ockSlots starts the slot daemon and returns when it answers.
func ockSlots() error {
	if out, err := exec.Command("/usr/sbin/pkcsslotd").CombinedOutput(); err != nil {
		return fmt.Errorf("pkcsslotd: %w: %s", err, out)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("unix", "/run/opencryptoki/pkcsslotd.socket")
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// ockStart starts the slot daemon and makes the token: the SO PIN that every new
// one has must be changed before a user PIN can be set.
func ockStart(t *testing.T) {
	t.Helper()
	require.NoError(t, ockSlots())
	const defaultSOPIN = "87654321"
	p := pkcs11.New(ockModule)
	require.NotNil(t, p)
	require.NoError(t, p.Initialize())
	slots, err := p.GetSlotList(true)
	require.NoError(t, err)
	require.Len(t, slots, 1)
	require.NoError(t, p.InitToken(slots[0], defaultSOPIN, ockLabel))
	s, err := p.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	require.NoError(t, err)
	require.NoError(t, p.Login(s, pkcs11.CKU_SO, defaultSOPIN))
	require.NoError(t, p.SetPIN(s, defaultSOPIN, ockSOPIN))
	require.NoError(t, p.InitPIN(s, "pin-once"))
	require.NoError(t, p.Logout(s))
	// The PIN that the SO gave must be changed by the user, too.
	require.NoError(t, p.Login(s, pkcs11.CKU_USER, "pin-once"))
	require.NoError(t, p.SetPIN(s, "pin-once", ockPIN))
	require.NoError(t, p.CloseSession(s))
	require.NoError(t, p.Finalize())
}

func ockConfig() hsm.Config { return hsm.Config{Module: ockModule, TokenLabel: ockLabel} }

func ockOpen(t *testing.T) *hsm.Token {
	t.Helper()
	tok, err := hsm.Open(t.Context(), ockConfig(), []byte(ockPIN), quiet, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tok.Close()) })
	return tok
}

// TestOpencryptoki is what the token of hsm.md's second row does: outside it makes
// the root and runs itself inside.
func TestOpencryptoki(t *testing.T) {
	if os.Getenv(ockInside) != "" {
		ockStart(t)
		for _, c := range ockCases {
			t.Run(c.name, c.run)
		}
		return
	}
	if !long() {
		t.Skip("opencryptoki: with MINTWARDEN_LONG=1, for it downloads 17 MB")
	}
	out := ockRun(t, ockRoot(t), "TestOpencryptoki")
	for _, c := range ockCases {
		require.True(t, bytes.Contains(out, []byte("--- PASS: TestOpencryptoki/"+strings.ReplaceAll(c.name, " ", "_")+" ")), "%s\n%s", c.name, out)
	}
	t.Logf("%s", out)
}

// ockRun runs one test of this program in the root and returns what it printed.
func ockRun(t *testing.T, root, name string) []byte {
	t.Helper()
	ockCopy(t, os.Args[0], filepath.Join(root, "hsm.test"))
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+name+"$", "-test.v")
	cmd.Env = append(os.Environ(), ockEnter+"="+root)
	cmd.SysProcAttr = ockNamespaces()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return out
}

// ockCopy puts a program into the root.
func ockCopy(t *testing.T, from, to string) {
	t.Helper()
	program, err := os.Open(from)
	require.NoError(t, err)
	defer program.Close()
	inside, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(inside, program)
	require.NoError(t, errors.Join(err, inside.Close()))
}
