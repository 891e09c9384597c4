package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// ProposeCharter makes a proposal of the exact bytes of a charter that follows
// the one in force. It takes effect when the custodians' threshold has signed
// those bytes and the seal has recorded it. The same bytes again are the same
// proposal.
func (s *Service) ProposeCharter(ctx context.Context, a Actor, document []byte, idem *store.Idempotent) (*Charter, error) {
	body, err := policy.ParseCharter(document)
	if err != nil {
		return nil, Refuse(Validation, "document: %v", err)
	}
	digest := policy.DigestOf(document)
	for range maxAttempts {
		head, rev, err := s.charterHead(ctx)
		if err != nil {
			return nil, err
		}
		inForce, err := head.charter()
		if err != nil {
			return nil, err
		}
		open, err := s.charterProposals(ctx, inForce, head.Open)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(open, func(c *Charter) bool { return c.Digest == digest })
		if at >= 0 && idem == nil {
			return open[at], nil
		}
		var proposal *Charter
		tx := s.store.Tx()
		if at >= 0 {
			proposal = open[at]
			tx.Require(charterKey, rev)
		} else {
			if err := mayFollow(inForce, body, digest, open, a.Name); err != nil {
				return nil, err
			}
			proposal = &Charter{
				Body: body, Digest: digest, Document: document, Status: PolicyPending, RequiredSignatures: inForce.RequiredSignatures,
				SignedBy: []string{}, Difference: policy.CharterDifference(inForce.Body, body), ProposedBy: a.Name, CreatedAt: s.second(),
				signatures: []policy.Signature{}, name: newVersionName(),
			}
			head.Open = append(head.Open, proposal.name)
			tx.PutIf(charterKey, encode(head), rev)
			tx.PutIfAbsent(charterProposalPrefix+proposal.name, proposal.stored())
			proposal.stageState(tx, proposal.CreatedAt)
			tx.Audit(a.draft(happening{"charter.proposed", "charter", body.Instance, map[string]any{
				"version": body.Version, "documentDigest": string(digest),
			}}))
		}
		tx.Idempotent(idem, proposal)
		if _, err = tx.Commit(ctx); lostRace(err) {
			continue
		}
		return proposal, err
	}
	return nil, fmt.Errorf("registry: the charter: %w", store.ErrConflict)
}

// mayFollow refuses what the ledger would not take even if everybody signed it,
// and what the open proposals leave no room for.
func mayFollow(inForce *Charter, next *policy.Charter, digest policy.Digest, open []*Charter, proposer string) error {
	own := slices.DeleteFunc(slices.Clone(open), func(c *Charter) bool { return c.ProposedBy != proposer })
	switch old := inForce.Body; {
	case digest == inForce.Digest:
		return Refuse(TxStateConflict, "this charter is in force already")
	case next.Replaces == nil || *next.Replaces != inForce.Digest || next.Version != old.Version+1:
		return Refuse(TxStateConflict, "the charter is version %d and does not follow the one in force: want version %d that replaces %s", next.Version, old.Version+1, inForce.Digest)
	case next.Instance != old.Instance:
		return Refuse(Validation, "the charter is of instance %q, this is %q, which cannot change", next.Instance, old.Instance)
	case next.Environment != old.Environment:
		return Refuse(Validation, "the charter's environment is %q, which cannot change from %q", next.Environment, old.Environment)
	case next.TenantID != old.TenantID:
		return Refuse(Validation, "the charter is of tenant %q, this is %q, which cannot change", next.TenantID, old.TenantID)
	case len(open) >= maxOpenProposals:
		return Refuse(TxStateConflict, "the charter has %d open proposals; have one signed first", len(open))
	case len(own) >= maxOwnProposals:
		return Refuse(TxStateConflict, "%s has %d open proposals of a charter, and the rest is for others; have one signed first", proposer, len(own))
	}
	return nil
}

// SignCharter adds the signatures of an envelope to the proposal whose bytes it
// holds. The one that reaches the custodians' threshold has the seal record the
// charter, and returns when that is carried in. The same envelope again gives
// the same answer, and has the seal asked again if it could not be before.
func (s *Service) SignCharter(ctx context.Context, a Actor, envelope []byte) (*Charter, error) {
	e, err := policy.ParseEnvelope(envelope)
	if err != nil {
		return nil, Refuse(ApprovalInvalid, "%v", err)
	}
	c, err := s.collectCharter(ctx, a, e)
	if err != nil {
		return nil, err
	}
	if c.Status != PolicyPending || len(c.SignedBy) < c.RequiredSignatures {
		return c, nil
	}
	recorded, err := s.seal.CharterApply(ctx, &policy.Envelope{
		PayloadType: policy.PayloadType(policy.DocCharter), Payload: c.Document, Signatures: c.signatures,
	})
	if err != nil {
		return nil, sealRefusal(err, "the charter")
	}
	if err := s.WaitCarried(ctx, recorded.Sequence); err != nil {
		return nil, err
	}
	return s.charterByDigest(ctx, c.Digest)
}

// collectCharter verifies the envelope against the charter in force and stores
// what is new in it beside the signatures that the proposal already has.
func (s *Service) collectCharter(ctx context.Context, a Actor, e *policy.Envelope) (*Charter, error) {
	for range maxAttempts {
		c, err := s.charterByDigest(ctx, e.PayloadDigest())
		if err != nil {
			return nil, err
		}
		switch c.Status {
		case PolicyActive:
			return c, nil
		case PolicySuperseded:
			return nil, Refuse(TxStateConflict, "this proposal of a charter is superseded by %s; propose again on the charter in force", c.SupersededBy)
		}
		law, _ := s.fold.Charter()
		if law == nil {
			return nil, errNotReady
		}
		if err := signedHimself(law, policy.DocCharter, a, e); err != nil {
			return nil, err
		}
		var added []string
		c.SignedBy, c.signatures, added = merge(law, c.signatures, e)
		if len(added) == 0 {
			return c, nil
		}
		tx := s.store.Tx()
		tx.PutIf(charterProposalPrefix+c.name, c.stored(), c.rev)
		tx.Audit(a.draft(happening{"charter.signed", "charter", law.Instance, map[string]any{
			"version": c.Body.Version, "documentDigest": string(c.Digest), "signedBy": added, "signatures": len(c.SignedBy), "required": c.RequiredSignatures,
		}}))
		if _, err = tx.Commit(ctx); lostRace(err) {
			continue
		}
		return c, err
	}
	return nil, fmt.Errorf("registry: the charter: %w", store.ErrConflict)
}

// charterByDigest finds the charter in force or the proposal, open or decided,
// whose document has the digest. It is shown by itself: with its proposals it may
// be more than the record of an idempotency key holds.
func (s *Service) charterByDigest(ctx context.Context, d policy.Digest) (*Charter, error) {
	head, _, err := s.charterHead(ctx)
	if err != nil {
		return nil, err
	}
	c, err := head.charter()
	if err != nil || c.Digest == d {
		return c, err
	}
	open, err := s.charterProposals(ctx, c, head.Open)
	if err != nil {
		return nil, err
	}
	for _, known := range open {
		if known.Digest == d {
			return known, nil
		}
	}
	for kv, err := range s.store.All(ctx, charterProposalPrefix, nil) {
		if err != nil {
			return nil, err
		}
		name := kv.Key[len(charterProposalPrefix):]
		old, err := s.charterProposals(ctx, c, []string{name})
		if err != nil {
			return nil, err
		}
		if old[0].Digest == d {
			return old[0], nil
		}
	}
	return nil, Refuse(ApprovalInvalid, "the envelope holds bytes of digest %s, which no proposal of a charter has; sign the document that GET /v1/charter shows", d)
}

// decideProposals stages what a charter that takes effect means for the open
// proposals, and says who signed it and how many proposals it superseded.
func (s *Service) decideProposals(ctx context.Context, tx *store.Tx, old *storedCharter, e *policy.Envelope, b *ledger.Batch) (signedBy []string, superseded int, err error) {
	was, err := old.charter()
	if err != nil {
		return nil, 0, err
	}
	open, err := s.charterProposals(ctx, was, old.Open)
	if err != nil {
		return nil, 0, err
	}
	digest := e.PayloadDigest()
	for _, c := range open {
		if c.Digest == digest {
			c.Status, c.Sequence = PolicyActive, b.Sequence
		} else {
			c.Status, c.SupersededBy = PolicySuperseded, digest
			superseded++
		}
		c.stageState(tx, b.Time)
	}
	return custodiansOf(was.Body, e), superseded, nil
}
