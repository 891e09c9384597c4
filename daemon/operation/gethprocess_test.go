package operation_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// gethCommand is the newest whose command `go install` makes.
const gethCommand = "github.com/ethereum/go-ethereum/cmd/geth@v1.16.7"

// gethBinary is the real geth, built once a machine into the user's cache.
var gethBinary = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "mintwarden", "geth-v1.16.7")
	path := filepath.Join(dir, "geth")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	cmd := exec.Command("go", "install", gethCommand)
	cmd.Dir = os.TempDir() // outside of our module
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "GOEXPERIMENT=", "GOTOOLCHAIN=auto")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install %s: %w: %s", gethCommand, err, out)
	}
	return path, nil
})

// gethProcess is `geth --dev`.
type gethProcess struct{ url string }

func startGethProcess(t testing.TB) *gethProcess {
	t.Helper()
	path, err := gethBinary()
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	require.NoError(t, l.Close())
	cmd := exec.Command(path, "--dev", "--dev.period", "1", "--datadir", t.TempDir(), "--ipcdisable", "--port", "0", "--authrpc.port", "0",
		"--http", "--http.addr", "127.0.0.1", "--http.port", strconv.Itoa(port), "--http.api", "eth")
	log, err := os.Create(filepath.Join(t.TempDir(), "geth.log"))
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			out, _ := os.ReadFile(log.Name())
			t.Logf("geth:\n%s", out[max(0, len(out)-4000):])
		}
	})
	return &gethProcess{url: fmt.Sprintf("http://127.0.0.1:%d", port)}
}

// fund has the developer's account give a wallet coins, and waits until it has them.
func (g *gethProcess) fund(ctx context.Context, who tx.Address) error {
	c, err := rpc.DialContext(ctx, g.url)
	if err != nil {
		return err
	}
	defer c.Close()
	for sent := false; ; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var accounts []string
		var balance string
		if c.CallContext(ctx, &accounts, "eth_accounts") != nil || len(accounts) == 0 {
			continue // it is starting
		}
		if err := c.CallContext(ctx, &balance, "eth_getBalance", who.String(), "latest"); err != nil || balance != "0x0" {
			return err
		}
		if sent {
			continue
		}
		gift := map[string]string{"from": accounts[0], "to": who.String(), "value": "0x3635c9adc5dea00000"} // 1,000
		if err := c.CallContext(ctx, nil, "eth_sendTransaction", gift); err != nil {
			return err
		}
		sent = true
	}
}

// TestGethProcess is the main job on `geth --dev`, a process of its own. Building geth takes minutes, so it is part
// of the long run.
func TestGethProcess(t *testing.T) {
	t.Parallel()
	if os.Getenv("MINTWARDEN_LONG") == "" {
		t.Skip("builds geth: make test-long")
	}
	mainJob(t, newHouse(t, options{kind: tx.KindEVM, process: true}))
}
