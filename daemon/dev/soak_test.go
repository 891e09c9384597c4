package dev_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// TestSoak lets clients and approvers work on two appliances while a nemesis
// breaks everything that can break honestly, and holds afterwards that nothing
// was done twice, lost, or told wrongly. It does so on a network of each kind, one
// after the other. The environment says how:
//
//	MINTWARDEN_SOAK_KINDS    the networks' kinds, divided by commas (default quantum,evm)
//	MINTWARDEN_SOAK_SEED     the seed of all that is drawn (default: the time); each further kind has the next one; it is logged
//	MINTWARDEN_SOAK_SPAN     how long it is broken, a Go duration of which each kind has its part (default 3m)
//	MINTWARDEN_SOAK_FAULTS   only faults whose names hold one of these words, divided by commas ("none": none)
//	MINTWARDEN_SOAK_LANES    how many faults at most at a time (default 3)
//	MINTWARDEN_SOAK_CLIENTS  how many ask (default 6)
//	MINTWARDEN_SOAK_LAWS     how many change policies and charter, and stop people, tokens and appliances (default 2)
//	MINTWARDEN_SOAK_RACE     1: serve is built with the race detector, whose findings fail the test
//	MINTWARDEN_SOAK_KEEP     a directory for the logs and the list of what was broken when
//
// The same seed draws the same faults at the same times, and the same requests.
func TestSoak(t *testing.T) {
	if os.Getenv("MINTWARDEN_LONG") != "1" {
		t.Skip("takes five minutes: MINTWARDEN_LONG=1")
	}
	number := func(name string, otherwise uint64) uint64 {
		n, err := strconv.ParseUint(cmp.Or(os.Getenv(name), fmt.Sprint(otherwise)), 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	seed := number("MINTWARDEN_SOAK_SEED", uint64(time.Now().Unix()))
	span, err := time.ParseDuration(cmp.Or(os.Getenv("MINTWARDEN_SOAK_SPAN"), "3m"))
	if err != nil {
		t.Fatal(err)
	}
	many := soakers{clients: int(number("MINTWARDEN_SOAK_CLIENTS", 6)), laws: int(number("MINTWARDEN_SOAK_LAWS", 2)), lanes: int(number("MINTWARDEN_SOAK_LANES", 3))}
	kinds := strings.Split(cmp.Or(os.Getenv("MINTWARDEN_SOAK_KINDS"), string(tx.KindQuantum)+","+string(tx.KindEVM)), ",")
	for n, kind := range kinds {
		t.Run(kind, func(t *testing.T) { soak(t, tx.Kind(kind), seed+uint64(n), span/time.Duration(len(kinds)), many) })
	}
}

// soakers is how many do what in a soak.
type soakers struct{ clients, laws, lanes int }

func soak(t *testing.T, kind tx.Kind, seed uint64, span time.Duration, many soakers) {
	t.Logf("MINTWARDEN_SOAK_KINDS=%s MINTWARDEN_SOAK_SEED=%d MINTWARDEN_SOAK_SPAN=%s MINTWARDEN_SOAK_LANES=%d MINTWARDEN_SOAK_CLIENTS=%d MINTWARDEN_SOAK_LAWS=%d MINTWARDEN_SOAK_FAULTS=%s",
		kind, seed, span, many.lanes, many.clients, many.laws, os.Getenv("MINTWARDEN_SOAK_FAULTS"))

	h := newSoakHouse(t, kind, seed)
	c := newCrowd(h)
	stop := make(chan struct{})
	var customers, people, lawmakers sync.WaitGroup
	for n := range many.clients {
		customers.Go(func() { c.customer(n, seed, stop) })
	}
	customers.Go(func() { c.qustody(seed, stop) })
	for n := range 2 * many.clients {
		people.Go(func() { c.people(n, seed) })
	}
	for n := range many.laws {
		lawmakers.Go(func() { c.lawmaker(n, seed, stop) })
	}
	var attacks []attack
	if faults := only(h.faults(), strings.TrimSpace(os.Getenv("MINTWARDEN_SOAK_FAULTS"))); len(faults) > 0 {
		attacks = plan(seed, span, many.lanes, faults)
	}
	for _, a := range attacks {
		t.Logf("%v to %v: %s", a.at, a.until, a.name)
	}
	ctx, calm := context.WithCancel(t.Context())
	before := h.use()
	h.suffer(ctx, attacks)
	if len(attacks) == 0 {
		time.Sleep(span) // the time to work in without faults
	}
	calm()
	h.custodians.Wait()
	t.Logf("%d faults; everything heals", len(attacks))
	h.heal(t.Context())
	close(stop)
	lawmakers.Wait()
	if many.laws > 0 {
		c.peace()
	}
	customers.Wait()
	c.replay()
	close(c.decide)
	people.Wait()
	c.finish()
	h.check(c, before)
}
