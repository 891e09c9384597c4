package ledger_test

import (
	"bytes"
	"encoding/json/jsontext"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// FuzzParseBatch: what is taken is canonical, encodes to itself, and is refused by a fold whose root
// it does not know.
func FuzzParseBatch(f *testing.F) {
	value, err := everything(f).Encode()
	require.NoError(f, err)
	f.Add(value)
	for _, v := range history(f).values {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		b, err := ledger.ParseBatch(value)
		generally, why := ledger.ParseGenerally(value)
		require.Equal(t, why, err)
		if err != nil {
			return
		}
		require.Equal(t, generally, b)
		again, err := b.Encode()
		require.NoError(t, err)
		require.Equal(t, string(value), string(again))
		canonical := jsontext.Value(bytes.Clone(value))
		require.NoError(t, canonical.Canonicalize())
		require.Equal(t, string(canonical), string(value))
		_, err = ledger.NewFold(policy.NoDigest).Apply(value)
		require.Error(t, err)
	})
}

// FuzzApply offers a batch that its author really signed, with whatever records were read.
func FuzzApply(f *testing.F) {
	w := begun(f)
	for _, r := range everything(f).Records {
		value, err := r.Encode()
		require.NoError(f, err)
		f.Add(value)
	}
	i := w.mint(w.op())
	for _, r := range []ledger.Record{w.approve(i, "ann"), w.authorize(i)} {
		value, err := r.Encode()
		require.NoError(f, err)
		f.Add(value)
	}
	before := ledger.State(w.fold)
	f.Fuzz(func(t *testing.T, value []byte) {
		w := &world{t: t, fold: w.fold, author: w.author, term: w.term, now: w.now}
		r, err := ledger.ParseRecord(value)
		if err != nil {
			return
		}
		again, err := r.Encode()
		require.NoError(t, err)
		require.Equal(t, string(value), string(again))
		stage := w.fold.Stage(w.now, w.author)
		added := stage.Add(*r)
		require.Equal(t, before, ledger.State(w.fold))
		if added != nil {
			_, err := w.fold.Apply(w.encode(w.batch(*r)))
			require.EqualError(t, err, added.Error())
			return
		}
		_, err = ledger.ParseBatch(w.encode(w.batch(*r)))
		require.NoError(t, err)
	})
}

func FuzzParseJoin(f *testing.F) {
	f.Add([]byte(`{"format":1,"instance":"dev-1","applianceId":"a","ledgerKey":"","unsealKey":"AQ==","sequence":1,"head":"","createdAt":"2026-04-27T12:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := ledger.ParseJoin(b)
		if err != nil {
			return
		}
		_, err = j.Encode()
		require.NoError(t, err)
	})
}

func FuzzParseRecover(f *testing.F) {
	d, err := begun(f).recovering().Encode()
	require.NoError(f, err)
	f.Add(d)
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ledger.ParseRecover(b)
		if err != nil {
			return
		}
		_, err = d.Encode()
		require.NoError(t, err)
	})
}

// FuzzRestore offers a snapshot's lines under a signature that holds: what is taken makes the same
// snapshot again.
func FuzzRestore(f *testing.F) {
	w := eventful(f)
	body, err := w.fold.Snapshot()
	require.NoError(f, err)
	f.Add(body)
	first, err := begun(f).fold.Snapshot()
	require.NoError(f, err)
	f.Add(first)
	f.Fuzz(func(t *testing.T, body []byte) {
		w := &world{t: t, root: w.root, author: w.author}
		restored, err := ledger.RestoreFold(w.vouched(body, w.author), w.root)
		if err != nil {
			return
		}
		again, err := restored.Snapshot()
		require.NoError(t, err)
		require.Equal(t, string(body), string(again))
	})
}

// FuzzArchive opens an archive whose one file holds anything.
func FuzzArchive(f *testing.F) {
	w := genesis(f)
	seed := f.TempDir()
	a, err := ledger.OpenArchive(seed)
	require.NoError(f, err)
	require.NoError(f, a.Append(1, w.values...))
	require.NoError(f, a.Close())
	name := "00000000000000000001.batches"
	file, err := os.ReadFile(filepath.Join(seed, name))
	require.NoError(f, err)
	f.Add(file)
	f.Add(file[:len(file)-1])
	f.Fuzz(func(t *testing.T, file []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), file, 0o600))
		a, err := ledger.OpenArchive(dir)
		if err != nil {
			return
		}
		defer func() { require.NoError(t, a.Close()) }()
		read := uint64(0)
		for _, err := range a.Batches() {
			if err != nil {
				require.Zero(t, a.Last()) // a file that was cut before its first batch
				return
			}
			read++
		}
		require.Equal(t, a.Last(), read)
	})
}
