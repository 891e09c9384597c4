package ledger

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// Simulation is an operation that nobody asked for: what would the policies say of it? A zero field
// is absent; which are needed follows from the type, as for an intent. A DEPLOY_TOKEN deploys a
// mintable and burnable token whose initial supply is Amount.
type Simulation struct {
	OperationType policy.OperationType
	TokenID       string // none for DEPLOY_TOKEN and CANCEL
	WalletID      string // who performs it; empty: the token's first performer
	Amount        *policy.Amount
	Recipient     *tx.Address
	Source        *tx.Address
	Subject       *tx.Address
	Role          policy.Role
	FeeCap        *policy.Amount // wei; nil: 0, which no fee limit minds
	Requester     string         // empty: somebody who is nobody of the charter
	Signed        bool           // the requester signed it (charters with signedRequests)
	Approvers     []string       // who approved it, with every key of his
	Rejecters     []string
	ApprovedAt    time.Time // when all of them did; zero: just then
	// Proposal takes the place of its policy's version in force, or stands beside the others where it
	// is new; nil: as it is.
	Proposal *policy.Policy
}

// simulated is the id of an operation that is not one.
const simulated = "op_00000000000000000000000000"

// nobody asks where a simulation names no requester.
const nobody = "nobody"

// Simulate says what the policies would say of an operation at a moment, with what was charged so far.
// It changes nothing. An error, of a simulation that makes no intent, wraps [policy.ErrDocument].
func (v *View) Simulate(q Simulation, at time.Time) (policy.Verdict, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	s := v.state
	if s.law == nil {
		return policy.Verdict{}, fmt.Errorf("%w: simulation: there is no charter", policy.ErrDocument)
	}
	i, err := s.simulated(q, policy.Seconds(at))
	if err != nil {
		return policy.Verdict{}, fmt.Errorf("%w: simulation: %w", policy.ErrDocument, err)
	}
	var next *policy.InForce
	if q.Proposal != nil {
		if next, err = inForceAs(q.Proposal); err != nil {
			return policy.Verdict{}, err
		}
	}
	for _, p := range s.inScope(i) {
		i.Policies = append(i.Policies, p.Ref())
	}
	// An intent names a policy; where none is in force there is none to name, and that is the verdict.
	if len(i.Policies) > 0 {
		if err := i.Check(); err != nil {
			return policy.Verdict{}, err
		}
	}
	digest := policy.DigestOf([]byte(simulated))
	in := s.input(i, digest, i.NotBefore)
	s.decides(&in, q)
	if next != nil {
		in = s.instead(in, next)
	}
	return policy.Judge(in), nil
}

// simulated is the intent that the simulation comes to, without policies.
func (s *state) simulated(q Simulation, at time.Time) (*policy.Intent, error) {
	if !q.OperationType.Valid() {
		return nil, fmt.Errorf("operation type %.40q is not known", q.OperationType)
	}
	c := s.law.charter
	i := &policy.Intent{Format: policy.Format, Domain: policy.IntentDomain, Instance: s.instance, Epoch: s.head.epoch, Charter: s.law.digest,
		OperationID: simulated, OperationType: q.OperationType, Requester: q.Requester, NotBefore: at, ExpiresAt: at.Add(c.MaxIntentLifetime())}
	if i.Requester == "" {
		i.Requester = nobody
	}
	if q.FeeCap != nil {
		i.FeeCap = *q.FeeCap
	}
	walletID := q.WalletID
	if q.OperationType != policy.OpDeployToken && q.OperationType != policy.OpCancel {
		line, ok := s.bindings.get(q.TokenID)
		if !ok {
			return nil, fmt.Errorf("token %.64q is not bound", q.TokenID)
		}
		b := line.view
		i.Token = policy.Token{ID: b.TokenID, ContractAddress: &b.ContractAddress, TemplateID: b.TemplateID, Symbol: b.Symbol, Decimals: b.Decimals}
		if walletID == "" {
			walletID = b.Performers[0]
		}
	}
	w, ok := s.wallets.get(walletID)
	if !ok {
		return nil, fmt.Errorf("wallet %.64q is not in the ledger", walletID)
	}
	network, ok := c.Network(w.Network)
	if !ok {
		return nil, fmt.Errorf("network %s of wallet %s is not in the charter", w.Network, w.WalletID)
	}
	i.Network, i.ChainID, i.Scheme = network.Name, network.ChainID, w.Scheme
	i.Performer = policy.Performer{WalletID: w.WalletID, Address: w.Address}
	return i, q.params(i)
}

// params fills in the operation's parameters and, for a deployment, its token.
func (q *Simulation) params(i *policy.Intent) error {
	i.Params = policy.Params{Amount: q.Amount, Recipient: q.Recipient, Source: q.Source, Subject: q.Subject, Role: q.Role}
	switch q.OperationType {
	case policy.OpCancel:
		nonce := "0"
		i.Params.Nonce = &nonce
	case policy.OpDeployToken:
		supply := policy.Amount{}
		if q.Amount != nil {
			supply = *q.Amount
		}
		return i.SampleDeployment(q.TokenID, supply)
	}
	return nil
}

// decides adds who is to have decided and signed.
func (s *state) decides(in *policy.Input, q Simulation) {
	when := q.ApprovedAt
	if when.IsZero() {
		when = in.Now
	}
	keysOf := func(person string) []string {
		var ids []string
		if p, ok := in.Charter.Person(person); ok {
			for _, k := range p.Keys {
				ids = append(ids, k.KeyID())
			}
		}
		return ids
	}
	in.Decisions, in.Requests = nil, nil
	for verb, people := range map[policy.Verb][]string{policy.Approve: q.Approvers, policy.Reject: q.Rejecters} {
		for _, person := range people {
			in.Decisions = append(in.Decisions, policy.RecordedDecision{Person: person, Verb: verb, Intent: in.IntentDigest, Keys: keysOf(person), At: when, Sequence: s.head.sequence + 1})
		}
	}
	slices.SortFunc(in.Decisions, func(a, b policy.RecordedDecision) int {
		return strings.Compare(string(a.Verb)+a.Person, string(b.Verb)+b.Person)
	})
	if q.Signed {
		in.Requests = append(in.Requests, policy.RecordedRequest{Person: in.Intent.Requester, Intent: in.IntentDigest, Keys: keysOf(in.Intent.Requester), At: when, Sequence: s.head.sequence + 1})
	}
}
