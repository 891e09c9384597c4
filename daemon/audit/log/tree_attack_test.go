package auditlog_test

import (
	"cmp"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	auditlog "github.com/mintwarden/mintwarden/daemon/audit/log"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// grow is a log that has signed a tree, at rest.
func grow(t *testing.T) (*storetest.Server, *store.Store, *notary, string) {
	t.Helper()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	dir := filepath.Join(t.TempDir(), "appliance-1")
	l, stop := run(t, s, n.options(dir))
	for i := range 100 {
		if err := write(t.Context(), s, fmt.Sprintf("t%d", i), 3); err != nil {
			t.Fatal(err)
		}
	}
	await(t, l, 300)
	n.receipt(t, l, "token", "t99")
	stop()
	return srv, s, n, dir
}

// signedValue is a checkpoint as the store has it.
func signedValue(t *testing.T, text string, keys *seal.CheckpointKeys) []byte {
	t.Helper()
	value, err := json.Marshal(map[string]any{"format": 1, "note": text, "keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func noReceipt(t *testing.T, l *auditlog.Log, id string) {
	t.Helper()
	if _, err := l.ReceiptOf(t.Context(), "token", id, ""); !errors.Is(err, auditlog.ErrNoReceipt) {
		t.Errorf("a receipt from a tree that cannot be gone by: %v", err)
	}
}

// Tiles that were changed on the disk are put aside, and the tree is grown anew, with the very same root.
func TestAttack_ATamperedTreeOnTheDisk(t *testing.T) {
	t.Parallel()
	_, s, n, dir := grow(t)
	for _, name := range []string{"tile/0/001.p", "tile/1/000.p", "tile/entries/001.p", "state"} {
		path := filepath.Join(dir, "tlog", name)
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			all, err := os.ReadDir(path)
			if err != nil {
				t.Fatal(err)
			}
			newest := slices.MaxFunc(all, func(a, b os.DirEntry) int { // the widest: narrower ones are of trees before
				return cmp.Or(cmp.Compare(len(a.Name()), len(b.Name())), cmp.Compare(a.Name(), b.Name()))
			})
			path = filepath.Join(path, newest.Name())
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if name != "state" && n.accepted(t, dir) == nil {
			t.Errorf("%s: fsck accepts what was tampered with", name)
		}
		l, stop := run(t, s, n.options(dir))
		n.receipt(t, l, "token", "t99")
		stop()
		if err := n.accepted(t, dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	aside, err := filepath.Glob(filepath.Join(dir, "tlog.damaged-*"))
	if err != nil || len(aside) != 4 {
		t.Errorf("put aside: %v (%v)", aside, err)
	}
}

// A full tile that was changed does not give a wrong receipt.
func TestAttack_ATamperedFullTileGivesNoReceipt(t *testing.T) {
	t.Parallel()
	_, s, n, dir := grow(t)
	path := filepath.Join(dir, "tlog", "tile", "0", "000")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[32:64], b[:32])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	l, _ := run(t, s, n.options(dir))
	noReceipt(t, l, "t0")
}

// A store that was restored from a backup is behind the tree on the disk: nothing is published, and nothing of
// it is signed.
func TestAttack_ARolledBackStore(t *testing.T) {
	t.Parallel()
	srv, s, n, dir := grow(t)
	signed, _ := n.recorded()
	for _, prefix := range []string{store.AuditLog, store.AuditOrder} {
		p, err := s.List(t.Context(), prefix, store.ListOptions{Descending: true, Limit: 10, KeysOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		tx := s.Tx()
		for _, kv := range p.KVs[:2] {
			tx.Delete(kv.Key)
		}
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l, stop := run(t, srv.Open(store.UserServe), n.options(dir))
	noReceipt(t, l, "t0")
	stop()
	if now, _ := n.recorded(); now != signed {
		t.Errorf("a tree of %d leaves was signed on top of a store that went back", now.Size)
	}
}

// A store that holds another history than the tree on the disk is not followed.
func TestAttack_AForkedStore(t *testing.T) {
	t.Parallel()
	_, s, n, dir := grow(t)
	last := store.AuditLog + fmt.Sprintf("%020d", 300)
	value, _, _, err := s.Get(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := auditlog.ParseEntries(store.KV{Key: last, Value: value})
	if err != nil {
		t.Fatal(err)
	}
	e := entries[len(entries)-1]
	e.ActorID = "somebody else"
	if e.EntryHash, err = e.Hash(); err != nil {
		t.Fatal(err)
	}
	var lines [][]byte
	for _, e := range entries {
		line, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	tx := s.Tx()
	tx.Put(last, auditlog.StoreLines(auditlog.Entries, lines))
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, stop := run(t, s, n.options(dir))
	noReceipt(t, l, "t0")
	stop()
	// Nor by an appliance that never saw the other one: the ledger records another root.
	fresh, _ := run(t, s, n.options(filepath.Join(t.TempDir(), "appliance-1")))
	noReceipt(t, fresh, "t0")
}

// A checkpoint that somebody else put into the store is not published.
func TestAttack_AForgedCheckpointInTheStore(t *testing.T) {
	t.Parallel()
	srv, s, n, dir := grow(t)
	other := newNotary(t, srv)
	tree, _ := n.recorded()
	published, err := os.ReadFile(filepath.Join(dir, "tlog", "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := other.sign(tree)
	if err != nil {
		t.Fatal(err)
	}
	value := signedValue(t, text, other.keys)
	put := func(value []byte) {
		tx := s.Tx()
		tx.Put(store.AuditSigned, value)
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	put(value)
	l, stop := run(t, s, n.options(dir))
	n.receipt(t, l, "token", "t99") // of the checkpoint that is asked for again
	stop()
	now, err := os.ReadFile(filepath.Join(dir, "tlog", "checkpoint"))
	if err != nil || strings.Split(string(now), "\n\n")[0] != strings.Split(string(published), "\n\n")[0] {
		t.Errorf("published %s, was %s (%v)", now, published, err)
	}
	// A tree of the right keys with another root is a fork: the author's seal would have signed two.
	tree.Root = policy.DigestOf([]byte("another root"))
	if text, err = n.sign(tree); err != nil {
		t.Fatal(err)
	}
	put(signedValue(t, text, n.keys))
	l, _ = run(t, s, n.options(dir))
	noReceipt(t, l, "t99")
}
