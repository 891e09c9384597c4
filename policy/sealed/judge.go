package sealed

import (
	"slices"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// add stages records that stand or fall together.
func (rd *round) add(records ...ledger.Record) error { return rd.stage.Add(records...) }

// changed is true once something was staged.
func (rd *round) changed() bool { return len(rd.stage.Records()) > 0 }

// newest is a batch by which everything staged or recorded before holds.
func (rd *round) newest() uint64 {
	if rd.changed() {
		return rd.sequence
	}
	return rd.sequence - 1
}

// charter is the one in force, nil before charter 1.
func (rd *round) charter() *policy.Charter {
	c, _ := rd.stage.Charter()
	return c
}

// judge asks the policies what they say of an intent at the round's time, with
// everything that was decided before in this round.
func (rd *round) judge(i *policy.Intent, digest policy.Digest) policy.Verdict {
	v := rd.stage
	in := policy.Input{Intent: i, IntentDigest: digest, Charter: rd.charter(), CharterKnown: v.CharterKnown(i.Charter),
		Epoch: v.Epoch(), Usage: v, Now: rd.now, Frozen: v.Frozen(policy.Subject{TokenID: i.Token.ID})}
	if i.OperationType != policy.OpDeployToken && i.OperationType != policy.OpCancel {
		in.Binding, _ = v.Binding(i.Token.ID)
	}
	in.Policies = v.PoliciesInScope(i.Token.ID, rd.performingVault(i), rd.sourceVault(i))
	for _, ref := range i.Policies {
		if slices.ContainsFunc(in.Policies, func(p *policy.InForce) bool { return p.Ref() == ref }) {
			continue
		}
		if p, ok := v.PolicyVersion(ref.ID, ref.Version); ok && p.Ref() == ref {
			in.Submitted = append(in.Submitted, p)
		}
	}
	if op, ok := v.Operation(i.OperationID); ok {
		in.Decisions = op.Decisions
	}
	in.Suspended = v.Suspended()
	return policy.Judge(in)
}

// performingVault is the vault of the wallet that sends; empty if the ledger
// knows no such wallet.
func (rd *round) performingVault(i *policy.Intent) string {
	if w, ok := rd.stage.Wallet(i.Performer.WalletID); ok {
		return w.VaultAccountID
	}
	return ""
}

// sourceVault is the vault whose tokens an operation takes; empty if nothing is
// taken, or from nobody of ours.
func (rd *round) sourceVault(i *policy.Intent) string {
	if i.Params.Source == nil {
		return ""
	}
	if w, ok := rd.stage.WalletByAddress(i.Network, *i.Params.Source); ok {
		return w.VaultAccountID
	}
	return ""
}
