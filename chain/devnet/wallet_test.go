package devnet

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"math/big"
	"testing"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// counter is a contract by hand. Without calldata it adds one to slot 0 and logs the sum under
// topic 0x2a; with calldata it reverts with that very data.
const counterRuntime = "3660195760016000540180600055600052602a60206000a1005b366000600037366000fd"

var counterInit = unhex("602480600b6000396000f3" + counterRuntime)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// wallet signs as an account of the chain does.
type wallet struct {
	scheme  tx.Scheme
	public  []byte
	address tx.Address
	sign    func(digest []byte) []byte
}

func newWallet(t testing.TB, scheme tx.Scheme) *wallet {
	t.Helper()
	w := &wallet{scheme: scheme}
	switch scheme {
	case tx.Dilithium3:
		pub, priv, err := mode3.GenerateKey(rand.Reader)
		require.NoError(t, err)
		w.public = pub.Bytes()
		w.sign = func(digest []byte) []byte {
			sig := make([]byte, mode3.SignatureSize)
			mode3.SignTo(priv, digest, sig)
			return sig
		}
	case tx.MLDSA65:
		pub, priv, err := mldsa65.GenerateKey(rand.Reader)
		require.NoError(t, err)
		w.public = pub.Bytes()
		w.sign = func(digest []byte) []byte {
			sig := make([]byte, mldsa65.SignatureSize)
			require.NoError(t, mldsa65.SignTo(priv, digest, nil, false, sig))
			return sig
		}
	}
	var err error
	w.address, err = tx.Sender(tx.KindQuantum, w.public)
	require.NoError(t, err)
	return w
}

func (w *wallet) account() common.Address { return common.Address(w.address) }

// unsigned is a transfer of 1 wei to nobody in particular, for the test to change.
func unsigned(nonce uint64) *tx.Unsigned {
	return &tx.Unsigned{Kind: tx.KindQuantum, ChainID: DefaultChainID, Nonce: nonce, Tip: big.NewInt(1e9), MaxFee: big.NewInt(5e9),
		Gas: 21000, To: &tx.Address{0xaa}, Value: big.NewInt(1)}
}

func (w *wallet) signed(t testing.TB, u *tx.Unsigned) []byte {
	t.Helper()
	digest, err := u.SigningHash()
	require.NoError(t, err)
	raw, err := u.Encode(w.public, w.sign(digest[:]))
	require.NoError(t, err)
	return raw
}

// bench is a node and the ways to ask it.
type bench struct {
	*Node
	rpc *rpc.Client
	eth *ethclient.Client
}

func start(t testing.TB, cfg Config) *bench {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	n, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	c, err := rpc.DialContext(t.Context(), n.URL())
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return &bench{n, c, ethclient.NewClient(c)}
}

func (b *bench) funded(t testing.TB, scheme tx.Scheme) *wallet {
	t.Helper()
	w := newWallet(t, scheme)
	var given bool
	require.NoError(t, b.rpc.Call(&given, "devnet_fund", w.address))
	require.True(t, given)
	return w
}

func (b *bench) sendRaw(raw []byte) (common.Hash, error) {
	var h common.Hash
	err := b.rpc.CallContext(context.Background(), &h, "eth_sendRawTransaction", hexutil.Encode(raw))
	return h, err
}

func (b *bench) mustSend(t testing.TB, raw []byte) common.Hash {
	t.Helper()
	h, err := b.sendRaw(raw)
	require.NoError(t, err)
	require.Equal(t, common.Hash(tx.HashOf(raw)), h)
	return h
}

// mineOne makes a block and returns it as the node keeps it.
func (b *bench) mineOne(t testing.TB) *block {
	t.Helper()
	made, err := b.mine(nil)
	require.NoError(t, err)
	return made
}

// signedAs is a transfer of one of the older types, with a gas price of 3 gwei.
func (w *wallet) signedAs(t testing.TB, kind tx.Type, nonce uint64) []byte {
	t.Helper()
	s := &tx.Signed{Unsigned: *unsigned(nonce), Type: kind, GasPrice: big.NewInt(3e9), PublicKey: w.public}
	s.Gas = 30_000
	if kind == tx.AccessList {
		s.AccessList = []tx.AccessTuple{{Address: [20]byte{0xaa}, StorageKeys: [][32]byte{{1}}}}
	}
	digest, err := s.SigningHash()
	require.NoError(t, err)
	s.Signature = w.sign(digest[:])
	raw, err := s.Encode()
	require.NoError(t, err)
	return raw
}
