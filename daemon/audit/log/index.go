package auditlog

import (
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/daemon/audit"
)

// The fields that lists are filtered by.
const (
	byActor = iota
	byAction
	byKind
	byResource
	byRequest
	fields
)

const (
	// stretch is how many rows share one span of time.
	stretch = 256
	// maxViews is how many combinations of filters are remembered: what an auditor's screen asks again.
	maxViews = 32
)

// index is what a list needs to know of every entry, in memory, so that a request's cost grows neither with
// the depth of the page nor with history: 64 bytes an entry, and some 40 for each resource and request.
// Rows with the same value of a field are a list, each row naming the one before it, so that a page of one
// filter is a walk from its cursor. Combinations are counted once and remembered. Values are kept as
// hashes; whoever reads the entry itself sees them.
type index struct {
	seed maphash.Seed

	mu     sync.RWMutex
	rows   []row               // rows[i] is the entry with number i+1
	spans  []span              // of each stretch of rows
	lists  map[uint64]*members // by the hash of a field and its value
	names  []uint64            // hash by the number that rows have of it
	views  map[Filter]*view
	asked  uint64 // how often a view was asked for
	loaded chan struct{}
	once   sync.Once
}

type row struct {
	at       int64          // CreatedAt, Unix milliseconds
	id       uint64         // hash of the entry's id
	values   [fields]uint32 // number of the value's list
	previous [fields]uint32 // number of the entry before in that list; 0: it is the first
}

// members is the list of entries that have one value.
type members struct {
	number      uint32 // of the list
	last, count uint32 // newest entry, and how many there are
}

// span is from when to when the entries of a stretch are.
type span struct{ first, last int64 }

// view is the entries that a combination of filters matches, whatever their time.
type view struct {
	seen  uint32 // newest entry that was looked at
	found []uint32
	asked uint64
}

func newIndex() *index {
	return &index{seed: maphash.MakeSeed(), lists: map[uint64]*members{}, views: map[Filter]*view{}, loaded: make(chan struct{})}
}

func (x *index) hash(field int, value string) uint64 {
	var h maphash.Hash
	h.SetSeed(x.seed)
	_ = h.WriteByte(byte(field)) // a hash takes everything
	_, _ = h.WriteString(value)
	return h.Sum64()
}

// add takes the entry with number seq. A number that is known already is passed over; one after a gap
// (entries removed behind our back, which Verify reports) leaves empty rows.
func (x *index) add(seq uint64, e *audit.Entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if seq <= uint64(len(x.rows)) {
		return
	}
	for uint64(len(x.rows)) < seq-1 {
		x.push(row{at: e.CreatedAt.UnixMilli()})
	}
	r := row{at: e.CreatedAt.UnixMilli(), id: x.hash(fields, e.ID)}
	for field, value := range []string{e.ActorID, e.Action, e.ResourceType, e.ResourceID, e.RequestID} {
		h := x.hash(field, value)
		m := x.lists[h]
		if m == nil {
			x.names = append(x.names, h)
			m = &members{number: uint32(len(x.names))}
			x.lists[h] = m
		}
		r.values[field], r.previous[field] = m.number, m.last
		m.last, m.count = uint32(seq), m.count+1
	}
	x.push(r)
}

// newestNumber is that of the newest entry, 0 if there is none.
func (x *index) newestNumber() uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return uint64(len(x.rows))
}

func (x *index) push(r row) {
	if len(x.rows)%stretch == 0 {
		x.spans = append(x.spans, span{r.at, r.at})
	}
	s := &x.spans[len(x.spans)-1]
	s.first, s.last = min(s.first, r.at), max(s.last, r.at)
	x.rows = append(x.rows, r)
}

// byID finds an entry that was drawn its id at about that time.
func (x *index) byID(id string, at time.Time) (uint64, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	// The id's time and the entry's are of two readings of one clock.
	const apart = int64(time.Minute / time.Millisecond)
	want, ms := x.hash(fields, id), at.UnixMilli()
	for n := len(x.spans) - 1; n >= 0; n-- {
		if s := x.spans[n]; s.first > ms+apart || s.last < ms-apart {
			continue
		}
		for i := min((n+1)*stretch, len(x.rows)) - 1; i >= n*stretch; i-- {
			if x.rows[i].id == want {
				return uint64(i) + 1, true
			}
		}
	}
	return 0, false
}

// period is a time in milliseconds, both ends in it.
type period struct{ from, to int64 }

func (f Filter) period() (p period, limited bool) {
	p = period{-1 << 62, 1 << 62}
	if !f.From.IsZero() {
		p.from, limited = f.From.UnixMilli(), true
	}
	if !f.To.IsZero() {
		p.to, limited = f.To.UnixMilli()-1, true
	}
	return p, limited
}

func (p period) has(at int64) bool { return at >= p.from && at <= p.to }

// find returns the numbers of the entries that f matches, newest first, below the number before (0: all),
// after skipping skip of them, at most limit; and how many match in all.
func (x *index) find(f Filter, before uint64, skip, limit int) (found []uint64, total int) {
	p, limited := f.period()
	f.From, f.To = time.Time{}, time.Time{}
	if f == (Filter{}) {
		x.mu.RLock()
		defer x.mu.RUnlock()
		if !limited {
			return x.newest(before, skip, limit), len(x.rows)
		}
		return x.during(p, before, skip, limit)
	}
	x.mu.RLock()
	lists, ok := x.wanted(f)
	if !ok {
		x.mu.RUnlock()
		return nil, 0
	}
	if len(lists) == 1 && !limited {
		defer x.mu.RUnlock()
		return x.walk(lists, before, skip, limit), int(lists.shortest().count)
	}
	x.mu.RUnlock()
	return x.look(f, p, limited, before, skip, limit)
}

func (x *index) newest(before uint64, skip, limit int) (found []uint64) {
	top := len(x.rows)
	if before > 0 {
		top = min(top, int(min(before, 1<<32))-1)
	}
	for n := top - skip; n > 0 && len(found) < limit; n-- {
		found = append(found, uint64(n))
	}
	return found
}

// during is the entries of a time: stretches that are wholly outside or inside are not looked into.
func (x *index) during(p period, before uint64, skip, limit int) (found []uint64, total int) {
	for n := len(x.spans) - 1; n >= 0; n-- {
		s := x.spans[n]
		if s.last < p.from || s.first > p.to {
			continue
		}
		low, high := n*stretch, min((n+1)*stretch, len(x.rows))
		inside := p.has(s.first) && p.has(s.last)
		if inside && (len(found) == limit || before > 0 && uint64(low)+1 >= before) {
			total += high - low
			continue
		}
		if inside && before == 0 && skip >= high-low {
			total, skip = total+high-low, skip-(high-low)
			continue
		}
		for i := high - 1; i >= low; i-- {
			if !p.has(x.rows[i].at) {
				continue
			}
			total++
			switch {
			case before > 0 && uint64(i)+1 >= before:
			case skip > 0:
				skip--
			case len(found) < limit:
				found = append(found, uint64(i)+1)
			}
		}
	}
	return found, total
}

// wantedLists are the lists that an entry must be in, by field.
type wantedLists map[int]*members

func (w wantedLists) field() (shortest int) {
	shortest = -1
	for _, field := range slices.Sorted(maps.Keys(w)) {
		if shortest < 0 || w[field].count < w[shortest].count {
			shortest = field
		}
	}
	return shortest
}

func (w wantedLists) shortest() *members { return w[w.field()] }

func (w wantedLists) match(r *row) bool {
	for field, m := range w {
		if r.values[field] != m.number {
			return false
		}
	}
	return true
}

// wanted is false where nothing can match.
func (x *index) wanted(f Filter) (wantedLists, bool) {
	w := wantedLists{}
	for field, value := range []string{f.Actor, f.Action, f.ResourceType, f.ResourceID, f.RequestID} {
		if value == "" {
			continue
		}
		m := x.lists[x.hash(field, value)]
		if m == nil {
			return nil, false
		}
		w[field] = m
	}
	return w, true
}

// walk goes through one list. A cursor is of the list, so the walk begins there.
func (x *index) walk(w wantedLists, before uint64, skip, limit int) (found []uint64) {
	field := w.field()
	at := w[field].last
	if before > 0 && before <= uint64(len(x.rows)) && w.match(&x.rows[before-1]) {
		at = x.rows[before-1].previous[field]
	}
	for ; at > 0 && len(found) < limit; at = x.rows[at-1].previous[field] {
		switch {
		case before > 0 && uint64(at) >= before:
		case skip > 0:
			skip--
		default:
			found = append(found, uint64(at))
		}
	}
	return found
}

// look answers a combination from its view, which it brings up to date.
func (x *index) look(f Filter, p period, limited bool, before uint64, skip, limit int) (found []uint64, total int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	v := x.view(f)
	from, to := 0, len(v.found)
	if limited {
		low, high := x.stretchOf(p)
		from, _ = slices.BinarySearch(v.found, low)
		to, _ = slices.BinarySearch(v.found, high)
	}
	if !limited {
		total = to
		if before > 0 {
			to, _ = slices.BinarySearch(v.found, uint32(min(before, 1<<32-1)))
		}
		for i := to - 1 - skip; i >= 0 && len(found) < limit; i-- {
			found = append(found, uint64(v.found[i]))
		}
		return found, total
	}
	for i := to - 1; i >= from; i-- {
		n := v.found[i]
		if !p.has(x.rows[n-1].at) {
			continue
		}
		total++
		switch {
		case before > 0 && uint64(n) >= before:
		case skip > 0:
			skip--
		case len(found) < limit:
			found = append(found, uint64(n))
		}
	}
	return found, total
}

// stretchOf is the numbers that entries of a time are between: the first, and the first behind.
func (x *index) stretchOf(p period) (low, high uint32) {
	low = uint32(len(x.rows)) + 1
	for n, s := range x.spans {
		if s.last < p.from || s.first > p.to {
			continue
		}
		low, high = min(low, uint32(n*stretch)+1), uint32((n+1)*stretch)+1
	}
	return low, high
}

// view is that of a combination, with what came since it was last asked for.
func (x *index) view(f Filter) *view {
	v := x.views[f]
	if v == nil {
		if len(x.views) >= maxViews {
			oldest := slices.MinFunc(slices.Collect(maps.Keys(x.views)), func(a, b Filter) int { return int(int64(x.views[a].asked) - int64(x.views[b].asked)) })
			delete(x.views, oldest)
		}
		v = &view{}
		x.views[f] = v
	}
	x.asked++
	v.asked = x.asked
	w, ok := x.wanted(f)
	if !ok {
		return v
	}
	var fresh []uint32
	field := w.field()
	for at := w[field].last; at > v.seen; at = x.rows[at-1].previous[field] {
		if w.match(&x.rows[at-1]) {
			fresh = append(fresh, at)
		}
	}
	slices.Reverse(fresh)
	v.found, v.seen = append(v.found, fresh...), uint32(len(x.rows))
	return v
}
