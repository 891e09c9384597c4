package auditlog

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/audit"
)

// TestIndexAgreesWithAScan holds every way that the index finds entries to what a look at each of them gives:
// filters alone and combined, times, cursors and offsets, and again after more entries came.
func TestIndexAgreesWithAScan(t *testing.T) {
	x, random := newIndex(), rand.New(rand.NewPCG(1, 2))
	begin := time.Date(2026, 4, 27, 0, 0, 0, 0, time.UTC)
	var all []*audit.Entry
	grow := func(n int) {
		for range n {
			// Clocks of several appliances: nearly in order.
			at := begin.Add(time.Duration(len(all))*time.Second + time.Duration(random.IntN(5000)-2500)*time.Millisecond)
			e := &audit.Entry{ID: fmt.Sprintf("aud_%d", len(all)), Seq: audit.Sequence(len(all) + 1), ActorID: fmt.Sprint("actor", random.IntN(3)),
				Action: fmt.Sprint("action", random.IntN(7)), ResourceType: fmt.Sprint("kind", random.IntN(2)), ResourceID: fmt.Sprint("r", random.IntN(400)),
				RequestID: fmt.Sprint("q", random.IntN(900)), CreatedAt: at}
			all = append(all, e)
			x.add(uint64(e.Seq), e)
		}
	}
	scan := func(f Filter, before uint64, skip, limit int) (found []uint64, total int) {
		for _, e := range slices.Backward(all) {
			if f.Actor != "" && e.ActorID != f.Actor || f.Action != "" && e.Action != f.Action || f.ResourceType != "" && e.ResourceType != f.ResourceType ||
				f.ResourceID != "" && e.ResourceID != f.ResourceID || f.RequestID != "" && e.RequestID != f.RequestID ||
				!f.From.IsZero() && e.CreatedAt.UnixMilli() < f.From.UnixMilli() || !f.To.IsZero() && e.CreatedAt.UnixMilli() >= f.To.UnixMilli() {
				continue
			}
			total++
			switch {
			case before > 0 && uint64(e.Seq) >= before:
			case skip > 0:
				skip--
			case len(found) < limit:
				found = append(found, uint64(e.Seq))
			}
		}
		return found, total
	}
	for range 4 {
		grow(500 + random.IntN(300))
		for range 400 {
			var f Filter
			pick := func(p int) bool { return random.IntN(p) == 0 }
			if pick(3) {
				f.Actor = fmt.Sprint("actor", random.IntN(4))
			}
			if pick(3) {
				f.Action = fmt.Sprint("action", random.IntN(8))
			}
			if pick(4) {
				f.ResourceType = fmt.Sprint("kind", random.IntN(3))
			}
			if pick(6) {
				f.ResourceID = fmt.Sprint("r", random.IntN(400))
			}
			if pick(6) {
				f.RequestID = fmt.Sprint("q", random.IntN(900))
			}
			if pick(3) {
				f.From = begin.Add(time.Duration(random.IntN(len(all))) * time.Second)
			}
			if pick(3) {
				f.To = begin.Add(time.Duration(random.IntN(len(all))) * time.Second)
			}
			var before uint64
			if pick(2) {
				before = uint64(random.IntN(len(all)+10)) + 1
			}
			skip, limit := random.IntN(5), 1+random.IntN(60)
			if pick(4) {
				skip = random.IntN(len(all))
			}
			wantFound, wantTotal := scan(f, before, skip, limit)
			found, total := x.find(f, before, skip, limit)
			if !slices.Equal(found, wantFound) || total != wantTotal {
				t.Fatalf("%+v before %d, %d skipped, limit %d: %v of %d, want %v of %d", f, before, skip, limit, found, total, wantFound, wantTotal)
			}
		}
		for _, e := range all {
			if seq, ok := x.byID(e.ID, e.CreatedAt.Add(time.Second)); !ok || seq != uint64(e.Seq) {
				t.Fatalf("%s is entry %d, found %d, %v", e.ID, e.Seq, seq, ok)
			}
		}
	}
	if _, ok := x.byID("aud_none", begin); ok {
		t.Error("found what is not there")
	}
	if len(x.views) > maxViews {
		t.Errorf("%d combinations are remembered, want at most %d", len(x.views), maxViews)
	}
}

// BenchmarkList is a page by cursor, deep down, with 1,000 and 1,000,000 entries.
func BenchmarkList(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		x := newIndex()
		for i := range n {
			x.add(uint64(i)+1, &audit.Entry{ID: fmt.Sprint(i), ActorID: fmt.Sprint(i % 5), Action: fmt.Sprint("a", i%10), ResourceType: "operation",
				ResourceID: fmt.Sprint(i / 10), RequestID: fmt.Sprint(i / 5), CreatedAt: time.UnixMilli(int64(i))})
		}
		middle := uint64(n / 2)
		for name, f := range map[string]Filter{"all": {}, "one": {Action: "a3"}, "two": {Action: "a3", Actor: "3"}, "resource": {ResourceID: "50"}} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					x.find(f, middle-middle%10+4, 0, 50)
				}
			})
		}
	}
}
