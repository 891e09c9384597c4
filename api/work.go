package api

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// budget is how much work of one kind may be under way at once, and how much of
// it one caller may have: half, so that nobody alone shuts the others out. A
// caller is a user and is a certificate: neither another key nor another
// certificate is a second half. Safe for concurrent use.
type budget struct {
	kind string // one of the kinds below
	max  int

	mu  sync.Mutex
	now int
	by  map[string]int
}

func newBudget(kind string, max int) *budget {
	return &budget{kind: kind, max: max, by: map[string]int{}}
}

// enter takes a place for a caller, who has to have room under each of his names,
// or says why there is none. Nothing waits: what waited would hold memory and a
// connection, and be late when its turn came.
func (b *budget) enter(names ...string) (leave func(), err *problem) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now >= b.max {
		return nil, busy(shed(b.kind), "the appliance has %d %s under way, the most that it takes", b.max, b.kind)
	}
	share := (b.max + 1) / 2
	for _, who := range names {
		if b.by[who] >= share {
			return nil, busy(shedShare, "you have %d %s under way, the most of one caller and of one certificate", share, b.kind)
		}
	}
	b.now++
	for _, who := range names {
		b.by[who]++
	}
	return sync.OnceFunc(func() { b.leave(names) }), nil
}

func (b *budget) leave(names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now--
	for _, who := range names {
		if b.by[who]--; b.by[who] == 0 {
			delete(b.by, who)
		}
	}
}

func (b *budget) underWay() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// work is what is under way, by budgets of their own: while writes are shed
// reads are answered; what reads a whole log, is large or waits for the seal takes
// no other read's place; and what stops things has places that nothing else takes.
type work struct{ reads, writes, stops, long, ledger, receipts *budget }

func newWork(l Limits) work {
	return work{
		newBudget("reads", l.Reads), newBudget("writes", l.Writes), newBudget("stops", l.Stops), newBudget("long", l.Long),
		newBudget("ledger", l.Ledger), newBudget("receipts", l.Receipts),
	}
}

func (w work) all() []*budget {
	return []*budget{w.reads, w.writes, w.stops, w.long, w.ledger, w.receipts}
}

// of is the budget that a route draws on.
func (w work) of(r *route) *budget {
	switch {
	case slices.Contains(ledgerReads, r.id):
		return w.ledger
	case slices.Contains(receiptReads, r.id):
		return w.receipts
	case r.long():
		return w.long
	case r.stops():
		return w.stops
	case r.writes():
		return w.writes
	}
	return w.reads
}

// shed is why a request was turned away before anything was done for it. The
// zero value is none.
type shed string

const (
	shedRate        shed = "rate"        // a key's token bucket is empty
	shedGuesses     shed = "guesses"     // a certificate's, which keys that are not good draw on
	shedReads       shed = "reads"       // the budget of reads is full
	shedWrites      shed = "writes"      // that of writes
	shedStops       shed = "stops"       // that of what stops things
	shedLong        shed = "long"        // that of what reads a whole log
	shedLedger      shed = "ledger"      // that of pages of the ledger
	shedReceipts    shed = "receipts"    // that of receipts
	shedAnswers     shed = "answers"     // too much of answers waits to be taken
	shedShare       shed = "share"       // one caller's half of a budget
	shedPending     shed = "pending"     // too many of a key's operations await approval
	shedSeal        shed = "seal"        // the seal has more under way than it takes
	shedStore       shed = "store"       // the store is near its quota
	shedConnections shed = "connections" // a connection had to make room
	shedBody        shed = "slow_body"   // a body did not come in time
	shedReader      shed = "slow_reader" // an answer was not taken in time
	shedStreams     shed = "streams"     // a connection opened or reset streams faster than they are served
)

// sheds is all of them, so that each is a series from the start.
var sheds = []shed{
	shedRate, shedGuesses, shedReads, shedWrites, shedStops, shedLong, shedLedger, shedReceipts, shedAnswers, shedShare, shedPending, shedSeal, shedStore, shedConnections, shedBody,
	shedReader, shedStreams,
}

// shortWait is when to come back to a store that is near its quota: history moves to the archive, and what is
// compacted is given back, in minutes.
const shortWait = 30 * time.Second

// room is nil if the store has room for what a route writes. A replay is no write: who sent the request before
// has had his answer by then.
func (s *Server) room(r *route) error {
	if !r.adds() {
		return nil
	}
	err := s.store.Room()
	if errors.Is(err, store.ErrShort) {
		return busy(shedStore, "the store is near its quota, and keeps what is left for what was begun and for what stops things").after(shortWait)
	}
	return err
}

// busy is RATE_LIMITED for another reason than a key's own rate.
func busy(why shed, format string, args ...any) *problem {
	p := fault(registry.RateLimited, "%s; nothing was stored, try again", fmt.Sprintf(format, args...)).after(time.Second)
	p.shed = why
	return p
}
