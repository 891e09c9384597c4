package sealed

import (
	"context"
	"errors"
	"time"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// custody is what a room knows of how its PIN is kept.
type custody struct {
	keeper  keeperLine // nil in a room without a keeper
	state   string     // directory, where custody.json is or will be
	source  pinSource
	bareKey bool // the unseal key stands on the disk as it is
}

// Unseal takes one custodian's share, on a document that he signed: with the
// last one that is needed the keeper has the PIN, and this process ends for one
// that has the login. Until that one answered it is sealed still. On a seal that
// is not sealed nothing is left to do, which is no error.
func (r *room) Unseal(ctx context.Context, e *policy.Envelope) (_ *seal.Status, err error) {
	defer r.count(seal.OpUnseal, &err)
	custodian, u, err := r.unsealDocument(e)
	if err != nil {
		return nil, err
	}
	if !r.sealed() || r.custody.keeper == nil {
		return r.Status(ctx)
	}
	p, open, err := r.custody.keeper.share(ctx, asking{Custodian: custodian, Instance: u.Instance, Nonce: u.Nonce, Share: u.Share})
	if _, told := seal.KindOf(err); err != nil && !told {
		return nil, seal.Errorf(seal.KindStore, "whether the share was taken is not known: %v", err)
	}
	if err != nil {
		return nil, err
	}
	s, err := r.Status(ctx)
	if err != nil {
		return nil, err
	}
	s.Unsealing = r.unsealingOf(p)
	if open {
		s.Why, s.Unsealing = "a quorum of custodians unsealed it; the token is being opened", nil
	}
	return s, nil
}

// unsealDocument is who signed an unseal document for this appliance, and what
// it says.
func (r *room) unsealDocument(e *policy.Envelope) (custodian string, u *policy.Unseal, err error) {
	names, err := r.custodianOf(e)
	if err != nil {
		return "", nil, err
	}
	if len(names) != 1 {
		return "", nil, seal.Errorf(seal.KindInvalid, "a share is one custodian's, the document is signed by %v", names)
	}
	if u, err = policy.ParseUnseal(e.Payload); err != nil {
		return "", nil, seal.Errorf(seal.KindInvalid, "%v", err)
	}
	if u.ApplianceID != r.appliance {
		return "", nil, seal.Errorf(seal.KindInvalid, "custodian %s: the share is for appliance %s, this is %s", names[0], u.ApplianceID, r.appliance)
	}
	return names[0], u, nil
}

// custodianOf verifies who signed: a custodian of the charter in force or, before
// there is one, of the custody. The ledger must have been read to its end, or a
// custodian whom it removed could still speak. Where what was read contradicts
// what this appliance saw there, nothing is signed, but somebody must be able to
// log in to recover it: the custodians are then those of the newest charter that
// was seen here or is there, whichever is newer.
func (r *room) custodianOf(e *policy.Envelope) ([]string, error) {
	known := r.known()
	if known.fold != nil && !known.ready && !contradicted(known.doubt) {
		return nil, seal.Errorf(seal.KindStore, "who the custodians are is in the ledger, which was not read yet: %v", known.doubt)
	}
	var charter *policy.Charter
	if known.fold != nil && headOf(known.fold) > 0 {
		charter, _ = known.fold.Charter()
	}
	if known.fold != nil && !known.ready {
		seen, err := readCustodians(r.custody.state)
		if err != nil {
			return nil, seal.Errorf(seal.KindStore, "who the custodians were is not known: %v", err)
		}
		if seen != nil && (charter == nil || charter.Version < seen.Version) {
			charter = &policy.Charter{Custodians: seen.Custodians}
		}
	}
	if charter != nil {
		names, err := charter.VerifyCustodians(policy.DocUnseal, e)
		if err != nil {
			return nil, seal.Errorf(seal.KindInvalid, "%v", err)
		}
		return names, nil
	}
	names, err := r.verifyMembers(policy.DocUnseal, e)
	if errors.Is(err, policy.ErrEnvelope) {
		return nil, seal.Errorf(seal.KindInvalid, "%v", err)
	}
	if err != nil {
		return nil, seal.Errorf(seal.KindInvalid, "there is no charter, and no custody that could say who the custodians are: %v", err)
	}
	return names, nil
}

// contradicted is true of doubts that come of what was read, not of that it could
// not be.
func contradicted(doubt error) bool {
	var behind *behindError
	var stranger *strangerError
	return ofHistory(doubt) || errors.As(doubt, &behind) || errors.As(doubt, &stranger)
}

// lookLimit is how long the keeper is waited for when somebody asks for the
// status: it reads one small file.
const lookLimit = 2 * time.Second

// unsealing is why this seal is sealed, and how far a quorum is.
func (r *room) unsealing(ctx context.Context) (why string, _ *seal.Unsealing) {
	why = r.sealedWhy
	if r.custody.keeper == nil {
		return why, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	p, err := r.custody.keeper.look(ctx)
	switch {
	case err != nil:
		return why + "; custodians cannot unseal it: " + err.Error(), nil
	case p == nil:
		return why + "; there is no custody yet: mintwarden init makes one, and this seal takes it as it comes, without a restart", nil
	case p.Why != "":
		why = p.Why
	}
	return why, r.unsealingOf(p)
}

func (r *room) unsealingOf(p *progress) *seal.Unsealing {
	if p == nil {
		return nil
	}
	shares := p.Shares
	if shares == nil {
		shares = []string{}
	}
	return &seal.Unsealing{Instance: p.Instance, Nonce: p.Nonce, Need: p.Need, Shares: shares, UnsealKey: r.unsealKey}
}
