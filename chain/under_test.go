package chain

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// TestStatusUnderAHead: what became of a transaction is told as far as the chain of a head goes, and nothing is final
// that is not in that chain.
func TestStatusUnderAHead(t *testing.T) {
	n := manual(t)
	c := dial(t, network(n.URL()))
	w := newWallet(t)
	fund(t, n, w)
	raw := w.sign(t, transfer(0))
	ctx := t.Context()
	asked := 0
	under := func(head Head, hash func(uint64) tx.Hash) TxStatus {
		t.Helper()
		st, err := c.StatusUnder(ctx, tx.HashOf(raw), head, func(_ context.Context, number uint64) (tx.Hash, error) {
			asked++
			return hash(number), nil
		})
		require.NoError(t, err)
		return st
	}
	canonical := func(number uint64) tx.Hash {
		hash, err := c.HashAt(ctx, number)
		require.NoError(t, err)
		return hash
	}
	var heads []Head
	see := func() {
		head, err := c.Head(ctx)
		require.NoError(t, err)
		heads = append(heads, head)
	}
	see()
	require.Equal(t, TxStatus{}, under(heads[0], canonical))
	require.NoError(t, c.Send(ctx, raw))
	require.Equal(t, TxStatus{Found: true}, under(heads[0], canonical))
	for range 2 {
		mine(t, n, 1)
		see()
	}
	require.Zero(t, under(heads[0], canonical).Confirmations, "the head is older than its block")
	st := under(heads[1], canonical)
	require.True(t, st.Mined && st.Success && !st.Final)
	require.EqualValues(t, 1, st.Confirmations)
	require.Zero(t, asked, "no block is asked for that is not deep")
	require.True(t, under(heads[2], canonical).Final)
	require.False(t, under(heads[2], func(uint64) tx.Hash { return tx.Hash{1} }).Final, "the head's chain has another block there")
}

// TestWhoSentItIsAgreed: of several nodes one's word is not enough, nor is any where they contradict each other.
func TestWhoSentItIsAgreed(t *testing.T) {
	n := manual(t)
	w := newWallet(t)
	fund(t, n, w)
	raw := w.sign(t, transfer(0))
	alone, other := dial(t, network(n.URL())), proxy(t, n)
	require.NoError(t, alone.Send(t.Context(), raw))
	mine(t, n, 1)
	said := func(c *Client) *Sent {
		t.Helper()
		sent, err := c.AgreedTransaction(t.Context(), tx.HashOf(raw))
		require.NoError(t, err)
		return sent
	}
	require.Equal(t, w.address, said(alone).From)
	both := dial(t, network(n.URL(), other.URL()))
	require.Equal(t, w.address, said(both).From)
	other.Set("hide", "")
	require.Nil(t, said(both), "one of two does not know it")
	other.Behave()
	liar := proxy(t, n)
	liar.Set("from", "0x"+strings.Repeat("11", 20))
	require.Nil(t, said(dial(t, network(n.URL(), other.URL(), liar.URL()))), "one of three contradicts")
	other.Set("500", "")
	_, err := both.AgreedTransaction(t.Context(), tx.HashOf(raw))
	require.ErrorIs(t, err, ErrUnavailable, "what the other one would have said may matter")
}
