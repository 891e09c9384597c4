package operation_test

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

const regulated = "tpl_qrc20_regulated_v1"

// desk is a deployed token and what is asked for it.
type desk struct {
	*house
	token *registry.Token
	own   *operation.Party // the admin vault
}

// open deploys a token of a template; "0" is no cap.
func (h *house) open(template, max string) *desk {
	h.t.Helper()
	draft := h.token(max, func(s *registry.TokenSpec) { s.TemplateID = template })
	o := h.submit(operation.Request{Type: policy.OpDeployToken, TokenID: draft.ID})
	h.approve(o)
	h.ends(o, operation.Completed)
	token, err := h.registry.Token(h.t.Context(), draft.ID)
	require.NoError(h.t, err)
	return &desk{house: h, token: token, own: &operation.Party{Type: operation.PartyVault, VaultAccountID: h.vault}}
}

func (d *desk) ask(t policy.OperationType, edit ...func(*operation.Request)) operation.Request {
	r := operation.Request{Type: t, TokenID: d.token.ID}
	for _, f := range edit {
		f(&r)
	}
	return r
}

func amount(n string) func(*operation.Request) { return func(r *operation.Request) { r.Amount = &n } }
func to(p *operation.Party) func(*operation.Request) {
	return func(r *operation.Request) { r.Recipient = p }
}
func from(p *operation.Party) func(*operation.Request) {
	return func(r *operation.Request) { r.From = p }
}
func of(p *operation.Party) func(*operation.Request) {
	return func(r *operation.Request) { r.Subject = p }
}
func by(p *operation.Party) func(*operation.Request) {
	return func(r *operation.Request) { r.PerformedBy = p }
}
func role(name string) func(*operation.Request) { return func(r *operation.Request) { r.Role = name } }

// done asks, has it approved and sees it completed.
func (d *desk) done(t policy.OperationType, edit ...func(*operation.Request)) *operation.Operation {
	d.t.Helper()
	o := d.submit(d.ask(t, edit...))
	d.approve(o)
	return d.ends(o, operation.Completed)
}

// refused asks for what is refused before anybody is asked.
func (d *desk) refused(kind, restriction string, t policy.OperationType, edit ...func(*operation.Request)) *registry.Refusal {
	d.t.Helper()
	_, err := d.operations.Submit(d.t.Context(), operator, d.ask(t, edit...), nil)
	var r *registry.Refusal
	require.ErrorAs(d.t, err, &r)
	require.Equal(d.t, kind, r.Type, r.Message)
	if restriction != "" {
		require.Equal(d.t, restriction, r.Details["restriction"], r.Message)
	}
	return r
}

func (d *desk) status() registry.TokenStatus {
	d.t.Helper()
	token, err := d.registry.Token(d.t.Context(), d.token.ID)
	require.NoError(d.t, err)
	return token.Status
}

func (d *desk) holds(who string, want string) {
	d.t.Helper()
	a, err := tx.ParseAddress(who)
	require.NoError(d.t, err)
	n, err := d.registry.BalanceOf(d.t.Context(), d.token, a)
	require.NoError(d.t, err)
	require.Equal(d.t, want, n.String())
}

// TestEveryOperationOnEveryTemplate goes from request to chain with each type that a template has, and
// provokes what the contract would refuse in each state on the way.
func TestEveryOperationOnEveryTemplate(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	for _, template := range qrc20.Templates() {
		t.Run(template.ID, func(t *testing.T) {
			sub := *h
			sub.t = t
			sub.open(template.ID, "1000").everything(template.ID == regulated)
		})
	}
}

func (d *desk) everything(regulated bool) {
	const who = "0x00000000000000000000000000000000000000AA"
	alice := address(who)
	second := &operation.Party{Type: operation.PartyVault, VaultAccountID: d.vault2}
	d.done(policy.OpMint, amount("100"), to(d.own))
	if regulated {
		d.lists(alice)
	} else {
		d.refused(registry.OperationNotAllowed, "", policy.OpFreeze, of(alice))
		d.refused(registry.OperationNotAllowed, "", policy.OpAllowlistAdd, of(alice))
	}
	o := d.done(policy.OpTransfer, amount("30"), from(d.own), to(alice))
	require.Equal(d.t, "30", o.Amount.String())
	d.holds(who, "30")
	d.refused(registry.InvalidTokenAmount, "", policy.OpTransfer, amount("71"), from(d.own), to(alice))
	d.refused(registry.InvalidTokenAmount, "", policy.OpTransfer, amount("1"), from(alice), to(d.own)) // no allowance

	d.refused(registry.ComplianceFailed, "NOT_PAUSED", policy.OpUnpause)
	d.done(policy.OpPause)
	require.Equal(d.t, registry.TokenPaused, d.status())
	d.refused(registry.ComplianceFailed, "PAUSED", policy.OpPause)
	d.refused(registry.ComplianceFailed, "PAUSED", policy.OpMint, amount("1"), to(d.own))
	d.refused(registry.ComplianceFailed, "PAUSED", policy.OpTransfer, amount("1"), from(d.own), to(alice))
	d.refused(registry.ComplianceFailed, "PAUSED", policy.OpBurn, amount("1"), from(d.own))
	d.refused(registry.RoleRequired, "", policy.OpUnpause, by(second))
	d.done(policy.OpUnpause)
	require.Equal(d.t, registry.TokenDeployed, d.status())

	// A vault that has no role moves what it holds itself, and nothing else.
	if regulated {
		d.done(policy.OpAllowlistAdd, of(second))
	}
	d.done(policy.OpTransfer, amount("20"), from(d.own), to(second))
	d.done(policy.OpTransfer, amount("5"), from(second), to(alice), by(second))
	d.holds(who, "35")
	d.refused(registry.BurnNotAllowed, "", policy.OpBurn, amount("1"), from(second), by(second))

	d.done(policy.OpGrantRole, role("BURNER"), of(second))
	d.done(policy.OpBurn, amount("5"), from(second), by(second))
	d.done(policy.OpRevokeRole, role("BURNER"), of(second))
	require.Equal(d.t, "95", d.supply(d.token))
	d.reconciled()
}

// lists is what only a regulated token has. It leaves alice on the allowlist and free.
func (d *desk) lists(alice *operation.Party) {
	second := &operation.Party{Type: operation.PartyVault, VaultAccountID: d.vault2}
	r := d.refused(registry.ComplianceFailed, "NOT_ALLOWED", policy.OpMint, amount("1"), to(alice))
	require.Equal(d.t, alice.Address, r.Details["address"])
	require.Equal(d.t, "recipient", r.Details["as"])
	d.refused(registry.ComplianceFailed, "NOT_ALLOWED", policy.OpTransfer, amount("1"), from(d.own), to(alice))
	d.refused(registry.ComplianceFailed, "NOT_ALLOWED", policy.OpAllowlistRemove, of(alice))
	d.refused(registry.RoleRequired, "", policy.OpAllowlistAdd, of(alice), by(second))
	d.done(policy.OpAllowlistAdd, of(alice))
	d.refused(registry.ComplianceFailed, "ALLOWED", policy.OpAllowlistAdd, of(alice))

	d.refused(registry.ComplianceFailed, "NOT_FROZEN", policy.OpUnfreeze, of(alice))
	d.refused(registry.RoleRequired, "", policy.OpFreeze, of(alice), by(second))
	o := d.done(policy.OpFreeze, of(alice), func(r *operation.Request) { r.Reason = "court order 17" })
	require.Equal(d.t, alice.Address, o.Subject.String())
	require.Contains(d.t, d.dumpAudit(), "court order 17")
	d.refused(registry.ComplianceFailed, "FROZEN", policy.OpFreeze, of(alice))
	d.refused(registry.ComplianceFailed, "FROZEN", policy.OpMint, amount("1"), to(alice))
	d.refused(registry.ComplianceFailed, "FROZEN", policy.OpTransfer, amount("1"), from(d.own), to(alice))
	d.done(policy.OpUnfreeze, of(alice))

	// A frozen performer is refused by the contract, whoever the tokens are for.
	d.done(policy.OpFreeze, of(d.own))
	r = d.refused(registry.ComplianceFailed, "FROZEN", policy.OpMint, amount("1"), to(alice))
	require.Equal(d.t, "performer", r.Details["as"])
	r = d.refused(registry.ComplianceFailed, "FROZEN", policy.OpBurn, amount("1"), from(d.own))
	require.Equal(d.t, "from", r.Details["as"])
	d.done(policy.OpUnfreeze, of(d.own))

	d.done(policy.OpAllowlistRemove, of(alice))
	d.refused(registry.ComplianceFailed, "NOT_ALLOWED", policy.OpMint, amount("1"), to(alice))
	d.done(policy.OpAllowlistAdd, of(alice))
}

// TestAskedAgainAtSigning: what was true when people were asked may not be when they have answered. Nothing
// is signed then, and the operation ends as FAILED with the error that its submission would get now.
func TestAskedAgainAtSigning(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{rules: []policy.Rule{approvals(1)}})
	d := h.open(regulated, "1000")
	alice := address("0x00000000000000000000000000000000000000AA")
	second := &operation.Party{Type: operation.PartyVault, VaultAccountID: h.vault2}
	colleague := operator
	colleague.Name, colleague.CredentialID = "operator-2", "cred_2"
	d.done(policy.OpAllowlistAdd, of(alice))
	d.done(policy.OpMint, amount("100"), to(d.own))
	late := func(o *operation.Operation, kind string) {
		t.Helper()
		d.approve(o)
		last := d.ends(o, operation.Failed)
		require.Contains(t, last.FailureReason, kind+": ")
		require.Nil(t, last.TransactionHash)
		require.False(t, last.Authorized)
	}
	ask := func(t policy.OperationType, edit ...func(*operation.Request)) *operation.Operation {
		return d.submit(d.ask(t, edit...))
	}

	mint := ask(policy.OpMint, amount("1"), to(alice))
	move := ask(policy.OpTransfer, amount("1"), from(d.own), to(alice))
	d.done(policy.OpFreeze, of(alice))
	late(mint, registry.ComplianceFailed)
	late(move, registry.ComplianceFailed)
	again, freeze := ask(policy.OpUnfreeze, of(alice)), ask(policy.OpUnfreeze, of(alice))
	require.Contains(t, freeze.Attention, again.ID, "approvers are not told that it is asked for twice")
	d.approve(again)
	d.ends(again, operation.Completed)
	late(freeze, registry.ComplianceFailed)

	mint = ask(policy.OpMint, amount("1"), to(alice))
	pause := ask(policy.OpPause)
	d.done(policy.OpAllowlistRemove, of(alice))
	late(mint, registry.ComplianceFailed)
	burn := ask(policy.OpBurn, amount("1"), from(d.own))
	d.done(policy.OpPause)
	late(burn, registry.ComplianceFailed)
	late(pause, registry.ComplianceFailed)
	d.done(policy.OpUnpause)

	burn, move = ask(policy.OpBurn, amount("60"), from(d.own)), ask(policy.OpBurn, amount("60"), from(d.own))
	d.approve(burn)
	d.ends(burn, operation.Completed)
	late(move, registry.InvalidTokenAmount)

	d.done(policy.OpGrantRole, role("MINTER"), of(second))
	d.done(policy.OpGrantRole, role("FREEZER"), of(second))
	mint = ask(policy.OpMint, amount("1"), to(d.own), by(second))
	freeze = ask(policy.OpFreeze, of(alice), by(second))
	revoke := ask(policy.OpRevokeRole, role("MINTER"), of(second))
	d.done(policy.OpRevokeRole, role("MINTER"), of(second))
	d.done(policy.OpRevokeRole, role("FREEZER"), of(second))
	late(mint, registry.MintNotAllowed)
	late(freeze, registry.RoleRequired)
	late(revoke, registry.RoleRequired)

	// Each of two persons' mints fits; both do not.
	mint = ask(policy.OpMint, amount("900"), to(d.own))
	theirs, err := d.operations.Submit(t.Context(), colleague, d.ask(policy.OpMint, amount("900"), to(d.own)), nil)
	require.NoError(t, err)
	d.approve(mint)
	d.ends(mint, operation.Completed)
	late(theirs, registry.SupplyExceeded)

	// A failed one is asked for again by naming it.
	d.done(policy.OpAllowlistAdd, of(alice))
	d.done(policy.OpBurn, amount("900"), from(d.own))
	o := d.submit(d.ask(policy.OpMint, amount("900"), to(d.own), func(r *operation.Request) { r.Replaces = theirs.ID }))
	require.Equal(t, theirs.ID, o.Replaces)
	d.refused(registry.TxStateConflict, "", policy.OpBurn, amount("1"), from(d.own), func(r *operation.Request) { r.Replaces = theirs.ID })
	d.approve(o)
	d.ends(o, operation.Completed)

	// The wallet's coins are gone, spent by a transaction that is none of ours.
	move = ask(policy.OpTransfer, amount("1"), from(d.own), to(alice))
	h.drain(h.vault)
	late(move, registry.TxInsufficientFunds)
}

// TestTwoMintsAreSignedTogether: what is authorized and not mined counts against the cap at signing, though
// the chain knows nothing of it yet.
func TestTwoMintsAreSignedTogether(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{period: manual, rules: []policy.Rule{approvals(1)}})
	stop := h.mineAlways()
	d := h.open("tpl_qrc20_v1", "1000")
	colleague := operator
	colleague.Name, colleague.CredentialID = "operator-2", "cred_2"
	ours := d.submit(d.ask(policy.OpMint, amount("600"), to(d.own)))
	theirs, err := h.operations.Submit(t.Context(), colleague, d.ask(policy.OpMint, amount("600"), to(d.own)), nil)
	require.NoError(t, err)
	stop()
	h.approve(ours)
	h.pooled(ours.ID)
	h.approve(theirs)
	last := h.ends(theirs, operation.Failed)
	require.Contains(t, last.FailureReason, registry.SupplyExceeded)
	require.Contains(t, last.FailureReason, "600 are pending")
	defer h.mineAlways()()
	h.ends(ours, operation.Completed)
	require.Equal(t, "600", h.supply(d.token))
}

// TestRetired: a retired token takes what stops things and nothing else any more, and the chain does not know.
func TestRetired(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{rules: []policy.Rule{approvals(1)}})
	d := h.open(regulated, "0")
	alice := address("0x00000000000000000000000000000000000000AA")
	retire := func(id string) error {
		_, err := h.operations.Retire(t.Context(), operator, id, "redeemed in full", nil)
		return err
	}
	is := func(err error, kind string) {
		t.Helper()
		var r *registry.Refusal
		require.ErrorAs(t, err, &r)
		require.Equal(t, kind, r.Type, r.Message)
	}
	open := d.submit(d.ask(policy.OpMint, amount("5"), to(d.own)))
	is(retire(d.token.ID), registry.TxStateConflict)
	require.Equal(t, registry.TokenDeployed, d.status())
	d.approve(open)
	d.ends(open, operation.Completed)
	deploying := h.token("0")
	o := h.submit(operation.Request{Type: policy.OpDeployToken, TokenID: deploying.ID})
	is(retire(deploying.ID), registry.TxStateConflict)
	is(retire("token_01J00000000000000000000000"), registry.NotFound)
	_, err := h.operations.Cancel(h.patient(), operator, o.ID, "", nil)
	require.NoError(t, err)
	require.NoError(t, retire(deploying.ID), "a draft retires, too")
	_, err = h.operations.Submit(t.Context(), operator, operation.Request{Type: policy.OpDeployToken, TokenID: deploying.ID}, nil)
	is(err, registry.OperationNotAllowed)

	// An operation that another appliance took in the same moment is stopped at its signature.
	slipped := d.submit(d.ask(policy.OpMint, amount("5"), to(d.own)))
	token, rev, err := h.registry.TokenAt(t.Context(), d.token.ID)
	require.NoError(t, err)
	token.Status = registry.TokenRetired
	commit := h.store.Tx()
	h.registry.StageToken(commit, token, rev)
	_, err = commit.Commit(t.Context())
	require.NoError(t, err)
	h.until("the watch tells of it", func() bool {
		seen, err := h.registry.SeenToken(t.Context(), token.ID)
		return err == nil && seen.Status == registry.TokenRetired
	})
	d.approve(slipped)
	require.Contains(t, d.ends(slipped, operation.Failed).FailureReason, registry.OperationNotAllowed)

	is(retire(d.token.ID), registry.OperationNotAllowed)
	for _, r := range []operation.Request{
		d.ask(policy.OpDeployToken), d.ask(policy.OpMint, amount("1"), to(d.own)), d.ask(policy.OpBurn, amount("1"), from(d.own)),
		d.ask(policy.OpTransfer, amount("1"), from(d.own), to(alice)), d.ask(policy.OpGrantRole, role("MINTER"), of(alice)),
		d.ask(policy.OpUnpause), d.ask(policy.OpUnfreeze, of(alice)), d.ask(policy.OpAllowlistAdd, of(alice)),
	} {
		_, err := h.operations.Submit(t.Context(), operator, r, nil)
		is(err, registry.OperationNotAllowed)
	}
	_, err = h.operations.EstimateDeployment(t.Context(), operator, d.ask(policy.OpDeployToken))
	is(err, registry.OperationNotAllowed)
	require.Equal(t, "5", h.supply(d.token))
	paused, err := h.registry.Paused(t.Context(), d.token)
	require.NoError(t, err)
	require.False(t, paused)
}

func TestEstimateDeployment(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{rules: []policy.Rule{approvals(1)}})
	for _, template := range qrc20.Templates() {
		draft := h.token("1000", func(s *registry.TokenSpec) { s.TemplateID = template.ID })
		e, err := h.operations.EstimateDeployment(t.Context(), operator, operation.Request{TokenID: draft.ID})
		require.NoError(t, err)
		low, high := template.DeployGasBounds()
		require.GreaterOrEqual(t, e.Gas, low)
		require.LessOrEqual(t, e.Gas, high)
		require.Len(t, e.Strategies, 3)
		require.Equal(t, "QC", e.Currency)
		_, total, _, err := h.operations.List(t.Context(), operation.Filter{}, 1, 0, "")
		require.NoError(t, err)
		require.Zero(t, total, "an estimate stored something")
	}
	var r *registry.Refusal
	_, err := h.operations.EstimateDeployment(t.Context(), operator, operation.Request{TokenID: "token_01J00000000000000000000000"})
	require.ErrorAs(t, err, &r)
	require.Equal(t, registry.NotFound, r.Type)
	d := h.open("tpl_qrc20_v1", "0")
	_, err = h.operations.EstimateDeployment(t.Context(), operator, operation.Request{TokenID: d.token.ID})
	require.ErrorAs(t, err, &r)
	require.Equal(t, registry.AlreadyDeployed, r.Type)
}

// dumpAudit is all that the audit log was told.
func (h *house) dumpAudit() string {
	h.t.Helper()
	var all string
	for kv, err := range h.store.All(h.t.Context(), "/mw/audit/", nil) {
		require.NoError(h.t, err)
		all += fmt.Sprintf("%s\n", kv.Value)
	}
	return all
}

// drain sends a wallet's coins away, in a transaction that the seal knows nothing of.
func (h *house) drain(vault string) {
	h.t.Helper()
	w, err := h.registry.OldestWallet(h.t.Context(), vault, networkName)
	require.NoError(h.t, err)
	head, err := h.chain.Head(h.t.Context())
	require.NoError(h.t, err)
	nonce, err := h.chain.NonceAt(h.t.Context(), w.Address, new(big.Int).SetUint64(head.Number))
	require.NoError(h.t, err)
	fees, err := h.chain.Fees(h.t.Context(), "HIGH")
	require.NoError(h.t, err)
	balance, err := h.chain.Balance(h.t.Context(), w.Address)
	require.NoError(h.t, err)
	const gas = 21_000
	away := tx.Address{1}
	u := tx.Unsigned{Kind: h.kind, ChainID: h.chainID, Nonce: nonce, Tip: fees.Tip, MaxFee: fees.MaxFee, Gas: gas, To: &away,
		Value: new(big.Int).Sub(balance, new(big.Int).Mul(fees.MaxFee, big.NewInt(gas)))}
	require.NoError(h.t, h.chain.Send(h.t.Context(), h.stolen(w, &u)))
	h.until("the coins are gone", func() bool {
		left, err := h.chain.Balance(h.t.Context(), w.Address)
		return err == nil && left.Cmp(new(big.Int).Mul(fees.MaxFee, big.NewInt(2*gas))) < 0
	})
}
