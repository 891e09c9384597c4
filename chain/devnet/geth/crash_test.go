package geth

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/stretchr/testify/require"
)

// childDir in the environment makes this test binary a node on that directory.
const childDir = "MINTWARDEN_TEST_GETH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		n, err := Start(context.Background(), Config{Dir: dir, Addr: "127.0.0.1:0", Period: Manual})
		if err != nil {
			panic(err)
		}
		fmt.Println(n.URL())
		_, _ = io.Copy(io.Discard, os.Stdin) // a parent that dies takes its child along
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// patience is far more than anything here takes on a busy machine.
const patience = 2 * time.Minute

// child starts a node in a process of its own and returns how to ask it and how to SIGKILL it.
func child(t *testing.T, dir string) (*ethclient.Client, func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	_, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	kill := func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	url, err := bufio.NewReader(out).ReadString('\n')
	late.Stop()
	require.NoError(t, err, "it says nothing")
	c, err := ethclient.Dial(url[:len(url)-1])
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c, kill
}

// TestSIGKILL kills the process in the moment in which a client hears of a new block: the block is there
// afterwards, and so is all that it did.
func TestSIGKILL(t *testing.T) {
	dir := t.TempDir()
	for round := range 8 {
		c, kill := child(t, dir)
		before, err := c.BlockNumber(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, round, before, "a block that nobody had asked for")
		who := common.BigToAddress(big.NewInt(0xaa00 + int64(round)))
		patient, cancel := context.WithTimeout(t.Context(), patience)
		asked := make(chan error, 1)
		go func() { asked <- c.Client().CallContext(patient, new(bool), "devnet_fund", who) }()
		head, err := c.HeaderByNumber(patient, nil)
		for ; err == nil && head.Number.Uint64() == before; head, err = c.HeaderByNumber(patient, nil) {
		}
		kill()
		cancel()
		<-asked // answered or not
		require.NoError(t, err)

		c, kill = child(t, dir)
		again, err := c.HeaderByNumber(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, head.Hash(), again.Hash(), "block %d after SIGKILL %d", head.Number, round)
		b, err := c.BalanceAt(t.Context(), who, nil)
		require.NoError(t, err)
		require.Equal(t, Gift, b)
		kill()
	}
}
