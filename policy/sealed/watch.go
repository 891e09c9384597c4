package sealed

import (
	"context"
	"errors"
	"time"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// pause is a wait that doubles while what it waits for stays as it is.
type pause struct {
	until time.Time
	next  time.Duration
}

const (
	firstReread = time.Second
	lastReread  = time.Minute
)

// over is true when a store that is in doubt for what it holds should be read
// again from its beginning: it may have told an untruth that is over, and what
// was read stands in the way of what is so.
func (p *pause) over(doubt error) bool {
	if !ofHistory(doubt) {
		*p = pause{}
		return false
	}
	now := time.Now()
	if now.Before(p.until) {
		return false
	}
	p.next = min(max(2*p.next, firstReread), lastReread)
	p.until = now.Add(p.next)
	return true
}

// ofHistory is true of doubts that what was read so far causes.
func ofHistory(err error) bool {
	var forked *forkedError
	var rewritten *rewrittenError
	var foreign *foreignError
	var refused *ledger.Refusal
	return errors.As(err, &forked) || errors.As(err, &foreign) || errors.As(err, &rewritten) || errors.As(err, &refused)
}

// doubts says what is in doubt, nil if nothing is.
func (r *room) doubts(err error) {
	known, _ := r.lost()
	r.publish(func(s *state) { s.ready, s.doubt, s.known = err == nil, err, known })
}

// watchOver does what time asks for while nothing else is decided: it takes over
// where nobody is author, keeps the clocks of the journal fresh, and the anchor.
func (r *room) watchOver(ctx context.Context) error {
	known := r.known()
	if !known.ready || r.token == nil || headOf(r.fold) == 0 {
		return nil
	}
	if err := r.tend(); err != nil {
		return err
	}
	if !r.tenure.held() {
		if now, err := r.clock(); err == nil && now.wall.Sub(r.keep.failed).Abs() >= keepAgain {
			if err := r.letGo(ctx, now.wall); err != nil && ctx.Err() == nil {
				r.keep.failed = now.wall
				r.log.Error("trimmed batches are not archived here", "error", err)
			}
		}
	}
	switch {
	case r.tenure.held() && r.superfluous():
		r.log.Warn("this appliance is suspended; another one may write the ledger")
		r.depose()
	case !r.tenure.held() && known.author == "" && !r.suspended():
		return r.takeOver(ctx)
	case r.tenure.held() && r.term > 0:
		if err := r.tendLog(ctx); err != nil {
			return err
		}
		return r.tendAnchor(ctx)
	}
	return nil
}

// takeOver becomes author because nobody is. What stands in the way is tried
// again at the next tick.
func (r *room) takeOver(ctx context.Context) error {
	charter, _ := r.fold.Charter()
	err := r.mayServe(ctx, charter)
	if err == nil {
		err = r.author(ctx, nil)
	}
	var fatal *fatalError
	if errors.As(err, &fatal) {
		return err
	}
	if err != nil && ctx.Err() == nil {
		r.log.Debug("not taking over", "error", err)
	}
	return nil
}

func (r *room) suspended() bool { return r.fold.Frozen(policy.Subject{ApplianceID: r.appliance}) }

// superfluous is true of a suspended appliance where another one can write.
func (r *room) superfluous() bool {
	charter, _ := r.fold.Charter()
	if charter == nil || !r.suspended() {
		return false
	}
	for _, a := range charter.Appliances {
		if !r.fold.Frozen(policy.Subject{ApplianceID: a.ID}) {
			return true
		}
	}
	return false
}

// depose gives the author key back.
func (r *room) depose() {
	if r.tenure != nil {
		r.store.resign(r.tenure)
	}
	r.tenure, r.term = nil, 0
	r.publish(func(s *state) { s.ready, s.author = false, "" })
}

// tendAnchor renews an anchor that activity left behind, once it is old enough.
func (r *room) tendAnchor(ctx context.Context) error {
	if !r.tenure.held() || r.term == 0 {
		return nil // given back by a trim that did not get in
	}
	now, err := r.clock()
	if err != nil {
		return &fatalError{err}
	}
	seq, _ := r.fold.Head()
	if a := r.anchors.held; a != nil && a.Sequence == seq && !r.anchors.due || now.boot-r.anchors.at < anchorEvery {
		return nil
	}
	err = r.anchorHere(ctx, now)
	var fatal *fatalError
	if errors.As(err, &fatal) {
		return err
	}
	if err != nil && !errors.Is(err, errRefused) && ctx.Err() == nil {
		r.log.Error("anchor not renewed; nothing is signed until it is", "error", err)
	}
	return nil
}
