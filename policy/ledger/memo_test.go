package ledger_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

func TestVerifyDecision(t *testing.T) {
	_, _, err := ledger.NewFold(policy.NoDigest).VerifyDecision(&policy.Envelope{})
	require.ErrorContains(t, err, "no charter yet")
	w := begun(t)
	i := w.mint(w.op())
	e := w.approve(i, "ann").Decision
	for range 2 {
		d, intent, err := w.fold.VerifyDecision(e)
		require.NoError(t, err)
		require.Equal(t, "ann", d.Approver)
		require.Equal(t, i.OperationID, intent.OperationID)
	}
	require.Equal(t, 1, ledger.Remembered(w.fold))
	w.commit(ledger.Record{Decision: e})
	require.Equal(t, 1, ledger.Remembered(w.fold), "taking it verified nothing anew")
}

// TestAttack_AVerifiedEnvelopeIsChangedAfterwards: what is remembered is of every byte.
func TestAttack_AVerifiedEnvelopeIsChangedAfterwards(t *testing.T) {
	w := begun(t)
	e := w.approve(w.mint(w.op()), "cat").Decision
	_, _, err := w.fold.VerifyDecision(e)
	require.NoError(t, err)
	for name, change := range map[string]func(*policy.Envelope){
		"payload":      func(e *policy.Envelope) { e.Payload[len(e.Payload)/2] ^= 1 },
		"payload type": func(e *policy.Envelope) { e.PayloadType += " " },
		"key id":       func(e *policy.Envelope) { e.Signatures[0].KeyID = ids("ann")[0] },
		"signature":    func(e *policy.Envelope) { e.Signatures[0].Sig[7] ^= 1 },
		"no signature": func(e *policy.Envelope) { e.Signatures = nil },
		"another one": func(e *policy.Envelope) {
			e.Signatures = append(e.Signatures, policy.Signature{KeyID: ids("ann")[0], Sig: []byte{1}})
		},
		"moved bytes": func(e *policy.Envelope) {
			e.PayloadType, e.Payload = e.PayloadType+string(e.Payload[:1]), e.Payload[1:]
		},
	} {
		changed := policy.Envelope{PayloadType: e.PayloadType, Payload: bytes.Clone(e.Payload),
			Signatures: []policy.Signature{{KeyID: e.Signatures[0].KeyID, Sig: bytes.Clone(e.Signatures[0].Sig)}}}
		change(&changed)
		_, _, err := w.fold.VerifyDecision(&changed)
		require.ErrorIs(t, err, policy.ErrEnvelope, name)
		w.refused(ledger.ReasonEnvelope, "", ledger.Record{Decision: &changed})
	}
}

// TestAttack_ADecisionThatWasVerifiedBeforeTheKeyWasExpelled: another charter asks again.
func TestAttack_ADecisionThatWasVerifiedBeforeTheKeyWasExpelled(t *testing.T) {
	w := begun(t)
	e := w.approve(w.mint(w.op()), "ann")
	_, _, err := w.fold.VerifyDecision(e.Decision)
	require.NoError(t, err)
	w.commit(w.rekey("ann's new"))
	_, _, err = w.fold.VerifyDecision(e.Decision)
	require.ErrorIs(t, err, policy.ErrEnvelope)
	w.refused(ledger.ReasonEnvelope, "not known here", e)
}

// TestTheMemoIsBounded: what was verified long ago is forgotten, and verified anew.
func TestTheMemoIsBounded(t *testing.T) {
	w := begun(t)
	i := w.mint(w.op())
	var first *policy.Envelope
	for n := range 2000 {
		d := decisionOf(w, policy.Reject, i, "bob")
		d.Reason = id("reason", n)
		e := sign(t, policy.DocDecision, d, "bob")
		_, _, err := w.fold.VerifyDecision(e)
		require.NoError(t, err)
		if n == 0 {
			first = e
		}
	}
	require.LessOrEqual(t, ledger.Remembered(w.fold), 1024)
	_, _, err := w.fold.VerifyDecision(first)
	require.NoError(t, err)
}

func TestAdopt(t *testing.T) {
	w := begun(t)
	restored, err := ledger.RestoreFold(w.snapshot(), w.root)
	require.NoError(t, err)
	f := ledger.NewFold(w.root)
	unused := f.Stage(w.now, w.author)
	require.Error(t, ledger.NewFold(policy.NoDigest).Adopt(restored))
	require.NoError(t, f.Adopt(restored))
	require.Equal(t, ledger.State(w.fold), ledger.State(f))
	require.Error(t, f.Adopt(w.again()), "it stands at a batch already")
	require.Error(t, unused.Add(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}}))
	w.cancelled(1, "expired")
	_, err = f.Apply(w.values[len(w.values)-1])
	require.NoError(t, err)
	require.Equal(t, ledger.State(w.fold), ledger.State(f))
}
