package api

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// SimulatePolicy answers POST /v1/policies/{policyId}/simulate.
func (s *Server) SimulatePolicy(c *gin.Context, policyID PolicyID, _ SimulatePolicyParams) {
	r := requestOf(c)
	ctx := c.Request.Context()
	if r.badValue != nil {
		// Whether the policy exists is said first.
		_, err := s.registry.Policy(ctx, policyID)
		s.refuse(c, cmp.Or(err, r.bad()))
		return
	}
	b, err := bind[SimulationRequest](r.raw)
	if err != nil {
		s.refuse(c, err)
		return
	}
	q, err := s.simulated(ctx, b)
	if err != nil {
		s.refuse(c, err)
		return
	}
	at := time.Now().UTC().Truncate(time.Second)
	if b.At != nil {
		at = *b.At
	}
	v, err := s.registry.Simulate(ctx, policyID, policy.Digest(of(b.Proposal)), q, at)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, simulationForm(v, at))
}

// simulated is the operation that a body describes, its parties looked up.
func (s *Server) simulated(ctx context.Context, b *SimulationRequest) (ledger.Simulation, error) {
	q := ledger.Simulation{
		OperationType: policy.OperationType(b.OperationType), TokenID: of(b.TokenID), Role: qrc20.Role(of(b.Role)),
		Requester: of(b.Requester), Signed: of(b.Signed), Approvers: of(b.Approvers), Rejecters: of(b.Rejecters),
	}
	for _, a := range []struct {
		name string
		in   *Amount
		out  **policy.Amount
	}{{"amount", b.Amount, &q.Amount}, {"feeCap", b.FeeCap, &q.FeeCap}} {
		if a.in == nil {
			continue
		}
		v, err := policy.ParseAmount(*a.in)
		if err != nil {
			return q, fault(registry.InvalidAmount, "%s is %s: %v", a.name, quote(*a.in), err)
		}
		*a.out = &v
	}
	network := ""
	if t, ok := s.registry.Fold().Binding(q.TokenID); ok {
		network = t.Network
	}
	for _, p := range []struct {
		name string
		in   *Party
		out  **tx.Address
	}{{"recipient", b.Recipient, &q.Recipient}, {"from", b.From, &q.Source}, {"subject", b.Subject, &q.Subject}} {
		if p.in == nil {
			continue
		}
		if address := of(p.in.Address); address != "" {
			a, err := tx.ParseAddress(address)
			if err != nil {
				return q, fault(registry.InvalidAddress, "%s.address is %s: %v", p.name, quote(address), err)
			}
			*p.out = &a
			continue
		}
		w, err := s.walletOf(ctx, of(p.in.WalletID), of(p.in.VaultAccountID), network)
		if err != nil {
			return q, err
		}
		*p.out = &w.Address
	}
	if by := b.PerformedBy; by != nil {
		w, err := s.walletOf(ctx, of(by.WalletID), of(by.VaultAccountID), network)
		if err != nil {
			return q, err
		}
		q.WalletID = w.ID
	}
	return q, nil
}

// walletOf is the wallet of that id, or the vault account's oldest on the
// network.
func (s *Server) walletOf(ctx context.Context, id, vaultID, network string) (*registry.Wallet, error) {
	if id != "" {
		return s.registry.Wallet(ctx, id)
	}
	return s.registry.OldestWallet(ctx, vaultID, network)
}

func simulationForm(v policy.Verdict, at time.Time) Simulation {
	return Simulation{Outcome: Outcome(v.Outcome), At: second(at), Rules: forms(v.Rules, ruleForm)}
}

func ruleForm(o policy.RuleOutcome) RuleOutcome {
	f := RuleOutcome{
		PolicyID: maybe(o.PolicyID), Rule: string(o.Rule), Outcome: Outcome(o.Outcome), Limit: maybe(o.Limit), Used: maybe(o.Used),
		Requested: maybe(o.Requested), Group: maybe(o.Group), Message: o.Message,
	}
	if o.PolicyVersion > 0 {
		version := int64(o.PolicyVersion)
		f.PolicyVersion = &version
	}
	if o.Need > 0 {
		f.Have, f.Need = &o.Have, &o.Need
	}
	return f
}

// rehearse adds to a policy's form what each of its open proposals would have
// changed. What cannot be told now is said so and refuses nothing.
func (s *Server) rehearse(ctx context.Context, p *registry.Policy, f *Policy) {
	if p.Status == registry.PolicyPending {
		r, err := s.registry.Rehearse(ctx, p)
		if err != nil && !errors.Is(err, registry.ErrRehearsing) && ctx.Err() == nil { // who hung up hears nothing of it
			s.log.Warn("api: a proposal is not rehearsed", "policy", p.ID, "error", err)
		}
		f.Rehearsal = rehearsalForm(r, err)
	}
	for i, open := range p.Proposals {
		s.rehearse(ctx, open, &(*f.Proposals)[i])
	}
}

func rehearsalForm(r *ledger.Rehearsal, err error) *Rehearsal {
	if err != nil {
		reason := clip(err.Error())
		return &Rehearsal{Since: second(time.Now().UTC()), Reason: &reason, Otherwise: []Otherwise{}}
	}
	until := second(r.Until)
	return &Rehearsal{
		Since: second(r.Since), Until: &until, Complete: true, Judged: r.Judged, More: r.More,
		Otherwise: forms(r.Otherwise, func(o ledger.Otherwise) Otherwise {
			return Otherwise{
				OperationID: o.OperationID, OperationType: OperationType(o.OperationType), TokenID: maybe(o.TokenID), Recorded: OtherwiseRecorded(o.Recorded),
				At: second(o.At), Sequence: int64(o.Sequence), Would: Outcome(o.Would), Rule: ruleForm(o.Rule), Words: o.Words,
			}
		}),
	}
}
