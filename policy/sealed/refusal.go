package sealed

import (
	"errors"

	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// kinds is what a caller is told of each reason for which the ledger does not
// take a record.
var kinds = map[ledger.Reason]seal.Kind{
	ledger.ReasonEncoding:  seal.KindStore,
	ledger.ReasonLink:      seal.KindStore,
	ledger.ReasonAuthor:    seal.KindStore,
	ledger.ReasonStale:     seal.KindStore,
	ledger.ReasonEnvelope:  seal.KindInvalid,
	ledger.ReasonDocument:  seal.KindInvalid,
	ledger.ReasonValue:     seal.KindInvalid,
	ledger.ReasonUnknown:   seal.KindInvalid,
	ledger.ReasonCharge:    seal.KindInvalid,
	ledger.ReasonFull:      seal.KindInvalid, // alone it does not fit into any batch
	ledger.ReasonDuplicate: seal.KindDuplicate,
	ledger.ReasonConflict:  seal.KindConflict,
	ledger.ReasonNonce:     seal.KindConflict,
	ledger.ReasonQueued:    seal.KindQueued,
	ledger.ReasonLimit:     seal.KindDenied,
	ledger.ReasonExpired:   seal.KindDenied,
	ledger.ReasonFrozen:    seal.KindDenied,
}

// refusal makes an error one that callers are told, if it is not yet.
func (r *room) refusal(err error) error {
	var told *seal.Error
	if errors.As(err, &told) {
		return told
	}
	var refused *ledger.Refusal
	if errors.As(err, &refused) {
		if kind, ok := kinds[refused.Reason]; ok {
			return seal.Errorf(kind, "%v", refused.Err)
		}
	}
	if errors.Is(err, policy.ErrDocument) || errors.Is(err, policy.ErrEnvelope) {
		return seal.Errorf(seal.KindInvalid, "%v", err)
	}
	var conflict *anchorConflict
	var bad *anchorBad
	if errors.As(err, &conflict) || errors.As(err, &bad) {
		return seal.Errorf(seal.KindStore, "%v", err)
	}
	r.log.Error("request failed", "error", err)
	return seal.Errorf(seal.KindStore, "the ledger could not be written; the seal's log says more")
}

// hsmError says what went wrong at the token.
func hsmError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, hsm.ErrBusy):
		return seal.Errorf(seal.KindBusy, "%v", err)
	}
	return seal.Errorf(seal.KindHSM, "%v", err)
}
