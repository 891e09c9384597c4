package sealed

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Seal forgets the PIN, durably, and ends this process. Any one custodian's
// document does it, or the word of root or of our own user on this machine.
func (r *room) Seal(ctx context.Context, q seal.SealRequest) (_ *seal.Status, err error) {
	defer r.count(seal.OpSeal, &err)
	if err := r.maySeal(ctx, q); err != nil {
		return nil, err
	}
	// A sealed one forgets what shares were collected, and stays sealed whatever
	// its configuration would unseal it by at the next start.
	if err := r.sealedOn(ctx, q.Envelope); err != nil {
		if kind, _ := seal.KindOf(err); kind == seal.KindDuplicate {
			return nil, err
		}
		return nil, seal.Errorf(seal.KindStore, "sealing is in doubt: %v", err)
	}
	s, err := r.Status(ctx)
	if err == nil {
		s.Sealed = true
	}
	return s, err
}

// sealedOn seals on a document, which counts once, or without one.
func (r *room) sealedOn(ctx context.Context, e *policy.Envelope) error {
	if e == nil || r.custody.keeper == nil {
		return r.seal(ctx)
	}
	d, err := policy.ParseSeal(e.Payload)
	if err != nil {
		return err
	}
	return r.custody.keeper.sealBy(ctx, e.PayloadDigest(), d.CreatedAt.Add(sealingLife))
}

func (r *room) maySeal(ctx context.Context, q seal.SealRequest) error {
	if q.Envelope == nil {
		uid, ok := seal.Caller(ctx)
		if !ok || !slices.Contains([]uint32{0, uint32(os.Geteuid())}, uid) {
			return seal.Errorf(seal.KindInvalid, "sealing without a custodian's document is for root and the seal's own user")
		}
		return nil
	}
	known := r.known()
	fold := known.fold
	if fold != nil && headOf(fold) == 0 && !known.ready {
		return seal.Errorf(seal.KindStore, "who the custodians are is in the ledger, which was not read yet: %v", known.doubt)
	}
	if fold == nil || headOf(fold) == 0 {
		return seal.Errorf(seal.KindInvalid, "there is no charter, so no custodian either")
	}
	c, _ := fold.Charter()
	if _, err := c.VerifyCustodians(policy.DocSeal, q.Envelope); err != nil {
		return seal.Errorf(seal.KindInvalid, "%v", err)
	}
	d, err := policy.ParseSeal(q.Envelope.Payload)
	if err != nil {
		return seal.Errorf(seal.KindInvalid, "%v", err)
	}
	if d.Instance != c.Instance || d.ApplianceID != r.appliance {
		return seal.Errorf(seal.KindInvalid, "the document seals appliance %s of instance %s, this is %s of %s", d.ApplianceID, d.Instance, r.appliance, c.Instance)
	}
	if now, err := r.clock(); err != nil || now.wall.Sub(d.CreatedAt).Abs() > sealingLife {
		return seal.Errorf(seal.KindInvalid, "the document is of %s; it counts for %s", d.CreatedAt.Format(time.RFC3339), sealingLife)
	}
	return nil
}

// sealingLife is how long a seal document counts, once; the keeper remembers those
// that did for as long.
const sealingLife = 24 * time.Hour
