package chain

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"math/big"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/devnet"
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
		ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer cancel()
		cfg := devnet.Config{Dir: dir, Addr: os.Getenv("MINTWARDEN_TEST_DEVNET_ADDR"), Period: 20 * time.Millisecond}
		if err := devnet.Run(ctx, cfg, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// obedient is a contract by hand. Without calldata it counts; with calldata it reverts with that
// very data.
var obedient = unhex("602480600b6000396000f3" + "3660195760016000540180600055600052602a60206000a1005b366000600037366000fd")

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// wallet signs with Dilithium as an account of Quantum Chain does.
type wallet struct {
	public  []byte
	address tx.Address
	private *mode3.PrivateKey
}

func newWallet(t testing.TB) *wallet {
	t.Helper()
	pub, priv, err := mode3.GenerateKey(rand.Reader)
	require.NoError(t, err)
	a, err := tx.Sender(tx.KindQuantum, pub.Bytes())
	require.NoError(t, err)
	return &wallet{pub.Bytes(), a, priv}
}

// transfer is 1 wei to nobody, for tests to change.
func transfer(nonce uint64) *tx.Unsigned {
	return &tx.Unsigned{Kind: tx.KindQuantum, ChainID: devnet.DefaultChainID, Nonce: nonce, Tip: big.NewInt(1e9),
		MaxFee: big.NewInt(5e9), Gas: 21000, To: &tx.Address{0xaa}, Value: big.NewInt(1)}
}

func (w *wallet) sign(t testing.TB, u *tx.Unsigned) []byte {
	t.Helper()
	digest, err := u.SigningHash()
	require.NoError(t, err)
	sig := make([]byte, mode3.SignatureSize)
	mode3.SignTo(w.private, digest[:], sig)
	raw, err := u.Encode(w.public, sig)
	require.NoError(t, err)
	return raw
}

func network(urls ...string) Network {
	return Network{Name: "quantum-chain-devnet", Kind: tx.KindQuantum, ChainID: devnet.DefaultChainID, RPCURLs: urls,
		Confirmations: 2, Scheme: tx.Dilithium3, Currency: "QC", BlockPeriod: time.Second}
}

// manual is a devnet that makes blocks when told.
func manual(t testing.TB) *devnet.Node {
	t.Helper()
	n, err := devnet.Start(t.Context(), devnet.Config{Dir: t.TempDir(), Period: devnet.Manual})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n
}

func dial(t testing.TB, n Network) *Client {
	t.Helper()
	c, err := Dial(t.Context(), n, nil, nil)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func fund(t testing.TB, n *devnet.Node, w *wallet) {
	t.Helper()
	_, err := n.Fund(common.Address(w.address))
	require.NoError(t, err)
}

func mine(t testing.TB, n *devnet.Node, blocks uint64) {
	t.Helper()
	_, err := n.Mine(blocks)
	require.NoError(t, err)
}

func status(t testing.TB, c *Client, raw []byte) TxStatus {
	t.Helper()
	st, err := c.Status(t.Context(), tx.HashOf(raw))
	require.NoError(t, err)
	return st
}
