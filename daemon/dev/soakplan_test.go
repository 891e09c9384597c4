package dev_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// drawing is a house of which nothing runs: enough to draw what would be broken.
func drawing(t *testing.T) *soakHouse {
	h := &soakHouse{pair: &pair{serving: serving{t: t}}, chain: &process{name: "chain"}, qustody: &soakQustody{line: &wire{name: "line to Qustody"}}}
	for n := range members {
		h.etcds[n], h.peers[n] = &process{name: fmt.Sprint("etcd-", n+1)}, &wire{name: fmt.Sprint("peer-", n+1)}
	}
	for n, id := range applianceIDs {
		h.serves[n], h.seals[n] = &process{name: "serve of " + id}, &process{name: "seal of " + id}
	}
	return h
}

// What a seed draws can be drawn again, and no two faults of it are in one room
// at a time: then the end of the one would mend what the other broke.
func TestTheSoaksPlanIsItsSeeds(t *testing.T) {
	for seed := range uint64(20) {
		attacks := plan(seed, 10*time.Minute, 5, drawing(t).faults())
		again := plan(seed, 10*time.Minute, 5, drawing(t).faults())
		if len(attacks) < 100 || len(again) != len(attacks) {
			t.Fatalf("seed %d draws %d faults, and then %d", seed, len(attacks), len(again))
		}
		for n, a := range attacks {
			if b := again[n]; a.name != b.name || a.at != b.at || a.until != b.until {
				t.Fatalf("seed %d: %s at %s, and then %s at %s", seed, a.name, a.at, b.name, b.at)
			}
			for _, b := range attacks[:n] {
				if a.meets(b.fault) && a.at <= b.until {
					t.Fatalf("seed %d: %s at %s while %s lasts to %s", seed, a.name, a.at, b.name, b.until)
				}
			}
		}
	}
}

// A wire passes everything on, nothing while it is held, and no connection lives
// through a cut.
func TestAWireIsHeldAndCut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() { // says what it hears
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c) }()
		}
	}()
	w := newWire(t, "wire", l.Addr().String())
	dial := func() net.Conn {
		c, err := net.Dial("tcp", w.address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	hears := func(c net.Conn, word string) error {
		if _, err := io.WriteString(c, word); err != nil {
			return err
		}
		heard := make([]byte, len(word))
		_, err := io.ReadFull(c, heard)
		if err == nil && string(heard) != word {
			t.Fatalf("%q came back as %q", word, heard)
		}
		return err
	}
	c := dial()
	if err := hears(c, "passed"); err != nil {
		t.Fatal(err)
	}
	w.hold()
	heard := make(chan error, 1)
	go func() { heard <- hears(c, "held") }()
	select {
	case err := <-heard:
		t.Fatalf("a held wire passed: %v", err)
	case <-time.After(20 * time.Millisecond): // however long: it never comes
	}
	w.heal()
	if err := <-heard; err != nil {
		t.Fatalf("after the hold: %v", err)
	}
	w.mute()
	go func() { heard <- hears(c, "muted") }()
	select {
	case err := <-heard:
		t.Fatalf("a muted wire answered: %v", err)
	case <-time.After(20 * time.Millisecond): // however long: it never comes
	}
	w.heal()
	if err := <-heard; err == nil {
		t.Fatal("what was lost came after all")
	}
	c = dial()
	if err := hears(c, "healed"); err != nil {
		t.Fatal(err)
	}
	w.sever()
	if err := hears(c, "cut"); err == nil {
		t.Fatal("a connection lived through a cut")
	}
	if err := hears(dial(), "cut"); err == nil {
		t.Fatal("a connection began in a cut")
	}
	w.heal()
	if err := hears(dial(), "healed"); err != nil {
		t.Fatal(err)
	}
}

// The reader of the ledger says no where a tree is not filled by persons of their own, and where a window is shut.
func TestTheSoaksReaderJudgesTreesAndWindows(t *testing.T) {
	l := &lawReader{charter: &policy.Charter{Groups: ranks}}
	seniors, juniors := &policy.Quorum{Group: "seniors", Min: 1}, &policy.Quorum{Group: "juniors", Min: 1}
	both, either := &policy.Quorum{All: []*policy.Quorum{seniors, juniors}}, &policy.Quorum{Any: []*policy.Quorum{seniors, {Group: "juniors", Min: 2}}}
	two := &policy.Quorum{KOf: &policy.KOf{K: 2, Of: []*policy.Quorum{seniors, juniors, {Group: "approvers", Min: 1}}}}
	for _, x := range []struct {
		tree  *policy.Quorum
		who   string // numbers of approvers
		holds bool
	}{
		{both, "12", true}, {both, "13", true}, {both, "2", false}, {both, "1", false}, {both, "23", true},
		{either, "1", true}, {either, "3", false}, {either, "23", true},
		{two, "2", false}, {two, "13", true}, {two, "3", false}, {two, "", false},
		{&policy.Quorum{Group: "approvers", Min: 3}, "12", false}, {&policy.Quorum{Group: "approvers", Min: 3}, "123", true},
	} {
		var people []string
		for _, n := range x.who {
			people = append(people, "approver-"+string(n))
		}
		if holds := len(l.left(x.tree, people)) > 0; holds != x.holds {
			t.Errorf("%s by %v: %v", x.tree, people, holds)
		}
	}
	at := time.Date(2026, 7, 3, 22, 30, 0, 0, time.UTC) // a Friday; in Zurich it is Saturday, 00:30
	for _, x := range []struct {
		rule policy.Rule
		open bool
	}{
		{policy.Rule{Days: []policy.Weekday{"FRI"}, Start: "22:00", End: "22:31"}, true},
		{policy.Rule{Days: []policy.Weekday{"FRI"}, Start: "22:00", End: "22:30"}, false},
		{policy.Rule{Days: []policy.Weekday{"FRI"}, Start: "22:31", End: "24:00"}, false},
		{policy.Rule{Days: []policy.Weekday{"SAT"}, Start: "00:00", End: "24:00"}, false},
		{policy.Rule{Days: []policy.Weekday{"SAT"}, Start: "00:00", End: "24:00", Timezone: "Europe/Zurich"}, true},
		{policy.Rule{Days: []policy.Weekday{"FRI"}, Start: "23:00", End: "01:00", Timezone: "Europe/Zurich"}, true},
		{policy.Rule{Days: []policy.Weekday{"SAT"}, Start: "23:00", End: "01:00", Timezone: "Europe/Zurich"}, false},
	} {
		if open, err := isOpen(&x.rule, at); err != nil || open != x.open {
			t.Errorf("%+v: %v, %v", x.rule, open, err)
		}
	}
}
