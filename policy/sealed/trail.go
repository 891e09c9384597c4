package sealed

import (
	"context"
	"fmt"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// trailLength is how many of the newest digests are kept: more than an author
// writes between two anchors.
const trailLength = 4096

// trail is the digests of batches that the fold took, by which later words about
// the log are checked.
type trail struct {
	digests map[uint64]policy.Digest // of the newest trailLength batches, and of those that are pinned
	pinned  map[uint64]bool
	newest  uint64
}

func newTrail() *trail { return &trail{digests: map[uint64]policy.Digest{}, pinned: map[uint64]bool{}} }

// pin keeps a batch's digest when it passes, however long ago that will be.
func (t *trail) pin(sequence uint64) { t.pinned[sequence] = true }

// pass notes a batch; they come one after the other.
func (t *trail) pass(sequence uint64, digest policy.Digest) {
	t.digests[sequence], t.newest = digest, sequence
	if sequence > trailLength && !t.pinned[sequence-trailLength] {
		delete(t.digests, sequence-trailLength)
	}
}

// digestAt is the digest of a batch that the fold went through: from the trail,
// or by going back in the store from the oldest batch that is known, each of
// which names the one before it.
func (r *room) digestAt(ctx context.Context, sequence uint64) (policy.Digest, error) {
	if d, ok := r.trail.digests[sequence]; ok {
		return d, nil
	}
	at := sequence + 1
	for _, ok := r.trail.digests[at]; !ok && at <= r.trail.newest; _, ok = r.trail.digests[at] {
		at++
	}
	for want := r.trail.digests[at]; ; at-- {
		if want == "" {
			return "", fmt.Errorf("batch %d is not known any more", sequence)
		}
		if at == sequence {
			r.trail.digests[sequence], r.trail.pinned[sequence] = want, true
			return want, nil
		}
		value, err := r.value(ctx, at)
		if err != nil {
			return "", err
		}
		if value == nil || policy.DigestOf(value) != want {
			return "", fmt.Errorf("the store's batch %d is not the one that was read, %s", at, want)
		}
		b, err := ledger.ParseBatch(value)
		if err != nil {
			return "", err
		}
		want = b.Previous
	}
}

// value is a batch of the log, from the store or, if it was trimmed, the archive.
func (r *room) value(ctx context.Context, sequence uint64) ([]byte, error) {
	return r.store.batch(ctx, sequence)
}
