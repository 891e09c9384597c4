package devnet

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// childDir in the environment makes this test binary a devnet process on that directory.
const childDir = "MINTWARDEN_TEST_DEVNET_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		go func() { // a parent that dies takes its child along
			io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}()
		cfg := Config{Dir: dir, Period: 10 * time.Millisecond}
		if err := Run(context.Background(), cfg, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// patience is far more than anything here takes on a busy machine.
const patience = 2 * time.Minute

// child starts a devnet process and returns how to ask it and how to SIGKILL it.
func child(t *testing.T, dir string) (*bench, func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	_, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	kill := func() { // SIGKILL
		cmd.Process.Kill()
		cmd.Wait()
	}
	t.Cleanup(kill)
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	late.Stop()
	require.NoError(t, err, "it says nothing")
	var url string
	var id uint64
	_, err = fmt.Sscanf(line, "devnet url=%s chain=%d\n", &url, &id)
	require.NoError(t, err, line)
	c, err := rpc.Dial(url)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return &bench{rpc: c, eth: ethclient.NewClient(c)}, kill
}

// TestSIGKILL kills the process at whatever moment it happens to be in, with blocks coming every
// 10 ms and transactions going in, and looks each time whether all that was told is still true.
func TestSIGKILL(t *testing.T) {
	dir := t.TempDir()
	w := newWallet(t, tx.Dilithium3)
	b, kill := child(t, dir)
	var given bool
	require.NoError(t, b.rpc.Call(&given, "devnet_fund", w.address))
	require.True(t, given)

	announced := map[uint64]common.Hash{}
	var sent []common.Hash
	for round := range 6 {
		// The first rounds die right behind an answered transaction, the others some blocks later.
		for range 3 {
			u := unsigned(uint64(len(sent)))
			u.Tip, u.MaxFee = big.NewInt(1e9), big.NewInt(4e9)
			sent = append(sent, b.mustSend(t, w.signed(t, u)))
		}
		for range round * 2 {
			h, err := b.eth.HeaderByNumber(t.Context(), nil)
			require.NoError(t, err)
			announced[h.Number.Uint64()] = h.Hash()
		}
		kill()

		b, kill = child(t, dir)
		require.NoError(t, b.rpc.Call(&given, "devnet_fund", w.address))
		require.False(t, given, "the gift was given before")
		for number, hash := range announced {
			h, err := b.eth.HeaderByNumber(t.Context(), new(big.Int).SetUint64(number))
			require.NoError(t, err)
			require.Equal(t, hash, h.Hash(), "block %d after SIGKILL %d", number, round)
		}
		for nonce, hash := range sent {
			require.Eventually(t, func() bool {
				r, err := b.eth.TransactionReceipt(t.Context(), hash)
				return err == nil && r.Status == types.ReceiptStatusSuccessful
			}, patience, 10*time.Millisecond, "transaction %d after SIGKILL %d", nonce, round)
		}
	}
	count, err := b.eth.NonceAt(t.Context(), w.account(), nil)
	require.NoError(t, err)
	require.EqualValues(t, len(sent), count)
	to, err := b.eth.BalanceAt(t.Context(), common.Address{0xaa}, nil)
	require.NoError(t, err)
	require.EqualValues(t, len(sent), to.Int64(), "each had exactly one effect")
}

// TestTornLog cuts the database's log at many places, as a crash of the machine may, and expects a
// chain that is whole up to wherever it ends then.
func TestTornLog(t *testing.T) {
	dir := t.TempDir()
	n, err := Start(t.Context(), Config{Dir: dir, Period: 0})
	require.NoError(t, err)
	b := &bench{Node: n}
	b.rpc, err = rpc.Dial(n.URL())
	require.NoError(t, err)
	w := b.funded(t, tx.Dilithium3)
	hashes := []common.Hash{n.GetHeaderByNumber(0).Hash(), n.Head().Hash()}
	for nonce := range uint64(6) {
		b.mustSend(t, w.signed(t, unsigned(nonce)))
		hashes = append(hashes, n.Head().Hash())
	}
	// A copy taken now is what a crash would leave: the log is not closed.
	image := copyDir(t, filepath.Join(dir, "chain"))
	require.NoError(t, n.Close())

	var log string
	for name := range image {
		if strings.HasSuffix(name, ".log") && len(image[name]) > len(image[log]) {
			log = name
		}
	}
	require.NotEmpty(t, log)
	heads := map[uint64]bool{}
	for cut := len(image[log]); cut > 0; cut -= len(image[log])/20 + 1 {
		torn := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(torn, "chain"), 0o700))
		for name, data := range image {
			if name == log {
				data = data[:cut]
			}
			require.NoError(t, os.WriteFile(filepath.Join(torn, "chain", name), data, 0o600))
		}
		n, err := Start(t.Context(), Config{Dir: torn, Period: Manual})
		require.NoError(t, err, "cut at %d", cut)
		head := n.Head()
		heads[head.Number.Uint64()] = true
		require.Equal(t, hashes[head.Number.Uint64()], head.Hash(), "cut at %d", cut)
		st, err := n.stateOf(head)
		require.NoError(t, err)
		require.Equal(t, max(head.Number.Uint64(), 1)-1, st.GetNonce(w.account()), "state and block agree")
		_, err = n.Mine(2)
		require.NoError(t, err)
		require.NoError(t, n.Close())
	}
	require.Greater(t, len(heads), 3, "the cuts fell into different blocks")
}

func copyDir(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if e.Name() == "LOCK" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		files[e.Name()] = data
	}
	return files
}

// TestReplay executes a chain again from its blocks alone and gets the same state roots: gifts are
// part of the blocks.
func TestReplay(t *testing.T) {
	b := start(t, Config{Period: 0})
	for range 2 {
		w := b.funded(t, tx.MLDSA65)
		u := unsigned(0)
		u.To, u.Value, u.Data, u.Gas = nil, new(big.Int), counterInit, 200_000
		b.mustSend(t, w.signed(t, u))
	}
	again, err := openChain(Config{Dir: t.TempDir(), ChainID: DefaultChainID, Schemes: b.cfg.Schemes, Log: b.cfg.Log})
	require.NoError(t, err)
	defer again.close()
	for number := uint64(1); number <= b.Head().Number.Uint64(); number++ {
		old, err := b.blockByNumber(number)
		require.NoError(t, err)
		st, err := again.stateOf(again.head.header)
		require.NoError(t, err)
		for _, x := range old.txs {
			_, err := again.pool.add(x, st, 0)
			require.NoError(t, err)
		}
		made, err := again.mine(old.credits)
		require.NoError(t, err)
		require.Equal(t, old.header.Root, made.header.Root, "block %d", number)
		require.Equal(t, old.header.ReceiptHash, made.header.ReceiptHash)
		require.Equal(t, old.header.TxHash, made.header.TxHash)
	}
}

func TestPendingSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	n, err := Start(t.Context(), Config{Dir: dir, Period: Manual})
	require.NoError(t, err)
	w := newWallet(t, tx.Dilithium3)
	_, err = n.Fund(w.account())
	require.NoError(t, err)
	for _, nonce := range []uint64{0, 1, 3} { // 2 is missing
		_, err := n.send(w.signed(t, unsigned(nonce)))
		require.NoError(t, err)
	}
	cheap := unsigned(1)
	cheap.Tip, cheap.MaxFee = big.NewInt(2e9), big.NewInt(6e9)
	_, err = n.send(w.signed(t, cheap))
	require.NoError(t, err, "a replacement")
	require.NoError(t, n.Close())

	b := start(t, Config{Dir: dir, Period: Manual})
	pending, err := b.eth.PendingNonceAt(t.Context(), w.account())
	require.NoError(t, err)
	require.EqualValues(t, 2, pending)
	made := b.mineOne(t)
	require.Len(t, made.txs, 2)
	require.Equal(t, w.signed(t, cheap), made.txs[1].Raw, "signatures are deterministic here")
	b.mustSend(t, w.signed(t, unsigned(2)))
	require.Len(t, b.mineOne(t).txs, 2, "the gap is filled")
}

// TestRunPrintsItsAddress is what mintwardend devnet shows.
func TestRunPrintsItsAddress(t *testing.T) {
	b, _ := child(t, t.TempDir())
	var head json.RawMessage
	require.NoError(t, b.rpc.Call(&head, "qc_blockNumber"))
}
