package sealed

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// BenchmarkMemory is charges with journal and anchor as in production, against the
// same room without them: the journal's file is in memory, where a sync costs
// nothing, and the anchor in a variable. In turns, on one etcd. With a token of its
// own an author renews the anchor once a minute; where others share it, with every
// batch, and none of the steps can be spared. The new anchor is made before the old one is
// destroyed: a crash between leaves both, and never none. All that stand are searched for
// behind the new one's making and before any answer: of two seals that a hostile store
// shows two histories each finds the other's there, and one of them at least before its
// caller has a signature. The old one goes before the answer too, for a process that
// is stopped in the middle of a change of a SoftHSM2 token misses what others change.
// It runs beside the journal's sync. What it costs is processor, not disk: SoftHSM2 opens
// and locks a file for each attribute of each object that a search passes.
func BenchmarkMemory(b *testing.B) {
	b.Run("own-token", func(b *testing.B) { memory(b, false) })
	b.Run("shared-token", func(b *testing.B) { memory(b, true) })
}

func memory(b *testing.B, shared bool) {
	limit, wide := policy.MaxAmount(), amount("1000000000000000000")
	h := newSharedBenchmark(b, func(c *policy.Charter) {
		if !shared {
			return
		}
		twin := c.Appliances[0]
		twin.ID, twin.LedgerKey = secondAppliance, benchSigner(b, policy.Ed25519).Public()
		c.Appliances = append(c.Appliances, twin)
	}, policy.Rule{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers", AboveAmount: &wide},
		policy.Rule{Type: policy.RuleDailyLimit, Amount: &limit})
	inMemory, err := os.MkdirTemp("/dev/shm", "journal")
	h.must(err)
	b.Cleanup(func() { _ = os.RemoveAll(inMemory) })
	forgetful, err := openJournal(inMemory)
	h.must(err)
	real := h.room.journal
	const clients = 64
	turns, n := 6, 4096
	if testing.Short() {
		turns, n = 1, 256
	}
	var on, off spent
	done := 0
	run := func(sum *spent) {
		jobs := h.jobs(n, 0)
		sum.add(func() (time.Duration, []time.Duration) {
			return each(b, clients, n, func(k int) error {
				w := h.room.read(jobs[k].request)
				return h.room.submit(b.Context(), func(rd *round) error {
					_, err := rd.authorize(w)
					return err
				})
			})
		})
		h.settle(jobs)
	}
	for b.Loop() {
		for range turns {
			run(&on)
			h.remembering(forgetful, &memoryAnchors{})
			run(&off)
			h.remembering(real, house.hsm)
			done += n
		}
	}
	h.must(forgetful.close())
	rate := func(s spent) float64 { return float64(done) / s.clock.Seconds() }
	b.ReportMetric(0, "ns/op") // of a turn of both
	b.ReportMetric(rate(on), "charges/s")
	b.ReportMetric(rate(off), "without/s")
	b.ReportMetric(rate(on)/rate(off), "of_without(aim≥0.8)")
	b.ReportMetric(off.cpu.Seconds()/on.cpu.Seconds(), "cpu_of_without")
}

// remembering gives the room another journal and another place for the anchor, in
// its own goroutine and with what the old ones said.
func (h *benchmark) remembering(j *journal, store anchorStore) {
	h.b.Helper()
	h.must(h.room.submit(h.b.Context(), func(*round) error {
		text, err := h.room.anchors.held.encode()
		if err != nil {
			return err
		}
		h.room.anchors.ours = [][]byte{text}
		_, _, old, err := (&anchoring{token: store}).read(h.b.Context())
		if err != nil {
			return err
		}
		if err := store.ExchangeObject(h.b.Context(), anchorName, text, old...); err != nil {
			return err
		}
		last := h.room.journal.last
		h.room.journal, h.room.anchors.token = j, store
		return j.write(last)
	}))
}

// memoryAnchors keeps anchors in this process.
type memoryAnchors struct {
	mu      sync.Mutex
	objects [][]byte
}

func (m *memoryAnchors) Objects(context.Context, string) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.objects) == 0 {
		return nil, hsm.ErrNotFound
	}
	return m.objects, nil
}

func (m *memoryAnchors) ExchangeObject(_ context.Context, _ string, value []byte, old ...[]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(m.objects), func(o []byte) bool {
		return slices.ContainsFunc(old, func(x []byte) bool { return bytes.Equal(o, x) })
	})
	m.objects = append(kept, value)
	return nil
}

func (m *memoryAnchors) AddObject(_ context.Context, _ string, value []byte) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects = append(slices.Clone(m.objects), value)
	return m.objects, nil
}

func (m *memoryAnchors) RemoveObjects(ctx context.Context, _ string, values ...[]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects = slices.DeleteFunc(slices.Clone(m.objects), func(o []byte) bool {
		return slices.ContainsFunc(values, func(x []byte) bool { return bytes.Equal(o, x) })
	})
	return nil
}

func (m *memoryAnchors) SameObject(_ context.Context, _ string, value []byte) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.objects) == 1 && bytes.Equal(m.objects[0], value), nil
}

// BenchmarkTakeOver is the time from an author's death, of which nobody is told,
// until another appliance of the token has taken over and said so in the anchor:
// the rest of the lease, and what comes after it. Two appliances do it in turn.
func BenchmarkTakeOver(b *testing.B) {
	key, err := house.hsm.GenerateEd25519(b.Context(), ledgerKeys+secondAppliance, ledgerKeys+secondAppliance)
	if err != nil {
		b.Fatal(err)
	}
	h := newSharedBenchmark(b, func(c *policy.Charter) {
		public, err := policy.NewPublicKey(key)
		if err != nil {
			b.Fatal(err)
		}
		twin := c.Appliances[0]
		twin.ID, twin.LedgerKey = secondAppliance, public
		c.Appliances = append(c.Appliances, twin)
	}, policy.Rule{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers"})
	seq, head := h.room.known().fold.Head()
	second, _ := h.charter.Appliance(secondAppliance)
	join := &ledger.Join{Format: 1, Instance: h.charter.Instance, ApplianceID: secondAppliance, LedgerKey: second.LedgerKey, UnsealKey: second.UnsealKey,
		Sequence: seq, Head: head, CreatedAt: policy.Seconds(time.Now())}
	_, err = h.room.Join(b.Context(), h.sign(policy.DocJoin, join, h.people.custodians[:2]...))
	h.must(err)
	rooms := [2]*room{h.room, h.newRoomOf(secondAppliance, h.digest, b.TempDir())}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- rooms[1].run(ctx) }()
	b.Cleanup(func() {
		cancel()
		h.must(errors.Join(<-ended, rooms[1].journal.close()))
	})
	var took []time.Duration
	for n := 0; b.Loop(); n = 1 - n {
		author, next := rooms[n], rooms[1-n]
		for !next.known().ready || !author.known().ready {
			time.Sleep(time.Millisecond)
		}
		err := author.submit(b.Context(), func(rd *round) error {
			// From here on the author neither decides nor keeps its lease alive.
			rd.room.tenure.stop()
			died := time.Now()
			for {
				a, _, _, err := (&anchoring{token: house.hsm}).read(b.Context())
				if err != nil {
					return err
				}
				if a.Author == next.appliance {
					took = append(took, time.Since(died))
					return nil
				}
				time.Sleep(time.Millisecond)
			}
		})
		if len(took) == 0 {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(quantile(took, .5)/1000, "takeover-s")
	b.ReportMetric(quantile(took, .5)/1000-benchLease.Seconds(), "after-lease-s")
}
