package chain

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// patience is far more than anything here takes on a busy machine.
const patience = 2 * time.Minute

// child starts a devnet process on dir and returns its URL and how to SIGKILL it.
func child(t *testing.T, dir, addr string) (string, func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, "MINTWARDEN_TEST_DEVNET_ADDR="+addr)
	cmd.Stderr = os.Stderr
	_, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	kill := func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	t.Cleanup(kill)
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	late.Stop()
	require.NoError(t, err, "it says nothing")
	var url string
	_, err = fmt.Sscanf(line, "devnet url=%s chain=", &url)
	require.NoError(t, err, line)
	return url, kill
}

// TestNodeDiesAndReturns: what the client said of a transaction stays true over SIGKILLs of the
// node, and sending the same bytes again never has a second effect.
func TestNodeDiesAndReturns(t *testing.T) {
	dir := t.TempDir()
	url, kill := child(t, dir, "127.0.0.1:0")
	addr := strings.TrimPrefix(url, "http://")
	w := newWallet(t)
	admin, err := rpc.Dial(url)
	require.NoError(t, err)
	defer admin.Close()
	require.NoError(t, admin.Call(nil, "devnet_fund", w.address))

	c := dial(t, network(url))
	for nonce := range uint64(4) {
		raw := w.sign(t, transfer(nonce))
		require.NoError(t, c.Send(t.Context(), raw))
		kill()
		require.ErrorIs(t, c.Send(t.Context(), raw), ErrUnavailable)
		_, err = c.Head(t.Context())
		require.ErrorIs(t, err, ErrUnavailable)

		_, kill = child(t, dir, addr)
		if err := c.Send(t.Context(), raw); err != nil { // the pool kept it, or it is mined
			var rejected *RejectedError
			require.True(t, errors.As(err, &rejected) && rejected.NonceTooLow, "%v", err)
		}
		require.Eventually(t, func() bool {
			st, err := c.Status(t.Context(), tx.HashOf(raw))
			return err == nil && st.Final && st.Success
		}, patience, 10*time.Millisecond)
		next, err := c.NonceAt(t.Context(), w.address, nil)
		require.NoError(t, err)
		require.Equal(t, nonce+1, next)
	}
}
