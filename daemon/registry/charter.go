package registry

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// Charter is one version of the charter: the one in force, as the ledger holds
// it, or a proposal.
type Charter struct {
	Body   *policy.Charter
	Digest policy.Digest
	// Document is the exact bytes that the custodians sign.
	Document []byte
	Status   PolicyStatus // a charter's is never PolicyRejected
	// RequiredSignatures is the custodians' threshold of the charter in force.
	RequiredSignatures int
	// SignedBy names the custodians who signed, sorted.
	SignedBy []string
	// SupersededBy is the digest of the charter that took a proposal's place.
	SupersededBy policy.Digest
	// Difference is what a proposal changes of the charter in force, in words;
	// nil for one that is or was in force.
	Difference []string
	ProposedBy string    // empty for a charter that was proposed elsewhere
	CreatedAt  time.Time // of the proposal; zero where ProposedBy is empty
	// Sequence is the batch that put it in force; 0 for a proposal.
	Sequence uint64
	// Proposals are the open proposals beside the charter in force, newest
	// first; filled by Service.Charter only, which never leaves it nil.
	Proposals []*Charter
	// Superseded are the proposals whose place the charter in force took, newest
	// first; filled by Service.Charter only.
	Superseded []*Charter

	signatures []policy.Signature
	name       string // its ULID among the proposals
	rev        int64  // its key's revision when it was read
}

// Keys of the charter. The one in force holds its proposals together: every
// change of any of them compares it, so that a proposal and the charter that
// overtakes it cannot miss each other.
const (
	charterKey            = "/mw/charter"
	charterProposalPrefix = "/mw/charter/v/"
	charterStatePrefix    = "/mw/charter/s/"
)

// storedCharter is the charter in force as the store holds it.
type storedCharter struct {
	Digest   policy.Digest `json:"digest"`
	Document []byte        `json:"document"`
	SignedBy []string      `json:"signedBy"`
	Open     []string      `json:"open,omitzero"` // proposals, oldest first
	Carried
}

// storedProposal is a proposed charter as the store holds it.
type storedProposal struct {
	Digest     policy.Digest      `json:"digest"`
	Document   []byte             `json:"document"`
	SignedBy   []string           `json:"signedBy"`
	Signatures []policy.Signature `json:"signatures"`
	ProposedBy string             `json:"proposedBy"`
	CreatedAt  time.Time          `json:"createdAt"`
}

// Charter is the charter in force with its open proposals and those that it
// superseded. Before the ledger is carried in, the error is the same as [Service.Ready]'s.
func (s *Service) Charter(ctx context.Context) (*Charter, error) {
	head, _, err := s.charterHead(ctx)
	if err != nil {
		return nil, err
	}
	c, err := head.charter()
	if err != nil {
		return nil, err
	}
	open, err := s.charterProposals(ctx, c, head.Open)
	if err != nil {
		return nil, err
	}
	slices.Reverse(open)
	c.Proposals = append([]*Charter{}, open...)
	var names []string
	for kv, err := range s.store.All(ctx, charterStatePrefix, nil) {
		if err != nil {
			return nil, err
		}
		st, err := decode[policyState](kv.Key, kv.Value)
		if err != nil {
			return nil, err
		}
		if st.overtakenBy(c.Digest) {
			names = append(names, kv.Key[len(charterStatePrefix):])
		}
	}
	slices.Reverse(names)
	c.Superseded, err = s.charterProposals(ctx, c, names)
	return c, err
}

func (s *Service) charterHead(ctx context.Context) (*storedCharter, int64, error) {
	head, rev, err := load[storedCharter](ctx, s.store, charterKey)
	if err == nil && head == nil {
		err = errNotReady
	}
	return head, rev, err
}

func (v *storedCharter) charter() (*Charter, error) {
	body, err := policy.ParseCharter(v.Document)
	if err != nil {
		return nil, fmt.Errorf("registry: the value of %s: %w", charterKey, err)
	}
	return &Charter{
		Body: body, Digest: v.Digest, Document: v.Document, Status: PolicyActive, SignedBy: v.SignedBy, Sequence: v.LedgerSeq,
		RequiredSignatures: int(body.Custodians.Threshold),
	}, nil
}

// charterProposals reads the named proposals, in that order.
func (s *Service) charterProposals(ctx context.Context, inForce *Charter, names []string) ([]*Charter, error) {
	keys := make([]string, 0, 2*len(names))
	for _, n := range names {
		keys = append(keys, charterProposalPrefix+n, charterStatePrefix+n)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	kvs, _, err := s.store.GetMany(ctx, keys...)
	if err != nil {
		return nil, err
	}
	out := make([]*Charter, 0, len(names))
	for i, n := range names {
		c, err := decodeCharter(n, kvs[2*i], kvs[2*i+1], inForce)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// decodeCharter puts a proposal together from its two keys.
func decodeCharter(name string, proposal, state store.KV, inForce *Charter) (*Charter, error) {
	for _, kv := range []store.KV{proposal, state} {
		if kv.ModRevision == 0 {
			return nil, fmt.Errorf("registry: %s is named by the charter but does not exist", kv.Key)
		}
	}
	p, err := decode[storedProposal](proposal.Key, proposal.Value)
	if err != nil {
		return nil, err
	}
	st, err := decode[policyState](state.Key, state.Value)
	if err != nil {
		return nil, err
	}
	body, err := policy.ParseCharter(p.Document)
	if err != nil {
		return nil, fmt.Errorf("registry: the value of %s: %w", proposal.Key, err)
	}
	c := &Charter{
		Body: body, Digest: p.Digest, Document: p.Document, Status: st.Status, RequiredSignatures: inForce.RequiredSignatures, SignedBy: p.SignedBy,
		SupersededBy: st.SupersededBy, ProposedBy: p.ProposedBy, CreatedAt: p.CreatedAt, Sequence: st.LedgerSeq,
		signatures: p.Signatures, name: name, rev: proposal.ModRevision,
	}
	if c.Status == PolicyPending {
		c.Difference = policy.CharterDifference(inForce.Body, body)
	}
	return c, nil
}

func (c *Charter) stored() []byte {
	return encode(storedProposal{c.Digest, c.Document, c.SignedBy, c.signatures, c.ProposedBy, c.CreatedAt})
}

// stageState writes a proposal's state; tx also compares and writes charterKey.
func (c *Charter) stageState(tx *store.Tx, at time.Time) {
	tx.Put(charterStatePrefix+c.name, encode(policyState{c.Status, c.SupersededBy, c.Sequence, at}))
}

// carryCharter puts a charter in force and supersedes every open proposal
// beside it, all in one transaction.
func (s *Service) carryCharter(ctx context.Context, e *policy.Envelope, b *ledger.Batch, at Carried) error {
	body, err := policy.ParseCharter(e.Payload)
	if err != nil {
		return err
	}
	// Every charter but the first is signed by the custodians of the one
	// before; most of them are custodians of both.
	next := &storedCharter{Digest: e.PayloadDigest(), Document: e.Payload, SignedBy: custodiansOf(body, e), Carried: at}
	for {
		old, rev, err := load[storedCharter](ctx, s.store, charterKey)
		if err != nil {
			return err
		}
		if old != nil && !old.precedes(at) {
			return nil
		}
		tx := s.store.Tx()
		tx.PutIf(charterKey, encode(next), rev)
		superseded := 0
		if old != nil {
			if next.SignedBy, superseded, err = s.decideProposals(ctx, tx, old, e, b); err != nil {
				return err
			}
		}
		tx.Audit(sealDraft(happening{"charter.applied", "charter", body.Instance, map[string]any{
			"version": body.Version, "digest": string(next.Digest), "signedBy": next.SignedBy, "superseded": superseded,
		}}, at))
		if _, err := tx.Commit(ctx); !lostRace(err) {
			if err != nil {
				err = fmt.Errorf("carrying batch %d into %s: %w", at.LedgerSeq, charterKey, err)
			}
			return err
		}
	}
}

// custodiansOf names the custodians among an envelope's signers, sorted.
func custodiansOf(c *policy.Charter, e *policy.Envelope) []string {
	names := []string{}
	for _, sig := range e.Signatures {
		if who, _, ok := c.CustodianByKey(sig.KeyID); ok {
			names = append(names, who.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
