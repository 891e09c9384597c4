package registry

import (
	"context"
	"errors"
	"time"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// Simulate says what the policies would say of an operation that nobody asked
// for, by every policy in scope. A proposal of policy id, named by its digest,
// takes the place of the version in force; without a name the newest one does
// where none is in force yet. Nothing is recorded.
func (s *Service) Simulate(ctx context.Context, id string, proposal policy.Digest, q ledger.Simulation, at time.Time) (policy.Verdict, error) {
	p, err := s.Policy(ctx, id)
	if err != nil {
		return policy.Verdict{}, err
	}
	if q.Proposal, err = p.simulated(proposal); err != nil {
		return policy.Verdict{}, err
	}
	v, err := s.fold.Simulate(q, at)
	if errors.Is(err, policy.ErrDocument) {
		return v, Refuse(Validation, "%v", err)
	}
	return v, err
}

// simulated is the proposal that is asked about, nil for the version in force.
func (p *Policy) simulated(digest policy.Digest) (*policy.Policy, error) {
	if digest == "" && p.Status == PolicyActive || digest == p.DocumentDigest && p.Status == PolicyActive {
		return nil, nil
	}
	for _, open := range append([]*Policy{p}, p.Proposals...) {
		if open.Status == PolicyPending && (digest == "" || open.DocumentDigest == digest) {
			return policy.ParsePolicy(open.Document)
		}
	}
	return nil, Refuse(TxNotFound, "policy %s has no open proposal of digest %q; GET /v1/policies/%s shows them", p.ID, digest, p.ID)
}
