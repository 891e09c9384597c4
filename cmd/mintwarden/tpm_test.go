package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// startTPM starts a TPM 2.0, swtpm, as a machine's own one until the test ends; what it returns is how systemd
// reaches it.
func startTPM(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tpm") // short: a socket's path is limited
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	door := filepath.Join(dir, "s")
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir, "--flags", "not-need-init,startup-clear",
		"--server", "type=unixio,path="+door, "--ctrl", "type=unixio,path="+door+".ctrl") // where libtss2 looks for it
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		_, err := os.Stat(door)
		_, controlErr := os.Stat(door + ".ctrl")
		return err == nil && controlErr == nil
	}, time.Minute, 5*time.Millisecond)
	return "swtpm:path=" + door
}

// A production appliance whose PIN this machine's TPM seals: it starts by itself, and on no other machine.
func TestATPMUnseals(t *testing.T) {
	const device = "SYSTEMD_TPM2_DEVICE"
	t.Setenv(device, startTPM(t))
	s := newSite(t)
	s.start()
	got := s.init(nil, append(s.filed(), "--credential", s.path("pin"), "--credential-name", "seal_pin")...)
	require.Equal(t, exitDone, got.code, got.err)
	s.begun()
	s.stop()

	decrypt := func() error { // as systemd does before it starts the unit
		return exec.Command("systemd-creds", "decrypt", "--name=seal_pin", s.path("pin"), s.path("seal_pin")).Run()
	}
	require.NoError(t, decrypt())
	require.NoError(t, os.Chmod(s.path("seal_pin"), 0o400))
	s.write("seal.toml", s.read("seal.toml")+"[pin]\ncredential = \"seal_pin\"\ncredential_source = \"pin\"\n")
	s.start()
	s.await(func(st *seal.Status) bool { return !st.Sealed })
	require.NotContains(t, got.out+got.err+s.read("seal.log"), s.read("seal_pin"))
	s.stop()

	require.NoError(t, os.Remove(s.path("seal_pin")))
	t.Setenv(device, startTPM(t))
	require.Error(t, decrypt(), "another machine's TPM gave the PIN")
	require.NoFileExists(t, s.path("seal_pin"))
}
