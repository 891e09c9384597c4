package devnet

import (
	"context"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

func (b *bench) mined(t *testing.T, hash common.Hash) bool {
	t.Helper()
	r, err := b.eth.TransactionReceipt(t.Context(), hash)
	if err != nil {
		require.ErrorIs(t, err, ethereum.NotFound)
		return false
	}
	canonical, err := b.eth.HeaderByNumber(t.Context(), r.BlockNumber)
	require.NoError(t, err)
	require.Equal(t, canonical.Hash(), r.BlockHash)
	return true
}

func (b *bench) known(t *testing.T, hash common.Hash) bool {
	t.Helper()
	var m map[string]any
	require.NoError(t, b.rpc.Call(&m, "eth_getTransactionByHash", hash))
	return m != nil
}

func TestReorgGivesTransactionsBack(t *testing.T) {
	for _, restart := range []bool{false, true} {
		dir := t.TempDir()
		b := start(t, Config{Dir: dir, Period: Manual})
		w := b.funded(t, tx.Dilithium3) // block 1
		first := b.mustSend(t, w.signed(t, unsigned(0)))
		old2 := b.mineOne(t)
		second := b.mustSend(t, w.signed(t, unsigned(1)))
		old3 := b.mineOne(t)
		third := b.mustSend(t, w.signed(t, unsigned(2)))

		var head hexutil.Uint64
		require.NoError(t, b.rpc.Call(&head, "devnet_reorg", "0x3"))
		require.EqualValues(t, 4, head, "one more than before")
		require.NotEqual(t, old2.hash, b.GetHeaderByNumber(2).Hash())
		require.NotEqual(t, old3.hash, b.GetHeaderByNumber(3).Hash())
		side, err := b.eth.HeaderByHash(t.Context(), old3.hash)
		require.NoError(t, err, "blocks off the chain stay readable by hash")
		require.Equal(t, old3.hash, side.Hash())
		gift, err := b.eth.BalanceAt(t.Context(), w.account(), big.NewInt(2))
		require.NoError(t, err)
		require.Equal(t, Gift, gift, "the gift is given again")
		if restart {
			require.NoError(t, b.Close())
			b = start(t, Config{Dir: dir, Period: Manual})
		}
		for _, hash := range []common.Hash{first, second, third} {
			require.False(t, b.mined(t, hash))
			require.True(t, b.known(t, hash))
		}
		require.Len(t, b.mineOne(t).txs, 3)
		for _, hash := range []common.Hash{first, second, third} {
			require.True(t, b.mined(t, hash))
		}
	}
}

func TestReorgMayForget(t *testing.T) {
	b := start(t, Config{Period: Manual})
	w := b.funded(t, tx.Dilithium3)
	raw := w.signed(t, unsigned(0))
	hash := b.mustSend(t, raw)
	b.mineOne(t)
	_, err := b.Reorg(1, true)
	require.NoError(t, err)
	require.False(t, b.known(t, hash))
	b.mineOne(t)
	require.False(t, b.mined(t, hash))
	require.Equal(t, hash, b.mustSend(t, raw), "the same bytes again are welcome")
	b.mineOne(t)
	require.True(t, b.mined(t, hash))
}

func TestReorgBounds(t *testing.T) {
	b := start(t, Config{Period: Manual})
	b.mineOne(t)
	for _, depth := range []uint64{0, 2} {
		_, err := b.Reorg(depth, false)
		require.Error(t, err, depth)
	}
	_, err := b.Reorg(1, false)
	require.NoError(t, err)
}

func TestDropDelayRefuse(t *testing.T) {
	b := start(t, Config{Period: Manual})
	w := b.funded(t, tx.Dilithium3)
	raw := w.signed(t, unsigned(0))

	b.Refuse("not today")
	_, err := b.sendRaw(raw)
	require.EqualError(t, err, "not today")
	b.Refuse("")

	b.Drop(1)
	hash := b.mustSend(t, raw)
	require.False(t, b.known(t, hash))

	b.Delay(2)
	b.mustSend(t, raw)
	b.Delay(0)
	require.True(t, b.known(t, hash))
	for range 2 {
		require.Empty(t, b.mineOne(t).txs)
	}
	require.Len(t, b.mineOne(t).txs, 1)
}

func TestLag(t *testing.T) {
	b := start(t, Config{Period: Manual})
	w := b.funded(t, tx.Dilithium3)
	hash := b.mustSend(t, w.signed(t, unsigned(0)))
	last := b.mineOne(t)
	var none any
	require.NoError(t, b.rpc.Call(&none, "devnet_lag", "0x1"))
	number, err := b.eth.BlockNumber(t.Context())
	require.NoError(t, err)
	require.Equal(t, last.number()-1, number)
	nonce, err := b.eth.NonceAt(t.Context(), w.account(), nil)
	require.NoError(t, err)
	require.Zero(t, nonce)
	require.False(t, b.mined(t, hash))
	require.True(t, b.known(t, hash), "it looks pending")
	_, err = b.eth.HeaderByHash(t.Context(), last.hash)
	require.ErrorIs(t, err, ethereum.NotFound)
	_, err = b.eth.BalanceAt(t.Context(), w.account(), last.header.Number)
	require.ErrorContains(t, err, "header not found")
	b.Lag(0)
	require.True(t, b.mined(t, hash))
	b.Lag(1000)
	number, err = b.eth.BlockNumber(t.Context())
	require.NoError(t, err)
	require.Zero(t, number)
}

func TestStallEndsOnTheControlPath(t *testing.T) {
	b := start(t, Config{Period: Manual})
	control, err := rpc.Dial(b.URL() + "/control")
	require.NoError(t, err)
	defer control.Close()
	require.NoError(t, control.Call(nil, "devnet_stall", true))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, b.rpc.CallContext(ctx, nil, "eth_chainId"), context.DeadlineExceeded)

	answered := make(chan error, 1)
	patient, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { answered <- b.rpc.CallContext(patient, nil, "eth_chainId") }()
	var number hexutil.Uint64
	require.NoError(t, control.Call(&number, "devnet_mine", "0x2"))
	require.EqualValues(t, 2, number, "blocks go on")
	require.NoError(t, control.Call(nil, "devnet_stall", false))
	require.NoError(t, <-answered)
}

func TestCloseWhileStalled(t *testing.T) {
	n, err := Start(t.Context(), Config{Dir: t.TempDir(), Period: Manual})
	require.NoError(t, err)
	n.Stall(true)
	c, err := rpc.Dial(n.URL())
	require.NoError(t, err)
	defer c.Close()
	failed := make(chan error, 1)
	patient, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { failed <- c.CallContext(patient, nil, "eth_chainId") }()
	require.NoError(t, n.Close())
	require.Error(t, <-failed)
	require.NoError(t, patient.Err(), "whoever waits hears that it ends")
}
