package main

import (
	"encoding/json/v2"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/audit"
)

// chain is a log of n entries.
func chain(t *testing.T, n int) []*audit.Entry {
	out := []*audit.Entry{}
	prev := audit.Genesis
	at := time.Date(2026, 4, 27, 10, 0, 0, 120_000_000, time.UTC)
	for i := range n {
		d := audit.Draft{ActorID: "operator", ActorType: audit.User, Action: "token.created", ResourceType: "token", ResourceID: id("token", i),
			Metadata: map[string]any{"n": i, "big": uint64(1) << 60, "rate": 0.1, "what": map[string]any{"ü": []any{true, nil}}}}
		p, err := d.Pend(fmt.Sprintf("aud_%026d", i), "acme", at.Add(time.Duration(i)*time.Second))
		require.NoError(t, err)
		e, err := p.Entry(uint64(i+1), prev)
		require.NoError(t, err)
		out = append(out, e)
		prev = e.EntryHash
	}
	return out
}

func TestAuditVerify(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	a.audit = chain(t, 5)
	verify := func() (result, logsVerified) {
		t.Helper()
		got := mintwarden(t, "audit", "verify", "--json")
		var out logsVerified
		require.NoError(t, json.Unmarshal([]byte(got.out), &out), got.err)
		return got, out
	}
	got, out := verify()
	require.Equal(t, exitDone, got.code, got.err)
	require.Equal(t, audit.Result{Valid: true, EntriesChecked: 5, FirstEntryHash: a.audit[0].EntryHash, LastEntryHash: a.audit[4].EntryHash}, out.Audit)
	require.EqualValues(t, 3, out.Ledger.Sequence)

	whole := chain(t, 9)
	require.Equal(t, a.audit[4].EntryHash, whole[4].EntryHash)
	for _, tt := range []struct {
		name string
		log  func() []*audit.Entry
		at   int
	}{
		{"a changed entry", func() []*audit.Entry { l := chain(t, 9); l[6].ActorID = "mallory"; return l }, 7},
		{"a changed entry with its own hash", func() []*audit.Entry {
			l := chain(t, 9)
			l[6].ActorID = "mallory"
			l[6].EntryHash, _ = l[6].Hash()
			return l
		}, 7},
		{"a missing entry", func() []*audit.Entry { return slices.Delete(chain(t, 9), 6, 7) }, 7},
		{"a missing beginning", func() []*audit.Entry { return chain(t, 9)[1:] }, 1},
		{"entries that were seen are gone", func() []*audit.Entry { return chain(t, 3) }, 4},
		{"an empty log where one was", func() []*audit.Entry { return nil }, 1},
		{"another chain than the one that was seen", func() []*audit.Entry {
			prev, out := audit.Genesis, []*audit.Entry{}
			for n, e := range chain(t, 7) {
				e.ActorID = "mallory"
				e.PrevHash = prev
				e.EntryHash, _ = e.Hash()
				prev = e.EntryHash
				require.EqualValues(t, n+1, e.Seq)
				out = append(out, e)
			}
			return out
		}, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a.audit = tt.log()
			got, out := verify()
			require.Equal(t, exitUnverified, got.code)
			require.False(t, out.Audit.Valid)
			require.EqualValues(t, tt.at, out.Audit.BrokenAt, got.err)
		})
	}
	a.audit = whole
	got, out = verify()
	require.Equal(t, exitDone, got.code, got.err)
	require.EqualValues(t, 9, out.Audit.EntriesChecked)
}

func TestAuditBeginsAtGenesis(t *testing.T) {
	first := chain(t, 1)[0]
	first.PrevHash = first.EntryHash
	var err error
	first.EntryHash, err = first.Hash()
	require.NoError(t, err)
	w := backward{result: audit.Result{Valid: true}}
	require.True(t, w.add(first))
	result := w.end()
	require.False(t, result.Valid)
	require.EqualValues(t, 1, result.BrokenAt)
}
