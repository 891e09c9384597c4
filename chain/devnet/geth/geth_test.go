package geth

import (
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
)

func TestKeepsItsChain(t *testing.T) {
	dir := t.TempDir()
	who := common.HexToAddress("0x00000000000000000000000000000000000000aa")
	n, err := Start(t.Context(), Config{Dir: dir, Addr: "127.0.0.1:0", Period: Manual})
	require.NoError(t, err)
	gave, err := n.Fund(t.Context(), who)
	require.NoError(t, err)
	require.True(t, gave)
	gave, err = n.Fund(t.Context(), who)
	require.NoError(t, err)
	require.False(t, gave, "once an account")
	h, err := n.Mine(3)
	require.NoError(t, err)
	require.EqualValues(t, 4, h.Number.Uint64())
	require.NoError(t, n.Close())

	n, err = Start(t.Context(), Config{Dir: dir, Addr: "127.0.0.1:0", Period: Manual})
	require.NoError(t, err)
	defer n.Close()
	require.Equal(t, h.Hash(), n.Head().Hash())
	b, err := n.client.BalanceAt(t.Context(), who, nil)
	require.NoError(t, err)
	require.Equal(t, Gift, b)

	old := n.Head().Hash()
	h, err = n.Reorg(2, false)
	require.NoError(t, err)
	require.EqualValues(t, 5, h.Number.Uint64())
	require.NotEqual(t, old, n.eth.BlockChain().GetHeaderByNumber(4).Hash())
	_, err = n.Reorg(64, false)
	require.ErrorContains(t, err, "reorg of 64 blocks at block 5")
	for range 64 {
		_, err = n.Mine(1)
		require.NoError(t, err)
	}
	h, err = n.Reorg(64, true)
	require.NoError(t, err)
	require.EqualValues(t, 70, h.Number.Uint64())
}

// What a reorg has forgotten and somebody sends again all the time is in none of the new blocks.
func TestWhatIsForgottenWaitsForTheNextBlock(t *testing.T) {
	n, err := Start(t.Context(), Config{Dir: t.TempDir(), Addr: "127.0.0.1:0", Period: Manual})
	require.NoError(t, err)
	defer n.Close()
	_, err = n.Mine(1)
	require.NoError(t, err)
	gift, err := n.gift(t.Context(), common.HexToAddress("0x00000000000000000000000000000000000000aa"))
	require.NoError(t, err)
	require.NoError(t, n.client.SendTransaction(t.Context(), gift))
	_, err = n.Mine(8)
	require.NoError(t, err)
	_, err = n.client.TransactionReceipt(t.Context(), gift.Hash())
	require.NoError(t, err)

	var sender sync.WaitGroup
	over := make(chan struct{})
	sender.Go(func() {
		for {
			_ = n.client.SendTransaction(t.Context(), gift) // known already, but for once
			select {
			case <-over:
				return
			default:
			}
		}
	})
	_, err = n.Reorg(8, true)
	close(over)
	sender.Wait()
	require.NoError(t, err)
	_, pending, err := n.client.TransactionByHash(t.Context(), gift.Hash())
	require.NoError(t, err)
	require.True(t, pending)
	_, err = n.Mine(1)
	require.NoError(t, err)
	_, err = n.client.TransactionReceipt(t.Context(), gift.Hash())
	require.NoError(t, err)
}

func TestRefusesItsConfig(t *testing.T) {
	for _, c := range []Config{
		{Dir: "", Addr: "127.0.0.1:0"}, {Dir: t.TempDir(), Addr: "0.0.0.0:0"}, {Dir: t.TempDir(), Addr: "127.0.0.1"},
		{Dir: t.TempDir(), Addr: "127.0.0.1:0", Period: 1500}, {Dir: t.TempDir(), Addr: "127.0.0.1:x"},
	} {
		_, err := Start(t.Context(), c)
		require.Error(t, err)
	}
}
