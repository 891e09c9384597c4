package ledger

import (
	"slices"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// Judge says what the policies say of an intent at now, by everything that the view holds: charter,
// policies in force and those that the intent names, binding, decisions recorded, suspensions,
// freezes, and what was charged. digest is of the intent's exact bytes. It is the one place where a
// ledger becomes the input of [policy.Judge], so that seal, API and whoever explains afterwards
// cannot ask different questions. The view stands still meanwhile. Before charter 1 it denies.
func (v *View) Judge(i *policy.Intent, digest policy.Digest, now time.Time) policy.Verdict {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return policy.Judge(v.state.input(i, digest, now))
}

// input is what the state says of an intent. Its reader holds the lock as long as the input is used,
// for the usage in it is the state's own.
func (s *state) input(i *policy.Intent, digest policy.Digest, now time.Time) policy.Input {
	in := policy.Input{Intent: i, IntentDigest: digest, Epoch: s.head.epoch, Usage: charged{s}, Now: now}
	if s.law != nil {
		in.Charter = s.law.charter
	}
	if i == nil {
		return in
	}
	in.CharterKnown = s.charters.has(i.Charter)
	if i.Token.ID != "" {
		in.Frozen = s.isFrozen(policy.Subject{TokenID: i.Token.ID})
	}
	if i.OperationType != policy.OpDeployToken && i.OperationType != policy.OpCancel {
		if line, ok := s.bindings.get(i.Token.ID); ok {
			in.Binding = line.view
		}
	}
	in.Policies = s.inScope(i)
	in.Submitted = s.superseded(i, in.Policies)
	if op, ok := s.operations.get(i.OperationID); ok {
		in.Decisions, in.Requests = op.Decisions, op.Requests
		in.Charters = s.reigns(op.Decisions)
	}
	in.Suspended = s.suspendedPersons()
	return in
}

// reigns is every charter since the first of the decisions, nil where none came behind it.
func (s *state) reigns(decided []policy.RecordedDecision) (out []policy.Reign) {
	if len(decided) == 0 || s.law.sequence <= decided[0].Sequence {
		return nil
	}
	first := len(s.chain) - 1
	for first > 0 && s.chain[first].sequence > decided[0].Sequence {
		first--
	}
	for _, l := range s.chain[first:] {
		out = append(out, policy.Reign{Charter: l.charter, Since: s.since(l), Sequence: l.sequence})
	}
	return out
}

// since is the time of the batch that recorded a charter. A snapshot does not say it, but for its own:
// of those that a fold read there it is the snapshot's, before which they were in force.
func (s *state) since(l *law) time.Time {
	if at, ok := s.memory.charters[l.sequence]; ok {
		return at
	}
	return s.head.time // of the batch under way
}

// inScope is every policy in force that judges the intent, in the order of their ids.
func (s *state) inScope(i *policy.Intent) []*policy.InForce {
	performing, source := s.vaultsOf(i)
	return s.inForce(func(p *policy.Policy) bool { return policy.InScope(p, i.Token.ID, performing, source) })
}

// vaultsOf are the vault of the wallet that sends and the vault whose tokens the operation takes;
// each is empty where it is nobody's of ours, or nothing is taken.
func (s *state) vaultsOf(i *policy.Intent) (performing, source string) {
	if w, ok := s.wallets.get(i.Performer.WalletID); ok {
		performing = w.VaultAccountID
	}
	if from := i.Params.Source; from != nil {
		if id, ok := s.addresses.get(account{i.Network, *from}); ok {
			if w, ok := s.wallets.get(id); ok {
				source = w.VaultAccountID
			}
		}
	}
	return performing, source
}

// superseded are the versions that the intent names and that are in force no more.
func (s *state) superseded(i *policy.Intent, inForce []*policy.InForce) []*policy.InForce {
	var named []*policy.InForce
	for _, ref := range i.Policies {
		if slices.ContainsFunc(inForce, func(p *policy.InForce) bool { return p.Ref() == ref }) {
			continue
		}
		line, ok := s.policies.get(ref.ID)
		if !ok {
			continue
		}
		for _, p := range line.versions {
			if p.inForce.Ref() == ref {
				named = append(named, p.inForce)
			}
		}
	}
	return named
}

// inForce is the version in force of every policy that take takes, in the order of their ids.
func (s *state) inForce(take func(*policy.Policy) bool) []*policy.InForce {
	var taken []*policy.InForce
	for _, line := range s.policies.all() {
		if p := line.versions[len(line.versions)-1].inForce; take(p.Policy) {
			taken = append(taken, p)
		}
	}
	slices.SortFunc(taken, func(a, b *policy.InForce) int { return strings.Compare(a.Policy.ID, b.Policy.ID) })
	return taken
}

func (s *state) suspendedPersons() []string {
	var names []string
	for subject, f := range s.frozen.all() {
		if f.frozen && subject.Person != "" {
			names = append(names, subject.Person)
		}
	}
	slices.Sort(names)
	return names
}

// charged is a state's usage without a lock of its own: its reader holds it.
type charged struct{ state *state }

func (c charged) Charged(chainID uint64, address tx.Address, operation policy.OperationType, since time.Time) policy.Amount {
	return c.state.chargedSince(counter{chainID, address, operation}, since)
}

var _ policy.Usage = charged{}
