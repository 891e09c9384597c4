package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// TestAttack_ARollbackThatForgetsADaysLimit: whoever has the store takes its newest batches away in the hour in which
// the recover's word of what was charged reaches less far back than the ledger that it is held against. What the ledger
// knows of two days ago must not stand in for what was charged today and lost.
func TestAttack_ARollbackThatForgetsADaysLimit(t *testing.T) {
	const twoDays = 48*time.Hour + 35*time.Minute
	w := newWorldAt(t, policy.Seconds(time.Now().Add(-twoDays)))
	minted := func(n int) {
		i := w.mint(n)
		w.commit(w.approval(i, "ann"), w.approval(i, "bob"), w.authorization(i))
	}
	contract := account("contract")
	minted(1)
	accepted := w.values
	w.now = policy.Seconds(time.Now().Add(-time.Minute))
	minted(2)
	today := w.now.Add(-time.Hour)
	charged := func(f *ledger.Fold) policy.Amount { return f.Charged(chainID, contract, policy.OpMint, today) }
	require.Equal(t, "1000000000000000000000", charged(w.fold).String())

	lost, back := w.fold, &world{t: t, root: w.root, now: policy.Seconds(time.Now()), fold: ledger.NewFold(w.root)}
	for _, value := range accepted {
		_, err := back.fold.Apply(value)
		require.NoError(t, err)
	}
	point := func(f *ledger.Fold) ledger.Point {
		sequence, head := f.Head()
		return ledger.Point{Sequence: sequence, Head: head}
	}
	lanes, err := lanesOf(back.fold, lost, nil)
	require.NoError(t, err)
	d := &ledger.Recover{Format: policy.Format, Instance: "dev-1", Epoch: 2, Lost: point(lost), Accepted: point(back.fold),
		Usage: usageOf(lost), Lanes: lanes, CreatedAt: back.now}
	back.epoch = 2
	back.commit(ledger.Record{Recover: signed(t, policy.DocRecover, d, "custodian-1", "custodian-2")})
	require.GreaterOrEqual(t, charged(back.fold).Cmp(charged(lost)), 0, "after the recover %s count as charged today, %s were", charged(back.fold), charged(lost))
}
