package systemd_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// bootPatience bounds a whole run, which takes five minutes on two cores that do nothing else.
const bootPatience = 40 * time.Minute

// Debian, and what is in it beside its smallest system: what boots it, the software token, and what the parts of the
// test in testdata/boot use.
const (
	release      = "bookworm"
	debianWithIt = "ca-certificates,chrony,curl,dbus,init-system-helpers,jq,openssl,procps,softhsm2,systemd,systemd-sysv"
)

// TestBooted boots a Debian of its own with systemd-nspawn and has testdata/boot install the package there, hold the
// ceremony, mint with approvals over mTLS, kill and stop each process, upgrade and downgrade, reboot, and remove it all,
// with operations in flight throughout. Each line of what it says becomes a test.
func TestBooted(t *testing.T) {
	if os.Getenv("MINTWARDEN_LONG") != "1" {
		t.Skip("boots a system: make test-long")
	}
	if os.Geteuid() != 0 {
		t.Skip("booting a system takes root")
	}
	for _, program := range []string{"systemd-nspawn", "debootstrap"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is missing: apt-get install systemd-container debootstrap", program)
		}
	}
	root := view(t, debian(t))
	test := filepath.Join(root, "test")
	require.NoError(t, os.CopyFS(test, os.DirFS("testdata/boot")))
	const next = "1.2.4"
	place(t, packaged(t, version), filepath.Join(test, "this.deb"))
	place(t, packagedFrom(t, programs(t, next), next), filepath.Join(test, "next.deb"))
	unit := "[Unit]\nDescription=the test\nFailureAction=exit-force\n" +
		"[Service]\nType=exec\nExecStart=/bin/bash /test/boot.sh\nRuntimeMaxSec=" + bootPatience.String() + "\n" +
		"[Install]\nWantedBy=multi-user.target\n"
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/systemd/system/booted.service"), []byte(unit), 0o644))
	require.NoError(t, os.Symlink("/etc/systemd/system/booted.service", filepath.Join(root, "etc/systemd/system/multi-user.target.wants/booted.service")))

	out, err := boot(root)
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(test, "log"))
			t.Logf("%s", log[max(0, len(log)-100<<10):])
		}
	})
	results, _ := os.ReadFile(filepath.Join(test, "results"))
	for line := range strings.Lines(strings.TrimSuffix(string(results), "done\n")) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "ok ")
		t.Run(strings.TrimPrefix(name, "not ok "), func(t *testing.T) { require.True(t, ok) })
	}
	require.Contains(t, string(results), "\ndone\n", "it did not come to its end: %v\n%s", err, out)
}

// debian is a Debian as debootstrap makes it, made once a machine.
func debian(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	what := sha256.Sum256([]byte(release + " " + debianWithIt))
	dir := filepath.Join(cache, "mintwarden", "debian-"+hex.EncodeToString(what[:4]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(dir), 0o755))
	making, err := os.MkdirTemp(filepath.Dir(dir), "debian-making-")
	require.NoError(t, err)
	defer os.RemoveAll(making)
	t.Logf("making a Debian in %s, once", dir)
	out, err := exec.Command("debootstrap", "--variant=minbase", "--include="+debianWithIt, release, making).CombinedOutput()
	if err != nil {
		t.Skipf("debootstrap makes no Debian on this machine: %v\n%s", err, out[max(0, len(out)-2000):])
	}
	require.NoError(t, os.Chmod(making, 0o755))
	require.NoError(t, os.Rename(making, dir))
	return dir
}

// view is a root over lower, which is not written to.
func view(t *testing.T, lower string) string {
	t.Helper()
	dir := t.TempDir()
	mount := func(source, target, kind, options string) {
		if err := unix.Mount(source, target, kind, 0, options); err != nil {
			t.Skipf("cannot mount %s on this machine: %v", kind, err)
		}
		t.Cleanup(func() { require.NoError(t, unix.Unmount(target, unix.MNT_DETACH)) })
	}
	mount("tmpfs", dir, "tmpfs", "")
	for _, d := range []string{"up", "work", "root"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	root := filepath.Join(dir, "root")
	mount("overlay", root, "overlay", "lowerdir="+lower+",upperdir="+filepath.Join(dir, "up")+",workdir="+filepath.Join(dir, "work"))
	return root
}

// rebooted is how systemd-nspawn ends where the system in it reboots, for its service manager to start it again.
const rebooted = 133

// boot boots a root, without a network, until it powers off.
func boot(root string) (string, error) {
	for end := time.Now().Add(bootPatience); ; {
		cmd := exec.Command("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--link-journal=no",
			// What a container is refused unless it asks for it, and a host is not.
			"--system-call-filter=@memlock landlock_create_ruleset landlock_add_rule landlock_restrict_self",
			"--directory="+root, "--boot")
		kill := time.AfterFunc(time.Until(end), func() { _ = cmd.Process.Kill() })
		out, err := cmd.CombinedOutput()
		kill.Stop()
		if cmd.ProcessState.ExitCode() != rebooted {
			return string(out[max(0, len(out)-4000):]), err
		}
	}
}

func place(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, text, 0o644))
}
