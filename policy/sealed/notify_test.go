package sealed

import (
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A worker that is stopped (SIGSTOP) ends by its keeper's hand; one that beats
// does not.
func TestSilentWorkerIsKilled(t *testing.T) {
	l := life{beats: make(chan struct{}, 1)}
	cmd := exec.Command("sleep", "600")
	require.NoError(t, cmd.Start())
	require.NoError(t, cmd.Process.Signal(unix.SIGSTOP))
	ended, guarded := make(chan struct{}), make(chan struct{})
	l.beat()
	go func() {
		defer close(guarded)
		l.guard(cmd.Process, 50*time.Millisecond, ended, slog.New(slog.DiscardHandler))
	}()
	require.ErrorContains(t, cmd.Wait(), "killed")
	soon(t, guarded, "the end of its guard")

	beating := exec.Command("cat")
	in, err := beating.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, beating.Start())
	left := make(chan struct{})
	go func() {
		defer close(left)
		l.guard(beating.Process, time.Hour, ended, slog.New(slog.DiscardHandler))
	}()
	l.beat()
	close(ended)
	soon(t, left, "the end of its guard")
	require.NoError(t, in.Close())
	require.NoError(t, beating.Wait(), "it was not killed")
}

// The service manager hears from a keeper that it lives and from whom.
func TestServiceManagerIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "30000000")
	t.Setenv("WATCHDOG_PID", "")
	var l life
	end := l.begin(slog.New(slog.DiscardHandler))
	defer end()
	hear := func() string {
		b := make([]byte, 64)
		n, err := manager.Read(b)
		require.NoError(t, err)
		return string(b[:n])
	}
	require.Equal(t, "WATCHDOG=1", hear())
	tellManager(slog.New(slog.DiscardHandler), "READY=1")
	require.Equal(t, "READY=1", hear())
}
