package main

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// review is an operation's intent held against the verified ledger.
type review struct {
	intent   *policy.Intent
	digest   policy.Digest // of the exact bytes
	recorded ledger.OperationRecord
	verdict  policy.Verdict
	words    string
	notes    []string // what the ledger attests about those who are named
	warnings []string // what speaks against it, yet is the rules' to decide
	misfits  []string // facts that do not hold: such an intent is never approved
}

// reviewIntent checks everything that an intent says of the world against the
// fold. raw is what the API serves as the intent of the operation that was
// asked for, shown the digest that it gives for it. The error says that raw is
// no intent of this operation at all; whatever else is wrong is in misfits.
func reviewIntent(fold *ledger.Fold, asked string, shown policy.Digest, raw []byte, now time.Time) (*review, error) {
	intent, err := policy.ParseIntent(raw)
	if err != nil {
		return nil, unverified("what the appliance serves as the intent of %s is none: %w", asked, err)
	}
	r := &review{intent: intent, digest: policy.DigestOf(raw)}
	if r.digest != shown {
		return nil, unverified("the intent of %s has digest %s, the appliance says %s", asked, r.digest, shown)
	}
	if intent.OperationID != asked {
		return nil, unverified("the appliance serves the intent of operation %s for %s", intent.OperationID, asked)
	}
	charter, _ := fold.Charter()
	r.recorded, _ = fold.Operation(asked)
	in := r.input(fold, charter, now)
	r.verdict = fold.Judge(intent, r.digest, in.now)
	r.judged()
	r.performer(fold)
	r.transaction()
	r.token(fold)
	r.parties(fold)
	r.versions(in)
	r.words = intent.Words(policy.Glossary{Currency: currency(charter, intent.Network), Policies: slices.Concat(in.policies, in.submitted)})
	return r, nil
}

// judging is what the intent is judged by and when.
type judging struct {
	now       time.Time
	policies  []*policy.InForce // in force and in scope
	submitted []*policy.InForce // named by the intent, and superseded since
}

// input is what the seal would judge by, as far as this ledger goes.
func (r *review) input(fold *ledger.Fold, charter *policy.Charter, now time.Time) judging {
	i := r.intent
	// A clock of ours that is a little slow is no reason to call a fresh intent false.
	if early := i.NotBefore.Sub(now); early > 0 && early <= charter.MaxClockSkew() {
		now = i.NotBefore
	}
	in := judging{now: now}
	var vault, source string
	if w, ok := fold.Wallet(i.Performer.WalletID); ok {
		vault = w.VaultAccountID
	}
	if i.Params.Source != nil {
		if w, ok := fold.WalletByAddress(i.Network, *i.Params.Source); ok {
			source = w.VaultAccountID
		}
	}
	in.policies = fold.PoliciesInScope(i.Token.ID, vault, source)
	for _, ref := range i.Policies {
		p, ok := fold.PolicyVersion(ref.ID, ref.Version)
		if ok && !slices.ContainsFunc(in.policies, func(q *policy.InForce) bool { return q.Ref() == p.Ref() }) {
			in.submitted = append(in.submitted, p)
		}
	}
	return in
}

// judged parts the verdict's denials into facts that do not fit and rules that
// say no.
func (r *review) judged() {
	for _, o := range r.verdict.Rules {
		switch {
		case o.Outcome != policy.Deny:
		case o.Rule == policy.ReasonIntent || o.Rule == policy.ReasonPolicy:
			r.misfit("%s", o.Message)
		default:
			r.warn("%s says no: %s", ruleName(o), o.Message)
		}
	}
}

func ruleName(o policy.RuleOutcome) string {
	if o.PolicyID == "" {
		return string(o.Rule)
	}
	return fmt.Sprintf("%s of policy %s v%d", o.Rule, o.PolicyID, o.PolicyVersion)
}

func (r *review) misfit(format string, args ...any) {
	r.misfits = append(r.misfits, fmt.Sprintf(format, args...))
}
func (r *review) warn(format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}
func (r *review) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// performer: the sending wallet is ours, and all that the intent says of it is so.
func (r *review) performer(fold *ledger.Fold) {
	i := r.intent
	w, ok := fold.Wallet(i.Performer.WalletID)
	switch {
	case !ok:
		r.misfit("the ledger attests no wallet %s, which would send the transaction", i.Performer.WalletID)
	case w.Address != i.Performer.Address:
		r.misfit("wallet %s is %s by the ledger, the intent says %s", w.WalletID, w.Address, i.Performer.Address)
	case w.Network != i.Network || w.Scheme != i.Scheme:
		r.misfit("wallet %s is on %s and signs with %s, the intent says %s and %s", w.WalletID, w.Network, w.Scheme, i.Network, i.Scheme)
	default:
		r.note("it is sent by %s, wallet %s of vault %s of ours", w.Address, w.WalletID, w.VaultAccountID)
	}
}

// transaction: the intent makes one, which for a deployment means that its
// creation code, made again from template and parameters, has the Keccak-256
// that the intent names.
func (r *review) transaction() {
	i := r.intent
	nonce, gas := uint64(0), lowestGas(i)
	if i.Params.Nonce != nil {
		nonce, _ = strconv.ParseUint(*i.Params.Nonce, 10, 64) // the intent was checked
	}
	if _, err := i.Transaction(nonce, gas, big.NewInt(1), new(big.Int)); err != nil {
		r.misfit("it makes no transaction: %s", err)
	} else if i.OperationType == policy.OpDeployToken {
		r.note("the creation code, made again from template %s and these parameters, has Keccak-256 %s", i.Token.TemplateID, i.Params.InitcodeKeccak)
	}
}

// lowestGas is a gas limit that the operation's call may have.
func lowestGas(i *policy.Intent) uint64 {
	if i.OperationType == policy.OpDeployToken {
		if t, ok := qrc20.TemplateByID(i.Token.TemplateID); ok {
			lowest, _ := t.DeployGasBounds()
			return lowest
		}
		return 0
	}
	own := i.Params.Source != nil && *i.Params.Source == i.Performer.Address
	method := map[policy.OperationType]qrc20.Method{
		policy.OpMint: qrc20.Mint, policy.OpBurn: qrc20.BurnFrom, policy.OpTransfer: qrc20.TransferFrom,
		policy.OpGrantRole: qrc20.GrantRole, policy.OpRevokeRole: qrc20.RevokeRole, policy.OpPause: qrc20.Pause, policy.OpUnpause: qrc20.Unpause,
		policy.OpFreeze: qrc20.Freeze, policy.OpUnfreeze: qrc20.Unfreeze, policy.OpAllowlistAdd: qrc20.Allow, policy.OpAllowlistRemove: qrc20.Disallow,
	}[i.OperationType]
	switch {
	case i.OperationType == policy.OpCancel:
		return 21_000 // what sending nothing costs
	case own && method == qrc20.BurnFrom:
		method = qrc20.Burn
	case own && method == qrc20.TransferFrom:
		method = qrc20.Transfer
	}
	lowest, _ := qrc20.GasBounds(method)
	return lowest
}

// token: which contract it is, and that a deployment does not take the place of
// one that is in use.
func (r *review) token(fold *ledger.Fold) {
	i := r.intent
	b, _, used, bound := fold.BindingDocument(i.Token.ID)
	switch {
	case i.OperationType == policy.OpCancel:
	case i.OperationType != policy.OpDeployToken:
		if bound {
			r.note("contract %s is token %s by the ledger (%s, %d decimals, template %s)", b.ContractAddress, b.TokenID, policy.Word(b.Symbol), b.Decimals, b.TemplateID)
		}
	case used:
		r.misfit("token %s is contract %s already, and it was bound by the custodians, or operations were authorized there", i.Token.ID, b.ContractAddress)
	case bound:
		r.warn("token %s was deployed before, as contract %s; this takes its place", i.Token.ID, b.ContractAddress)
	default:
		r.note("policy %s will be the token's own", i.Policies[0].ID)
	}
	if i.Replaces != "" {
		if op, ok := fold.Operation(i.Replaces); ok && op.Authorized != nil {
			r.warn("%s, which this does again, was authorized in batch %d: make sure on the chain that it had no effect", i.Replaces, op.AuthorizedAt.Sequence)
		}
	}
}

// parties says who those are whom the operation touches.
func (r *review) parties(fold *ledger.Fold) {
	i := r.intent
	for _, p := range []struct {
		role    string
		address *tx.Address
	}{{"recipient", i.Params.Recipient}, {"source", i.Params.Source}, {"subject", i.Params.Subject}, {"admin", i.Params.Admin}} {
		if p.address == nil {
			continue
		}
		if w, ok := fold.WalletByAddress(i.Network, *p.address); ok {
			r.note("%s %s is wallet %s of vault %s of ours", p.role, p.address, w.WalletID, w.VaultAccountID)
			continue
		}
		if b, ok := fold.BindingByContract(i.ChainID, *p.address); ok {
			r.warn("%s %s is no account but the contract of token %s (%s)", p.role, p.address, b.TokenID, policy.Word(b.Symbol))
			continue
		}
		r.note("%s %s is no wallet of ours", p.role, p.address)
		if p.role == "admin" {
			r.warn("every role and the initial supply go to %s, which is no wallet of ours", p.address)
		}
	}
	if i.OperationType == policy.OpGrantRole && i.Params.Role == qrc20.Admin {
		r.warn("who holds ADMIN grants and revokes every role of the token, beside any policy if the key is not ours")
	}
}

// versions says where the policies in force are not those of the submission.
func (r *review) versions(in judging) {
	for _, p := range in.submitted {
		r.note("policy %s v%d is superseded since; both versions judge", p.Policy.ID, p.Policy.Version)
	}
	for _, p := range in.policies {
		if !slices.Contains(r.intent.Policies, p.Ref()) {
			r.note("policy %s v%d (%s) judges too", p.Policy.ID, p.Policy.Version, policy.Word(p.Policy.Name))
		}
	}
}

// counts tells whether a person's approval is one that a rule asks for. It is so
// as well where no rule asks for any.
func (r *review) counts(charter *policy.Charter, person string) bool {
	asked := false
	for _, o := range r.verdict.Rules {
		if o.Rule != policy.RuleRequireApproval && o.Rule != policy.RuleTokenRoleChange || o.Group == "" {
			continue
		}
		asked = true
		for group := range strings.SplitSeq(o.Group, ", ") {
			if members, _ := charter.Group(group); slices.Contains(members, person) {
				return true
			}
		}
	}
	return !asked
}

func currency(c *policy.Charter, network string) string {
	if n, ok := c.Network(network); ok {
		return n.Currency
	}
	return "of an unknown currency"
}
