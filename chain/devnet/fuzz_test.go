package devnet

import (
	"encoding/json"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// FuzzFilter: whatever eth_getLogs takes as a filter, an entry that passes it has an admitted
// address and admitted topics.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"address":"0x00000000000000000000000000000000000000aa","topics":[null]}`,
		`{"address":["0x00000000000000000000000000000000000000aa"],"fromBlock":"0x1","toBlock":"latest"}`,
		`{"topics":["0x000000000000000000000000000000000000000000000000000000000000002a",[],[null]]}`,
		`{"topics":[["0x2a"]]}`, `{"address":5}`, `{"blockHash":"0x0"}`,
	} {
		f.Add([]byte(s))
	}
	entry := &types.Log{Address: common.Address{19: 0xaa}, Topics: []common.Hash{{31: 0x2a}, {1}}}
	f.Fuzz(func(t *testing.T, data []byte) {
		var q filter
		if json.Unmarshal(data, &q) != nil {
			return
		}
		for _, group := range append([]oneOrMany{q.Address}, q.Topics...) {
			require.LessOrEqual(t, len(group), maxFilter)
			for _, v := range group {
				require.Contains(t, []int{common.AddressLength, common.HashLength}, len(v))
			}
		}
		bloom := types.CreateBloom(&types.Receipt{Logs: []*types.Log{entry}})
		if q.has(entry) {
			require.True(t, q.may(bloom), "the bloom never hides a match")
		}
	})
}

// FuzzSend: no bytes whatever break the pool, and what it takes is what was sent.
func FuzzSend(f *testing.F) {
	n, err := Start(f.Context(), Config{Dir: f.TempDir(), Period: Manual})
	require.NoError(f, err)
	f.Cleanup(func() { n.Close() })
	w := newWallet(f, tx.Dilithium3)
	_, err = n.Fund(w.account())
	require.NoError(f, err)
	f.Add(w.signed(f, unsigned(0)))
	create := unsigned(1)
	create.To, create.Gas, create.Data = nil, 100_000, counterInit
	f.Add(w.signed(f, create))
	f.Add([]byte{2, 0xc0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		hash, err := n.send(raw)
		if err != nil {
			return
		}
		kept, err := n.waitingTx(hash)
		require.NoError(t, err)
		require.Equal(t, raw, kept.Raw)
		n.pool.remove(kept)
		require.Zero(t, n.pool.bytes)
	})
}

// BenchmarkEmptyBlock is what each period costs a chain on which nothing happens.
func BenchmarkEmptyBlock(b *testing.B) {
	n, err := Start(b.Context(), Config{Dir: b.TempDir(), Period: Manual})
	require.NoError(b, err)
	defer n.Close()
	for b.Loop() {
		_, err := n.mine(nil)
		require.NoError(b, err)
	}
}

// BenchmarkSend is decoding, verifying, pooling and storing one transaction.
func BenchmarkSend(b *testing.B) {
	n, err := Start(b.Context(), Config{Dir: b.TempDir(), Period: Manual})
	require.NoError(b, err)
	defer n.Close()
	w := newWallet(b, tx.Dilithium3)
	_, err = n.Fund(w.account())
	require.NoError(b, err)
	raws := make([][]byte, 512)
	for i := range raws {
		raws[i] = w.signed(b, unsigned(uint64(i)))
	}
	i := 0
	for b.Loop() {
		_, err := n.send(raws[i])
		require.NoError(b, err)
		if i++; i == len(raws) {
			b.StopTimer()
			_, err := n.Mine(1)
			require.NoError(b, err)
			_, err = n.Reorg(1, true)
			require.NoError(b, err)
			i = 0
			b.StartTimer()
		}
	}
}
