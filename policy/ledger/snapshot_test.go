package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/policytest"
)

// snapshot is of the fold as it is, signed by the author.
func (w *world) snapshot() []byte {
	w.t.Helper()
	body, err := w.fold.Snapshot()
	require.NoError(w.t, err)
	return w.vouched(body, w.author)
}

func (w *world) vouched(body []byte, author string) []byte {
	w.t.Helper()
	seed := seedOf(author)
	signed, err := ledger.SignedSnapshot(body, author, ed25519.Sign(ed25519.NewKeyFromSeed(seed[:]), ledger.SnapshotInput(author, policy.DigestOf(body))))
	require.NoError(w.t, err)
	return signed
}

// restored is the fold that comes back from its snapshot, and makes the same one again.
func (w *world) restored() *ledger.Fold {
	w.t.Helper()
	signed := w.snapshot()
	f, err := ledger.RestoreFold(signed, w.root)
	require.NoError(w.t, err)
	again, err := f.Snapshot()
	require.NoError(w.t, err)
	require.True(w.t, bytes.HasPrefix(signed, again), "another snapshot")
	require.Equal(w.t, ledger.State(w.fold), ledger.State(f))
	return f
}

// eventful is a log in which everything happened that a snapshot holds.
func eventful(t testing.TB) *world {
	w := history(t)
	w.pass(time.Minute)
	w.commit(ledger.Record{Freeze: sign(t, policy.DocFreeze, freezeOf(policy.Subject{Person: "dan"}, true, w.now), "custodian-3")},
		ledger.Record{Freeze: sign(t, policy.DocFreeze, freezeOf(policy.Subject{ApplianceID: "appliance-2"}, true, w.now), "custodian-1")},
		ledger.Record{Checkpoint: &ledger.Checkpoint{Size: 7, Root: policy.DigestOf([]byte("root"))}})
	bumped := w.mint(w.op())
	w.authorized(bumped)
	raised, _ := fee.Mul(2)
	a, _ := w.fold.Operation(bumped.OperationID)
	w.commit(ledger.Record{Bump: &ledger.Bump{OperationID: bumped.OperationID, Version: 2, MaxFee: raised, Tip: raised,
		Tx: w.digest(bumped, a.Authorized.Nonce, a.Authorized.GasLimit, raised, raised)}})
	// A policy that one custodian tightened, twice.
	for n := range 2 {
		in, _ := w.fold.Policy(id("pol", 1))
		p := *in.Policy
		p.Version, p.Replaces = p.Version+1, ptr(in.Digest)
		p.Rules = append(p.Rules[:len(p.Rules):len(p.Rules)], policy.Rule{Type: policy.RuleMaxAmount, Amount: ptr(policy.AmountOf(uint64(9000 - n)))})
		w.commit(ledger.Record{Policy: sign(t, policy.DocPolicy, &p, "custodian-2")})
	}
	// A charter without dan, and decisions of before and after it that are still open.
	open := w.mint(w.op())
	w.commit(w.approve(open, "ann"))
	c := w.next(func(c *policy.Charter) { c.Persons = c.Persons[:3]; c.Flags.SignedRequests = true })
	w.commit(ledger.Record{Charter: sign(t, policy.DocCharter, c, "custodian-1", "custodian-2")}, w.approve(open, "bob"))
	requested := w.mint(w.op(), func(i *policy.Intent) { i.Requester = "cat" })
	w.commit(requestOf(w, requested, "cat"), w.approve(requested, "bob"), w.decide(policy.Reject, requested, "ann"))
	settled := w.mint(w.op(), func(i *policy.Intent) { i.Requester = "cat" })
	w.commit(requestOf(w, settled, "cat"), w.approve(settled, "bob"), w.authorize(settled))
	w.commit(ledger.Record{Settle: &ledger.Settle{OperationID: settled.OperationID, TxHash: tx.Hash{1}}})
	appliance, _ := c.Appliance("appliance-2")
	head, digest := w.fold.Head()
	w.commit(ledger.Record{Join: sign(t, policy.DocJoin, &ledger.Join{Format: 1, Instance: "dev-1", ApplianceID: "appliance-2", LedgerKey: appliance.LedgerKey,
		UnsealKey: appliance.UnsealKey, Sequence: head, Head: digest, CreatedAt: w.now}, "custodian-1", "custodian-3")})
	b := w.recovered(w.recovering(func(d *ledger.Recover) {
		d.Lanes[0].Nonce = 20
		d.Usage = []ledger.RecoverUsage{{ChainID: chainID, ContractAddress: account("contract"), Operation: policy.OpMint, Amount: policy.AmountOf(5000)}}
	}))
	value := w.encode(b)
	_, err := w.fold.Apply(value)
	require.NoError(t, err)
	w.values = append(w.values, value)
	w.commit(w.trim(3))
	return w
}

func requestOf(w *world, i *policy.Intent, person string) ledger.Record {
	w.t.Helper()
	b, err := i.Encode()
	require.NoError(w.t, err)
	return ledger.Record{Request: sign(w.t, policy.DocRequest, &policy.Request{Format: policy.Format, Intent: b, Requester: person, RequestedAt: w.now}, person)}
}

// TestRestoreAtEveryBatch: at every point of a log, a fold that comes back from its snapshot is the
// fold, and goes on as it does.
func TestRestoreAtEveryBatch(t *testing.T) {
	w := eventful(t)
	f := &world{t: t, fold: ledger.NewFold(w.root), root: w.root, author: w.author}
	var restored []*ledger.Fold
	for _, value := range w.values {
		for _, r := range append(restored, f.fold) {
			_, err := r.Apply(value)
			require.NoError(t, err)
		}
		restored = append(restored, f.restored())
	}
	for _, r := range restored {
		require.Equal(t, ledger.State(w.fold), ledger.State(r))
	}
}

// TestRestoreGoesOnAsTheFold draws what happens next, days of it too, so that things are let go of.
func TestRestoreGoesOnAsTheFold(t *testing.T) {
	first := begun(t)
	rapid.Check(t, func(r *rapid.T) {
		p := &play{world: &world{t: t, fold: first.again(), root: first.root, author: first.author, term: first.term, now: first.now}}
		other := p.restored()
		for range rapid.IntRange(1, 6).Draw(r, "batches") {
			p.pass(time.Duration(rapid.SampledFrom([]int{0, 1, 900, 3000, 90_000, 200_000}).Draw(r, "passed")) * time.Second)
			stage := p.fold.Stage(p.now, p.author)
			for range rapid.IntRange(1, 6).Draw(r, "records") {
				_ = stage.Add(p.records(r, stage)...)
			}
			if len(stage.Records()) == 0 {
				continue
			}
			b := p.signed(stage.Batch(p.term))
			value := p.encode(b)
			require.NoError(r, p.fold.Take(stage, b, value))
			_, err := other.Apply(value)
			require.NoError(r, err)
			require.Equal(r, ledger.State(p.fold), ledger.State(other))
			if rapid.Bool().Draw(r, "again") {
				other = p.restored()
			}
		}
	})
}

func TestSnapshotOfNothing(t *testing.T) {
	_, err := ledger.NewFold(policy.NoDigest).Snapshot()
	require.Error(t, err)
	require.Error(t, begun(t).fold.WriteSnapshot(full{}))
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, bytes.ErrTooLarge }

// TestAttack_AChangedSnapshot: every line of it dropped, repeated, moved or changed is refused, by its
// signature and, where an appliance signs what it likes, by what people signed.
func TestAttack_AChangedSnapshot(t *testing.T) {
	w := eventful(t)
	signed := w.snapshot()
	refused := func(value []byte, says string) {
		t.Helper()
		_, err := ledger.RestoreFold(value, w.root)
		require.ErrorIs(t, err, ledger.ErrSnapshot)
		require.ErrorContains(t, err, says)
	}
	lines := bytes.SplitAfter(signed, []byte("\n"))
	lines = lines[:len(lines)-1]
	for n := range lines {
		refused(bytes.Join(append(append([][]byte{}, lines[:n]...), lines[n+1:]...), nil), "")
		refused(bytes.Join(append(append(append([][]byte{}, lines[:n+1]...), lines[n]), lines[n+1:]...), nil), "")
	}
	step := 211
	if policytest.Brief() {
		step = 1009
	}
	for n := 0; n < len(signed); n += step {
		changed := bytes.Clone(signed)
		changed[n] ^= 1
		refused(changed, "")
	}
	refused(nil, "ends before its signature")
	refused(signed[:len(signed)-1], "")
	refused(append(bytes.Clone(signed), '\n'), "last line")

	body, _, _ := bytes.Cut(signed, []byte(`{"author":"appliance-1","signature"`))
	refused(w.vouched(body, "mallory"), "no appliance of the charter")
	seed := seedOf("mallory")
	forged, err := ledger.SignedSnapshot(body, "appliance-1", ed25519.Sign(ed25519.NewKeyFromSeed(seed[:]), ledger.SnapshotInput("appliance-1", policy.DigestOf(body))))
	require.NoError(t, err)
	refused(forged, "does not hold")
	_, err = ledger.SignedSnapshot(body, "appliance-1", nil)
	require.Error(t, err)
	_, err = ledger.SignedSnapshot(body, "", make([]byte, 64))
	require.Error(t, err)
	_, err = ledger.RestoreFold(signed, policy.DigestOf([]byte("another root")))
	require.ErrorContains(t, err, "begins with charter")
	_, ok := ledger.SnapshotDigest([]byte("x"))
	require.False(t, ok)
	digest, ok := ledger.SnapshotDigest(signed)
	require.True(t, ok)
	require.Equal(t, policy.DigestOf(body), digest)
}

// TestAttack_AnApplianceSignsAFalseSnapshot: root on one appliance has its ledger key, and nobody
// else's. What people signed cannot be made up for the others.
func TestAttack_AnApplianceSignsAFalseSnapshot(t *testing.T) {
	w := eventful(t)
	body, err := w.fold.Snapshot()
	require.NoError(t, err)
	changed := func(old, new string) []byte {
		t.Helper()
		require.Equal(t, 1, strings.Count(string(body), old), old)
		return w.vouched([]byte(strings.Replace(string(body), old, new, 1)), w.author)
	}
	// line finds the one that holds both texts.
	line := func(texts ...string) string {
		t.Helper()
		var found string
		for _, l := range strings.SplitAfter(string(body), "\n") {
			all := true
			for _, text := range texts {
				all = all && strings.Contains(l, text)
			}
			if all {
				found = l
			}
		}
		require.NotEmpty(t, found, texts)
		return found
	}
	refused := func(value []byte, says string) {
		t.Helper()
		_, err := ledger.RestoreFold(value, w.root)
		require.ErrorIs(t, err, ledger.ErrSnapshot)
		require.ErrorContains(t, err, says)
	}
	rewrite := func(l string, change ...string) string { return strings.NewReplacer(change...).Replace(l) }
	seal := func(e *policy.Envelope) string { return string(envelopeJSON(t, e)) }
	policyLine := line(`{"alone":`, `"version":1}`)
	whole := policyLine[strings.Index(policyLine, `"envelope"`):strings.Index(policyLine, `,"policyId"`)]

	// A policy of nobody's, one custodian's widening, the first of a line by one custodian.
	easy := w.policy()
	easy.Rules[0].MinApprovers = 1
	b, err := easy.Encode()
	require.NoError(t, err)
	unsigned := policy.Envelope{PayloadType: policy.PayloadType(policy.DocPolicy), Payload: b, Signatures: []policy.Signature{{KeyID: ids("custodian-1")[0], Sig: []byte("none")}}}
	refused(changed(whole, `"envelope":`+seal(&unsigned)), "does not hold")
	refused(changed(whole, `"envelope":`+seal(sign(t, policy.DocPolicy, easy, "custodian-1"))), "threshold is 2")
	refused(changed(policyLine, ""), "")
	refused(changed(policyLine, rewrite(policyLine, `"alone":false`, `"alone":true`)), "no version before")
	refused(changed(policyLine, policyLine[:strings.Index(policyLine, `,"superseded"`)]+policyLine[strings.Index(policyLine, `,"version":1}`):]), "nothing superseded")
	refused(changed(policyLine, rewrite(policyLine, `"version":1}`, `"version":2}`)), "its document says")
	refused(changed(policyLine, `{"alone":false,"envelope":null`+policyLine[strings.Index(policyLine, `,"policyId"`):]), "without an envelope")
	second := line(`{"alone":`, `"version":2}`)
	refused(changed(second, rewrite(second, `"alone":true`, `"alone":false`)), "threshold is 2")
	newest := line(`{"alone":`, `"version":3}`)
	refused(changed(newest, rewrite(newest, `,"version":3}`, `,"superseded":"2026-04-27T12:00:00Z","version":3}`)), "superseded by none")
	binding := w.binding()
	binding.Performers = []string{id("wallet", 1), id("wallet", 2)}
	bound := line(`"performers"`, id("token", 1), `"envelope"`)
	refused(changed(bound, bound[:strings.Index(bound, `{"envelope"`)]+`{"envelope":`+seal(sign(t, policy.DocBinding, binding, "custodian-3"))+bound[strings.Index(bound, `,"performers"`):]), "threshold is 2")

	// A decision of nobody's, one on another operation, one too many, one too few.
	decided := line(`"number":0`, policy.PayloadType(policy.DocDecision))
	i := w.mint(w.op())
	refused(changed(decided, decided[:strings.Index(decided, `"envelope":`)]+`"envelope":`+seal(w.approve(i, "ann").Decision)+decided[strings.Index(decided, `,"number"`):]), "stands with operation")
	refused(changed(decided, ""), "has no place")
	refused(changed(decided, rewrite(decided, `"number":0`, `"number":1`)), "")
	requested := line(`"number":0`, policy.PayloadType(policy.DocRequest))
	refused(changed(requested, requested[:strings.Index(requested, `"envelope":`)]+`"envelope":`+seal(requestOf(w, w.mint(w.op(), func(i *policy.Intent) { i.Requester = "cat" }), "cat").Request)+requested[strings.Index(requested, `,"number"`):]), "stands with operation")

	// Another charter in force: one more that the threshold did not sign, or one left out.
	charters := line(`"section":"charters"`)
	refused(changed(charters, rewrite(charters, `"lines":2`, `"lines":1`)), "")
	refused(changed(`"instance":"dev-1","recovery"`, `"instance":"dev-2","recovery"`), "the charter says dev-1")
	for _, c := range []string{"documents", "policies", "bindings", "contracts", "wallets", "lanes", "operations", "decisions", "requests", "counters", "fees", "frozen", "joins"} {
		refused(changed(`"section":"`+c+`"`, `"section":"`+c+`s"`), "want "+c)
	}
}

// TestSnapshotIsStrict: of an appliance's own lines there is one spelling too.
func TestSnapshotIsStrict(t *testing.T) {
	w := eventful(t)
	body, err := w.fold.Snapshot()
	require.NoError(t, err)
	for old, new := range map[string]string{
		`"format":1`:                `"format":2`,
		`"rejected":true`:           `"rejected": true`,
		`"type":"settle"`:           `"type":"cancel"`,
		`,"type":"authorize"`:       `,"type":"bump"`,
		`"recorded":{`:              `"recorded":null,"x":{`,
		`"authorizedAt":{`:          `"settledAt":{`,
		`"expires":"`:               `"expires":"x`,
		`"operationId":"op_`:        `"operationId":"OP_`,
		`"births":[`:                `"births":[null,`,
		`"type":"trim"}`:            `"type":"checkpoint"}`,
		`"type":"checkpoint"}`:      `"type":"trim"}`,
		`"type":"wallet"`:           `"type":"wallets"`,
		`"type":"binding"`:          `"type":"freeze"`,
		`"type":"bump"`:             `"type":"settle"`,
		`"superseded":"`:            `"superceded":"`,
		`"epoch":2,"forgotten":"`:   `"epoch":0,"forgotten":"`,
		`"lines":3,"section":"fro`:  `"lines":-1,"section":"fro`,
		`"lines":2,"section":"char`: `"lines":3,"section":"char`,
	} {
		require.True(t, strings.Contains(string(body), old), old)
		_, err := ledger.RestoreFold(w.vouched([]byte(strings.Replace(string(body), old, new, 1)), w.author), w.root)
		require.ErrorIs(t, err, ledger.ErrSnapshot, new)
	}
	_, err = ledger.RestoreFold(w.vouched(append(bytes.Clone(body), "{}\n"...), w.author), w.root)
	require.ErrorContains(t, err, "behind the last section")
}

func envelopeJSON(t testing.TB, e *policy.Envelope) []byte {
	t.Helper()
	r := ledger.Record{Policy: e}
	b, err := r.Encode()
	require.NoError(t, err)
	return bytes.TrimSuffix(bytes.TrimPrefix(b, []byte(`{"envelope":`)), []byte(`,"type":"policy"}`))
}

func TestSnapshotParts(t *testing.T) {
	signed := bytes.Repeat([]byte("0123456789abcdef"), 3*ledger.MaxPart/16+1)
	parts := ledger.SnapshotParts(signed)
	require.Len(t, parts, 4)
	for _, p := range parts {
		require.LessOrEqual(t, len(p), ledger.MaxPart)
	}
	require.Equal(t, signed, bytes.Join(parts, nil))
	require.Empty(t, ledger.SnapshotParts(nil))

	require.Equal(t, "/seal/snapshot/00000000000000000042/000007", ledger.SnapshotKey(42, 7))
	sequence, part, ok := ledger.ParseSnapshotKey(ledger.SnapshotKey(42, 7))
	require.True(t, ok)
	require.Equal(t, uint64(42), sequence)
	require.Equal(t, 7, part)
	for _, key := range []string{"", "/seal/snapshot/", "/seal/snapshot/42/7", "/seal/snapshot/00000000000000000042/", "/seal/snapshot/00000000000000000042/-00001",
		"/seal/snapshot/00000000000000000042/00000x", "/seal/snapshot/0000000000000000004x/000001", "/seal/log/00000000000000000042/000001", "/seal/snapshot/00000000000000000042/0000071"} {
		_, _, ok := ledger.ParseSnapshotKey(key)
		require.False(t, ok, key)
	}
}
