package dev_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// drawing is a house of which nothing runs: enough to draw what would be broken.
func drawing(t *testing.T) *soakHouse {
	h := &soakHouse{pair: &pair{serving: serving{t: t}}, chain: &process{name: "chain"}}
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
