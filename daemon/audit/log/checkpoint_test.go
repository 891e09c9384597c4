package auditlog_test

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func TestBothLogsAreOneTreeThatFsckAccepts(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	one, two := filepath.Join(t.TempDir(), "appliance-1"), filepath.Join(t.TempDir(), "appliance-2")
	la, stopA := run(t, s, n.options(one))
	lb, _ := run(t, srv.Open(store.UserServe), n.options(two))
	for i := range 90 { // more than a tile's 256 leaves, with batches between them
		if err := write(t.Context(), s, fmt.Sprintf("t%d", i), 3); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			n.write(fmt.Sprintf(`"operationId":"op_%d","type":"cancel"`, i))
		}
	}
	await(t, la, 270)
	if p := n.receipt(t, la, "token", "t89"); p.Index < 269 {
		t.Errorf("the newest entry is leaf %d", p.Index)
	}
	n.receipt(t, la, "token", "t0")
	n.receipt(t, lb, "token", "t44")
	stopA()
	// The other goes on: it is the sequencer now.
	if err := write(t.Context(), s, "later", 1); err != nil {
		t.Fatal(err)
	}
	n.receipt(t, lb, "token", "later")
	for _, dir := range []string{one, two} {
		if err := n.accepted(t, dir); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
	// And back: what one missed it takes from the store.
	la, _ = run(t, s, n.options(one))
	n.receipt(t, la, "token", "later")
	if err := n.accepted(t, one); err != nil {
		t.Error(err)
	}
}

// What one appliance had signed the other cosigns, and receipts of either say so.
func TestTheOtherApplianceCosigns(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	one, _ := run(t, s, n.options(filepath.Join(t.TempDir(), "appliance-1")))
	o := n.options(filepath.Join(t.TempDir(), "appliance-2"))
	o.Cosigner = &cosigner{notary: n, id: "appliance-2"}
	two, _ := run(t, srv.Open(store.UserServe), o)
	for i, over := 0, time.Now().Add(patience); ; i++ {
		if time.Now().After(over) {
			t.Fatal("no receipt has the cosignature of the other appliance")
		}
		id := fmt.Sprintf("t%d", i)
		if err := write(t.Context(), s, id, 1); err != nil {
			t.Fatal(err)
		}
		n.receipt(t, two, "token", id)
		p := n.receipt(t, one, "token", "t0")
		e, _, err := audit.ParseEvidence(p.Extra)
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Cosigners) == 0 {
			continue // it comes later than the checkpoint itself
		}
		var keys seal.CheckpointKeys
		if err := json.Unmarshal(e.Cosigners[0], &keys); err != nil {
			t.Fatal(err)
		}
		if c, err := keys.OpenCosigned(p.Checkpoint); err != nil || keys.ApplianceID != "appliance-2" || c.Tree.Size <= p.Index {
			t.Errorf("%s: %+v, %v", keys.ApplianceID, c, err)
		}
		return
	}
}

// A checkpoint is a batch, which is a leaf, which asks for no checkpoint: there are never more of them than of
// what they are asked for.
func TestCheckpointsDoNotFeedThemselves(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	o := n.options(filepath.Join(t.TempDir(), "appliance-1"))
	o.CheckpointEvery = time.Millisecond
	l, _ := run(t, s, o)
	const entries = 40
	for i := range entries {
		id := fmt.Sprintf("t%d", i)
		if err := write(t.Context(), s, id, 1); err != nil {
			t.Fatal(err)
		}
		n.receipt(t, l, "token", id)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if most := uint64(1 + 1 + entries); n.sequence > most {
		t.Errorf("%d batches for a charter and %d entries, want at most %d", n.sequence, entries, most)
	}
}

// Whoever died between the ledger's record and the store's checkpoint, the next one asks for the same again.
func TestACheckpointThatWasRecordedAndNotPublished(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	n.lost = true
	dir := filepath.Join(t.TempDir(), "appliance-1")
	_, stop := run(t, s, n.options(dir))
	if err := write(t.Context(), s, "t", 1); err != nil {
		t.Fatal(err)
	}
	until(t, "no checkpoint is recorded", func() bool { _, ok := n.recorded(); return ok })
	stop()
	n.mu.Lock()
	n.lost = false
	n.mu.Unlock()
	l, _ := run(t, s, n.options(dir))
	n.receipt(t, l, "token", "t")
	if err := n.accepted(t, dir); err != nil {
		t.Error(err)
	}
}

// The charter that names who signed a checkpoint may come here after the checkpoint does. It is refused then, and asked
// for again: or there would be none any more, and no receipt, before the next start.
func TestACheckpointThatWasRefusedIsAskedForAgain(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	dir := filepath.Join(t.TempDir(), "appliance-1")
	o := n.options(dir)
	known, refused := o.Ledger.Check, atomic.Bool{}
	o.Ledger.Check = func(ctx context.Context, k *seal.CheckpointKeys) error {
		if refused.CompareAndSwap(false, true) {
			return errors.New("the charter that names them is not carried in yet")
		}
		return known(ctx, k)
	}
	l, _ := run(t, s, o)
	if err := write(t.Context(), s, "t", 1); err != nil {
		t.Fatal(err)
	}
	n.receipt(t, l, "token", "t")
	if !refused.Load() {
		t.Error("nothing was refused")
	}
	if err := n.accepted(t, dir); err != nil {
		t.Error(err)
	}
}

// Whoever waits for a receipt while checkpoints are refused has one asked for now and then, not without a pause: each
// refusal is news, upon which he wishes for another one.
func TestAttack_CheckpointsThatAreRefusedAreNoStorm(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	o := n.options(filepath.Join(t.TempDir(), "appliance-1"))
	o.CheckpointEvery = time.Hour
	var refused atomic.Int64
	o.Ledger.Check = func(context.Context, *seal.CheckpointKeys) error {
		refused.Add(1)
		return errors.New("keys of nobody")
	}
	l, _ := run(t, s, o)
	if err := write(t.Context(), s, "t", 1); err != nil {
		t.Fatal(err)
	}
	until(t, "nobody wishes for a checkpoint", func() bool {
		before := refused.Load()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := l.ReceiptOf(ctx, "token", "t", "token.step9"); err == nil {
			t.Error("a receipt by a checkpoint that was refused")
		}
		if n := refused.Load() - before; n > 5 {
			t.Errorf("%d checkpoints in 3 s", n)
		}
		return before > 0
	})
}
