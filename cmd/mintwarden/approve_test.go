package main

import (
	"bytes"
	"encoding/json/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

func TestApprove(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	i := w.mint(1)
	op := a.offer(i)

	got := mintwarden(t, "approve", i.OperationID, "--yes", "--key", keyFileOf(t, "ann"))
	require.Equal(t, exitDone, got.code, got.err)
	for _, shown := range []string{
		"Mint 1,000 EIT (1000000000000000000000) to " + wallet(2).Address.String() + " on quantum-chain-devnet, fee at most 0.01 QC, asked by oscar, policy dev-default v1: 2 of approvers",
		"sent by " + wallet(1).Address.String() + ", wallet " + id("wallet", 1) + " of vault " + id("vault", 1) + " of ours",
		"contract " + account("contract").String() + " is token " + id("token", 1) + " by the ledger",
		"recipient " + wallet(2).Address.String() + " is wallet " + id("wallet", 2) + " of vault " + id("vault", 2) + " of ours",
		"up to batch 3 (charter 1, dev)",
		"Digest of the intent: " + op.IntentDigest,
		"approved: 1 of 2; " + i.OperationID + " is PENDING_AUTHORIZATION",
	} {
		require.Contains(t, got.out, shown)
	}
	require.NotContains(t, got.out, "WARNING")
	charter, _ := w.fold.Charter()
	d, err := charter.VerifyDecision(a.sent()[0])
	require.NoError(t, err)
	require.Equal(t, policy.Approve, d.Decision)
	require.Equal(t, "ann", d.Approver)
	require.Equal(t, op.Intent, d.Intent)

	// A second time nothing is signed: the ledger has it.
	got = mintwarden(t, "approve", i.OperationID, "--yes", "--json", "--key", keyFileOf(t, "ann"))
	require.Equal(t, exitDone, got.code, got.err)
	var out decided
	require.NoError(t, json.Unmarshal([]byte(got.out), &out))
	require.True(t, out.AlreadyRecorded)
	require.Len(t, a.sent(), 1)

	got = mintwarden(t, "approve", i.OperationID, "--yes", "--expect-digest", op.IntentDigest, "--key", keyFileOf(t, "cat"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "approved: 2 of 2; "+i.OperationID+" is APPROVED")

	// Bob rejects what others approved, and cannot approve it then.
	got = mintwarden(t, "reject", i.OperationID, "--reason", "not agreed", "--yes", "--key", keyFileOf(t, "bob"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "rejected; "+i.OperationID+" is REJECTED")
	got = mintwarden(t, "approve", i.OperationID, "--yes", "--key", keyFileOf(t, "bob"))
	require.Equal(t, exitRefused, got.code)
	require.Len(t, a.sent(), 3)
}

// TestApproveRefuses alters one fact at a time: nothing may be signed.
func TestApproveRefuses(t *testing.T) {
	mallory := account("mallory")
	for _, tt := range []struct {
		name   string
		alter  func(*world, *policy.Intent)
		reason string
	}{
		{"instance", func(_ *world, i *policy.Intent) { i.Instance = "dev-2" }, "the intent is for instance dev-2"},
		{"epoch", func(_ *world, i *policy.Intent) { i.Epoch = 2 }, "epoch 2"},
		{"charter", func(_ *world, i *policy.Intent) { i.Charter = policy.DigestOf([]byte("another")) }, "neither the current one nor an ancestor"},
		{"network", func(_ *world, i *policy.Intent) { i.Network = "ethereum" }, "network ethereum is not in the charter"},
		{"chain id", func(_ *world, i *policy.Intent) { i.ChainID = 1 }, "chain id 1"},
		{"scheme", func(_ *world, i *policy.Intent) { i.Scheme = tx.MLDSA65 }, "signs with dilithium3"},
		{"kind", func(_ *world, i *policy.Intent) { i.Scheme = tx.Secp256k1 }, "kind quantum"},
		{"unknown token", func(_ *world, i *policy.Intent) { i.Token.ID = id("token", 9) }, "has no binding"},
		{"contract", func(_ *world, i *policy.Intent) { i.Token.ContractAddress = &mallory }, "contract " + mallory.String()},
		{"template", func(_ *world, i *policy.Intent) { i.Token.TemplateID = "tpl_qrc20_v2" }, "template tpl_qrc20_v2"},
		{"symbol", func(_ *world, i *policy.Intent) { i.Token.Symbol = "USD" }, "symbol USD"},
		{"decimals", func(_ *world, i *policy.Intent) { i.Token.Decimals = 6 }, "decimals 6"},
		{"performer's address", func(_ *world, i *policy.Intent) { i.Performer.Address = mallory }, "is " + wallet(1).Address.String() + " by the ledger"},
		{"unknown performer", func(_ *world, i *policy.Intent) { i.Performer.WalletID = id("wallet", 9) }, "attests no wallet"},
		{"performer without a role", func(_ *world, i *policy.Intent) {
			i.Performer = policy.Performer{WalletID: id("wallet", 2), Address: wallet(2).Address}
		}, "is no performer"},
		{"policy's digest", func(_ *world, i *policy.Intent) { i.Policies[0].Digest = policy.DigestOf([]byte("mild")) }, "was never in force"},
		{"policy's version", func(_ *world, i *policy.Intent) { i.Policies[0].Version = 7 }, "was never in force"},
		{"policy's id", func(_ *world, i *policy.Intent) { i.Policies[0].ID = id("pol", 9) }, "was never in force"},
		{"later expiry", func(_ *world, i *policy.Intent) { i.ExpiresAt = i.NotBefore.Add(25 * time.Hour) }, "the charter allows 24h"},
		{"not yet", func(_ *world, i *policy.Intent) {
			i.NotBefore, i.ExpiresAt = i.NotBefore.Add(time.Hour), i.ExpiresAt.Add(time.Hour)
		}, "the intent holds from"},
		{"fee cap that fits no transaction", func(_ *world, i *policy.Intent) { i.FeeCap = policy.AmountOf(1) }, "makes no transaction"},
		{"method that the template has not", func(_ *world, i *policy.Intent) {
			i.OperationType, i.Params = policy.OpFreeze, policy.Params{Subject: &mallory}
		}, "makes no transaction"},
		{"own ADMIN", func(_ *world, i *policy.Intent) {
			i.OperationType, i.Params = policy.OpRevokeRole, policy.Params{Role: qrc20.Admin, Subject: ptr(i.Performer.Address)}
		}, "would revoke its own ADMIN"},
		{"frozen token", func(w *world, i *policy.Intent) {
			w.commit(ledger.Record{EventFreeze: &ledger.EventFreeze{TokenID: i.Token.ID, Event: "foreign mint"}})
		}, "is frozen"},
		{"creation code", func(w *world, i *policy.Intent) {
			deploy(w.t, i)
			i.Params.InitcodeKeccak = &tx.Hash{1}
		}, "creation code"},
		{"deployment's parameters", func(w *world, i *policy.Intent) {
			deploy(w.t, i)
			i.Params.Admin = &mallory
		}, "creation code"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			i := w.mint(1)
			tt.alter(w, i)
			a := serve(t, w)
			a.offer(i)
			got := mintwarden(t, "approve", i.OperationID, "--yes", "--key", keyFileOf(t, "ann"))
			require.Equal(t, exitUnverified, got.code, got.err)
			require.Contains(t, got.err, "nothing was signed")
			require.Contains(t, got.err, tt.reason)
			require.Contains(t, got.out, "DOES NOT HOLD")
			require.Empty(t, a.sent())
		})
	}
}

// TestApproveRefusesAnswers is about what the appliance says around the intent.
func TestApproveRefusesAnswers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lie   func(*appliance, *policy.Intent, *client.Operation)
		code  int
		flags []string
		says  string
	}{
		{"digest of another intent", func(_ *appliance, _ *policy.Intent, op *client.Operation) {
			op.IntentDigest = string(policy.DigestOf([]byte("another")))
		}, exitUnverified, nil, "the appliance says sha256:"},
		{"another operation's intent", func(a *appliance, i *policy.Intent, op *client.Operation) {
			b, err := a.w.mint(2).Encode()
			require.NoError(a.t, err)
			op.Intent, op.IntentDigest = b, string(policy.DigestOf(b))
		}, exitUnverified, nil, "serves the intent of operation"},
		{"not an intent", func(_ *appliance, _ *policy.Intent, op *client.Operation) {
			op.Intent, op.IntentDigest = []byte("{}"), string(policy.DigestOf([]byte("{}")))
		}, exitUnverified, nil, "is none"},
		{"an unknown member", func(_ *appliance, _ *policy.Intent, op *client.Operation) {
			op.Intent = append(op.Intent[:len(op.Intent)-1], `,"also":"this"}`...)
			op.IntentDigest = string(policy.DigestOf(op.Intent))
		}, exitUnverified, nil, "is none"},
		{"another digest than expected", func(*appliance, *policy.Intent, *client.Operation) {}, exitUnverified,
			[]string{"--expect-digest", string(policy.NoDigest)}, "you expect sha256:000"},
		{"already over", func(_ *appliance, _ *policy.Intent, op *client.Operation) { op.Status = client.OperationStatusFAILED }, exitRefused, nil, "is FAILED already"},
		{"sealed", func(a *appliance, _ *policy.Intent, _ *client.Operation) { a.sealed = true }, exitSealed, nil, "SEALED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			i := w.mint(1)
			a := serve(t, w)
			tt.lie(a, i, a.offer(i))
			got := mintwarden(t, append([]string{"approve", i.OperationID, "--yes", "--key", keyFileOf(t, "ann")}, tt.flags...)...)
			require.Equal(t, tt.code, got.code, got.err)
			require.Contains(t, got.err, tt.says)
			require.Empty(t, a.sent())
		})
	}
}

// TestApproveByWhom is about who may sign.
func TestApproveByWhom(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	i := w.mint(1)
	i.Requester = "bob"
	a.offer(i)

	got := mintwarden(t, "approve", i.OperationID, "--yes", "--key", keyFileOf(t, "bob"))
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, "others have to approve it")

	got = mintwarden(t, "approve", i.OperationID, "--yes", "--key", keyFileOf(t, "mallory"))
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, "nobody's of the charter in force; "+i.OperationID+" asks 2 of approvers (ann, bob and cat)")

	got = mintwarden(t, "approve", i.OperationID, "--key", keyFileOf(t, "custodian-1")) // before the question of a terminal
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, "custodian-1 is no approver; "+i.OperationID+" asks 2 of approvers (ann, bob and cat)")

	got = mintwarden(t, "approve", i.OperationID, "--yes")
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.err, "--key FILE")
	require.Empty(t, a.sent())

	got = mintwarden(t, "approve", i.OperationID, "--yes", "--key", keyFileOf(t, "dan"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "WARNING: dan is of no group that is asked")
	require.Contains(t, got.out, "asked are 2 of approvers (ann, bob and cat)")

	freeze := &policy.Freeze{Format: policy.Format, Instance: "dev-1", Subject: policy.Subject{Person: "ann"}, Frozen: true, CreatedAt: w.now}
	a.mu.Lock()
	w.commit(ledger.Record{Freeze: signed(t, policy.DocFreeze, freeze, "custodian-1")})
	a.values = w.values
	a.mu.Unlock()
	got = mintwarden(t, "approve", i.OperationID, "--yes", "--key", keyFileOf(t, "ann"))
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, "suspended")
}

// TestWarnings: what a rule says no to is shown, and can be approved, for the
// seal judges by it.
func TestWarnings(t *testing.T) {
	for _, tt := range []struct {
		name  string
		alter func(*world, *policy.Intent)
		says  string
	}{
		{"above MAX_AMOUNT", func(_ *world, i *policy.Intent) { i.Params.Amount = ptr(policy.MaxAmount()) }, "WARNING: MAX_AMOUNT of policy " + id("pol", 1) + " v1 says no"},
		{"recipient is a contract", func(_ *world, i *policy.Intent) { i.Params.Recipient = i.Token.ContractAddress }, "is no account but the contract of token"},
		{"recipient is a stranger", func(_ *world, i *policy.Intent) { i.Params.Recipient = ptr(account("alice")) }, "recipient " + account("alice").String() + " is no wallet of ours"},
		{"ADMIN", func(_ *world, i *policy.Intent) {
			i.OperationType, i.Params = policy.OpGrantRole, policy.Params{Role: qrc20.Admin, Subject: ptr(account("alice"))}
		}, "WARNING: who holds ADMIN"},
		{"deployment", func(w *world, i *policy.Intent) { deploy(w.t, i) }, "the creation code, made again from template tpl_qrc20_v1"},
		{"superseded policy", func(w *world, _ *policy.Intent) {
			in, _ := w.fold.Policy(id("pol", 1))
			w.commit(ledger.Record{Policy: signed(w.t, policy.DocPolicy, w.policy(2, &in.Digest), "custodian-1", "custodian-2")})
		}, "v1 is superseded since; both versions judge"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			i := w.mint(1)
			tt.alter(w, i)
			a := serve(t, w)
			a.offer(i)
			got := mintwarden(t, "approve", i.OperationID, "--yes", "--key", keyFileOf(t, "ann"))
			require.Equal(t, exitDone, got.code, got.err)
			require.Contains(t, got.out, tt.says)
			require.Len(t, a.sent(), 1)
		})
	}
}

// TestRejectWhatDoesNotHold: stopping is easy.
func TestRejectWhatDoesNotHold(t *testing.T) {
	w := newWorld(t)
	i := w.mint(1)
	i.Performer.Address = account("mallory")
	a := serve(t, w)
	a.offer(i)
	got := mintwarden(t, "reject", i.OperationID, "--reason", "forged", "--yes", "--json", "--key", keyFileOf(t, "ann"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.err, "DOES NOT HOLD")
	var out decided
	require.NoError(t, json.Unmarshal([]byte(got.out), &out))
	require.NotEmpty(t, out.Warnings)
	d, err := policy.ParseDecision(a.sent()[0].Payload)
	require.NoError(t, err)
	require.Equal(t, policy.Reject, d.Decision)
	require.Equal(t, "forged", d.Reason)
}

// TestProductionAsksForTheDigest: outside a dev charter --yes alone is no yes.
func TestProductionAsksForTheDigest(t *testing.T) {
	w := newWorld(t, func(c *policy.Charter) { c.Environment = policy.Production })
	a := serve(t, w)
	i := w.mint(1)
	op := a.offer(i)
	got := mintwarden(t, "approve", i.OperationID, "--yes", "--key", keyFileOf(t, "ann"))
	require.Equal(t, exitUsage, got.code, got.err)
	require.Contains(t, got.err, "--expect-digest")
	require.Empty(t, a.sent())
	got = mintwarden(t, "approve", i.OperationID, "--yes", "--expect-digest", op.IntentDigest, "--key", keyFileOf(t, "ann"))
	require.Equal(t, exitDone, got.code, got.err)
}

// TestNobodyToAsk: without a terminal nothing is signed on a piped yes.
func TestNobodyToAsk(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	i := w.mint(1)
	a.offer(i)
	got := mintwarden(t, "approve", i.OperationID, "--key", keyFileOf(t, "ann"))
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.err, "no terminal")
	require.Contains(t, got.err, "--yes, which suffices under this dev charter")
	require.Empty(t, a.sent())
}

// TestWordsAreEscaped: what a requester typed cannot move an approver's cursor.
func TestWordsAreEscaped(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	i := w.mint(1)
	deploy(t, i)
	i.Params.Name = ptr("Ex\u00a0ample\u200b")
	code, err := i.Params.InitCode("tpl_qrc20_v1")
	require.NoError(t, err)
	i.Params.InitcodeKeccak = ptr(tx.HashOf(code))
	a.offer(i)
	got := mintwarden(t, "approve", i.OperationID, "--yes", "--key", keyFileOf(t, "ann"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, `Ex\u00a0ample\u200b`)
}

// TestWhatIsNotShownIsNotSigned: standard output is closed or full.
func TestWhatIsNotShownIsNotSigned(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	i := w.mint(1)
	a.offer(i)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	var said bytes.Buffer
	code := run(t.Context(), []string{"approve", i.OperationID, "--yes", "--key", keyFileOf(t, "ann")}, strings.NewReader(""), full, &said)
	require.Equal(t, exitRefused, code)
	require.Contains(t, said.String(), "nothing was signed")
	require.Empty(t, a.sent())
	code = run(t.Context(), []string{"charter", "show"}, strings.NewReader(""), full, &said)
	require.Equal(t, exitRefused, code)
}

// TestApproveSaysThatItIsAskedForTwice: who approves is told of an equal operation that is open, and may
// approve all the same.
func TestApproveSaysThatItIsAskedForTwice(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	i := w.mint(1)
	a.offer(i).Attention = ptr("equal in type, token, amount and recipient to operation " + id("op", 7) + ", which is still open\x1b[2J")
	got := mintwarden(t, "approve", i.OperationID, "--yes", "--key", keyFileOf(t, "ann"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, strings.Join(strings.Fields(got.out), " "), "WARNING: the appliance says: equal in type, token, amount and recipient to operation "+id("op", 7))
	require.NotContains(t, got.out, "\x1b")
}
