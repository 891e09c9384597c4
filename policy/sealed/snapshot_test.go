package sealed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// many records a few batches of their own.
func (i *instance) many(n int) {
	i.t.Helper()
	for range n {
		_, err := i.door.Cancel(i.t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "one more batch"})
		require.NoError(i.t, err)
	}
}

// oldest is the first batch in the store.
func oldest(t *testing.T) uint64 {
	t.Helper()
	first, err := openLog(t, house.store).first(t.Context())
	require.NoError(t, err)
	return first
}

func TestAStartFromASnapshot(t *testing.T) {
	dir := t.TempDir()
	options := roomOptions{state: dir, ledger: LedgerConfig{SnapshotBatches: 5}}
	i, r, stop := inProcess(t, options, nil)
	i.furnish()
	i.deploy()
	in := i.mint("3")
	i.approve(in, 0, 1)
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(dir, snapshotFile)); return err == nil }, patience, 10*time.Millisecond)
	require.NoError(t, stop())
	seq, head := r.fold.Head()

	again := newTestRoom(t, i.digest, options)
	start(t, again)
	out, err := again.Authorize(t.Context(), i.request(in))
	require.NoError(t, err, "decisions that are open are in it")
	require.Equal(t, uint64(1), i.verified(out).Nonce)
	require.Greater(t, again.keep.at, uint64(1), "it was read from the snapshot on")
	require.Equal(t, seq+1, out.Sequence)
	_, known := again.trail.digests[1]
	require.False(t, known)
	require.Equal(t, head, again.trail.digests[seq])
}

// What journal and anchor name stands behind the snapshot: each batch before it would be a question of its own to
// the store, and an author writes thousands between two anchors that only time asks for.
func TestAStartFromASnapshotAsksForNoBatchBeforeIt(t *testing.T) {
	options := roomOptions{state: t.TempDir(), ledger: LedgerConfig{SnapshotBatches: 5}}
	i, r, stop := inProcess(t, options, nil)
	i.furnish()
	law, _ := r.known().fold.Head()
	i.many(12)
	require.Eventually(t, func() bool { all := snapshotsIn(t); return len(all) > 0 && slices.Max(all) > law+5 }, patience, 10*time.Millisecond)
	require.NoError(t, stop())

	s := openLog(t, house.store)
	asked := &askedKV{KV: s.c.KV}
	s.c.KV = asked
	again := newTestRoom(t, i.digest, roomOptions{state: options.state, ledger: options.ledger, store: s})
	start(t, again)
	require.Eventually(t, func() bool { return again.known().ready }, patience, 10*time.Millisecond)
	require.Greater(t, again.keep.at, law, "it was read from the snapshot on")
	require.Zero(t, asked.alone.Load())
}

// askedKV counts the batches that somebody asks for one by one.
type askedKV struct {
	clientv3.KV
	alone atomic.Int64
}

func (a *askedKV) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if _, ok := ledger.ParseKey(key); ok && len(opts) == 0 {
		a.alone.Add(1)
	}
	return a.KV.Get(ctx, key, opts...)
}

// A stop leaves a snapshot behind what was written since the last one, but for who is being sealed, whose login is to
// end at once.
func TestAStopLeavesASnapshotForTheNextStart(t *testing.T) {
	for name, sealing := range map[string]bool{"in order": false, "sealed": true} {
		t.Run(name, func(t *testing.T) {
			options := roomOptions{state: t.TempDir()}
			i, r, stop := inProcess(t, options, nil)
			i.furnish()
			i.many(defaultSnapshotBatches / worthLeaving)
			require.Empty(t, snapshotsIn(t))
			if sealing {
				require.NoError(t, os.WriteFile(filepath.Join(options.state, sealedMarker), nil, 0o600))
			}
			require.NoError(t, stop())
			seq, _ := r.fold.Head()
			if sealing {
				require.NoFileExists(t, filepath.Join(options.state, snapshotFile))
				require.Empty(t, snapshotsIn(t))
				return
			}
			require.Equal(t, []uint64{seq}, snapshotsIn(t))
			again := newTestRoom(t, i.digest, options)
			stop = start(t, again)
			i.door = again
			require.Eventually(t, func() bool { return again.known().ready }, patience, 10*time.Millisecond)
			require.Equal(t, seq, again.keep.at, "it was read from the snapshot on")
			i.many(1)
			require.NoError(t, stop())
			require.Equal(t, []uint64{seq}, snapshotsIn(t), "one batch is worth none")
		})
	}
}

// A snapshot that somebody touched, or that another history would follow, is not
// gone by.
func TestASnapshotThatIsNotTaken(t *testing.T) {
	dir := t.TempDir()
	options := roomOptions{state: dir, ledger: LedgerConfig{SnapshotBatches: 3}}
	i, _, stop := inProcess(t, options, nil)
	i.furnish()
	i.many(2)
	path := filepath.Join(dir, snapshotFile)
	require.Eventually(t, func() bool { _, err := os.Stat(path); return err == nil }, patience, 10*time.Millisecond)
	require.NoError(t, stop())
	signed, err := os.ReadFile(path)
	require.NoError(t, err)
	for name, change := range map[string]func() []byte{
		"a bit flipped": func() []byte { b := append([]byte(nil), signed...); b[len(b)/2] ^= 1; return b },
		"cut":           func() []byte { return signed[:len(signed)-2] },
		"empty":         func() []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, change(), 0o600))
			r := newTestRoom(t, i.digest, options)
			halt := start(t, r)
			i.door = r
			i.many(1)
			_, known := r.trail.digests[1]
			require.True(t, known, "all of the log was read")
			require.NoError(t, halt())
		})
	}
}

// Without a trim, too, the store keeps no more snapshots than followers may start
// from: the newest, and the one before for who has not carried that far.
func TestSnapshotsDoNotPileUp(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{state: t.TempDir(), ledger: LedgerConfig{SnapshotBatches: 2}}, nil)
	i.furnish()
	for round := range 4 {
		i.many(3)
		head, _ := r.known().fold.Head()
		require.Eventually(t, func() bool {
			all := snapshotsIn(t)
			return len(all) == min(round+1, 2) && all[len(all)-1]+2 > head || round == 0 && len(all) == 2
		}, patience, 10*time.Millisecond)
	}
}

// snapshotsIn is of which batches the store has snapshots, in order.
func snapshotsIn(t *testing.T) (all []uint64) {
	t.Helper()
	found, err := openLog(t, house.store).get(t.Context(), ledger.SnapshotPrefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	require.NoError(t, err)
	for _, kv := range found.Kvs {
		if seq, part, ok := ledger.ParseSnapshotKey(string(kv.Key)); ok && part == 0 {
			all = append(all, seq)
		}
	}
	return all
}

func TestALargeSnapshotWaitsForAsMuchLog(t *testing.T) {
	i, r, stop := inProcess(t, roomOptions{}, nil)
	i.furnish()
	require.NoError(t, stop())
	now := time.Now()
	r.keep = keeping{dir: t.TempDir(), LedgerConfig: LedgerConfig{SnapshotBatches: 1, SnapshotEvery: Duration(time.Hour)}, taken: now, size: largeSnapshot}
	require.True(t, r.snapshotDue(now))
	r.keep.size, r.keep.grown = largeSnapshot+1, largeSnapshot
	require.False(t, r.snapshotDue(now))
	r.keep.grown = r.keep.size
	require.True(t, r.snapshotDue(now))
	r.keep.grown = 0
	require.True(t, r.snapshotDue(now.Add(time.Hour)))
}

// retired is an instance with a trim that has taken nothing out of the store yet: batches up to old wait a minute for
// those who follow.
func retired(t *testing.T) (i *instance, r *room, stop func() error, c *testClock, options roomOptions, old uint64) {
	t.Helper()
	c = newTestClock(t)
	options = roomOptions{state: t.TempDir(), clock: c.read, ledger: LedgerConfig{SnapshotBatches: 6, Retention: Duration(100 * time.Hour)}}
	i, r, stop = inProcess(t, options, nil)
	i.furnish()
	i.deploy()
	i.many(3)
	inRun(t, r, func(*round) { // so that none is due before there are batches of later, which end what goes
		now, err := r.clock()
		require.NoError(t, err)
		_, err = r.takeSnapshot(t.Context(), now)
		require.NoError(t, err)
	})
	old, _ = r.known().fold.Head()
	require.Equal(t, uint64(1), oldest(t))
	c.step(101*time.Hour, 101*time.Hour)
	i.many(6)
	require.Eventually(t, func() bool { return r.known().fold.LastTrim() != nil }, patience, 10*time.Millisecond)
	require.Equal(t, old+1, r.known().fold.LastTrim().FirstKept)
	require.Equal(t, uint64(1), oldest(t))
	return i, r, stop, c, options, old
}

// blindKV cannot say, while it is told so, with which batch the log begins.
type blindKV struct {
	clientv3.KV
	blind atomic.Bool
	asked atomic.Bool // while it was
}

func (b *blindKV) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if key == ledger.LogPrefix && b.blind.Load() {
		b.asked.Store(true)
		return nil, context.DeadlineExceeded
	}
	return b.KV.Get(ctx, key, opts...)
}

// The store took the snapshot, and what comes behind it failed: the trim is tried again, and does not wait for the
// batches, or the day, that make another snapshot due.
func TestATrimThatFailedIsTriedAgain(t *testing.T) {
	c, s := newTestClock(t), openLog(t, house.store)
	blind := &blindKV{KV: s.c.KV}
	s.c.KV = blind
	i, r, _ := inProcess(t, roomOptions{state: t.TempDir(), store: s, clock: c.read, ledger: LedgerConfig{Retention: Duration(100 * time.Hour)}}, nil)
	i.furnish()
	i.many(2)
	blind.blind.Store(true)
	c.step(101*time.Hour, 101*time.Hour)
	i.many(2)
	require.Eventually(t, blind.asked.Load, patience, 10*time.Millisecond)
	require.Len(t, snapshotsIn(t), 1)
	blind.blind.Store(false)
	c.step(keepAgain, keepAgain)
	require.Eventually(t, func() bool { return r.known().fold.LastTrim() != nil }, patience, 10*time.Millisecond)
}

// trimmed is an instance whose store begins at first, after a trim; its seal has
// stopped.
func trimmed(t *testing.T) (i *instance, options roomOptions, first uint64) {
	t.Helper()
	i, _, stop, c, options, old := retired(t)
	c.step(2*time.Minute, 2*time.Minute)
	require.Eventually(t, func() bool { return oldest(t) == old+1 }, patience, 20*time.Millisecond)
	require.NoError(t, stop())
	return i, options, old + 1
}

// Another snapshot is due while what a trim let go waits for those who follow: nothing is wrong, there is nothing to
// trim. A start from it knows no trim, and gives them their minute all the same.
func TestASnapshotBehindATrim(t *testing.T) {
	i, r, stop, c, options, old := retired(t)
	seq, _ := r.known().fold.Head()
	i.many(6)
	require.Eventually(t, func() bool { return slices.Max(snapshotsIn(t)) > seq }, patience, 10*time.Millisecond)
	i.many(1) // behind all that was done for the snapshot
	require.NoError(t, stop())
	require.Zero(t, testutil.ToFloat64(r.metrics.notices.WithLabelValues(string(noticedKeeping))))

	again := newTestRoom(t, i.digest, options)
	defer func() { require.NoError(t, again.journal.close()) }()
	require.NoError(t, again.follow(t.Context()))
	require.Greater(t, again.keep.at, seq)
	require.NoError(t, again.author(t.Context(), nil))
	defer again.store.resign(again.tenure)
	now, err := c.read()
	require.NoError(t, err)
	require.NoError(t, again.letGo(t.Context(), now.wall))
	require.Equal(t, uint64(1), oldest(t))
	require.NoError(t, again.letGo(t.Context(), now.wall.Add(letGoAfter)))
	require.Equal(t, old+1, oldest(t))
}

// What is older than the retention goes to the archive, then out of the store;
// seals start from the snapshot, those without memory, too, once they joined.
func TestTrim(t *testing.T) {
	i, options, first := trimmed(t)
	dir, old := options.state, first-1

	// Archive and store together are the whole log, from charter 1 on.
	a, err := ledger.OpenArchive(filepath.Join(dir, "archive"))
	require.NoError(t, err)
	require.Equal(t, old, a.Last())
	fold := ledger.NewFold(i.digest)
	for value, err := range a.Batches() {
		require.NoError(t, err)
		_, err = fold.Apply(value)
		require.NoError(t, err)
	}
	require.NoError(t, openLog(t, house.store).after(t.Context(), old, func(value []byte) error { _, err := fold.Apply(value); return err }))
	require.NoError(t, a.Close())

	again := newTestRoom(t, i.digest, options)
	halt := start(t, again)
	i.door = again
	i.many(1)
	seq, head := again.known().fold.Head()
	require.NoError(t, halt())

	wiped := newTestRoom(t, i.digest, roomOptions{clock: options.clock})
	start(t, wiped)
	inDoubt(t, wiped, "stranger")
	_, err = wiped.Join(t.Context(), i.join(testAppliance, seq, head))
	require.NoError(t, err)
	i.door = wiped
	i.many(1)
}

// Batches that were read long ago are others by the time they go to the archive, which is all that will be left of them.
func TestAttack_OldBatchesAreChangedBeforeTheyAreArchived(t *testing.T) {
	_, r, stop, _, options, old := retired(t)
	require.NoError(t, stop())
	s := openLog(t, house.store)
	var honest [][]byte
	for sequence := range old + 2 {
		value, err := s.batch(t.Context(), sequence)
		require.NoError(t, err)
		honest = append(honest, value)
	}
	archives := func() error {
		r.keep.archive = nil
		require.NoError(t, os.RemoveAll(filepath.Join(options.state, "archive")))
		return r.archive(t.Context(), 1, old+1)
	}
	for name, last := range map[string]uint64{"one of them": 2, "all, each linked to the next": old + 1} {
		t.Run(name, func(t *testing.T) {
			previous := policy.Digest("")
			for sequence := uint64(2); sequence <= last; sequence++ {
				b, err := ledger.ParseBatch(honest[sequence])
				require.NoError(t, err)
				if b.Time = b.Time.Add(time.Second); previous != "" {
					b.Previous = previous
				}
				value, err := b.Encode()
				require.NoError(t, err)
				_, err = s.c.Put(t.Context(), ledger.Key(sequence), string(value))
				require.NoError(t, err)
				previous = policy.DigestOf(value)
			}
			require.Error(t, archives())
			require.Zero(t, r.keep.archive.Last())
			for sequence := uint64(2); sequence <= last; sequence++ {
				_, err := s.c.Put(t.Context(), ledger.Key(sequence), string(honest[sequence]))
				require.NoError(t, err)
			}
		})
	}
	require.NoError(t, archives())
	require.Equal(t, old, r.keep.archive.Last())
	require.NoError(t, r.keep.archive.Close())
}

// The store's snapshot is the only thing left of what was trimmed, and it is not
// what an appliance signed and everybody compared: nothing is decided by it.
func TestAttack_AForgedSnapshotInATrimmedStore(t *testing.T) {
	i, options, _ := trimmed(t)
	s := openLog(t, house.store)
	later := newTestRoom(t, i.digest, options)
	halt := start(t, later)
	i.door = later
	i.many(1)
	require.NoError(t, halt())
	file, _, err := later.writeSnapshot(t.Context()) // signed by an appliance of the charter, and named by no trim
	require.NoError(t, err)
	unnamed, err := os.ReadFile(filepath.Join(options.state, snapshotFile))
	require.NoError(t, errors.Join(err, file.Close()))
	last, err := s.c.Get(t.Context(), ledger.LogPrefix, clientv3.WithLastKey()...)
	require.NoError(t, err)
	seq, ok := ledger.ParseKey(string(last.Kvs[0].Key))
	require.True(t, ok)
	join := i.join(testAppliance, seq, policy.DigestOf(last.Kvs[0].Value))
	parts, err := s.c.Get(t.Context(), ledger.SnapshotPrefix, clientv3.WithPrefix())
	require.NoError(t, err)
	require.Len(t, parts.Kvs, 1)
	key, value := string(parts.Kvs[0].Key), string(parts.Kvs[0].Value)
	for name, forged := range map[string]string{
		"a bit flipped":    func() string { b := []byte(value); b[len(b)/3] ^= 1; return string(b) }(),
		"a part cut":       value[:100],
		"gone":             "",
		"of a later batch": string(unnamed),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.c.Put(t.Context(), key, forged)
			require.NoError(t, err)
			if forged == "" {
				_, err = s.c.Delete(t.Context(), key)
				require.NoError(t, err)
			}
			r := newTestRoom(t, i.digest, roomOptions{clock: options.clock})
			halt := start(t, r)
			_, err = r.Join(t.Context(), join)
			requireKind(t, seal.KindStore, err)
			require.NoError(t, halt())
		})
	}
	_, err = s.c.Put(t.Context(), key, value)
	require.NoError(t, err)
	honest := newTestRoom(t, i.digest, roomOptions{clock: options.clock})
	start(t, honest)
	_, err = honest.Join(t.Context(), join)
	require.NoError(t, err)
}
