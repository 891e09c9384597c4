package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

func TestDecisions(t *testing.T) {
	w := begun(t)
	i := w.mint(w.op())
	first := w.approve(i, "ann")
	w.commit(first)
	w.refused(ledger.ReasonDuplicate, "this decision of ann is recorded in batch 4", first)
	w.pass(time.Second)
	w.refused(ledger.ReasonDuplicate, "ann decided APPROVE", w.approve(i, "ann"))
	w.refused(ledger.ReasonEnvelope, "names bob", ledger.Record{Decision: func() *policy.Envelope {
		b, err := i.Encode()
		require.NoError(t, err)
		return sign(t, policy.DocDecision, &policy.Decision{Format: 1, Decision: policy.Approve, Intent: b, Approver: "bob", DecidedAt: w.now}, "ann")
	}()})
	w.refused(ledger.ReasonEnvelope, "not known here", w.approve(i, "mallory"))
	w.refused(ledger.ReasonDocument, "epoch 2, this is 1", w.approve(w.mint(w.op(), func(i *policy.Intent) { i.Epoch = 2 }), "bob"))
	w.refused(ledger.ReasonDocument, "instance", w.approve(w.mint(w.op(), func(i *policy.Intent) { i.Instance = "dev-2" }), "bob"))
	w.refused(ledger.ReasonDocument, "never in force", w.approve(w.mint(w.op(), func(i *policy.Intent) { i.Charter = policy.DigestOf(nil) }), "bob"))
	w.refused(ledger.ReasonDocument, "longer than 24h", w.approve(w.mint(w.op(), func(i *policy.Intent) { i.ExpiresAt = w.now.Add(24*time.Hour + time.Second) }), "bob"))
	w.refused(ledger.ReasonDocument, "later than any made by now", w.approve(w.mint(w.op(), func(i *policy.Intent) {
		i.NotBefore, i.ExpiresAt = w.now.Add(time.Hour), w.now.Add(25*time.Hour)
	}), "bob"))
	w.refused(ledger.ReasonExpired, "expired at", w.approve(w.mint(w.op(), func(i *policy.Intent) {
		i.NotBefore, i.ExpiresAt = w.now.Add(-time.Hour), w.now
	}), "bob"))
	w.refused(ledger.ReasonValue, "was drawn at", w.approve(w.mint(opAt(w.now.Add(48*time.Hour), 1)), "bob"))

	// Being of a group is not asked for recording: dan is of none.
	w.commit(w.approve(i, "dan"))
	o, ok := w.fold.Operation(i.OperationID)
	require.True(t, ok)
	b, err := i.Encode()
	require.NoError(t, err)
	require.Equal(t, b, o.Intent)
	require.Equal(t, []policy.RecordedDecision{{Person: "ann", Verb: policy.Approve, Intent: policy.DigestOf(b), Keys: ids("ann"), At: noon, Sequence: 4},
		{Person: "dan", Verb: policy.Approve, Intent: policy.DigestOf(b), Keys: ids("dan"), At: noon.Add(time.Second), Sequence: 5}}, o.Decisions)
	_, payload, ok := o.DecisionBy("ann")
	require.True(t, ok)
	require.Equal(t, first.Decision.PayloadDigest(), payload)
}

// TestExclusion: what ends an operation ends it for everything else.
func TestExclusion(t *testing.T) {
	type step struct {
		name   string
		record func(w *world, i *policy.Intent) ledger.Record
	}
	approve := step{"approve", func(w *world, i *policy.Intent) ledger.Record { return w.approve(i, "cat") }}
	reject := step{"reject", func(w *world, i *policy.Intent) ledger.Record { return w.decide(policy.Reject, i, "cat") }}
	rejectAfter := step{"reject after approving", func(w *world, i *policy.Intent) ledger.Record { return w.decide(policy.Reject, i, "ann") }}
	cancel := step{"cancel", func(w *world, i *policy.Intent) ledger.Record {
		return ledger.Record{Cancel: &ledger.Cancel{OperationID: i.OperationID, Reason: "changed my mind"}}
	}}
	authorize := step{"authorize", func(w *world, i *policy.Intent) ledger.Record { return w.authorize(i) }}
	settle := step{"settle", func(w *world, i *policy.Intent) ledger.Record {
		return ledger.Record{Settle: &ledger.Settle{OperationID: i.OperationID, TxHash: tx.Hash{1}}}
	}}
	const conflict, duplicate, unknown = ledger.ReasonConflict, ledger.ReasonDuplicate, ledger.ReasonUnknown
	for _, c := range []struct {
		first  []step
		then   step
		reason ledger.Reason // empty: taken
	}{
		{[]step{authorize}, authorize, conflict},
		{[]step{authorize}, cancel, conflict},
		{[]step{authorize}, approve, conflict},
		{[]step{authorize}, reject, conflict},
		{[]step{authorize}, rejectAfter, conflict},
		{[]step{authorize, settle}, authorize, conflict},
		{[]step{authorize, settle}, settle, duplicate},
		{[]step{authorize, settle}, cancel, conflict},
		{[]step{cancel}, authorize, conflict},
		{[]step{cancel}, approve, conflict},
		{[]step{cancel}, reject, conflict},
		{[]step{cancel}, cancel, duplicate},
		{[]step{cancel}, settle, unknown},
		{[]step{reject}, authorize, conflict},
		{[]step{reject}, reject, duplicate},
		{[]step{reject}, approve, duplicate},
		{[]step{reject}, rejectAfter, conflict},
		{[]step{reject}, cancel, ""},
		{[]step{rejectAfter}, authorize, conflict},
		{[]step{rejectAfter}, approve, conflict},
		{nil, settle, unknown},
		{nil, rejectAfter, ""},
		{[]step{approve}, authorize, ""},
	} {
		name := "after"
		for _, s := range c.first {
			name += " " + s.name
		}
		t.Run(name+": "+c.then.name, func(t *testing.T) {
			w := begun(t)
			i := w.mint(w.op())
			w.commit(w.approve(i, "ann"), w.approve(i, "bob"))
			for _, s := range c.first {
				w.commit(s.record(w, i))
			}
			if c.reason == "" {
				w.commit(c.then.record(w, i))
				return
			}
			w.refused(c.reason, "", c.then.record(w, i))
			// The same within one batch.
			if len(c.first) == 1 {
				v := begun(t)
				j := v.mint(v.op())
				v.commit(v.approve(j, "ann"), v.approve(j, "bob"))
				stage := v.fold.Stage(v.now, v.author)
				require.NoError(t, stage.Add(c.first[0].record(v, j)))
				then := c.then.record(v, j)
				if then.Authorize != nil && c.first[0].name == "authorize" {
					then.Authorize.Nonce++
				}
				v.isRefusal(stage.Add(then), c.reason, "")
			}
		})
	}
}

// TestRejectionOfAnotherIntent: a rejection counts by operation id, an approval by intent.
func TestRejectionOfAnotherIntent(t *testing.T) {
	w := begun(t)
	i := w.mint(w.op())
	decoy := w.mint(i.OperationID, func(i *policy.Intent) { i.Params.Recipient = ptr(account("mallory")) })
	w.commit(w.approve(i, "ann"), w.approve(i, "bob"), w.decide(policy.Reject, decoy, "cat"))
	w.refused(ledger.ReasonConflict, "was rejected", w.authorize(i))

	j := w.mint(w.op())
	decoy = w.mint(j.OperationID, func(i *policy.Intent) { i.Params.Recipient = ptr(account("mallory")) })
	w.commit(w.approve(decoy, "cat"), w.approve(j, "ann"), w.approve(j, "bob"), w.authorize(j))
	o, _ := w.fold.Operation(j.OperationID)
	require.Equal(t, o.IntentDigest, o.Decisions[0].Intent, "the first decision's")
	b, ok := o.IntentBytes(o.Authorized.Intent)
	require.True(t, ok)
	want, err := j.Encode()
	require.NoError(t, err)
	require.Equal(t, want, b)

	// Who is of no group stops nothing.
	k := w.mint(w.op())
	w.commit(w.approve(k, "ann"), w.approve(k, "bob"), w.decide(policy.Reject, k, "dan"), w.authorize(k))
}

func TestAuthorizationFitsItsIntent(t *testing.T) {
	type authorization = func(*ledger.Authorize)
	for name, c := range map[string]struct {
		intent func(*policy.Intent)
		change authorization
		reason ledger.Reason
		says   string
	}{
		"another wallet":          {nil, func(a *ledger.Authorize) { a.WalletID, a.Nonce = id("wallet", 2), 0 }, ledger.ReasonConflict, "performed by wallet"},
		"unknown wallet":          {nil, func(a *ledger.Authorize) { a.WalletID = id("wallet", 9) }, ledger.ReasonUnknown, "is not in the ledger"},
		"nonce skips":             {nil, func(a *ledger.Authorize) { a.Nonce++ }, ledger.ReasonNonce, "nonce 1 of wallet"},
		"later expiry":            {nil, func(a *ledger.Authorize) { a.Expiry = a.Expiry.Add(time.Second) }, ledger.ReasonConflict, "expiry is"},
		"expired":                 {nil, func(a *ledger.Authorize) { a.Expiry = noon }, ledger.ReasonExpired, "expired at"},
		"expiry beyond all":       {nil, func(a *ledger.Authorize) { a.Expiry = noon.AddDate(1, 0, 0) }, ledger.ReasonValue, "later than an intent may live"},
		"fee above the cap":       {nil, func(a *ledger.Authorize) { a.MaxFee = policy.AmountOf(1e12) }, ledger.ReasonConflict, "fee cap"},
		"fee beyond 256 bits":     {nil, func(a *ledger.Authorize) { a.MaxFee = policy.MaxAmount() }, ledger.ReasonConflict, "fee cap"},
		"gas outside the bounds":  {nil, func(a *ledger.Authorize) { a.GasLimit = 21_000 }, ledger.ReasonConflict, "gas limit 21000"},
		"another transaction":     {nil, func(a *ledger.Authorize) { a.Tx = tx.Hash{7} }, ledger.ReasonConflict, "tx is"},
		"no charge":               {nil, func(a *ledger.Authorize) { a.Charges = nil }, ledger.ReasonCharge, "0 charges"},
		"a smaller charge":        {nil, func(a *ledger.Authorize) { a.Charges[0].Amount = policy.AmountOf(999) }, ledger.ReasonCharge, "charge of 999"},
		"charge as burn":          {nil, func(a *ledger.Authorize) { a.Charges[0].Operation = policy.OpBurn }, ledger.ReasonCharge, "BURN"},
		"charge elsewhere":        {nil, func(a *ledger.Authorize) { a.Charges[0].Contract = account("other") }, ledger.ReasonCharge, account("other").String()},
		"charge on another chain": {nil, func(a *ledger.Authorize) { a.Charges[0].ChainID = 1 }, ledger.ReasonCharge, "chain 1"},
		"a charge too many": {nil, func(a *ledger.Authorize) {
			a.Charges = append(a.Charges, ledger.Charge{Amount: policy.AmountOf(1), ChainID: chainID, Contract: account("contract"), Operation: policy.OpBurn})
		}, ledger.ReasonCharge, "BURN"},
		"a charge for a role": {grantTo(account("bert")), func(a *ledger.Authorize) {
			a.Charges = []ledger.Charge{{Amount: policy.AmountOf(1), ChainID: chainID, Contract: account("contract"), Operation: policy.OpMint}}
		}, ledger.ReasonCharge, "not what the intent asks"},
		"changed decimals":        {func(i *policy.Intent) { i.Token.Decimals = 6 }, nil, ledger.ReasonConflict, "not as it is bound"},
		"changed symbol":          {func(i *policy.Intent) { i.Token.Symbol = "EIX" }, nil, ledger.ReasonConflict, "not as it is bound"},
		"changed contract":        {func(i *policy.Intent) { i.Token.ContractAddress = ptr(account("other")) }, nil, ledger.ReasonConflict, "not as it is bound"},
		"token not bound":         {func(i *policy.Intent) { i.Token.ID = id("token", 2) }, nil, ledger.ReasonUnknown, "is not bound"},
		"another chain":           {func(i *policy.Intent) { i.ChainID = 7 }, nil, ledger.ReasonConflict, "chain id 7"},
		"another network":         {func(i *policy.Intent) { i.Network = "elsewhere" }, nil, ledger.ReasonConflict, "elsewhere"},
		"another address":         {func(i *policy.Intent) { i.Performer.Address = account("mallory") }, nil, ledger.ReasonConflict, "performed by"},
		"another scheme":          {func(i *policy.Intent) { i.Scheme = tx.MLDSA65 }, nil, ledger.ReasonConflict, "ml-dsa-65"},
		"cancel of a taken nonce": {cancelling("5"), nil, ledger.ReasonNonce, "nonce 5 of wallet"},
		"cancel of another nonce": {cancelling("0"), func(a *ledger.Authorize) { a.Nonce = 1 }, ledger.ReasonConflict, "it fills nonce 0, not 1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := begun(t)
			i := w.mint(w.op())
			if c.intent != nil {
				c.intent(i)
			}
			if c.change == nil {
				c.change = func(*ledger.Authorize) {}
			}
			w.commit(w.approve(i, "ann"), w.approve(i, "bob"))
			w.refused(c.reason, c.says, w.authorize(i, c.change))
		})
	}
}

// TestAuthorizationWithoutIntent is of operations that policy asks nobody about: the ledger holds no
// intent, and checks what it can.
func TestAuthorizationWithoutIntent(t *testing.T) {
	w := begun(t)
	w.refused(ledger.ReasonCharge, "not bound", w.authorize(w.mint(w.op()), func(a *ledger.Authorize) { a.Charges[0].Contract = account("other") }))
	w.refused(ledger.ReasonCharge, "chain 1", w.authorize(w.mint(w.op()), func(a *ledger.Authorize) { a.Charges[0].ChainID = 1 }))
	w.refused(ledger.ReasonNonce, "want 0", w.authorize(w.mint(w.op()), func(a *ledger.Authorize) { a.Nonce = 1 }))
	w.commit(w.authorize(w.mint(w.op())))
	require.Equal(t, policy.AmountOf(1000), w.fold.Charged(chainID, account("contract"), policy.OpMint, noon))
	w.refused(ledger.ReasonCharge, "not bound", w.deployment(w.mint(w.op(), deployOf(id("token", 2), 5)))...)
	w.refused(ledger.ReasonConflict, "no deployment before it", w.deployment(w.mint(w.op(), deployOf(id("token", 3), 0)))...)
	w.refused(ledger.ReasonConflict, "no deployment before it", ledger.Record{DeployBinding: func() *policy.Binding {
		b := w.binding()
		b.TokenID = id("token", 4)
		return b
	}()})
}

func TestOutstanding(t *testing.T) {
	w := begun(t, func(c *policy.Charter) { c.Limits.MaxOutstanding = 2 })
	first := w.mint(w.op())
	w.commit(w.authorize(first))
	w.commit(w.authorize(w.mint(w.op())))
	require.Equal(t, 2, w.fold.Outstanding(id("wallet", 1)))
	third := w.mint(w.op())
	w.refused(ledger.ReasonQueued, "has 2 authorizations", w.authorize(third))
	w.commit(ledger.Record{Settle: &ledger.Settle{OperationID: first.OperationID, TxHash: tx.Hash{1}}})
	w.commit(w.authorize(third))
	require.Equal(t, uint64(3), w.fold.NextNonce(id("wallet", 1)))
	require.Len(t, w.fold.Unsettled(), 2)
	// A place is freed, never a charge.
	require.Equal(t, policy.AmountOf(3000), w.fold.Charged(chainID, account("contract"), policy.OpMint, noon))
}

func TestDailyFees(t *testing.T) {
	w := begun(t, func(c *policy.Charter) {
		sum, _ := fee.Mul(gasOf(&policy.Intent{OperationType: policy.OpMint}) * 2)
		c.Networks[0].DailyFee = sum
	})
	w.commit(w.authorize(w.mint(w.op())))
	i := w.mint(w.op())
	w.commit(w.authorize(i))
	w.refused(ledger.ReasonLimit, "pass the daily", w.authorize(w.mint(w.op())))
	w.refused(ledger.ReasonLimit, "pass the daily", w.bump(i, 2, 2))
	w.now = time.Date(2026, 4, 28, 0, 0, 0, 0, time.UTC)
	w.commit(w.authorize(w.mint(w.op())))
}

// bump is a version of the intent's transaction at a multiple of the first fee.
func (w *world) bump(i *policy.Intent, version, times uint64) ledger.Record {
	w.t.Helper()
	o, ok := w.fold.Operation(i.OperationID)
	require.True(w.t, ok)
	raised, _ := fee.Mul(times)
	return ledger.Record{Bump: &ledger.Bump{OperationID: i.OperationID, Version: version, MaxFee: raised, Tip: raised,
		Tx: w.digest(i, o.Authorized.Nonce, o.Authorized.GasLimit, raised, raised)}}
}

func TestBumps(t *testing.T) {
	w := begun(t)
	i := w.mint(w.op(), func(i *policy.Intent) {
		i.FeeCap, _ = fee.Mul(gasOf(&policy.Intent{OperationType: policy.OpMint}) * 12)
	})
	w.refused(ledger.ReasonUnknown, "is not authorized", ledger.Record{Bump: &ledger.Bump{OperationID: i.OperationID, Version: 2, MaxFee: fee, Tip: fee, Tx: tx.Hash{1}}})
	w.authorized(i)
	w.refused(ledger.ReasonConflict, "version 3 of operation", w.bump(i, 3, 2))
	w.refused(ledger.ReasonConflict, "do not raise", w.bump(i, 2, 1))
	w.refused(ledger.ReasonConflict, "fee cap", w.bump(i, 2, 13))
	forged := w.bump(i, 2, 2)
	forged.Bump.Tx = tx.Hash{1}
	w.refused(ledger.ReasonConflict, "tx is", forged)
	lowerTip := w.bump(i, 2, 2)
	lowerTip.Bump.Tip = policy.AmountOf(1)
	w.refused(ledger.ReasonConflict, "do not raise", lowerTip)

	// Bumps need no unexpired intent.
	w.pass(2 * time.Hour)
	for n := uint64(2); n <= ledger.MaxVersions; n++ {
		w.commit(w.bump(i, n, n))
	}
	o, _ := w.fold.Operation(i.OperationID)
	require.Equal(t, uint64(ledger.MaxVersions), o.Version())
	eleventh := w.bump(i, ledger.MaxVersions, 11)
	w.refused(ledger.ReasonLimit, "has 10 versions", eleventh)
	want, _ := fee.Mul(gasOf(i) * ledger.MaxVersions)
	require.Equal(t, want, w.fold.Fees(id("wallet", 1), noon), "the newest version's fee, once")

	j := w.mint(w.op())
	w.authorized(j)
	w.commit(ledger.Record{Settle: &ledger.Settle{OperationID: j.OperationID, TxHash: tx.Hash{1}}})
	w.refused(ledger.ReasonConflict, "was settled", w.bump(j, 2, 2))
}

func TestGrantMakesPerformers(t *testing.T) {
	w := begun(t)
	performers := func() []string {
		b, ok := w.fold.Binding(id("token", 1))
		require.True(t, ok)
		return b.Performers
	}
	stranger := w.mint(w.op(), grantTo(account("bert")))
	w.authorized(stranger)
	require.Equal(t, []string{id("wallet", 1)}, performers())
	ours := w.mint(w.op(), grantTo(wallet(2).Address))
	w.commit(w.approve(ours, "ann"), w.approve(ours, "bob"))
	require.Equal(t, []string{id("wallet", 1)}, performers(), "asked for is not authorized")
	w.commit(w.authorize(ours))
	require.Equal(t, []string{id("wallet", 1), id("wallet", 2)}, performers())
	_, digest, used, _ := w.fold.BindingDocument(id("token", 1))
	require.True(t, used)
	// The custodians' next word is the whole word.
	next := w.binding()
	next.Version, next.Replaces = 2, &digest
	w.commit(ledger.Record{Binding: sign(t, policy.DocBinding, next, "custodian-1", "custodian-2")})
	require.Equal(t, []string{id("wallet", 1)}, performers())
}

func TestDeployment(t *testing.T) {
	w := begun(t)
	d := w.mint(w.op(), deployOf(id("token", 2), 5))
	w.commit(w.approve(d, "ann"), w.approve(d, "bob"))
	both := w.deployment(d)
	contract := both[1].DeployBinding.ContractAddress
	w.refused(ledger.ReasonConflict, "without its binding", both[0])
	w.refused(ledger.ReasonConflict, "no deployment before it", both[1])
	w.refused(ledger.ReasonConflict, "no deployment before it", both[1], both[0])
	w.refused(ledger.ReasonConflict, "must come next", both[0], ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}}, both[1])
	for name, change := range map[string]func(*policy.Binding){
		"of contract":           func(b *policy.Binding) { b.ContractAddress = account("other") },
		"does not name its":     func(b *policy.Binding) { b.Performers = []string{id("wallet", 2)} },
		"not what the intent":   func(b *policy.Binding) { b.Decimals = 6 },
		"is not what the":       func(b *policy.Binding) { b.TokenID = id("token", 3) },
		"its batch of":          func(b *policy.Binding) { b.CreatedAt = b.CreatedAt.Add(time.Second) },
		id("wallet", 9):         func(b *policy.Binding) { b.Performers = append(b.Performers, id("wallet", 9)) },
		"has version 2, want 1": func(b *policy.Binding) { b.Version, b.Replaces = 2, ptr(policy.DigestOf(nil)) },
	} {
		b := *both[1].DeployBinding
		b.Performers = append([]string(nil), b.Performers...)
		change(&b)
		r := w.fold.Stage(w.now, w.author)
		require.ErrorContains(t, r.Add(both[0], ledger.Record{DeployBinding: &b}), name)
		require.Empty(t, r.Records())
	}
	w.commit(both...)
	b, ok := w.fold.BindingByContract(chainID, contract)
	require.True(t, ok)
	require.Equal(t, id("token", 2), b.TokenID)
	require.Equal(t, policy.AmountOf(5), w.fold.Charged(chainID, contract, policy.OpMint, noon))
	// It failed on the chain: deployed again, which replaces the binding.
	again := w.mint(w.op(), deployOf(id("token", 2), 5))
	w.commit(w.approve(again, "ann"), w.approve(again, "bob"))
	w.commit(w.deployment(again)...)
	second, _ := w.fold.Binding(id("token", 2))
	require.Equal(t, uint64(2), second.Version)
	_, ok = w.fold.BindingByContract(chainID, contract)
	require.False(t, ok)
	// Once something was authorized there, it stands.
	m := w.mint(w.op(), func(i *policy.Intent) { i.Token.ID, i.Token.ContractAddress = id("token", 2), &second.ContractAddress })
	w.authorized(m)
	third := w.mint(w.op(), deployOf(id("token", 2), 5))
	w.commit(w.approve(third, "ann"), w.approve(third, "bob"))
	w.refused(ledger.ReasonConflict, "operations were authorized there", w.deployment(third)...)
}

// TestUsage: buckets of 15 minutes, the one that the moment falls into whole.
func TestUsage(t *testing.T) {
	w := begun(t, func(c *policy.Charter) { c.Limits.MaxOutstanding = 64 })
	at := func(hour, minute int) time.Time { return time.Date(2026, 4, 27, hour, minute, 0, 0, time.UTC) }
	for _, m := range []time.Time{at(12, 0), at(12, 14), at(12, 15), at(13, 59)} {
		w.now = m
		w.commit(w.authorize(w.mint(w.op())))
	}
	for since, want := range map[time.Time]uint64{at(0, 0): 4000, at(12, 0): 4000, at(12, 7): 4000, at(12, 15): 2000, at(13, 0): 1000, at(13, 59): 1000, at(14, 0): 0} {
		require.Equal(t, policy.AmountOf(want), w.fold.Charged(chainID, account("contract"), policy.OpMint, since), since)
	}
	require.Equal(t, policy.Amount{}, w.fold.Charged(chainID, account("contract"), policy.OpBurn, noon))
	require.Equal(t, policy.Amount{}, w.fold.Charged(chainID, account("other"), policy.OpMint, noon))

	most := w.mint(w.op(), func(i *policy.Intent) { i.Params.Amount = ptr(policy.MaxAmount()) })
	w.commit(w.authorize(most))
	require.Equal(t, policy.MaxAmount(), w.fold.Charged(chainID, account("contract"), policy.OpMint, noon), "no sum passes 2^256-1")
}
