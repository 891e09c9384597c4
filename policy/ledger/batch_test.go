package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json/jsontext"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// everything is a batch with a record of every type that does not need an envelope, and one that
// does. It is well-formed; no fold would take it.
func everything(t testing.TB) *ledger.Batch {
	w := genesis(t)
	i := w.mint(id("op", 1))
	b := w.signed(&ledger.Batch{Format: 1, Instance: "dev-1", Epoch: 1, Term: 2, Sequence: 3, Previous: policy.DigestOf([]byte("2")), Author: "appliance-1",
		Time: noon, Records: []ledger.Record{
			{Freeze: sign(t, policy.DocFreeze, freezeOf(policy.Subject{Person: "ann"}, true, noon), "custodian-2")},
			{DeployBinding: w.binding()},
			{EventFreeze: &ledger.EventFreeze{TokenID: id("token", 1), Event: "Transfer from “nobody”"}},
			{Wallet: wallet(1)},
			w.authorize(i),
			w.authorize(w.mint(id("op", 2), grantTo(account("bert")))),
			{Bump: &ledger.Bump{OperationID: id("op", 1), Version: 2, MaxFee: policy.AmountOf(2), Tip: policy.AmountOf(1), Tx: w.authorize(i).Authorize.Tx}},
			{Cancel: &ledger.Cancel{OperationID: id("op", 3), Reason: "expired"}},
			{Settle: &ledger.Settle{OperationID: id("op", 1), TxHash: w.authorize(i).Authorize.Tx}},
			{Checkpoint: &ledger.Checkpoint{Size: 7, Root: policy.DigestOf([]byte("root"))}},
			{Trim: &ledger.Trim{FirstKept: 2, Snapshot: policy.DigestOf([]byte("snapshot"))}},
		}})
	return b
}

func freezeOf(s policy.Subject, frozen bool, at time.Time) *policy.Freeze {
	return &policy.Freeze{Format: 1, Instance: "dev-1", Subject: s, Frozen: frozen, CreatedAt: at}
}

// TestTheFastReaderReadsAsTheGeneralOne: what happens all day is read fast, and both give the same.
func TestTheFastReaderReadsAsTheGeneralOne(t *testing.T) {
	w := eventful(t)
	all, err := everything(t).Encode()
	require.NoError(t, err)
	for n, value := range append(w.values, all) {
		require.True(t, ledger.ReadsFast(value), "batch %d", n+1)
		fast, err := ledger.ParseBatch(value)
		require.NoError(t, err)
		generally, err := ledger.ParseGenerally(value)
		require.NoError(t, err)
		require.Equal(t, generally, fast)
	}
	quoted := w.batch(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: `said "no"`}})
	value := w.encode(quoted)
	require.False(t, ledger.ReadsFast(value), "escapes are the general decoder's")
	_, err = ledger.ParseBatch(value)
	require.NoError(t, err)
}

// TestBatchEncoding holds the bytes of a batch to a file: others' tests and later versions read it.
func TestBatchEncoding(t *testing.T) {
	b := everything(t)
	value, err := b.Encode()
	require.NoError(t, err)
	golden := filepath.Join("testdata", "batch.json")
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(golden, value, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(value))

	parsed, err := ledger.ParseBatch(value)
	require.NoError(t, err)
	require.Equal(t, b, parsed)
	canonical := jsontext.Value(bytes.Clone(value))
	require.NoError(t, canonical.Canonicalize())
	require.Equal(t, string(canonical), string(value), "not RFC 8785")
}

func TestSigningInput(t *testing.T) {
	b := everything(t)
	input, err := b.SigningInput()
	require.NoError(t, err)
	rest, ok := bytes.CutPrefix(input, []byte("mintwarden/ledger/v1\n"))
	require.True(t, ok)
	unsigned := jsontext.Value(bytes.Clone(rest))
	require.NoError(t, unsigned.Canonicalize())
	require.Equal(t, string(unsigned), string(rest))
	require.NotContains(t, string(rest), `"signature":`)
	seed := seedOf("appliance-1")
	require.True(t, ed25519.Verify(ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey), input, b.Signature))

	value, err := b.Encode()
	require.NoError(t, err)
	require.Equal(t, len(value), len(rest)+len(`"signature":"",`)+88)
}

func TestBatchRefusedForItsBytes(t *testing.T) {
	value, err := everything(t).Encode()
	require.NoError(t, err)
	replace := func(old, new string) string {
		require.Contains(t, string(value), old)
		return strings.Replace(string(value), old, new, 1)
	}
	for name, bad := range map[string]string{
		"empty":                     "",
		"null":                      "null",
		"not JSON":                  "{",
		"an array":                  "[]",
		"trailing value":            string(value) + "{}",
		"trailing newline":          string(value) + "\n",
		"leading blank":             " " + string(value),
		"blank inside":              replace(`"epoch":1`, `"epoch": 1`),
		"unknown member":            replace(`"epoch":1`, `"epoch":1,"extra":1`),
		"repeated member":           replace(`"epoch":1`, `"epoch":1,"epoch":1`),
		"missing member":            replace(`"epoch":1,`, ``),
		"null member":               replace(`"epoch":1`, `"epoch":null`),
		"other order":               replace(`"epoch":1,"format":1`, `"format":1,"epoch":1`),
		"other case":                replace(`"epoch":1`, `"Epoch":1`),
		"number with fraction":      replace(`"epoch":1`, `"epoch":1.0`),
		"number with exponent":      replace(`"epoch":1`, `"epoch":1e0`),
		"negative number":           replace(`"epoch":1`, `"epoch":-1`),
		"zero epoch":                replace(`"epoch":1`, `"epoch":0`),
		"number above 2^53-1":       replace(`"epoch":1`, `"epoch":9007199254740992`),
		"number as string":          replace(`"epoch":1`, `"epoch":"1"`),
		"other format":              replace(`"format":1`, `"format":2`),
		"escaped letter":            replace(`"author":"a`, `"author":"\u0061`),
		"time with fraction":        replace(`12:00:00Z"}`, `12:00:00.5Z"}`),
		"time in another zone":      replace(`12:00:00Z"}`, `12:00:00+00:00"}`),
		"unknown type":              replace(`"type":"settle"`, `"type":"forgive"`),
		"no type":                   replace(`,"type":"settle"`, ``),
		"another type's member":     replace(`"type":"settle"`, `"type":"settle","version":1`),
		"type without its envelope": replace(`"type":"settle"`, `"type":"decision"`),
		"envelope of another type":  replace(`"type":"freeze"`, `"type":"settle"`),
		"charges missing":           replace(`"charges":[],`, ``),
		"charges null":              replace(`"charges":[]`, `"charges":null`),
		"amount as number":          replace(`"tip":"1"`, `"tip":1`),
		"amount with leading zero":  replace(`"tip":"1"`, `"tip":"01"`),
		"lower-case address":        replace(wallet(1).Address.String(), strings.ToLower(wallet(1).Address.String())),
		"binding with extra member": replace(`"binding":{`, `"binding":{"aaa":1,`),
		"short signature":           replace(`=="`, `="`),
		"no records":                `{"author":"appliance-1","epoch":1,"format":1,"instance":"dev-1","previous":"` + string(policy.NoDigest) + `","records":[],"sequence":1,"signature":"` + strings.Repeat("A", 86) + `==","term":1,"time":"2026-04-27T12:00:00Z"}`,
		"above 1 MiB":               strings.Repeat(" ", ledger.MaxBatch) + string(value),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ledger.ParseBatch([]byte(bad))
			(&world{t: t}).isRefusal(err, ledger.ReasonEncoding, "batch 0 refused (encoding)")
		})
	}
}

func TestBatchNotEncoded(t *testing.T) {
	for name, change := range map[string]func(*ledger.Batch){
		"no signature":           func(b *ledger.Batch) { b.Signature = nil },
		"time with a fraction":   func(b *ledger.Batch) { b.Time = b.Time.Add(time.Millisecond) },
		"local time":             func(b *ledger.Batch) { b.Time = b.Time.In(time.FixedZone("CET", 3600)) },
		"sequence 0":             func(b *ledger.Batch) { b.Sequence = 0 },
		"integer above 2^53-1":   func(b *ledger.Batch) { b.Term = ledger.MaxInteger + 1 },
		"empty record":           func(b *ledger.Batch) { b.Records[0] = ledger.Record{} },
		"record of two members":  func(b *ledger.Batch) { b.Records[0].Wallet = wallet(1) },
		"author with a blank":    func(b *ledger.Batch) { b.Author = "appliance 1" },
		"previous is no digest":  func(b *ledger.Batch) { b.Previous = "sha256:" },
		"reason with a control":  func(b *ledger.Batch) { b.Records[7].Cancel.Reason = "a\x00b" },
		"reason not UTF-8":       func(b *ledger.Batch) { b.Records[7].Cancel.Reason = "\xff" },
		"reason too long":        func(b *ledger.Batch) { b.Records[7].Cancel.Reason = strings.Repeat("a", ledger.MaxReason+1) },
		"operation id of tokens": func(b *ledger.Batch) { b.Records[7].Cancel.OperationID = id("token", 1) },
		"tip above max fee":      func(b *ledger.Batch) { b.Records[4].Authorize.Tip = policy.MaxAmount() },
		"version 1 as a bump":    func(b *ledger.Batch) { b.Records[6].Bump.Version = 1 },
		"version 11":             func(b *ledger.Batch) { b.Records[6].Bump.Version = 11 },
		"charge of a deployment": func(b *ledger.Batch) { b.Records[4].Authorize.Charges[0].Operation = policy.OpDeployToken },
		"one counter twice": func(b *ledger.Batch) {
			a := b.Records[4].Authorize
			a.Charges = append(a.Charges, a.Charges[0])
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := everything(t)
			change(b)
			_, err := b.Encode()
			require.Error(t, err)
		})
	}
}

// TestEveryByteCounts flips bits of a batch that would be applied: none of them is taken.
func TestEveryByteCounts(t *testing.T) {
	w := begun(t)
	i := w.mint(w.op())
	value := w.encode(w.batch(w.approve(i, "ann"), w.approve(i, "bob"), w.authorize(i)))
	before := ledger.State(w.fold)
	rapid.Check(t, func(r *rapid.T) {
		bad := bytes.Clone(value)
		at := rapid.IntRange(0, len(bad)-1).Draw(r, "at")
		bad[at] ^= byte(rapid.IntRange(1, 255).Draw(r, "flip"))
		_, err := w.fold.Apply(bad)
		require.Error(r, err)
	})
	rapid.Check(t, func(r *rapid.T) {
		at := rapid.IntRange(0, len(value)-1).Draw(r, "cut")
		_, err := w.fold.Apply(value[:at])
		require.Error(r, err)
	})
	require.Equal(t, before, ledger.State(w.fold))
	_, err := w.fold.Apply(value)
	require.NoError(t, err)
}

func TestKey(t *testing.T) {
	require.Equal(t, "/seal/log/00000000000000000042", ledger.Key(42))
	for key, want := range map[string]bool{
		ledger.Key(0): true, ledger.Key(1<<64 - 1): true, "/seal/log/42": false, "/seal/log/0000000000000000004x": false,
		"/seal/log/99999999999999999999": false, "/seal/log/000000000000000000042": false, "/seal/author": false, "/seal/log/+0000000000000000042": false,
	} {
		sequence, ok := ledger.ParseKey(key)
		require.Equal(t, want, ok, key)
		if ok {
			require.Equal(t, key, ledger.Key(sequence))
		}
	}
}
