package sealed

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// snapshotFile is, in the state directory, the newest snapshot that this
// appliance signed or started from.
const snapshotFile = "snapshot"

// keeping is what the room knows of snapshots. Its goroutine alone uses it.
type keeping struct {
	LedgerConfig
	dir     string    // state; empty: nothing is kept there
	own     *restored // of the snapshot there, from when it was read until a reading begins with it
	at      uint64    // sequence of the newest snapshot that we know
	size    int       // its bytes
	grown   int       // bytes of the batches that were read or written since
	taken   time.Time // when it was taken or loaded, by the wall clock
	archive *ledger.Archive
	failed  time.Time // when keeping last failed, so that it is not tried every second
	owed    bool      // the last snapshot, its trim or what they replace did not get through: another one is due
}

// restored is what a snapshot gave.
type restored struct {
	fold *ledger.Fold // nil: there is none, or none that can be taken
	size int          // bytes of the snapshot
}

// keepAgain is how long keeping rests after it failed.
const keepAgain = time.Minute

// tendLog takes a snapshot when one is due and lets go of what it stands in for.
// Nothing of that is anybody's request: a failure is logged, and tried again.
func (r *room) tendLog(ctx context.Context) error {
	k := &r.keep
	now, err := r.clock()
	if err != nil {
		return &fatalError{err}
	}
	if now.wall.Sub(k.failed).Abs() < keepAgain {
		return nil
	}
	err = r.letGo(ctx, now.wall)
	if err == nil && r.snapshotDue(now.wall) {
		err = r.takeSnapshotAndTrim(ctx, now)
	}
	var fatal *fatalError
	if errors.As(err, &fatal) {
		return err
	}
	if err != nil && ctx.Err() == nil {
		k.failed = now.wall
		r.metrics.noticed(noticedKeeping)
		r.log.Error("the log was not shortened", "error", err)
	}
	return nil
}

func (r *room) snapshotDue(now time.Time) bool {
	seq, _ := r.fold.Head()
	k := r.keep
	if k.dir == "" || seq <= k.at+1 && !k.owed { // a trim alone asks for none
		return false
	}
	if k.owed || now.Sub(k.taken) >= time.Duration(k.SnapshotEvery) {
		return true
	}
	return seq-k.at >= k.SnapshotBatches && (k.size <= largeSnapshot || k.grown >= k.size)
}

const (
	// worthLeaving is a share of what makes a snapshot due: behind so much one is left
	// at a stop.
	worthLeaving = 8
	// leastLeft is in batches: fewer are read about as fast as a snapshot is written.
	leastLeft = 100
	// leaveLimit is how long that may take, less than a worker that is to end is waited for.
	leaveLimit = 2 * time.Second
)

// leaveSnapshot has the next start begin where this life ends, and not read what came
// behind the last snapshot once more. Who is being sealed ends at once, and so does
// who has another appliance wait for the author key.
func (r *room) leaveSnapshot(ctx context.Context) {
	k := &r.keep
	if k.dir == "" || r.term == 0 || !r.known().ready {
		return
	}
	seq, _ := r.fold.Head()
	if seq < k.at+max(k.SnapshotBatches/worthLeaving, leastLeft) || k.grown < k.size/worthLeaving {
		return
	}
	if charter, _ := r.fold.Charter(); charter == nil || len(charter.Appliances) > 1 {
		return
	}
	if _, err := os.Stat(filepath.Join(k.dir, sealedMarker)); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveLimit)
	defer cancel()
	now, err := r.clock()
	if err == nil {
		_, err = r.takeSnapshot(ctx, now)
	}
	if err != nil {
		r.log.Info("no snapshot was left for the next start, which takes longer", "error", err)
	}
}

// takeSnapshot signs the fold as it is, and puts it into the state directory and the
// store. It is never in memory as a whole: with a long log it would be as large as all
// that is. The anchor never names a batch before it: a start that begins with the
// snapshot would go back there batch by batch. What it gives is the digest that a trim
// names.
func (r *room) takeSnapshot(ctx context.Context, now instant) (policy.Digest, error) {
	seq, _ := r.fold.Head()
	if a := r.anchors.held; a == nil || a.Sequence != seq {
		if err := r.anchorHere(ctx, now); err != nil {
			return "", err
		}
	}
	signed, digest, err := r.writeSnapshot(ctx)
	if err != nil {
		return "", err
	}
	defer signed.Close()
	size, err := r.storeSnapshot(ctx, seq, signed)
	if err != nil {
		return "", fmt.Errorf("snapshot of batch %d: %w", seq, err)
	}
	before := r.keep.at
	r.keep.at, r.keep.size, r.keep.grown, r.keep.taken = seq, size, 0, now.wall
	r.log.Info("snapshot", "sequence", seq, "bytes", size)
	return digest, r.dropSnapshots(ctx, before)
}

// takeSnapshotAndTrim takes a snapshot and, where batches are old enough to go, records
// the trim as the very next batch, which is what makes every follower compare the
// snapshot.
func (r *room) takeSnapshotAndTrim(ctx context.Context, now instant) (err error) {
	defer func() { r.keep.owed = err != nil }()
	digest, err := r.takeSnapshot(ctx, now)
	if err != nil || r.keep.Retention == 0 {
		return err
	}
	first, err := r.firstKept(ctx, now.wall.Add(-time.Duration(r.keep.Retention)))
	if err != nil || first == 0 {
		return err
	}
	rd, err := r.begin(ctx, nil)
	if err != nil {
		return err
	}
	if err := rd.add(ledger.Record{Trim: &ledger.Trim{FirstKept: first, Snapshot: digest}}); err != nil {
		return err
	}
	return r.commit(ctx, rd)
}

// dropSnapshots takes the snapshots before one out of the store: a follower that has
// not carried the newest yet starts from that one, or is reading it. The one that
// the newest trim names stays, and those behind it; a trim that lies before all
// that we read lets none go, which the next trim makes up for.
func (r *room) dropSnapshots(ctx context.Context, before uint64) error {
	if r.fold.LastTrim() != nil {
		before = min(before, r.trimmedIn.snapshot())
	}
	if before == 0 {
		return nil
	}
	return r.store.dropSnapshots(ctx, before, r.tenure)
}

// writeSnapshot puts the fold, signed, into the state directory, and gives the
// digest that a trim names.
func (r *room) writeSnapshot(ctx context.Context) (signed *os.File, digest policy.Digest, err error) {
	signed, err = writeDurablyBy(filepath.Join(r.keep.dir, snapshotFile), func(w io.Writer) error {
		sum, lines := sha256.New(), bufio.NewWriterSize(untilDone{ctx, w}, 64<<10)
		if err := r.fold.WriteSnapshot(io.MultiWriter(lines, sum)); err != nil {
			return err
		}
		digest = policy.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil)))
		signature, err := r.token.SignEd25519(ctx, r.ledgerKeyID(), ledger.SnapshotInput(r.appliance, digest))
		if err != nil {
			return hsmError(err)
		}
		last, err := ledger.SnapshotSeal(r.appliance, digest, signature)
		if err != nil {
			return err
		}
		if _, err := lines.Write(last); err != nil {
			return err
		}
		return lines.Flush()
	})
	return signed, digest, err
}

// untilDone is a writer until a context ends.
type untilDone struct {
	ctx context.Context
	w   io.Writer
}

func (u untilDone) Write(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.w.Write(b)
}

// storeSnapshot puts a signed snapshot into the store, part by part, and gives its
// size in bytes.
func (r *room) storeSnapshot(ctx context.Context, seq uint64, signed *os.File) (size int, err error) {
	part := make([]byte, ledger.MaxPart)
	for n := 0; ; n++ {
		k, err := signed.ReadAt(part, int64(size))
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if k == 0 {
			return size, nil
		}
		if err := r.store.putAs(ctx, ledger.SnapshotKey(seq, n), part[:k], r.tenure); err != nil {
			return 0, err
		}
		size += k
	}
}

// trimAtOnce bounds, in bytes, the batches that one trim lets go, so that reading
// them neither keeps requests waiting for long nor needs much memory.
const trimAtOnce = 16 << 20

// firstKept is the first batch of the store that is not older than the moment, 0
// if there is nothing to let go.
func (r *room) firstKept(ctx context.Context, oldest time.Time) (uint64, error) {
	first, err := r.store.first(ctx)
	if err != nil || first == 0 {
		return 0, err
	}
	seq, _ := r.fold.Head()
	kept, size := first, 0
	errEnough := errors.New("enough")
	err = r.store.after(ctx, first-1, func(value []byte) error {
		b, err := ledger.ParseBatch(value)
		if err != nil {
			return err
		}
		if size += len(value); !b.Time.Before(oldest) || b.Sequence >= seq || size > trimAtOnce {
			return errEnough
		}
		kept = b.Sequence + 1
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return 0, err
	}
	if t := r.fold.LastTrim(); kept == first || t != nil && kept <= t.FirstKept { // which go in their time
		return 0, nil
	}
	return kept, nil
}

// trimBatch is the batch of the newest trim that was read; zero if that was
// before the snapshot that we started from.
type trimBatch struct {
	sequence uint64
	time     time.Time
}

// snapshot is the batch of which the trim names the snapshot.
func (t trimBatch) snapshot() uint64 { return max(t.sequence, 1) - 1 }

// letGoAfter is how long trimmed batches stay in the store, so that appliances
// that follow have them in archives of their own.
const letGoAfter = time.Minute

// letGo does what the newest trim allows: archives what is older than it keeps
// and, as author and a minute later, deletes that from the store, with the
// snapshots before the newest.
func (r *room) letGo(ctx context.Context, now time.Time) error {
	t := r.fold.LastTrim()
	if t == nil || r.keep.dir == "" {
		return nil
	}
	first, err := r.store.first(ctx)
	if err != nil || first == 0 || first >= t.FirstKept {
		return err
	}
	if err := r.archive(ctx, first, t.FirstKept); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if !r.tenure.held() || now.Sub(r.trimmedIn.time) < letGoAfter {
		return nil
	}
	// gofail: var trimBeforeDelete struct{}
	return r.store.trim(ctx, t.FirstKept, r.trimmedIn.snapshot(), r.tenure)
}

// archive appends the batches up to kept, which are still in the store, each
// linked to the next, and the last to the one that is kept.
func (r *room) archive(ctx context.Context, first, kept uint64) error {
	if r.keep.archive == nil {
		a, err := ledger.OpenArchive(filepath.Join(r.keep.dir, "archive"))
		if err != nil {
			return err
		}
		r.keep.archive = a
	}
	a := r.keep.archive
	next := a.Last() + 1
	if next >= kept {
		return nil
	}
	if next < first {
		return fmt.Errorf("batches %d to %d are neither here nor in the store: copy another appliance's archive; until then nothing is deleted", next, first-1)
	}
	var values [][]byte
	previous := policy.Digest("")
	errEnough := errors.New("enough")
	err := r.store.after(ctx, next-1, func(value []byte) error {
		b, err := ledger.ParseBatch(value)
		if err != nil {
			return err
		}
		if b.Sequence != next+uint64(len(values)) || previous != "" && b.Previous != previous {
			return fmt.Errorf("the store's batch %d does not follow the one before", b.Sequence)
		}
		previous = policy.DigestOf(value)
		if b.Sequence >= kept {
			return errEnough
		}
		values = append(values, value)
		return nil
	})
	if !errors.Is(err, errEnough) {
		return errors.Join(err, fmt.Errorf("the store ends before batch %d", kept))
	}
	// The chain up to here is the one that the fold went through.
	if have, err := r.digestAt(ctx, kept); err != nil || have != previous {
		return errors.Join(err, fmt.Errorf("the store's batch %d is not the one that was read", kept))
	}
	if err := a.Append(next, values...); err != nil {
		r.keep.archive = nil // to be opened again
		return errors.Join(err, a.Close())
	}
	r.log.Info("batches archived", "from", next, "to", kept-1)
	return nil
}

// load gives the fold that reading begins with: the snapshot in our own state
// directory or, where the store was trimmed and we have none that it goes on
// from, the newest of the store that a trim names, which is lent; else an empty
// one. What is lent rests on whoever signed it until journal, anchor or a join
// name a batch behind it (see remembers).
func (r *room) load(ctx context.Context, own bool) (f *ledger.Fold, lent bool, err error) {
	if own && r.keep.own == nil { // before the store is asked, which may have a start of its own to make
		if r.keep.own, err = r.restore(); err != nil {
			return nil, false, err
		}
	}
	first, err := r.store.first(ctx)
	if err != nil {
		return nil, false, err
	}
	kept := r.keep.own
	r.keep.own = nil
	if own && kept.fold != nil {
		if seq := headOf(kept.fold); seq+1 >= first && seq <= r.journal.last.Sequence {
			r.keep.size = kept.size
			return kept.fold, false, nil
		}
	}
	if first <= ledger.FirstSequence {
		return ledger.NewFold(r.charter1), false, nil
	}
	signed, err := r.store.snapshot(ctx)
	if err != nil {
		return nil, false, err
	}
	if f, err = ledger.RestoreFold(signed, r.charter1); err != nil {
		return nil, false, fmt.Errorf("the store's snapshot: %w", err)
	}
	return f, true, nil
}

// restore reads the snapshot in our own state directory.
func (r *room) restore() (*restored, error) {
	out := &restored{}
	if r.keep.dir == "" {
		return out, nil
	}
	signed, err := os.ReadFile(filepath.Join(r.keep.dir, snapshotFile))
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	f, err := ledger.RestoreFold(signed, r.charter1)
	if err != nil {
		r.log.Error("own snapshot not taken; reading the store", "error", err)
		return out, nil
	}
	out.fold, out.size = f, len(signed)
	return out, nil
}
