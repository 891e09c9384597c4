package operation

import (
	"fmt"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// standingOf is what a regulated token's lists say of somebody.
type standingOf struct {
	address tx.Address
	as      string // what he is in the operation
	registry.Standing
}

// What a 1714 says in its details, “restriction”.
const (
	restrictPaused     = "PAUSED"
	restrictNotPaused  = "NOT_PAUSED"
	restrictFrozen     = "FROZEN"
	restrictNotFrozen  = "NOT_FROZEN"
	restrictAllowed    = "ALLOWED"
	restrictNotAllowed = "NOT_ALLOWED"
)

// moves reports whether an operation changes balances.
func moves(t policy.OperationType) bool {
	return t == policy.OpMint || t == policy.OpBurn || t == policy.OpTransfer
}

// minds reports whether the contract asks if it is paused.
func minds(t policy.OperationType) bool {
	return moves(t) || t == policy.OpPause || t == policy.OpUnpause
}

// standings are those whose place on the token's lists decides whether the operation can succeed, and does
// anything; none where its template has no lists.
func (p *plan) standings() []standingOf {
	if p.template == nil || !p.template.HasMethod(qrc20.Freeze) {
		return nil
	}
	var out []standingOf
	for _, x := range []struct {
		as string
		p  *party
	}{{"from", &p.from}, {"recipient", &p.recipient}, {"subject", &p.subject}} {
		if x.p.given && (x.as != "subject" || lists(p.request.Type)) {
			out = append(out, standingOf{address: x.p.address, as: x.as})
		}
	}
	if moves(p.request.Type) {
		out = append(out, standingOf{address: p.wallet.Address, as: "performer"})
	}
	return out
}

// lists reports whether an operation changes a list.
func lists(t policy.OperationType) bool {
	switch t {
	case policy.OpFreeze, policy.OpUnfreeze, policy.OpAllowlistAdd, policy.OpAllowlistRemove:
		return true
	}
	return false
}

// checkCompliance: 1714. The contract refuses these calls, or they would change nothing that is not so
// already, for which nobody should be asked.
func (p *plan) checkCompliance(f *facts) error {
	t := p.request.Type
	switch {
	case f.paused && t == policy.OpPause:
		return p.restricted(restrictPaused, nil, "token %s is paused already", p.token.ID)
	case f.paused && moves(t):
		return p.restricted(restrictPaused, nil, "token %s is paused", p.token.ID)
	case !f.paused && t == policy.OpUnpause:
		return p.restricted(restrictNotPaused, nil, "token %s is not paused", p.token.ID)
	}
	for i := range f.standings {
		if err := p.checkStanding(&f.standings[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) checkStanding(x *standingOf) error {
	refuse := func(restriction, format string) error {
		return p.restricted(restriction, x, format, x.address, p.token.ID)
	}
	switch t := p.request.Type; {
	case t == policy.OpFreeze && x.Frozen:
		return refuse(restrictFrozen, "%s is frozen on token %s already")
	case t == policy.OpUnfreeze && !x.Frozen:
		return refuse(restrictNotFrozen, "%s is not frozen on token %s")
	case t == policy.OpAllowlistAdd && x.Allowed:
		return refuse(restrictAllowed, "%s is on the allowlist of token %s already")
	case t == policy.OpAllowlistRemove && !x.Allowed:
		return refuse(restrictNotAllowed, "%s is not on the allowlist of token %s")
	case moves(t) && x.Frozen:
		return refuse(restrictFrozen, "%s is frozen on token %s")
	case moves(t) && !x.Allowed && x.as != "performer":
		return refuse(restrictNotAllowed, "%s is not on the allowlist of token %s")
	}
	return nil
}

func (p *plan) restricted(restriction string, x *standingOf, format string, args ...any) error {
	details := map[string]any{"restriction": restriction}
	if x != nil {
		details["address"], details["as"] = x.address.String(), x.as
	}
	return &registry.Refusal{Type: registry.ComplianceFailed, Message: fmt.Sprintf(format, args...), Details: details}
}
