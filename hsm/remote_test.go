package hsm_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
)

// remoteModules is where p11-kit's client is (Debian: p11-kit-modules).
var remoteModules = []string{
	"/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so",
	"/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so",
	"/usr/lib64/pkcs11/p11-kit-client.so",
}

func remoteModule(t *testing.T) string {
	t.Helper()
	for _, m := range remoteModules {
		if _, err := os.Stat(m); err == nil {
			return m
		}
	}
	t.Fatalf("no p11-kit-client.so in %v (apt install p11-kit p11-kit-modules)", remoteModules)
	return ""
}

// serveToken puts the token behind a server of its own process, which stop kills
// with everything that it started.
func serveToken(t *testing.T, socket string) (stop func()) {
	t.Helper()
	cmd := exec.Command("p11-kit", "server", "--foreground", "--name", socket, "--provider", token.ModulePath, "pkcs11:token="+token.Label)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		_ = os.Remove(socket)
	}
	t.Cleanup(stop)
	require.Eventually(t, func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, patience, time.Millisecond)
	return stop
}

// A token in another process (objects and AES keys only: the protocol of p11-kit
// 0.24 carries neither Ed25519 nor GCM) is killed in the middle. The login breaks,
// an absent server is no token, and one that is back is found with what it holds.
func TestRemoteTokenKilledAndBack(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "p11")
	t.Setenv("P11_KIT_SERVER_ADDRESS", "unix:path="+socket)
	remote := func(c *hsm.Config) { c.Module = remoteModule(t) }
	ctx := t.Context()
	for range 2 {
		stop := serveToken(t, socket)
		tok, _ := open(t, remote)
		require.True(t, tok.Info().Software(), "what stands before it does not hide it")
		require.NoError(t, tok.GenerateAESWrappingKey(ctx, "aes", "aes-remote"))
		require.NoError(t, tok.PutObject(ctx, "object-remote", []byte("value")))
		check, err := tok.CheckValue(ctx, "aes-remote")
		require.NoError(t, err)
		require.Len(t, check, 6)
		stop()
		_, err = tok.Object(ctx, "object-remote")
		var e *hsm.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, hsm.ClassModule, e.Class)
		require.True(t, broken(tok))
		_, err = tok.Object(ctx, "object-remote")
		require.ErrorIs(t, err, hsm.ErrBroken)
		_ = tok.Close()

		cfg := token.Config()
		remote(&cfg)
		_, err = hsm.Open(ctx, cfg, []byte(userPIN), quiet, nil)
		require.Error(t, err, "an absent server is no token")
	}
	serveToken(t, socket)
	pin := []byte("wrong-pin")
	cfg := token.Config()
	remote(&cfg)
	_, err := hsm.Open(ctx, cfg, pin, quiet, nil)
	require.ErrorIs(t, err, hsm.ErrWrongPIN)
}
