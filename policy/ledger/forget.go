package ledger

import (
	"container/heap"
	"slices"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// What the fold lets go of, and when. Time is the batches' own, so that every fold of one log lets
// go of the same at the same batch.
//
// An operation goes when nothing can be recorded of it any more that counts: it was settled, or
// never authorized; the expiry of every approved intent and of its authorization, and its id's own
// time plus the charter's maxIntentLifetime, each lie more than maxClockSkew back. Its id is gone
// too, so that it could be used again; therefore the highest id that went is kept, and an unknown
// operation at or below it is refused. Ids sort by the time at which they were drawn, so this
// strikes only operations that are older than any intent may live, whatever the lives of those that
// went. (Where custodians shorten maxIntentLifetime and lengthen it again before an open operation
// expires, that one may be struck too: its place is taken by a new one.) An authorized operation that is
// not settled stays for ever: its transaction may still be mined.
//
// Usage goes by buckets, 49 h after each; a superseded policy version when no intent that names it
// can live any more and the newest one's signatures do not rest on it. Charters' digests, documents'
// digests, bindings, wallets, lanes and expelled keys stay: people make those, one signature at a time.

// horizon is how far from an operation's submission anything can still be recorded of it.
func (s *state) horizon() time.Duration {
	return s.law.charter.MaxIntentLifetime() + s.law.charter.MaxClockSkew()
}

// crockford is the alphabet of ULIDs.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// drawnAt is the time in an operation id: the first ten digits of its ULID, milliseconds since 1970.
func drawnAt(id string) time.Time {
	_, ulid, _ := strings.Cut(id, "_")
	var ms int64
	for _, c := range ulid[:min(10, len(ulid))] {
		ms = ms<<5 | int64(strings.IndexRune(crockford, c))
	}
	return time.UnixMilli(ms).UTC()
}

// endOf is the moment after which an operation may go, if it is not waiting for its settlement.
func (s *state) endOf(op *operation) time.Time {
	end := drawnAt(op.OperationID).Add(s.law.charter.MaxIntentLifetime())
	if op.expires.After(end) {
		end = op.expires
	}
	return end.Add(s.law.charter.MaxClockSkew())
}

// memory is when to look at what again, and when the charters came.
type memory struct {
	operations looks
	pending    map[string]time.Time // the look that is in operations, by operation id: one at most
	bucket     int64                // in which usage and policies were last swept
	charters   map[uint64]time.Time // by the batch that recorded them
}

// came notes a charter's batch.
func (m *memory) came(l *law, at time.Time) {
	if m.charters == nil {
		m.charters = map[uint64]time.Time{}
	}
	m.charters[l.sequence] = at
}

// watch has an operation looked at, unless it will be already.
func (m *memory) watch(at time.Time, id string) {
	if _, ok := m.pending[id]; ok {
		return
	}
	if m.pending == nil {
		m.pending = map[string]time.Time{}
	}
	m.pending[id] = at
	heap.Push(&m.operations, look{at, id})
}

// look is an operation to look at once its time has come.
type look struct {
	at time.Time
	id string
}

// looks is a heap, the earliest first.
type looks []look

func (l looks) Len() int           { return len(l) }
func (l looks) Less(i, j int) bool { return l[i].at.Before(l[j].at) }
func (l looks) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *looks) Push(x any)        { *l = append(*l, x.(look)) }
func (l *looks) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}

// touched is the operations that the layer changed.
func (s *state) touched() []string {
	ids := make([]string, 0, len(s.operations.own))
	for id := range s.operations.own {
		ids = append(ids, id)
	}
	return ids
}

// sweep lets go of what is over, after a batch that touched those operations.
func (m *memory) sweep(s *state, touched []string) {
	for _, id := range touched {
		// Waiting for its settlement, an operation is looked at when that comes.
		if op := s.operations.own[id]; op.Authorized == nil || op.Settled != nil {
			m.watch(s.endOf(op), id)
		}
	}
	now := s.head.time
	if s.law.sequence == s.head.sequence {
		m.came(s.law, now)
	}
	for len(m.operations) > 0 && m.operations[0].at.Before(now) {
		next := heap.Pop(&m.operations).(look)
		delete(m.pending, next.id)
		op, ok := s.operations.own[next.id]
		if !ok || op.Authorized != nil && op.Settled == nil {
			continue
		}
		// Its end may have moved: a later approval, a longer lifetime in a new charter.
		if end := s.endOf(op); !end.Before(now) {
			m.watch(end, next.id)
			continue
		}
		delete(s.operations.own, next.id)
		s.forgotten = max(s.forgotten, next.id)
	}
	if b := bucketOf(now); b != m.bucket {
		m.bucket = b
		s.sweepUsage(now)
		s.sweepPolicies(now)
	}
}

func (s *state) sweepUsage(now time.Time) {
	for key, u := range s.counters.own {
		if kept := u.kept(now); kept == nil {
			delete(s.counters.own, key)
		} else {
			s.counters.own[key] = kept
		}
	}
	for key, u := range s.fees.own {
		if kept := u.kept(now); kept == nil {
			delete(s.fees.own, key)
		} else {
			s.fees.own[key] = kept
		}
	}
	if r := s.recovery; r != nil && s.recovering() == nil {
		s.recovery = &recovery{at: r.at, stated: map[counter]bool{}, usage: r.usage}
	}
}

// sweepPolicies lets superseded versions go. What was signed alone counts as a tightening of the
// version before it; so that one goes only where the one before it is tightened by it too, and the
// signatures that are kept still say all that they said. The first of a line is never signed alone.
func (s *state) sweepPolicies(now time.Time) {
	for id, line := range s.policies.own {
		n := len(line.versions) - 1
		kept := []policyVersion{line.versions[n]}
		for n--; n >= 0; n-- {
			next := &kept[len(kept)-1]
			gone := now.Sub(line.versions[n].superseded) > s.horizon()
			if gone && next.alone {
				gone = n > 0 && policy.Compare(line.versions[n-1].inForce.Policy, next.inForce.Policy) == policy.Tighter
			}
			if !gone {
				kept = append(kept, line.versions[n])
			}
		}
		if len(kept) < len(line.versions) {
			slices.Reverse(kept)
			s.policies.own[id] = &policyLine{versions: kept}
		}
	}
}
