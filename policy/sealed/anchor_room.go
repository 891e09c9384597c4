package sealed

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// anchorHere writes the anchor for the head of our fold.
func (r *room) anchorHere(ctx context.Context, now instant) error {
	return r.anchored(ctx, r.writeAnchor(ctx, r.anchorOf(), now))
}

func (r *room) writeAnchor(ctx context.Context, next *anchor, now instant) error {
	start := time.Now()
	defer func() { r.metrics.anchor.Observe(time.Since(start).Seconds()) }()
	return r.anchors.write(ctx, next, now.boot)
}

// anchorBefore writes the anchor that must stand before we author in a new term.
// Where a recover is about to be decided it names, still, what was lost: only the
// recover's own batch gives that up.
func (r *room) anchorBefore(ctx context.Context, term uint64) error {
	now, err := r.clock()
	if err != nil {
		return &fatalError{err}
	}
	next := r.anchorOf()
	next.Term = term
	if known, ok := r.lost(); ok && !r.known().ready && isLost(r.known().doubt) {
		next.Epoch, next.Sequence, next.Head = max(known.epoch, ledger.FirstEpoch), known.sequence, known.head
		if a := r.anchors.held; a != nil {
			next.Charter = a.Charter
		}
	}
	return r.anchored(ctx, r.writeAnchor(ctx, next, now))
}

// anchorAfter renews the anchor behind a batch that changed what holds, or when
// it is old; where others share the token, behind every batch and before any
// answer of it, for a hostile store may let another seal's view of the log stand
// still at the anchor and have it take over there: whatever the anchor does not
// know would be signed twice.
func (r *room) anchorAfter(ctx context.Context, rd *round, records []ledger.Record) error {
	n := &r.anchors
	if n.held != nil && !n.due && !changesLaw(records) && !r.shared() && rd.clocks.last.boot-n.at < anchorEvery {
		return nil
	}
	return r.writeAnchor(ctx, r.anchorOf(), rd.clocks.last)
}

// anchorOf is the anchor for the head of our fold.
func (r *room) anchorOf() *anchor {
	seq, head := r.fold.Head()
	_, charter := r.fold.Charter()
	return &anchor{Format: anchorFormat, Instance: r.fold.Instance(), Author: r.appliance, Epoch: r.fold.Epoch(), Term: r.term,
		Sequence: seq, Head: head, Charter: charter}
}

// changesLaw is true of records after which an older history would hold something
// else to be in force.
func changesLaw(records []ledger.Record) bool {
	return slices.ContainsFunc(records, func(r ledger.Record) bool {
		return r.Charter != nil || r.Policy != nil || r.Binding != nil || r.DeployBinding != nil || r.Freeze != nil || r.EventFreeze != nil ||
			r.Join != nil || r.Recover != nil || r.Trim != nil
	})
}

// shared is true if another appliance of the charter reaches this token.
func (r *room) shared() bool {
	charter, _ := r.fold.Charter()
	if charter == nil {
		return false
	}
	other, err := r.sharesToken(charter)
	return err == nil && other != ""
}

// anchorStands is asked where others share the token before any answer or
// signature leaves a round that wrote no batch, and so no anchor: of two seals that
// were shown two histories one finds the other's term here, and signs nothing more.
func (r *room) anchorStands(ctx context.Context) error {
	if headOf(r.fold) == 0 || !r.shared() {
		return nil
	}
	return r.anchored(ctx, r.anchors.stands(ctx))
}

// anchored gives the author key back if another seal wrote the anchor since we looked,
// and reads the log anew: what it wrote of this very log is no other history. An author
// that is paused past its lease wakes up to the next one's anchor, or writes its own
// beside it; errRefused: decide anew, by whoever is author now. Whether the log holds
// what stands there is asked of every anchor before anybody authors again, so where etcd
// does not say it now, that is when a contradiction is told.
func (r *room) anchored(ctx context.Context, err error) error {
	var conflict *anchorConflict
	if !errors.As(err, &conflict) {
		return err
	}
	r.depose()
	if err := r.follow(ctx); err != nil {
		return err
	}
	switch of, unknown := r.ofThisLog(ctx, conflict); {
	case of:
		r.metrics.noticed(noticedOvertaken)
		r.log.Warn("another seal wrote the anchor, of this log; deciding anew", "author", conflict.found.Author, "term", conflict.found.Term,
			"sequence", conflict.found.Sequence)
		return errRefused
	case unknown != nil:
		return seal.Errorf(seal.KindStore, "another seal wrote the anchor, and whether the log holds what it names is not known: %v", unknown)
	}
	r.log.Error("another seal wrote the anchor; nothing is signed", "error", err)
	r.metrics.doubted(err)
	return err
}

// ofThisLog is true where what was found names a batch of the log as it was just read, and
// a charter of it. Where the log could not be read, unknown says why.
func (r *room) ofThisLog(ctx context.Context, conflict *anchorConflict) (of bool, unknown error) {
	known, a := r.known(), conflict.found
	switch {
	case conflict.lost() || noticeOf(known.doubt) != "":
		return false, nil
	case !known.ready:
		return false, known.doubt
	case a.Instance != r.fold.Instance() || a.Epoch > r.fold.Epoch() || !r.fold.CharterKnown(a.Charter):
		return false, nil
	}
	of, _, unknown = r.onChain(ctx, a.point())
	return of, unknown
}
