package dev_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAStopWhileItStarts has a start stopped while etcd makes its database: that is no fault.
func TestAStopWhileItStarts(t *testing.T) {
	bin, err := binaries()
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "dev")
	var told strings.Builder
	cmd := exec.Command(filepath.Join(bin, "mintwardend"), "dev", "--dir", dir, "--api", "127.0.0.1:0", "--monitor", "127.0.0.1:0", "--rpc", "127.0.0.1:0")
	cmd.Stderr = &told
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		made, _ := filepath.Glob(filepath.Join(dir, "etcd/member/snap/db"))
		return len(made) > 0
	}, patience, time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), "%s", &told)
}
