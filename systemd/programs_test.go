package systemd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// stage is a directory with the three programs of a version, as “make deb” has them.
var stage string

const version = "1.2.3"

func TestMain(m *testing.M) {
	code, err := withPrograms(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withPrograms(run func() int) (int, error) {
	dir, err := os.MkdirTemp("", "mintwarden-systemd-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	stage = filepath.Join(dir, "programs")
	if err := build(stage, version); err != nil {
		return 0, err
	}
	return run(), nil
}

// build makes the three programs in dir, of a version.
func build(dir, version string) error {
	cmd := exec.Command("go", "build", "-ldflags", "-s -w -X main.version="+version, "-o", dir+"/",
		"./cmd/mintwardend", "./cmd/mintwarden-seal", "./cmd/mintwarden")
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// programs are the three, built as a version of their own.
func programs(t *testing.T, version string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "programs")
	require.NoError(t, build(dir, version))
	return dir
}

// configuration is a copy of config/ in which each line that matches is replaced.
func configuration(t *testing.T, name string, replace map[string]string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("config", name))
	require.NoError(t, err)
	for line, by := range replace {
		re := regexp.MustCompile("(?m)^" + line + ".*$")
		require.Regexp(t, re, string(text))
		text = re.ReplaceAll(text, []byte(by))
	}
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, text, 0o644))
	return path
}

const someCharter = `charter1 = "sha256:0000000000000000000000000000000000000000000000000000000000000000"`

// What is installed needs nothing but what the ceremony writes.
func TestDefaultConfigurationIsTaken(t *testing.T) {
	out, err := exec.Command(filepath.Join(stage, "mintwardend"), "check", "--config-only", "--config",
		configuration(t, "mintwarden.toml", map[string]string{"# charter1": someCharter})).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "nothing wrong")

	out, err = exec.Command(filepath.Join(stage, "mintwardend"), "check", "--config-only", "--config",
		configuration(t, "mintwarden.toml", nil)).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "charter1")
}

// The seal takes every key of its file, with and without what is commented
// out, and then misses the credential that systemd would have given it.
func TestDefaultSealConfigurationIsTaken(t *testing.T) {
	for name, replace := range map[string]map[string]string{
		"as installed": {},
		"unattended":   {`# \[pin\]`: "[pin]", "# credential =": `credential = "/run/credentials/mintwarden-seal.service/seal_pin"`, "# credential_source =": `credential_source = "credentials/seal/pin"`},
		"initialized":  {"# charter1": someCharter},
	} {
		t.Run(name, func(t *testing.T) {
			replace["state ="] = fmt.Sprintf("state = %q", t.TempDir())
			out, err := exec.Command(filepath.Join(stage, "mintwarden-seal"), "--config", configuration(t, "seal.toml", replace)).CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(out), "open /run/credentials/mintwarden-seal.service/seal_unseal: no such file")
		})
	}
	out, err := exec.Command(filepath.Join(stage, "mintwarden-seal"), "--config",
		configuration(t, "seal.toml", map[string]string{"state =": "stat = 1"})).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "unknown key stat")
}
