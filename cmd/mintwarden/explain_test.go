package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// approval is a person's, as the seal records it.
func (w *world) approval(i *policy.Intent, person string) ledger.Record {
	w.t.Helper()
	b, err := i.Encode()
	require.NoError(w.t, err)
	return ledger.Record{Decision: signed(w.t, policy.DocDecision, &policy.Decision{Format: policy.Format, Decision: policy.Approve, Intent: b,
		Approver: person, DecidedAt: w.now}, person)}
}

// authorization is what a seal would record for a mint, whatever the policies say.
func (w *world) authorization(i *policy.Intent) ledger.Record {
	w.t.Helper()
	b, err := i.Encode()
	require.NoError(w.t, err)
	gas, _ := qrc20.GasBounds("mint")
	fee := policy.AmountOf(1_000_000_000)
	a := &ledger.Authorize{OperationID: i.OperationID, Intent: policy.DigestOf(b), WalletID: i.Performer.WalletID, Nonce: w.fold.NextNonce(i.Performer.WalletID),
		GasLimit: gas, MaxFee: fee, Tip: fee, Expiry: i.ExpiresAt,
		Charges: []ledger.Charge{{Amount: *i.Params.Amount, ChainID: i.ChainID, Contract: *i.Token.ContractAddress, Operation: policy.OpMint}}}
	u, err := i.Transaction(a.Nonce, gas, fee.Big(), fee.Big())
	require.NoError(w.t, err)
	a.Tx, err = u.SigningHash()
	require.NoError(w.t, err)
	return ledger.Record{Authorize: a}
}

func TestExplain(t *testing.T) {
	w := newWorld(t)
	i := w.mint(1)
	w.commit(w.approval(i, "ann"), w.approval(i, "bob"))
	w.commit(w.authorization(i))
	a := serve(t, w)
	got := mintwarden(t, "explain", i.OperationID)
	require.Equal(t, exitDone, got.code, got.err)
	for _, words := range []string{"ann", "bob", "2 of approvers", "authorized"} {
		require.Contains(t, got.out, words)
	}
	// Offline from here on: the appliance is not asked for anything.
	a.mu.Lock()
	a.values = nil
	a.mu.Unlock()
	t.Setenv(client.EnvURL, "https://"+closedPort(t))
	again := mintwarden(t, "explain", i.OperationID, "--offline")
	require.Equal(t, exitDone, again.code, again.err)
	require.Equal(t, got.out, again.out)
	inJSON := mintwarden(t, "explain", i.OperationID, "--offline", "--json")
	require.Equal(t, exitDone, inJSON.code, inJSON.err)
	require.Contains(t, inJSON.out, `"differs": false`)
	none := mintwarden(t, "explain", id("op", 77), "--offline")
	require.Equal(t, exitRefused, none.code)
	require.Contains(t, none.err, "holds nothing of operation")
	require.Equal(t, exitUnreachable, mintwarden(t, "explain", i.OperationID).code)
	require.Equal(t, exitUsage, mintwarden(t, "explain", i.OperationID, "--at", "noon").code)
}

// TestAttack_ASealThatSignedWithOneApprovalIsExplained: what was recorded does not
// follow from what was in force.
func TestAttack_ASealThatSignedWithOneApprovalIsExplained(t *testing.T) {
	w := newWorld(t)
	i := w.mint(1)
	w.commit(w.approval(i, "ann"))
	w.commit(w.authorization(i))
	serve(t, w)
	got := mintwarden(t, "explain", i.OperationID)
	require.Equal(t, exitUnverified, got.code)
	require.Contains(t, got.out, "DOES NOT AGREE")
	require.Contains(t, got.err, "does not follow from what was in force")
}

// TestExplainReadsNoDamagedCopy: a byte changed on this disk is found.
func TestExplainReadsNoDamagedCopy(t *testing.T) {
	w := newWorld(t)
	i := w.mint(1)
	w.commit(w.approval(i, "ann"))
	serve(t, w)
	require.Equal(t, exitDone, mintwarden(t, "explain", i.OperationID).code)
	path := filepath.Join(os.Getenv("XDG_STATE_HOME"), "mintwarden", "dev-1", ledgerFile)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	text[len(text)/2] ^= 1
	require.NoError(t, os.WriteFile(path, text, 0o600))
	got := mintwarden(t, "explain", i.OperationID, "--offline")
	require.Equal(t, exitUnverified, got.code, got.err)
}

// TestRehearsalIsShownBeforeSigning: a custodian sees which operations of the last 30
// days the proposal would have decided otherwise, from the verified ledger.
func TestRehearsalIsShownBeforeSigning(t *testing.T) {
	w := newWorld(t)
	i := w.mint(1)
	w.commit(w.approval(i, "ann"), w.approval(i, "bob"))
	w.commit(w.authorization(i))
	a := serve(t, w)
	less, err := policy.ParseAmount("999000000000000000000")
	require.NoError(t, err)
	a.propose(id("pol", 1), nextPolicy(t, w, func(p *policy.Policy) { p.Rules[1].Amount = &less }))
	got := mintwarden(t, "policy", "sign", "dev-default", "--yes", "--key", keyFileOf(t, "custodian-1"))
	require.Equal(t, exitDone, got.code, got.err)
	for _, words := range []string{"1 of 1 operation would have been decided otherwise", i.OperationID, "MAX_AMOUNT", "one custodian's signature, for it only tightens"} {
		require.Contains(t, got.out, words)
	}
	a.propose(id("pol", 1), nextPolicy(t, w))
	got = mintwarden(t, "policy", "sign", "dev-default", "--yes", "--key", keyFileOf(t, "custodian-2"))
	require.Contains(t, got.out, "none of 1 operation would have been decided otherwise")
	require.Contains(t, got.out, "It takes the signatures of 2 custodians")
}

// TestSignedRequest: under a charter with signedRequests the requester signs the
// intent at once, if it is what was typed.
func TestSignedRequest(t *testing.T) {
	w := newWorld(t, func(c *policy.Charter) {
		c.Flags.SignedRequests = true
		c.Persons = append(c.Persons, policy.Person{Name: "oscar", Keys: keys("oscar"), Users: []string{id("user", 9)}})
	})
	a := serve(t, w)
	i := w.mint(1)
	i.OperationID = id("op", 1)
	b, err := i.Encode()
	require.NoError(t, err)
	a.offerBytes(i.OperationID, b)
	mint := func(amount string) result {
		return mintwarden(t, "token", "mint", id("token", 1), "--amount", amount, "--to", i.Params.Recipient.String(), "--yes", "--key", keyFileOf(t, "oscar"))
	}
	// The appliance makes a mint of 1,000 out of a request for 1.
	got := mint("1")
	require.Equal(t, exitUnverified, got.code)
	require.Contains(t, got.err, "the appliance made another operation than you asked for")
	// By nobody else.
	got = mintwarden(t, "operation", "sign", i.OperationID, "--yes", "--key", keyFileOf(t, "ann"))
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, "oscar asked for")
	// Afterwards.
	got = mintwarden(t, "token", "mint", id("token", 1), "--amount", "1000", "--to", "treasury")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.err, "mintwarden operation sign "+i.OperationID)
	require.Empty(t, a.sent())

	got = mint("1000")
	require.Equal(t, exitDone, got.code, got.err)
	require.Len(t, a.sent(), 1)
	charter, _ := w.fold.Charter()
	r, err := charter.VerifyRequest(a.sent()[0])
	require.NoError(t, err)
	require.Equal(t, "oscar", r.Requester)
	require.Equal(t, b, r.Intent)

	got = mintwarden(t, "operation", "sign", i.OperationID, "--yes", "--key", keyFileOf(t, "oscar"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Len(t, a.sent(), 1) // once is enough
}

// TestAttack_DecimalsThatTheApplianceMakesUp: a requester who types one token signs no mint of a thousand, though the
// appliance says that one token has so many base units; and under a production charter nothing unseen that only the
// appliance knows: whom a name means, and what a token is deployed with.
func TestAttack_DecimalsThatTheApplianceMakesUp(t *testing.T) {
	for _, environment := range []policy.Environment{policy.Dev, policy.Production} {
		w := newWorld(t, func(c *policy.Charter) {
			c.Flags.SignedRequests, c.Environment = true, environment
			c.Persons = append(c.Persons, policy.Person{Name: "oscar", Keys: keys("oscar"), Users: []string{id("user", 9)}})
		})
		a := serve(t, w)
		i := w.mint(1)
		i.OperationID, i.Params.Recipient = id("op", 1), ptr(wallet(1).Address)
		b, err := i.Encode()
		require.NoError(t, err)
		a.offerBytes(i.OperationID, b)
		mint := func(amount, to string, more ...string) result {
			return mintwarden(t, append([]string{"token", "mint", id("token", 1), "--amount", amount, "--to", to, "--yes", "--key", keyFileOf(t, "oscar")}, more...)...)
		}
		a.shifts = 3
		got := mint("1", id("wallet", 1))
		require.Equal(t, exitUnverified, got.code, got.err)
		require.Contains(t, got.err, "said that the token has 21 decimals, by the ledger it has 18")
		a.shifts = 0
		got = mint("1000", id("wallet", 1), "--performed-by", id("wallet", 2))
		require.Equal(t, exitUnverified, got.code, got.err)
		require.Contains(t, got.err, "sends it, which is not whom you named")
		got = mint("1000", id("wallet", 1), "--replaces", id("op", 7))
		require.Equal(t, exitUnverified, got.code, got.err)
		require.Contains(t, got.err, "it replaces")
		require.Empty(t, a.sent())
		if got = mint("1000", "treasury"); environment == policy.Production {
			require.Equal(t, exitUsage, got.code, got.err)
			require.Contains(t, got.err, "--yes needs --expect-digest")
			require.Empty(t, a.sent())
			got = mint("1000", id("wallet", 1))
		}
		require.Equal(t, exitDone, got.code, got.err)
		require.Len(t, a.sent(), 1)
	}
	require.False(t, (&expectation{operation: policy.OpDeployToken}).whole())
}

// simulated is what the appliance says in TestSimulate.
var simulated = client.Simulation{At: time.Unix(1_800_000_000, 0).UTC(), Outcome: "DENY",
	Rules: []client.RuleOutcome{{Rule: "MAX_AMOUNT", Outcome: "DENY", Message: "too much"}}}

func TestSimulate(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	a.propose(id("pol", 1), nextPolicy(t, w))
	got := mintwarden(t, "policy", "simulate", "dev-default", "--operation", "MINT", "--token", id("token", 1), "--amount", "1000", "--to", "treasury",
		"--requester", "oscar", "--approvers", "ann,bob")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "too much")
	require.Contains(t, a.requests[0].body, `"amount":"1000000000000000000000"`)
	require.Contains(t, a.requests[0].body, `"approvers":["ann","bob"]`)
	require.Equal(t, exitUsage, mintwarden(t, "policy", "simulate", "dev-default", "--operation", "MINT", "--amount", "1").code)
	require.Equal(t, exitUsage, mintwarden(t, "policy", "simulate", "dev-default", "--operation", "MINT", "--at", "noon").code)
}
