package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// What a hostile API process tried, with a key of one approver that it stole or with none. The
// author's own judgement may have been fooled; each record stands for itself.

// decideWith is a decision of the person, signed by those keys.
func (w *world) decideWith(verb policy.Verb, i *policy.Intent, person string, keys ...string) ledger.Record {
	w.t.Helper()
	b, err := i.Encode()
	require.NoError(w.t, err)
	d := &policy.Decision{Format: policy.Format, Decision: verb, Intent: b, Approver: person, DecidedAt: w.now}
	return ledger.Record{Decision: sign(w.t, policy.DocDecision, d, keys...)}
}

// rekey is the charter in which ann's key is replaced.
func (w *world) rekey(with ...string) ledger.Record {
	c := w.next(func(c *policy.Charter) {
		persons := append([]policy.Person(nil), c.Persons...)
		persons[0].Keys = keys(with...)
		c.Persons = persons
	})
	return ledger.Record{Charter: sign(w.t, policy.DocCharter, c, "custodian-1", "custodian-2")}
}

// TestAttack_AnApprovalOfAStolenKeyOutlivesItsExpulsion: the record says which keys signed, so that
// the judgement can tell; and the person whose key was replaced decides once more.
func TestAttack_AnApprovalOfAStolenKeyOutlivesItsExpulsion(t *testing.T) {
	w := begun(t)
	i := w.mint(w.op())
	w.commit(w.approve(i, "ann"), w.approve(i, "bob"))
	counts := func(n int) bool {
		o, ok := w.fold.Operation(i.OperationID)
		require.True(t, ok)
		c, _ := w.fold.Charter()
		return c.Signed(o.Decisions[n])
	}
	require.True(t, counts(0))
	w.pass(time.Second)
	w.refused(ledger.ReasonDuplicate, "ann decided APPROVE", w.approve(i, "ann"))

	w.commit(w.rekey("ann's new"))
	require.False(t, counts(0))
	require.True(t, counts(1))
	w.refused(ledger.ReasonEnvelope, "not known here", w.approve(i, "ann"))
	w.refused(ledger.ReasonDuplicate, "bob decided APPROVE", w.approve(i, "bob"))
	w.commit(w.decideWith(policy.Approve, i, "ann", "ann's new"))
	require.True(t, counts(2))
	w.pass(time.Second)
	w.refused(ledger.ReasonDuplicate, "ann decided APPROVE", w.decideWith(policy.Approve, i, "ann", "ann's new"))

	// One key of two that is kept is enough, and needs no second approval.
	j := w.mint(w.op())
	w.commit(w.rekey("ann's new", "ann's other"), w.decideWith(policy.Approve, j, "ann", "ann's new", "ann's other"))
	w.commit(w.rekey("ann's other"))
	w.pass(time.Second)
	w.refused(ledger.ReasonDuplicate, "ann decided APPROVE", w.decideWith(policy.Approve, j, "ann", "ann's other"))

	// A rejection stays, whatever became of the key; it is not taken back with the new one.
	k := w.mint(w.op())
	w.commit(w.decideWith(policy.Reject, k, "ann", "ann's other"), w.rekey("ann's third"))
	w.pass(time.Second)
	w.refused(ledger.ReasonDuplicate, "ann decided REJECT", w.decideWith(policy.Approve, k, "ann", "ann's third"))
	w.refused(ledger.ReasonConflict, "was rejected", w.authorize(k))
	require.Equal(t, ledger.State(w.fold), ledger.State(w.again()))
}

// TestAttack_ADeploymentTakesThePlaceOfWhatTheCustodiansBound: what the threshold said of a token id
// no deployment unsays, used or not.
func TestAttack_ADeploymentTakesThePlaceOfWhatTheCustodiansBound(t *testing.T) {
	deploys := func(w *world, token string) []ledger.Record {
		d := w.mint(w.op(), deployOf(token, 5))
		w.commit(w.approve(d, "ann"), w.approve(d, "bob"))
		return w.deployment(d)
	}
	w := begun(t)
	_, _, used, _ := w.fold.BindingDocument(id("token", 1))
	require.True(t, used)
	w.refused(ledger.ReasonConflict, "token "+id("token", 1)+" is bound to contract", deploys(w, id("token", 1))...)
	// The custodians change it: the same contract, or another one.
	for _, contract := range []string{"contract", "moved"} {
		b := w.binding()
		current, digest, _, _ := w.fold.BindingDocument(id("token", 1))
		b.Version, b.Replaces, b.ContractAddress = current.Version+1, &digest, account(contract)
		w.commit(ledger.Record{Binding: sign(t, policy.DocBinding, b, "custodian-1", "custodian-2")})
		w.refused(ledger.ReasonConflict, "is bound to contract", deploys(w, id("token", 1))...)
	}

	// What a deployment bound, the custodians confirm: from then on it is theirs.
	w.commit(deploys(w, id("token", 2))...)
	w.commit(deploys(w, id("token", 2))...)
	deployed, digest, used, _ := w.fold.BindingDocument(id("token", 2))
	require.False(t, used)
	b := *deployed
	b.Version, b.Replaces = b.Version+1, &digest
	w.commit(ledger.Record{Binding: sign(t, policy.DocBinding, &b, "custodian-1", "custodian-2")})
	w.refused(ledger.ReasonConflict, "is bound to contract", deploys(w, id("token", 2))...)
}

// TestAttack_ADeploymentGivesEverythingToAStranger: roles and initial supply go to a wallet of the
// deploying vault on that network and to nobody else (spec chain.md).
func TestAttack_ADeploymentGivesEverythingToAStranger(t *testing.T) {
	to := func(admin tx.Address) func(*policy.Intent) {
		return func(i *policy.Intent) {
			deployOf(id("token", 2), 5)(i)
			i.Params.Admin = &admin
			code, err := i.Params.InitCode("tpl_qrc20_v1")
			require.NoError(t, err)
			i.Params.InitcodeKeccak = ptr(tx.HashOf(code))
		}
	}
	w := begun(t)
	sibling := wallet(3)
	sibling.VaultAccountID = id("vault", 1)
	w.commit(ledger.Record{Wallet: sibling})
	for name, admin := range map[string]tx.Address{"a stranger": account("mallory"), "another vault's wallet": wallet(2).Address, "the token itself": account("contract")} {
		d := w.mint(w.op(), to(admin))
		w.commit(w.approve(d, "ann"), w.approve(d, "bob"))
		w.refused(ledger.ReasonConflict, "admin "+admin.String(), w.deployment(d)...)
		_, bound := w.fold.Binding(id("token", 2))
		require.False(t, bound, name)
	}
	d := w.mint(w.op(), to(sibling.Address))
	w.commit(w.approve(d, "ann"), w.approve(d, "bob"))
	w.commit(w.deployment(d)...)
}

// TestAttack_ADeploymentThatNobodyApproved: every deployment asks, so that the ledger holds the
// intent of each; one without is none.
func TestAttack_ADeploymentThatNobodyApproved(t *testing.T) {
	w := begun(t)
	for _, supply := range []uint64{0, 5} {
		d := w.mint(w.op(), deployOf(id("token", 2), supply))
		err := w.fold.Stage(w.now, w.author).Add(w.deployment(d)...)
		require.Error(t, err, "supply %d", supply)
		// Its approvals are of another intent.
		other := w.mint(d.OperationID, deployOf(id("token", 2), supply+1))
		w.commit(w.approve(other, "ann"), w.approve(other, "bob"))
		require.Error(t, w.fold.Stage(w.now, w.author).Add(w.deployment(d)...), "supply %d", supply)
		w.commit(w.approve(d, "cat"))
		require.NoError(t, w.fold.Stage(w.now, w.author).Add(w.deployment(d)...), "the ledger holds it now; who approved is for the judgement")
	}
}

// TestAttack_AYoungerOperationIsForgottenFirst: an operation that lives long and that nobody decided
// on yet stays possible to its last second, whatever younger ones came, settled and went meanwhile.
func TestAttack_AYoungerOperationIsForgottenFirst(t *testing.T) {
	w := begun(t)
	old := w.mint(w.op(), func(i *policy.Intent) { i.ExpiresAt = w.now.Add(24 * time.Hour) })
	late := w.mint(w.op(), func(i *policy.Intent) { i.ExpiresAt = w.now.Add(24 * time.Hour) })
	for range 5 {
		w.pass(time.Second)
		short := w.mint(w.op(), func(i *policy.Intent) { i.ExpiresAt = w.now.Add(time.Minute) })
		w.authorized(short)
		w.commit(ledger.Record{Settle: &ledger.Settle{OperationID: short.OperationID, TxHash: tx.Hash{1}}},
			ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "changed my mind"}})
	}
	// One that was drawn by a clock that runs ahead, as far as that is taken.
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: opAt(w.now.Add(24*time.Hour), 99), Reason: "of tomorrow"}})
	for range 23 {
		w.pass(time.Hour)
		w.tick()
	}
	w.now = old.ExpiresAt.Add(-2 * time.Second)
	w.commit(w.approve(old, "ann"), w.approve(old, "bob"))
	w.now = old.ExpiresAt.Add(-time.Second)
	w.commit(w.authorize(old))
	w.commit(w.authorize(late)) // asked nobody
}
