package operation

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawnAt is an id that was drawn at a moment.
func drawnAt(t time.Time, entropy byte) string {
	u := ulid.ULID{15: entropy}
	_ = u.SetTime(uint64(t.UnixMilli()))
	return IDPrefix + u.String()
}

// TestAListIsWhatLookingAtEveryOperationFinds: whatever was put in which order, and whatever a list is narrowed
// by, ids, order, totals and pages are those of a search through all.
func TestAListIsWhatLookingAtEveryOperationFinds(t *testing.T) {
	began := time.Date(2026, 4, 27, 10, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex(nil, nil)
		known := map[string]summary{}
		one := func(prefix string) string { return fmt.Sprint(prefix, rapid.IntRange(1, 3).Draw(t, prefix)) }
		for rev := range rapid.IntRange(0, 60).Draw(t, "puts") {
			s := summary{
				ID:      drawnAt(began.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "second"))*time.Second), byte(rapid.IntRange(0, 3).Draw(t, "entropy"))),
				TokenID: one("token_"), RequestedBy: one("person-"), WalletID: one("wallet_"), Network: one("net-"),
				Type: rapid.SampledFrom(operationTypes).Draw(t, "type"), Status: rapid.SampledFrom(statuses).Draw(t, "status"),
			}
			if was, ok := known[s.ID]; ok {
				was.Status = s.Status // nothing else of an operation changes
				s = was
			}
			known[s.ID] = s
			require.True(t, x.rows.put(s, int64(rev+1)))
			require.False(t, x.rows.put(s, int64(rev+1)), "the same news twice")
		}
		maybe := func(v string) string {
			if rapid.Bool().Draw(t, "asked") {
				return v
			}
			return ""
		}
		f := Filter{TokenID: maybe(one("token_")), RequestedBy: maybe(one("person-")), WalletID: maybe(one("wallet_")), Network: maybe(one("net-"))}
		if rapid.Bool().Draw(t, "byType") {
			f.Type = rapid.SampledFrom(operationTypes).Draw(t, "type")
		}
		if rapid.Bool().Draw(t, "byStatus") {
			f.Status = rapid.SampledFrom(statuses).Draw(t, "status")
		}
		if rapid.Bool().Draw(t, "since") {
			f.From = began.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "from")) * time.Second)
		}
		if rapid.Bool().Draw(t, "until") {
			f.To = began.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "to")) * time.Second)
		}
		var want []string
		for id, s := range known {
			made := ulid.MustParse(id[len(IDPrefix):]).Timestamp()
			if (f.TokenID == "" || s.TokenID == f.TokenID) && (f.RequestedBy == "" || s.RequestedBy == f.RequestedBy) &&
				(f.WalletID == "" || s.WalletID == f.WalletID) && (f.Network == "" || s.Network == f.Network) &&
				(f.Type == "" || s.Type == f.Type) && (f.Status == "" || s.Status == f.Status) &&
				(f.From.IsZero() || !made.Before(f.From)) && (f.To.IsZero() || made.Before(f.To)) {
				want = append(want, id)
			}
		}
		slices.Sort(want)
		slices.Reverse(want)

		skip, limit := rapid.IntRange(0, 5).Draw(t, "skip"), rapid.IntRange(1, 10).Draw(t, "limit")
		ids, total := x.page(f, nil, "", skip, limit)
		require.Equal(t, len(want), total)
		from := min(skip, len(want))
		require.Equal(t, append([]string{}, want[from:min(from+limit, len(want))]...), append([]string{}, ids...))

		after := drawnAt(began.Add(time.Duration(rapid.IntRange(0, 9).Draw(t, "after"))*time.Second), 2)
		ids, _ = x.page(f, nil, after, 0, len(known)+1)
		behind := slices.DeleteFunc(slices.Clone(want), func(id string) bool { return strings.Compare(id, after) >= 0 })
		require.Equal(t, append([]string{}, behind...), append([]string{}, ids...))
	})
}

// TestPagesDoNotShiftUnderWrites: who goes through a list by its cursor sees each operation that was there when
// he began once, however many come meanwhile and whatever becomes of those there are.
func TestPagesDoNotShiftUnderWrites(t *testing.T) {
	x := newIndex(nil, nil)
	began := time.Date(2026, 4, 27, 10, 0, 0, 0, time.UTC)
	put := func(n int, status Status, rev int64) string {
		s := summary{ID: drawnAt(began.Add(time.Duration(n)*time.Second), 0), Type: operationTypes[0], Status: status}
		x.rows.put(s, rev)
		return s.ID
	}
	var there []string
	for n := range 100 {
		there = append(there, put(n, Submitted, 1))
	}
	var seen []string
	cursor := ""
	for n := 100; ; n++ {
		ids, total := x.page(Filter{}, nil, cursor, 0, 7)
		require.Equal(t, n, total)
		if len(ids) == 0 {
			break
		}
		seen = append(seen, ids...)
		cursor = ids[len(ids)-1]
		put(n, Submitted, 1)
		put(n%100, Completed, int64(n))
	}
	slices.Reverse(seen)
	require.Equal(t, there, seen)
}

// BenchmarkPage is what a page costs, by how many operations there are and how deep it is.
func BenchmarkPage(b *testing.B) {
	began := time.Date(2026, 4, 27, 10, 0, 0, 0, time.UTC)
	for _, n := range []int{100, 100_000} {
		x := newIndex(nil, nil)
		for i := range n {
			x.rows.put(summary{ID: drawnAt(began.Add(time.Duration(i)*time.Millisecond), 0), TokenID: fmt.Sprint(i % 10), Type: operationTypes[i%5], Status: statuses[i%3]}, 1)
		}
		deep, _ := at(x.rows.all, drawnAt(began.Add(time.Duration(n/2)*time.Millisecond), 0))
		for _, c := range []struct {
			name  string
			f     Filter
			after string
		}{
			{"first", Filter{}, ""}, {"deep", Filter{}, x.rows.all[deep].id}, {"token", Filter{TokenID: "5"}, ""},
			{"token,status", Filter{TokenID: "5", Status: statuses[1]}, ""},
		} {
			b.Run(fmt.Sprintf("operations=%d/%s", n, c.name), func(b *testing.B) {
				for b.Loop() {
					x.page(c.f, nil, c.after, 0, 51)
				}
			})
		}
	}
}
