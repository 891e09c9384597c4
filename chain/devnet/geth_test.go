package devnet

import (
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/ethclient/simulated"
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// geth is go-ethereum's own node, asked over HTTP, with one account that has what Fund gives.
type geth struct {
	rpc     *rpc.Client
	backend *simulated.Backend
	key     *ecdsa.PrivateKey
	chainID *big.Int
}

func startGeth(t *testing.T) *geth {
	t.Helper()
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	require.NoError(t, l.Close())
	alloc := types.GenesisAlloc{crypto.PubkeyToAddress(key.PublicKey): {Balance: Gift}}
	b := simulated.NewBackend(alloc, func(n *node.Config, e *ethconfig.Config) {
		n.HTTPHost, n.HTTPPort, n.HTTPModules = "127.0.0.1", port, []string{"eth"}
		e.Genesis.GasLimit, e.Miner.GasCeil = GasLimit, GasLimit
	})
	t.Cleanup(func() { b.Close() })
	c, err := rpc.Dial(fmt.Sprintf("http://127.0.0.1:%d", port))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	g := &geth{rpc: c, backend: b, key: key}
	var id hexutil.Big
	require.NoError(t, c.Call(&id, "eth_chainId"))
	g.chainID = id.ToInt()
	return g
}

// signed is u as an account of Ethereum sends it; chain id 0 stands for the node's own.
func (g *geth) signed(t *testing.T, key *ecdsa.PrivateKey, u *tx.Unsigned) []byte {
	t.Helper()
	id := g.chainID
	if u.ChainID != DefaultChainID {
		id = new(big.Int).SetUint64(u.ChainID)
	}
	s, err := types.SignNewTx(key, types.LatestSignerForChainID(id), &types.DynamicFeeTx{ChainID: id, Nonce: u.Nonce, GasTipCap: u.Tip,
		GasFeeCap: u.MaxFee, Gas: u.Gas, To: (*common.Address)(u.To), Value: u.Value, Data: u.Data})
	require.NoError(t, err)
	raw, err := s.MarshalBinary()
	require.NoError(t, err)
	return raw
}

// refusal is code and words of a JSON-RPC error.
func refusal(t *testing.T, err error) string {
	t.Helper()
	var e rpc.Error
	require.ErrorAs(t, err, &e)
	return fmt.Sprintf("%d %s", e.ErrorCode(), e.Error())
}

// TestRefusesInGethsWords sends the same faulty transactions to both nodes.
func TestRefusesInGethsWords(t *testing.T) {
	g := startGeth(t)
	b := start(t, Config{Period: Manual})
	w := b.funded(t, tx.Dilithium3)
	both := func(u *tx.Unsigned) (ours, geths error) {
		_, ours = b.sendRaw(w.signed(t, u))
		return ours, g.rpc.Call(new(common.Hash), "eth_sendRawTransaction", hexutil.Encode(g.signed(t, g.key, u)))
	}
	accept := func(u *tx.Unsigned) {
		ours, geths := both(u)
		require.NoError(t, ours)
		require.NoError(t, geths)
	}
	accept(unsigned(0))
	b.mineOne(t)
	g.backend.Commit()
	accept(unsigned(1))

	for name, change := range map[string]func(*tx.Unsigned){
		"already known":     func(u *tx.Unsigned) { u.Nonce = 1 },
		"nonce too low":     func(u *tx.Unsigned) { u.Nonce = 0 },
		"underpriced":       func(u *tx.Unsigned) { u.Nonce, u.Tip = 1, big.NewInt(1e9+1) },
		"just underpriced":  func(u *tx.Unsigned) { u.Nonce, u.Tip, u.MaxFee = 1, big.NewInt(1.1e9-1), big.NewInt(5.5e9) },
		"gas too low":       func(u *tx.Unsigned) { u.Gas = 20999 },
		"tip above max fee": func(u *tx.Unsigned) { u.Tip = big.NewInt(6e9) },
		"no tip":            func(u *tx.Unsigned) { u.Tip = new(big.Int) },
		"another chain":     func(u *tx.Unsigned) { u.ChainID = 5 },
	} {
		t.Run(name, func(t *testing.T) {
			u := unsigned(2)
			change(u)
			ours, geths := both(u)
			words := strings.ReplaceAll(refusal(t, geths), "want "+g.chainID.String(), fmt.Sprintf("want %d", DefaultChainID))
			require.Equal(t, words, refusal(t, ours))
		})
	}
	t.Run("no funds", func(t *testing.T) {
		key, err := crypto.GenerateKey()
		require.NoError(t, err)
		_, ours := b.sendRaw(newWallet(t, tx.Dilithium3).signed(t, unsigned(0)))
		geths := g.rpc.Call(new(common.Hash), "eth_sendRawTransaction", hexutil.Encode(g.signed(t, key, unsigned(0))))
		require.Equal(t, refusal(t, geths), refusal(t, ours))
	})
	t.Run("funds for one but not for all", func(t *testing.T) {
		u := unsigned(2)
		u.Value = new(big.Int).Sub(Gift, big.NewInt(2.2e14))
		ours, geths := both(u)
		require.ErrorContains(t, ours, "insufficient funds for gas * price + value: balance ")
		require.ErrorContains(t, ours, ", queued cost ")
		require.ErrorContains(t, geths, ", queued cost ")
	})
	enough := unsigned(1)
	enough.Tip, enough.MaxFee = big.NewInt(1.1e9), big.NewInt(5.5e9)
	accept(enough) // 10 % more
}

// TestAnswersHaveGethsForm compares the members of both nodes' answers.
func TestAnswersHaveGethsForm(t *testing.T) {
	g := startGeth(t)
	b := start(t, Config{Period: Manual})
	w := b.funded(t, tx.Dilithium3)
	u := unsigned(0)
	u.To, u.Value, u.Data, u.Gas = nil, new(big.Int), counterInit, 200_000
	mine := w.signed(t, u)
	theirs := g.signed(t, g.key, u)
	ourHash, gethHash := b.mustSend(t, mine), common.Hash{}
	require.NoError(t, g.rpc.Call(&gethHash, "eth_sendRawTransaction", hexutil.Encode(theirs)))
	b.mineOne(t)
	g.backend.Commit()

	keys := func(c *rpc.Client, method string, args ...any) []string {
		var m map[string]json.RawMessage
		require.NoError(t, c.Call(&m, method, args...), method)
		return slices.Sorted(maps.Keys(m))
	}
	without := func(from []string, drop ...string) []string {
		return slices.DeleteFunc(from, func(k string) bool { return slices.Contains(drop, k) })
	}
	require.Equal(t, keys(g.rpc, "eth_getTransactionReceipt", gethHash), keys(b.rpc, "eth_getTransactionReceipt", ourHash))
	require.Equal(t, without(keys(g.rpc, "eth_getTransactionByHash", gethHash), "v", "r", "s", "yParity"),
		without(keys(b.rpc, "eth_getTransactionByHash", ourHash), "publicKey", "signature"))
	// What the forks after London added is not there.
	later := []string{"blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash", "withdrawals", "withdrawalsRoot"}
	require.Equal(t, without(keys(g.rpc, "eth_getBlockByNumber", "latest", true), later...), keys(b.rpc, "eth_getBlockByNumber", "latest", true))
	require.Equal(t, without(keys(g.rpc, "eth_feeHistory", "0x1", "latest", []int{50}), "baseFeePerBlobGas", "blobGasUsedRatio"),
		keys(b.rpc, "eth_feeHistory", "0x1", "latest", []int{50}))

	at := func(from common.Address, data []byte) map[string]any {
		return map[string]any{"from": from, "to": crypto.CreateAddress(from, 0), "data": hexutil.Bytes(data)}
	}
	gethAccount := crypto.PubkeyToAddress(g.key.PublicKey)
	for _, data := range [][]byte{revertNo, {1, 2, 3, 4}} {
		for _, method := range []string{"eth_call", "eth_estimateGas"} {
			ours, geths := b.rpc.Call(nil, method, at(w.account(), data)), g.rpc.Call(nil, method, at(gethAccount, data))
			require.Equal(t, refusal(t, geths), refusal(t, ours))
			var ourData, gethData rpc.DataError
			require.ErrorAs(t, ours, &ourData)
			require.ErrorAs(t, geths, &gethData)
			require.Equal(t, gethData.ErrorData(), ourData.ErrorData())
		}
	}
}
