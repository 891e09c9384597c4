package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mintwarden/mintwarden/daemon/pki"
)

// bootPatience bounds a whole run; the watchdog alone takes half a minute.
const bootPatience = 5 * time.Minute

// TestBooted installs the package into a view of this machine's files, which
// are not written to, boots that with systemd-nspawn, and has
// testdata/boot.sh start, stop, kill and remove what is in it.
func TestBooted(t *testing.T) {
	if os.Getenv("MINTWARDEN_LONG") != "1" {
		t.Skip("boots a system: make test-long")
	}
	if os.Geteuid() != 0 {
		t.Skip("booting a system takes root")
	}
	for _, program := range []string{"systemd-nspawn", "softhsm2-util", "setpriv", "openssl", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is missing", program)
		}
	}
	root := view(t)
	test := filepath.Join(root, "test")
	require.NoError(t, os.Mkdir(test, 0o755))
	place(t, packaged(t, "1.2.3"), filepath.Join(test, "this.deb"))
	place(t, packaged(t, "1.2.4"), filepath.Join(test, "next.deb"))
	place(t, "testdata/boot.sh", filepath.Join(test, "boot.sh"))
	certificates(t, filepath.Join(test, "pki"))
	unit := "[Unit]\nAfter=basic.target\nSuccessAction=exit-force\nFailureAction=exit-force\n" +
		"[Service]\nType=oneshot\nExecStart=/bin/bash /test/boot.sh\nTimeoutStartSec=240\n"
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/systemd/system/booted.service"), []byte(unit), 0o644))

	out, err := nspawn(root, "dpkg", "-i", "/test/this.deb")
	require.NoError(t, err, out)
	// What a container is refused unless it asks for it, and a host is not.
	out, err = nspawn(root, "--system-call-filter=@memlock landlock_create_ruleset landlock_add_rule landlock_restrict_self",
		"--boot", "--", "--unit=booted.service")
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(test, "log"))
			t.Logf("%s", log)
		}
	})
	results, _ := os.ReadFile(filepath.Join(test, "results"))
	require.Contains(t, string(results), "\ndone\n", "it did not come to its end: %v\n%s", err, out)
	for line := range strings.Lines(strings.TrimSuffix(string(results), "done\n")) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "ok ")
		t.Run(strings.TrimPrefix(name, "not ok "), func(t *testing.T) { require.True(t, ok) })
	}
}

// view is this machine's files, copied where they are written to.
func view(t *testing.T) string {
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
	mount("overlay", root, "overlay", "lowerdir=/,upperdir="+filepath.Join(dir, "up")+",workdir="+filepath.Join(dir, "work"))
	return root
}

// nspawn runs a command, or boots, in a root without a network.
func nspawn(root string, args ...string) (string, error) {
	command := append([]string{"--quiet", "--register=no", "--keep-unit", "--private-network", "--link-journal=no", "--directory=" + root}, args...)
	cmd := exec.Command("systemd-nspawn", command...)
	kill := time.AfterFunc(bootPatience, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func place(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, text, 0o644))
}

// certificates of etcd, its users and the API, with one root.
func certificates(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.Mkdir(dir, 0o700))
	ca, err := pki.NewCA("root", pki.ECDSAP256)
	require.NoError(t, err)
	for _, name := range []string{"ca", "etcd-ca"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".crt"), ca.Pair().Certificate, 0o644))
	}
	write := func(name string, p pki.Pair, err error) {
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".crt"), p.Certificate, 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".key"), p.Key, 0o600))
	}
	for name, alg := range map[string]pki.Algorithm{"api-ecdsa": pki.ECDSAP256, "api-mldsa": pki.MLDSA65, "etcd-server": pki.ECDSAP256} {
		p, err := ca.IssueServer(name, []string{"127.0.0.1"}, alg)
		write(name, p, err)
	}
	for _, user := range []string{"mintwarden", "root", "mintwarden-seal"} {
		p, err := ca.IssueClient(user, pki.ECDSAP256)
		write("etcd-"+user, p, err)
	}
}
