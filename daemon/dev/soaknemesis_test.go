package dev_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// fault is one way in which something may be broken for a while.
type fault struct {
	name string
	// rooms are what two faults at one time must not share: processes, lines.
	rooms []string
	// weight is how often it is drawn among all.
	weight int
	// most is how long it lasts at most.
	most  time.Duration
	begin func(ctx context.Context)
	end   func(ctx context.Context)
}

// attack is a fault at its time.
type attack struct {
	fault
	at, until time.Duration // from the beginning
}

func (f fault) meets(other fault) bool {
	return slices.ContainsFunc(f.rooms, func(room string) bool { return slices.Contains(other.rooms, room) })
}

// plan draws what is broken when: the same from the same seed, duration and
// faults. Lanes of it run side by side, never two in one room.
func plan(seed uint64, span time.Duration, lanes int, faults []fault) (all []attack) {
	r := rand.New(rand.NewPCG(seed, 0x50a4))
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	for range lanes {
		at := time.Duration(0)
		for {
			at += 200*time.Millisecond + time.Duration(r.Int64N(int64(6*time.Second)))
			n := r.IntN(total)
			var f fault
			for _, f = range faults {
				if n -= f.weight; n < 0 {
					break
				}
			}
			length := 100*time.Millisecond + time.Duration(r.Int64N(int64(f.most)))
			if at+length > span {
				break
			}
			a := attack{fault: f, at: at, until: at + length}
			if !slices.ContainsFunc(all, func(b attack) bool { return a.at <= b.until && b.at <= a.until && a.meets(b.fault) }) {
				all = append(all, a)
			}
			at += length
		}
	}
	slices.SortFunc(all, func(a, b attack) int { return cmp.Compare(a.at, b.at) })
	return all
}

// lies are what one of the two nodes may say, of which the other says otherwise:
// nothing ends by the word of one, and nobody is accused by it.
var lies = map[string]string{"nonce": "3", "failed": "", "otherblock": "", "fork": "", "head": "5", "from": "0x00000000000000000000000000000000000000aa",
	"dear": "3", "cheap": "1000", "chain": "7", "genesis": "", "garbage": "", "refuse": "insufficient funds"}

// faults are all that the house can suffer. No clock is turned, and no store
// lies; of the nodes one at a time does, and the token names wrong objects.
func (h *soakHouse) faults() (all []fault) {
	add := func(weight int, most time.Duration, room, name string, begin, end func(context.Context)) {
		all = append(all, fault{name: name, rooms: []string{room}, weight: weight, most: most, begin: begin, end: end})
	}
	nothing := func(context.Context) {}
	dies := func(p *process, weight int) {
		up := func(context.Context) {
			if err := p.up(); err != nil {
				h.t.Error(err)
			}
		}
		add(weight, 6*time.Second, p.name, "kill "+p.name, func(context.Context) { p.kill() }, up)
		add(weight, 8*time.Second, p.name, "pause "+p.name, func(context.Context) { p.signal(syscall.SIGSTOP) }, func(context.Context) { p.signal(syscall.SIGCONT) })
	}
	for n := range applianceIDs {
		dies(h.serves[n], 4)
		add(2, 3*time.Second, h.serves[n].name, "end "+h.serves[n].name, func(context.Context) { h.serves[n].end() }, func(context.Context) {
			if err := h.serves[n].up(); err != nil {
				h.t.Error(err)
			}
		})
		s := h.seals[n]
		dies(s, 3)
		add(3, time.Second, s.name, "kill the worker of "+s.name, func(context.Context) { s.signalChildren(syscall.SIGKILL) }, nothing)
		add(2, time.Second, s.name, "kill the keeper of "+s.name, func(context.Context) { s.signalMain(syscall.SIGKILL) }, nothing)
		add(3, 8*time.Second, s.name, "pause the worker of "+s.name, func(context.Context) { s.signalChildren(syscall.SIGSTOP) }, func(context.Context) { s.signalChildren(syscall.SIGCONT) })
		add(1, 5*time.Second, s.name, "pause the keeper of "+s.name, func(context.Context) { s.signalMain(syscall.SIGSTOP) }, func(context.Context) { s.signalMain(syscall.SIGCONT) })
		add(2, 6*time.Second, s.name, "seal "+s.name, func(ctx context.Context) { h.sealSometime(ctx, n) }, func(ctx context.Context) { h.unsealSometime(ctx, n) })
	}
	for _, e := range h.etcds {
		dies(e, 2)
	}
	dies(h.chain, 2)
	together := func(weight int, name string, of ...*process) {
		add(weight, 5*time.Second, "", "power of "+name, func(context.Context) {
			var down sync.WaitGroup
			for _, p := range of {
				down.Go(p.kill)
			}
			down.Wait()
		}, func(context.Context) {
			for _, p := range of {
				if err := p.up(); err != nil {
					h.t.Error(err)
				}
			}
		})
		f := &all[len(all)-1]
		f.rooms = nil
		for _, p := range of {
			f.rooms = append(f.rooms, p.name)
		}
	}
	for n, id := range applianceIDs {
		together(1, id, h.serves[n], h.seals[n])
	}
	together(1, "two members of etcd", h.etcds[:2]...)
	together(1, "etcd", h.etcds[:]...)
	together(1, "everything", h.processes()...)
	add(2, 2*time.Second, "store", "compact etcd", func(ctx context.Context) { h.compact(ctx) }, nothing)

	lines := func(weight int, name string, wires ...*wire) {
		each := func(do func(*wire)) func(context.Context) {
			return func(context.Context) {
				for _, w := range wires {
					do(w)
				}
			}
		}
		heal := each((*wire).heal)
		add(weight, 8*time.Second, name, "cut "+name, each((*wire).sever), heal)
		add(weight, 8*time.Second, name, "hold "+name, each((*wire).hold), heal)
		add(weight, 4*time.Second, name, "no answers over "+name, each((*wire).mute), heal)
		add(weight, 8*time.Second, name, "slow "+name, each(func(w *wire) { w.slow(100 * time.Millisecond) }), heal)
		add(weight, time.Second, name, "blink "+name, each((*wire).drop), nothing)
	}
	for n, id := range applianceIDs {
		lines(2, "serve of "+id+" to etcd", h.serveStore[n][:]...)
		lines(2, "seal of "+id+" to etcd", h.sealStore[n][:]...)
		lines(1, "link to "+id, h.links[n])
	}
	for _, w := range h.peers {
		lines(1, w.name, w)
	}
	lines(2, h.qustody.line.name, h.qustody.line)
	add(1, 6*time.Second, h.qustody.line.name, "Qustody is unwell", func(context.Context) { h.qustody.Lie(unwell) }, func(context.Context) { h.qustody.Lie(nil) })
	for n, p := range h.nodes {
		name := fmt.Sprint("node ", n+1)
		for _, what := range []string{"stall", "reset", "429", "500", "html", "empty", "freeze", "swallow", "hide", "receipts-hide", "pruned"} {
			add(1, 8*time.Second, "nodes", name+": "+what, func(context.Context) { p.Set(what, "") }, func(context.Context) { p.Behave() })
		}
	}
	for n, p := range h.nodes {
		for _, what := range slices.Sorted(maps.Keys(lies)) {
			add(1, 8*time.Second, "nodes", fmt.Sprintf("node %d lies: %s", n+1, what), func(context.Context) { p.Set(what, lies[what]) }, func(context.Context) { p.Behave() })
		}
	}
	for _, depth := range []uint64{1, 2, 5} { // within the confirmations, as many, and beyond
		add(2, 500*time.Millisecond, "chain", fmt.Sprintf("reorg of %d blocks", depth), func(context.Context) { h.reorg(depth) }, nothing)
	}
	for n := range applianceIDs {
		all = append(all, h.tokenFaults(n)...)
	}
	add(2, 6*time.Second, "sink", "sink refuses", func(context.Context) { h.sink.set(true, 0) }, func(context.Context) { h.sink.set(false, 0) })
	add(1, 6*time.Second, "sink", "sink is slow", func(context.Context) { h.sink.set(false, time.Second) }, func(context.Context) { h.sink.set(false, 0) })
	return all
}

// only keeps the faults whose name holds one of the words, all of them if there
// are no words.
func only(faults []fault, words string) []fault {
	if words == "" {
		return faults
	}
	return slices.DeleteFunc(faults, func(f fault) bool {
		return !slices.ContainsFunc(strings.Split(words, ","), func(w string) bool { return strings.Contains(f.name, w) })
	})
}

// suffer breaks and mends by the plan, and returns once everything is mended.
func (h *soakHouse) suffer(ctx context.Context, attacks []attack) {
	type moment struct {
		at time.Duration
		do func()
	}
	var moments []moment
	begun := time.Now()
	say := func(what string, a attack) {
		h.note("%8.3fs %s %s", time.Since(begun).Seconds(), what, a.name)
	}
	for _, a := range attacks {
		moments = append(moments,
			moment{a.at, func() { say("begin", a); a.begin(ctx) }},
			moment{a.until, func() { a.end(ctx); say("ended", a) }})
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return cmp.Compare(a.at, b.at) })
	for _, m := range moments {
		if wait := m.at - time.Since(begun); wait > 0 {
			time.Sleep(wait) // the plan's own time
		}
		m.do()
	}
}

// heal ends whatever may still be broken.
func (h *soakHouse) heal(ctx context.Context) {
	for _, w := range h.wires() {
		w.heal()
	}
	for _, n := range h.nodes {
		n.Behave()
	}
	h.sink.set(false, 0)
	h.qustody.Lie(nil)
	for n := range applianceIDs {
		h.behave(n)
	}
	for _, p := range h.processes() {
		p.signal(syscall.SIGCONT)
		if err := p.up(); err != nil {
			h.t.Error(err)
		}
	}
	for n := range applianceIDs {
		h.eventually(func() error { return h.unsealOne(ctx, n) })
		h.pair.ready(n)
	}
}

// sealSometime seals an appliance if it can be reached; unsealSometime opens it
// as often as it takes, and leaves the rest to heal.
func (h *soakHouse) sealSometime(ctx context.Context, n int) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := h.sealOne(ctx, n, "custodian-2"); err != nil {
		h.note("          sealing %s: %v", applianceIDs[n], err)
	}
}

func (h *soakHouse) unsealSometime(ctx context.Context, n int) {
	h.custodians.Go(func() {
		for ctx.Err() == nil {
			attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
			err := h.unsealOne(attempt, n)
			cancel()
			if err == nil {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond): // people are no faster
			}
		}
	})
}
