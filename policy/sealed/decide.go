package sealed

import (
	"context"
	"slices"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Decide records one person's approval or rejection of an operation, or the
// requester's own signature over it (signedRequests). The same document again
// gets its first answer; another one of that person is a duplicate, save a
// rejection after an approval. The verdict is what the policies say of the
// operation with it.
func (r *room) Decide(ctx context.Context, e *policy.Envelope) (_ *seal.Recorded, err error) {
	defer r.count(seal.OpDecide, &err)
	var out seal.Recorded
	if fold := r.known().fold; fold != nil && headOf(fold) > 0 {
		// Where callers wait side by side; the one who decides finds it verified, if
		// it holds, or asks again.
		_, _, _ = fold.VerifyDecision(e)
	}
	err = r.submit(ctx, func(rd *round) error {
		if rd.charter() == nil {
			return errNoCharter
		}
		if e.PayloadType == policy.PayloadType(policy.DocRequest) {
			return rd.request(e, &out)
		}
		d, i, err := rd.stage.VerifyDecision(e)
		if err != nil {
			return err
		}
		sequence := rd.sequence
		if first, ok := rd.decided(i.OperationID, e.PayloadDigest()); ok {
			sequence = first
		} else if err := rd.add(ledger.Record{Decision: e}); err != nil {
			return err
		}
		v := rd.judge(i, d.IntentDigest())
		out = seal.Recorded{Sequence: sequence, Verdict: &v}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// request records the requester's own signature over an operation.
func (rd *round) request(e *policy.Envelope, out *seal.Recorded) error {
	d, err := rd.charter().VerifyRequest(e)
	if err != nil {
		return err
	}
	i, err := policy.ParseIntent(d.Intent)
	if err != nil {
		return err
	}
	sequence := rd.sequence
	op, _ := rd.stage.Operation(i.OperationID)
	if n := slices.Index(op.RequestPayloads, e.PayloadDigest()); n >= 0 {
		sequence = op.Requests[n].Sequence
	} else if err := rd.add(ledger.Record{Request: e}); err != nil {
		return err
	}
	v := rd.judge(i, d.IntentDigest())
	*out = seal.Recorded{Sequence: sequence, Verdict: &v}
	return nil
}

// decided is where a decision's document was recorded.
func (rd *round) decided(operationID string, payload policy.Digest) (sequence uint64, ok bool) {
	op, ok := rd.stage.Operation(operationID)
	if !ok {
		return 0, false
	}
	n := slices.Index(op.Payloads, payload)
	if n < 0 {
		return 0, false
	}
	return op.Decisions[n].Sequence, true
}

// Cancel ends an operation that was not authorized.
func (r *room) Cancel(ctx context.Context, q seal.CancelRequest) (_ *seal.Recorded, err error) {
	defer r.count(seal.OpCancel, &err)
	var out seal.Recorded
	err = r.submit(ctx, func(rd *round) error {
		if rd.charter() == nil {
			return errNoCharter
		}
		want := ledger.Cancel{OperationID: q.OperationID, Reason: q.Reason}
		if op, ok := rd.stage.Operation(q.OperationID); ok && op.Cancelled != nil && *op.Cancelled == want {
			out = seal.Recorded{Sequence: op.CancelledAt.Sequence}
			return nil
		}
		out = seal.Recorded{Sequence: rd.sequence}
		return rd.add(ledger.Record{Cancel: &want})
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// Settle takes the caller's word that an operation is final on the chain.
func (r *room) Settle(ctx context.Context, q seal.SettleRequest) (_ *seal.Recorded, err error) {
	defer r.count(seal.OpSettle, &err)
	var out seal.Recorded
	err = r.submit(ctx, func(rd *round) error {
		if rd.charter() == nil {
			return errNoCharter
		}
		want := ledger.Settle{OperationID: q.OperationID, TxHash: q.TxHash}
		if op, ok := rd.stage.Operation(q.OperationID); ok && op.Settled != nil && *op.Settled == want {
			out = seal.Recorded{Sequence: op.SettledAt.Sequence}
			return nil
		}
		out = seal.Recorded{Sequence: rd.sequence}
		return rd.add(ledger.Record{Settle: &want})
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}
