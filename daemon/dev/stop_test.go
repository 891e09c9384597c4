package dev_test

import (
	"encoding/json/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
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
	defer time.AfterFunc(2*patience, func() { _ = cmd.Process.Kill() }).Stop()
	require.Eventually(t, func() bool {
		made, _ := filepath.Glob(filepath.Join(dir, "etcd/member/snap/db"))
		return len(made) > 0
	}, patience, time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), "%s", &told)
}

// TestAStopDrainsWhileTheSealIsThere stops dev while an approval is half sent: the seal, its child, records it before
// it ends, whether the stop came to dev alone or, by Ctrl-C, to every process of the terminal.
func TestAStopDrainsWhileTheSealIsThere(t *testing.T) {
	t.Parallel()
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	op, err := a.as("operator").DeployToken(a.context(), a.draft("").ID, client.DeployRequest{})
	require.NoError(t, err)
	id := op.OperationID
	for _, stop := range []struct {
		approver string
		tell     func() error
	}{
		{"approver-1", func() error { return a.cmd.Process.Signal(syscall.SIGTERM) }},
		{"approver-2", func() error { return syscall.Kill(-a.cmd.Process.Pid, syscall.SIGINT) }},
	} {
		op, err := a.as(stop.approver).GetTokenOperation(a.context(), id)
		require.NoError(t, err)
		body, err := json.Marshal(a.decision(stop.approver, policy.Approve, op))
		require.NoError(t, err)
		a.drained(stop.tell, "approvers/"+stop.approver+".apikey", "/v1/token-operations/"+id+"/approve", string(body), http.StatusOK)
		a.awaitEnd()
		require.Zero(t, a.cmd.ProcessState.ExitCode())
		a.hangUp()
		a = a.again()
	}
	a.completed(id)
}
