package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is missing: install Debian's systemd")
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	return string(out), err
}

// Exposure as systemd rates it, in tenths: 0 is nothing, 100 everything.
func TestUnitsAreTight(t *testing.T) {
	for unit, most := range map[string]string{
		"mintwarden-seal.service":        "2",
		"mintwarden.service":             "10",
		"mintwarden-etcd-proxy@.service": "10",
	} {
		t.Run(unit, func(t *testing.T) {
			out, err := analyze(t, "security", "--offline=true", "--no-pager", "--threshold="+most, filepath.Join("units", unit))
			for line := range strings.Lines(out) {
				if strings.Contains(line, "✗") || strings.Contains(line, "Overall") {
					t.Log(strings.TrimSpace(line))
				}
			}
			require.NoError(t, err, out)
			require.Contains(t, out, "Overall exposure level", "systemd rated nothing")
		})
	}
}

// The drop-in for a network HSM opens one address and no more.
func TestNetworkHSMDropInIsTight(t *testing.T) {
	dir := t.TempDir()
	unit := read(t, "units/mintwarden-seal.service")
	dropIn := read(t, "config/network-hsm.conf.example")
	path := filepath.Join(dir, "mintwarden-seal.service")
	require.NoError(t, os.WriteFile(path, []byte(unit+"\n"+dropIn), 0o644))
	out, err := analyze(t, "security", "--offline=true", "--no-pager", "--threshold=10", path)
	require.NoError(t, err, out)
	require.Contains(t, out, "Overall exposure level")
}

// systemd knows every setting, and finds every program and unit that is named.
func TestUnitsVerify(t *testing.T) {
	dir := t.TempDir()
	units, err := os.ReadDir("units")
	require.NoError(t, err)
	var paths []string
	for _, u := range units {
		text := strings.ReplaceAll(read(t, filepath.Join("units", u.Name())), "ExecStart=/usr/bin/", "ExecStart="+stage+"/")
		path := filepath.Join(dir, u.Name())
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		paths = append(paths, path)
	}
	out, err := analyze(t, append([]string{"verify", "--man=no", "--recursive-errors=no"}, paths...)...)
	require.NoError(t, err, out)
	for line := range strings.Lines(out) {
		require.NotContains(t, line, "mintwarden")
	}
	// The same call does find what is wrong.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mintwarden.service"), []byte("[Service]\nExecStart=/nonexistent\nPrivateNetwerk=yes\n"), 0o644))
	out, _ = analyze(t, append([]string{"verify", "--man=no", "--recursive-errors=no"}, paths...)...)
	require.Contains(t, out, "PrivateNetwerk")
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}
