package main

import (
	"bytes"
	"slices"
	"strings"
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

// TestAttack_ARecoverThatStatesNothingAsCharged: one custodian, or root of the appliance on which the document is begun,
// states that nothing was charged, or less than was, so that the day's limits begin again. The next custodian reads
// which limits it opens, and where his own machine knows better signs nothing.
func TestAttack_ARecoverThatStatesNothingAsCharged(t *testing.T) {
	w := newWorldAt(t, policy.Seconds(time.Now().Add(-time.Hour)))
	sequence, head := w.fold.Head()
	accepted := ledger.NewFold(w.root)
	for _, value := range w.values {
		_, err := accepted.Apply(value)
		require.NoError(t, err)
	}
	i := w.mint(1)
	w.commit(w.approval(i, "ann"), w.approval(i, "bob"), w.authorization(i))
	lostSequence, lostHead := w.fold.Head()
	lanes, err := lanesOf(accepted, w.fold, nil)
	require.NoError(t, err)
	honest := &ledger.Recover{Format: policy.Format, Instance: "dev-1", Epoch: 2, Lost: ledger.Point{Sequence: lostSequence, Head: lostHead},
		Accepted: ledger.Point{Sequence: sequence, Head: head}, Usage: usageOf(w.fold), Lanes: lanes, CreatedAt: policy.Seconds(time.Now())}
	show := func(d *ledger.Recover, lost *ledger.Fold) (string, error) {
		t.Helper()
		payload, err := d.Encode()
		require.NoError(t, err)
		var out bytes.Buffer
		c := &cli{out: &printer{w: &out}, err: &printer{w: &out}}
		err = c.showRecover(payload, accepted, lost)
		return out.String(), err
	}
	text, err := show(honest, w.fold)
	require.NoError(t, err)
	require.NotContains(t, text, "are given up")
	later := *honest
	later.Epoch = 4
	text, err = show(&later, w.fold)
	require.NoError(t, err)
	require.Contains(t, text, "Epochs 2 to 3 are given up with it.")

	forged := *honest
	forged.Usage = slices.Clone(honest.Usage)
	for n := range forged.Usage {
		forged.Usage[n].Amount = policy.Amount{}
	}
	text, err = show(&forged, nil)
	require.NoError(t, err)
	require.Contains(t, text, "Charged already: 0 base units by MINT", "it opens the limit of the day")
	_, err = show(&forged, w.fold)
	require.ErrorContains(t, err, "by the copy of the lost ledger here 1000000000000000000000 were")
	forged.CreatedAt = forged.CreatedAt.AddDate(0, 0, 7)
	_, err = show(&forged, w.fold)
	require.ErrorContains(t, err, "by the copy of the lost ledger here")

	empty := *honest
	empty.Usage = []ledger.RecoverUsage{}
	text, err = show(&empty, nil)
	require.NoError(t, err)
	require.Contains(t, strings.Join(strings.Fields(text), " "), "those of fees by the accepted ledger alone")

	low := *honest
	low.Lanes = slices.Clone(honest.Lanes)
	for n := range low.Lanes {
		low.Lanes[n].Nonce = 0
	}
	_, err = show(&low, w.fold)
	require.ErrorContains(t, err, "by the copy of the lost ledger here it is at 1")
}

// TestAttack_ARecoverThatBeginsAnEpochOnceMore: the store is put back behind an earlier recover, and a document begins
// that one's epoch again, in which people's signatures of it would count. Who followed it signs nothing.
func TestAttack_ARecoverThatBeginsAnEpochOnceMore(t *testing.T) {
	w := newWorldAt(t, policy.Seconds(time.Now().Add(-time.Hour)))
	folded := func() *ledger.Fold {
		f := ledger.NewFold(w.root)
		for _, value := range w.values {
			_, err := f.Apply(value)
			require.NoError(t, err)
		}
		return f
	}
	recovered := func(epoch uint64, accepted, lost *ledger.Fold) *ledger.Recover {
		lanes, err := lanesOf(accepted, lost, nil)
		require.NoError(t, err)
		point := func(f *ledger.Fold) ledger.Point {
			sequence, head := f.Head()
			return ledger.Point{Sequence: sequence, Head: head}
		}
		return &ledger.Recover{Format: policy.Format, Instance: "dev-1", Epoch: epoch, Lost: point(lost), Accepted: point(accepted),
			Usage: usageOf(lost), Lanes: lanes, CreatedAt: policy.Seconds(time.Now())}
	}
	accepted, back := folded(), &world{t: t, root: w.root, now: policy.Seconds(time.Now()), fold: folded(), epoch: 2}
	i := w.mint(1)
	w.commit(w.approval(i, "ann"), w.approval(i, "bob"), w.authorization(i))
	back.commit(ledger.Record{Recover: signed(t, policy.DocRecover, recovered(2, accepted, w.fold), "custodian-1", "custodian-2")})
	require.Equal(t, uint64(2), back.fold.Epoch())

	var out bytes.Buffer
	c := &cli{out: &printer{w: &out}, err: &printer{w: &out}}
	require.Equal(t, uint64(2), nextEpoch(accepted.Epoch(), nil))
	for epoch, refused := range map[uint64]bool{2: true, nextEpoch(accepted.Epoch(), back.fold): false} {
		payload, err := recovered(epoch, accepted, back.fold).Encode()
		require.NoError(t, err)
		err = c.showRecover(payload, accepted, back.fold)
		if !refused {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, "epoch 2 had begun")
		require.Equal(t, exitUnverified, exitCode(err))
	}
	require.Contains(t, out.String(), "Epoch 2 is given up with it.")
}
