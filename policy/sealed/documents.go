package sealed

import (
	"context"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// CharterApply takes charter 1 (the one that seal.toml names, over an empty
// store, and only if it says of this appliance what is so), or the charter that
// replaces the one in force.
func (r *room) CharterApply(ctx context.Context, e *policy.Envelope) (_ *seal.Recorded, err error) {
	defer r.count(seal.OpCharterApply, &err)
	return r.document(ctx, e, ledger.Record{Charter: e}, func(rd *round) error {
		c, err := policy.ParseCharter(e.Payload)
		if err != nil {
			return err
		}
		if err := r.ours(ctx, c); err != nil {
			return err
		}
		return nil
	})
}

// PolicyApply puts a policy in force that the custodians' threshold signed.
func (r *room) PolicyApply(ctx context.Context, e *policy.Envelope) (_ *seal.Recorded, err error) {
	defer r.count(seal.OpPolicyApply, &err)
	return r.document(ctx, e, ledger.Record{Policy: e}, nil)
}

// BindingApply says what a token id is, on the custodians' threshold.
func (r *room) BindingApply(ctx context.Context, e *policy.Envelope) (_ *seal.Recorded, err error) {
	defer r.count(seal.OpBindingApply, &err)
	return r.document(ctx, e, ledger.Record{Binding: e}, nil)
}

// Freeze stops a token, person or appliance on one custodian's document, lets it
// go on the threshold's, or stops a token on the caller's word.
func (r *room) Freeze(ctx context.Context, q seal.FreezeRequest) (_ *seal.Recorded, err error) {
	defer r.count(seal.OpFreeze, &err)
	if q.Envelope != nil {
		if q.TokenID != "" || q.Event != "" {
			return nil, seal.Errorf(seal.KindInvalid, "freeze takes an envelope, or a token and an event, not both")
		}
		return r.document(ctx, q.Envelope, ledger.Record{Freeze: q.Envelope}, nil)
	}
	var out seal.Recorded
	err = r.submit(ctx, func(rd *round) error {
		if rd.charter() == nil {
			return errNoCharter
		}
		if rd.stage.Frozen(policy.Subject{TokenID: q.TokenID}) {
			out = seal.Recorded{Sequence: rd.newest()}
			return nil
		}
		out = seal.Recorded{Sequence: rd.sequence}
		return rd.add(ledger.Record{EventFreeze: &ledger.EventFreeze{TokenID: q.TokenID, Event: q.Event}})
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// document records an envelope whose document counts once. The same document
// again gets the first answer.
func (r *room) document(ctx context.Context, e *policy.Envelope, record ledger.Record, before func(*round) error) (*seal.Recorded, error) {
	return r.entering(ctx, e, record, nil, before)
}

// entering is document for one that may put an end to a doubt.
func (r *room) entering(ctx context.Context, e *policy.Envelope, record ledger.Record, enter func(context.Context, error) error,
	before func(*round) error) (*seal.Recorded, error) {
	var out seal.Recorded
	decide := func(rd *round) error {
		if seq, ok := rd.stage.Recorded(e.PayloadDigest()); ok {
			out = seal.Recorded{Sequence: seq}
			return nil
		}
		if before != nil {
			if err := before(rd); err != nil {
				return err
			}
		}
		if rd.charter() == nil && record.Charter == nil {
			return errNoCharter
		}
		if err := rd.add(record); err != nil {
			return err
		}
		out = seal.Recorded{Sequence: rd.sequence}
		return nil
	}
	if err := r.wait(ctx, &proposal{ctx: ctx, decide: decide, enter: enter, done: make(chan error, 1)}); err != nil {
		return nil, err
	}
	return &out, nil
}

// count counts an operation's answer.
func (r *room) count(op seal.Op, err *error) {
	kind := "ok"
	if *err != nil {
		kind = "fault"
		if k, ok := seal.KindOf(*err); ok {
			kind = string(k)
		}
	}
	r.metrics.answers.WithLabelValues(string(op), kind).Inc()
}

var _ seal.Handler = (*room)(nil)

var errNoCharter = seal.Errorf(seal.KindInvalid, "the ledger is empty; charter 1 comes first")
