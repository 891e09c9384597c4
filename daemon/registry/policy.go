package registry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// PolicyStatus is where one version of a policy stands. The zero value is
// invalid.
type PolicyStatus string

// The states of a policy's version (spec: api, "Platform resources").
const (
	// PolicyPending: proposed; custodians' signatures are being collected.
	PolicyPending PolicyStatus = "PENDING_AUTHORIZATION"
	// PolicyActive: in force, by the ledger.
	PolicyActive PolicyStatus = "ACTIVE"
	// PolicySuperseded: another version took its place, in force or in the
	// race for it.
	PolicySuperseded PolicyStatus = "SUPERSEDED"
	// PolicyRejected: withdrawn before it was in force.
	PolicyRejected PolicyStatus = "REJECTED"
)

// Policy is one version of a policy: the one in force, or a proposal.
type Policy struct {
	ID      string        `json:"id"`
	Version uint64        `json:"version"`
	Name    string        `json:"name"`
	Status  PolicyStatus  `json:"-"`
	Scope   policy.Scope  `json:"scope"`
	Rules   []policy.Rule `json:"rules"`
	// Retired: this version ends the policy once it is in force.
	Retired bool `json:"retired,omitzero"`
	// Replaces is the digest of the version that this one follows; empty for
	// the first.
	Replaces policy.Digest `json:"replaces,omitzero"`
	// Document is the exact bytes that custodians sign.
	Document       []byte        `json:"document"`
	DocumentDigest policy.Digest `json:"documentDigest"`

	// RequiredSignatures is how many custodians must sign: one for a change that
	// is TIGHTER, else the threshold of the charter in force.
	RequiredSignatures int `json:"-"`
	// Change and Difference are what an open proposal does to what is allowed,
	// and what it changes of the version in force, in words; empty for others.
	Change     policy.Change `json:"-"`
	Difference []string      `json:"-"`
	// SignedBy names the custodians who signed, sorted.
	SignedBy   []string           `json:"signedBy"`
	Signatures []policy.Signature `json:"signatures"`
	// SupersededBy is the digest of the version that took this one's place.
	SupersededBy policy.Digest `json:"-"`
	// LedgerSeq is the batch that put it in force.
	LedgerSeq  uint64    `json:"-"`
	ProposedBy string    `json:"proposedBy"`
	CreatedAt  time.Time `json:"createdAt"`
	UpdatedAt  time.Time `json:"-"`

	// Proposals are the open proposals beside the version in force, newest
	// first; filled by Service.Policy and Service.Policies only, which never
	// leave it nil.
	Proposals []*Policy `json:"-"`
	// Superseded are the proposals whose place the version in force took, newest
	// first; filled by Service.Policy only.
	Superseded []*Policy `json:"-"`

	name string // its ULID among the policy's versions
	rev  int64  // its key's revision when it was read
}

// PolicySpec is what is proposed. At most one of VaultAccountID and TokenID is
// set; neither means every operation.
type PolicySpec struct {
	Name                    string
	VaultAccountID, TokenID string
	Rules                   []policy.Rule
	// Bad is an amount or address of the rules that does not hold; it is refused behind what the rest names.
	Bad error
}

const (
	policyHeadSuffix = "/head"
	// maxOpenProposals bounds a policy's open proposals, so that the batch that
	// decides between them fits one transaction with their digests and audit.
	maxOpenProposals = 16
	// maxOwnProposals is how many of them one proposer may have: nobody alone keeps
	// the others from changing what is in force.
	maxOwnProposals = maxOpenProposals / 2
	// maxOpenBytes bounds their documents together, four of the largest: whoever looks at the policy reads them all.
	maxOpenBytes = 4 * policy.MaxDocument
)

// policyHead is what holds a policy's versions together: every change of any of
// them compares it, so that a proposal and the batch that overtakes it cannot
// miss each other. Versions are named by ULIDs of their own, for several
// proposals may have one number.
type policyHead struct {
	ID     string   `json:"id"`
	Active string   `json:"active,omitzero"` // the version in force
	Open   []string `json:"open"`            // proposals, oldest first
	Latest string   `json:"latest"`          // the newest version of all
	Carried
}

// policyState is what changes of a version. It has a key of its own, so that
// deciding between proposals rewrites little however long their documents are.
type policyState struct {
	Status       PolicyStatus  `json:"status"`
	SupersededBy policy.Digest `json:"supersededBy,omitzero"`
	LedgerSeq    uint64        `json:"ledgerSeq,omitzero"`
	UpdatedAt    time.Time     `json:"updatedAt"`
}

// overtakenBy is whether this is the state of a proposal whose place the
// document of that digest took.
func (s policyState) overtakenBy(d policy.Digest) bool {
	return s.Status == PolicySuperseded && s.SupersededBy == d && s.LedgerSeq == 0
}

// newVersionName draws the name of a version among its policy's.
func newVersionName() string { return ulid.Make().String() }

func policyHeadKey(id string) string          { return store.PolicyPrefix + id + policyHeadSuffix }
func policyVersionKey(id, name string) string { return store.PolicyPrefix + id + "/v/" + name }
func policyStateKey(id, name string) string   { return store.PolicyPrefix + id + "/s/" + name }

// stageState writes a version's state; tx also compares and writes the policy's head.
func (p *Policy) stageState(tx *store.Tx) {
	tx.Put(policyStateKey(p.ID, p.name), encode(policyState{p.Status, p.SupersededBy, p.LedgerSeq, p.UpdatedAt}))
}

// ProposePolicy makes a proposal for a new policy. It is in force when the
// custodians' threshold has signed its document and the seal has recorded it.
func (s *Service) ProposePolicy(ctx context.Context, a Actor, spec PolicySpec, idem *store.Idempotent) (*Policy, error) {
	id := store.NewID(policyPrefix)
	p, err := s.draftPolicy(ctx, a, id, spec, false)
	if err != nil {
		return nil, err
	}
	return p, s.addProposal(ctx, a, &policyHead{ID: id, Open: []string{}}, 0, p, idem)
}

// ProposePolicyVersion makes a proposal for the version after the one in force.
// The whole policy is proposed, not what changes.
func (s *Service) ProposePolicyVersion(ctx context.Context, a Actor, id string, spec PolicySpec, idem *store.Idempotent) (*Policy, error) {
	return s.proposeNext(ctx, a, id, idem, func(*Policy) (PolicySpec, bool, error) { return spec, false, nil })
}

// DeletePolicy withdraws the open proposals of a policy that never was in
// force; of one that is, it proposes a version that retires it, which needs the
// threshold like any other, and returns that proposal.
func (s *Service) DeletePolicy(ctx context.Context, a Actor, id string, idem *store.Idempotent) (*Policy, error) {
	p, err := s.Policy(ctx, id)
	if err != nil {
		return nil, err
	}
	if p.Status != PolicyActive {
		return s.withdrawPolicy(ctx, a, id, idem)
	}
	for _, open := range p.Proposals {
		if open.Retired {
			return open, s.store.Answer(ctx, idem, open)
		}
	}
	return s.proposeNext(ctx, a, id, idem, func(active *Policy) (PolicySpec, bool, error) {
		if active == nil {
			return PolicySpec{}, false, Refuse(TxStateConflict, "policy %s changed meanwhile; look at it again", id)
		}
		return PolicySpec{
			Name: active.Name, VaultAccountID: active.Scope.VaultAccountID, TokenID: active.Scope.TokenID, Rules: active.Rules,
		}, true, nil
	})
}

// proposeNext proposes what next says of the version in force (nil while there
// is none), again if the policy changed in between.
func (s *Service) proposeNext(ctx context.Context, a Actor, id string, idem *store.Idempotent, next func(active *Policy) (PolicySpec, bool, error)) (*Policy, error) {
	for range maxAttempts {
		head, rev, err := s.policyHeadAt(ctx, id)
		if err != nil {
			return nil, err
		}
		versions, err := s.policyVersions(ctx, head)
		if err != nil {
			return nil, err
		}
		active := versions.active
		if active != nil && active.Retired {
			return nil, Refuse(TxStateConflict, "policy %s is retired; propose a new one", id)
		}
		spec, retire, err := next(active)
		if err != nil {
			return nil, err
		}
		p, err := s.draftPolicy(ctx, a, id, spec, retire)
		if err != nil {
			return nil, err
		}
		if err := p.fits(versions.open); err != nil {
			return nil, err
		}
		if err = s.addProposal(ctx, a, head, rev, p, idem); lostRace(err) {
			continue
		}
		return p, err
	}
	return nil, fmt.Errorf("registry: policy %s: %w", id, store.ErrConflict)
}

// fits refuses a proposal that the open ones of its policy, or those of its
// proposer among them, leave no room for.
func (p *Policy) fits(open []*Policy) error {
	own := slices.DeleteFunc(slices.Clone(open), func(o *Policy) bool { return o.ProposedBy != p.ProposedBy })
	switch {
	case len(open) >= maxOpenProposals || size(open...)+size(p) > maxOpenBytes:
		return Refuse(TxStateConflict, "policy %s has %d open proposals of %d bytes; have one signed, or withdraw them", p.ID, len(open), size(open...))
	case len(own) >= maxOwnProposals || size(own...)+size(p) > maxOpenBytes/2:
		return Refuse(TxStateConflict, "%s has %d open proposals of policy %s, of %d bytes, and the rest is for others; have one signed, or withdraw them", p.ProposedBy, len(own), p.ID, size(own...))
	}
	return nil
}

// size is how much their documents have, in bytes.
func size(policies ...*Policy) (n int) {
	for _, p := range policies {
		n += len(p.Document)
	}
	return n
}

// draftPolicy builds the document that custodians are to sign and checks it
// against the charter in force.
func (s *Service) draftPolicy(ctx context.Context, a Actor, id string, spec PolicySpec, retire bool) (*Policy, error) {
	charter, _ := s.fold.Charter()
	if charter == nil {
		return nil, errNotReady
	}
	if err := checkText("name", spec.Name, 1, maxName); err != nil {
		return nil, err
	}
	scope, err := s.policyScope(ctx, spec)
	if err := cmp.Or(err, spec.Bad); err != nil {
		return nil, err
	}
	now := s.second()
	doc := &policy.Policy{
		Format: policy.Format, Instance: charter.Instance, ID: id, Version: 1, Name: spec.Name, Scope: scope,
		Rules: spec.Rules, Retired: retire, CreatedAt: now,
	}
	p := &Policy{
		ID: id, Version: 1, Name: spec.Name, Status: PolicyPending, Scope: scope, Rules: spec.Rules, Retired: retire,
		RequiredSignatures: int(charter.Custodians.Threshold), SignedBy: []string{}, Signatures: []policy.Signature{},
		ProposedBy: a.Name, CreatedAt: now, UpdatedAt: now, name: newVersionName(),
	}
	if inForce, ok := s.fold.Policy(id); ok {
		doc.Version, doc.Replaces = inForce.Policy.Version+1, &inForce.Digest
		p.Version, p.Replaces = doc.Version, inForce.Digest
	}
	if p.Document, err = doc.Encode(); err != nil {
		return nil, Refuse(Validation, "the policy cannot be: %v", err)
	}
	if err := policy.CheckPolicy(doc, charter); err != nil {
		return nil, Refuse(Validation, "the policy cannot be in force under this charter: %v", err)
	}
	p.DocumentDigest = policy.DigestOf(p.Document)
	p.compare(s.fold.Policy(id))
	return p, nil
}

// compare says what an open proposal changes of the version in force, if there
// is one. A proposal that does not follow it can no longer be signed.
func (p *Policy) compare(inForce *policy.InForce, ok bool) {
	proposed, err := policy.ParsePolicy(p.Document)
	if err != nil {
		return // a document of an earlier build; who signs it reads it himself
	}
	if !ok {
		p.Change, p.Difference = policy.Looser, policy.PolicyDifference(nil, proposed)
		return
	}
	p.Change, p.Difference = policy.Compare(inForce.Policy, proposed), policy.PolicyDifference(inForce.Policy, proposed)
	if p.Change == policy.Tighter && p.Replaces == inForce.Digest {
		p.RequiredSignatures = 1
	}
}

func (s *Service) policyScope(ctx context.Context, spec PolicySpec) (policy.Scope, error) {
	switch {
	case spec.VaultAccountID != "" && spec.TokenID != "":
		return policy.Scope{}, Refuse(Validation, "vaultAccountId and tokenId are both given; a policy covers one vault account, one token, or, with neither, everything")
	case spec.VaultAccountID != "":
		_, err := s.Vault(ctx, spec.VaultAccountID)
		return policy.Scope{VaultAccountID: spec.VaultAccountID}, err
	case spec.TokenID != "":
		_, err := s.Token(ctx, spec.TokenID)
		return policy.Scope{TokenID: spec.TokenID}, err
	}
	return policy.Scope{All: true}, nil
}

// addProposal stores p beside what head already holds.
func (s *Service) addProposal(ctx context.Context, a Actor, head *policyHead, rev int64, p *Policy, idem *store.Idempotent) error {
	head.Open, head.Latest = append(head.Open, p.name), p.name
	tx := s.store.Tx()
	tx.PutIf(policyHeadKey(p.ID), encode(head), rev)
	tx.PutIfAbsent(policyVersionKey(p.ID, p.name), encode(p))
	p.stageState(tx)
	tx.Audit(a.draft(happening{"policy.proposed", "policy", p.ID, map[string]any{
		"version": p.Version, "name": p.Name, "documentDigest": string(p.DocumentDigest), "retired": p.Retired,
	}}))
	tx.Idempotent(idem, p)
	at, err := tx.Commit(ctx)
	if err != nil {
		return err
	}
	s.policies.wrote(policyHeadKey(p.ID), head, at)
	return nil
}

// withdrawPolicy rejects every open proposal of a policy that is not in force.
func (s *Service) withdrawPolicy(ctx context.Context, a Actor, id string, idem *store.Idempotent) (*Policy, error) {
	for range maxAttempts {
		head, rev, err := s.policyHeadAt(ctx, id)
		if err != nil {
			return nil, err
		}
		if head.Active != "" || len(head.Open) == 0 {
			return nil, Refuse(TxStateConflict, "policy %s has no proposal to withdraw", id)
		}
		versions, err := s.policyVersions(ctx, head)
		if err != nil {
			return nil, err
		}
		tx := s.store.Tx()
		for _, p := range versions.open {
			p.Status, p.UpdatedAt = PolicyRejected, s.second()
			p.stageState(tx)
		}
		last := versions.open[len(versions.open)-1]
		head.Open = []string{}
		tx.PutIf(policyHeadKey(id), encode(head), rev)
		tx.Audit(a.draft(happening{"policy.withdrawn", "policy", id, map[string]any{"proposals": len(versions.open)}}))
		tx.Idempotent(idem, last)
		at, err := tx.Commit(ctx)
		if lostRace(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s.policies.wrote(policyHeadKey(id), head, at)
		return last, nil
	}
	return nil, fmt.Errorf("registry: policy %s: %w", id, store.ErrConflict)
}
