package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The program as it is started by hand: what it does with a configuration is
// held by the tests of policy/sealed.
func TestProgram(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "mintwarden-seal")
	out, err := exec.Command("go", "build", "-ldflags", "-X main.version=v1.2.3", "-o", exe, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	config := filepath.Join(t.TempDir(), "seal.toml")
	require.NoError(t, os.WriteFile(config, []byte("[log]\nlevel = \"loud\"\n"), 0o600))
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"version":             {[]string{"--version"}, 0, "mintwarden-seal v1.2.3\n"},
		"unexpected argument": {[]string{"worker", "please"}, 2, `unexpected argument "worker"`},
		"unknown flag":        {[]string{"--pin", "1234"}, 2, "-pin"},
		"no configuration":    {[]string{"--config", "/nonexistent.toml"}, 1, "/nonexistent.toml"},
		"wrong configuration": {[]string{"--config", config}, 1, "appliance"},
		"worker by hand":      {[]string{"worker"}, 1, "no greeting from a keeper"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(exe, c.args...)
			out, _ := cmd.CombinedOutput()
			require.Equal(t, c.code, cmd.ProcessState.ExitCode(), string(out))
			require.Contains(t, string(out), c.want)
		})
	}
}
