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
)

// TestSoak lets clients and approvers work on two appliances while a nemesis
// breaks everything that can break honestly, and holds afterwards that nothing
// was done twice, lost, or told wrongly. The environment says how:
//
//	MINTWARDEN_SOAK_SEED     the seed of all that is drawn (default: the time); it is logged
//	MINTWARDEN_SOAK_SPAN     how long it is broken, a Go duration (default 3m)
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
	lanes, clients, laws := int(number("MINTWARDEN_SOAK_LANES", 3)), int(number("MINTWARDEN_SOAK_CLIENTS", 6)), int(number("MINTWARDEN_SOAK_LAWS", 2))
	t.Logf("MINTWARDEN_SOAK_SEED=%d MINTWARDEN_SOAK_SPAN=%s MINTWARDEN_SOAK_LANES=%d MINTWARDEN_SOAK_CLIENTS=%d MINTWARDEN_SOAK_LAWS=%d MINTWARDEN_SOAK_FAULTS=%s",
		seed, span, lanes, clients, laws, os.Getenv("MINTWARDEN_SOAK_FAULTS"))

	h := newSoakHouse(t, seed)
	c := newCrowd(h)
	stop := make(chan struct{})
	var customers, people, lawmakers sync.WaitGroup
	for n := range clients {
		customers.Go(func() { c.customer(n, seed, stop) })
	}
	for n := range 2 * clients {
		people.Go(func() { c.people(n, seed) })
	}
	for n := range laws {
		lawmakers.Go(func() { c.lawmaker(n, seed, stop) })
	}
	var attacks []attack
	if faults := only(h.faults(), strings.TrimSpace(os.Getenv("MINTWARDEN_SOAK_FAULTS"))); len(faults) > 0 {
		attacks = plan(seed, span, lanes, faults)
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
	if laws > 0 {
		c.peace()
	}
	customers.Wait()
	c.replay()
	close(c.decide)
	people.Wait()
	c.finish()
	h.check(c, before)
}
