package sealed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Ids (and labels) of the keys that init makes in the token. The ledger key is
// each appliance's own, the others are shared by appliances that share a token.
const (
	wrappingKey = "mintwarden-wrapping"
	canaryKey   = "mintwarden-canary"
	ledgerKeys  = "mintwarden-ledger-" // and the appliance's id
)

const (
	// maxWaiting is how many requests may wait for a decision; one more is busy.
	maxWaiting = 1024
	// followEvery is how often a seal that is not the author, or has not caught
	// up, looks for new batches.
	followEvery = time.Second
	// tendEvery is how old the journal's reading of the clocks may get.
	tendEvery = 10 * time.Minute
	// settleFirst and settleLast bound the pauses between attempts to settle a
	// commit of unknown outcome.
	settleFirst = 50 * time.Millisecond
	settleLast  = 2 * time.Second
)

// roomConfig is what a room is made of.
type roomConfig struct {
	version    string // of the program
	appliance  string
	charter1   policy.Digest // empty before the first start's end
	configPath string        // read again for charter1 by charter.apply
	pinFile    bool
	custody    custody
	sealedWhy  string // for the status log, when token is nil
	unsealKey  []byte
	tokenLabel string

	token      *hsm.Token // nil: sealed, or tokenFault
	tokenFault error      // why there is no token although there is a PIN
	store      *logStore
	journal    *journal
	clock      clockSource
	log        *slog.Logger
	registry   *prometheus.Registry
	seal       func(context.Context) error // forgets the PIN and ends the process
}

// room decides. One goroutine, run, owns everything below the line; handlers
// hand it proposals and wait.
type room struct {
	roomConfig
	metrics   *roomMetrics
	proposals chan *proposal
	ended     chan struct{} // closes when nothing is decided any more
	creating  chan struct{} // who fills it makes a wallet
	places    places
	verifiers verifiers

	mu    sync.Mutex
	state state // what handlers may know of run's situation

	// of run's goroutine alone:
	fold   *ledger.Fold
	tenure *tenure
	term   uint64 // of our batches in this tenure; 0 until the log was read in it
	clocks baseline
	key    policy.PublicKey // our ledger key, once the token was asked
}

// state is what handlers read; it is replaced, never changed.
type state struct {
	fold   *ledger.Fold // nil until charter 1 is known
	author string       // who holds the author key, as far as we know
	ready  bool         // the log was read to its end and extends the journal
	doubt  error        // why not
}

// proposal is one request that wants something decided.
type proposal struct {
	ctx context.Context // the caller's
	// decide runs in run's goroutine, again if a round has to be repeated: it must
	// only read the stage, add to it, and set results of its own.
	decide func(*round) error
	done   chan error
}

// round is what is decided together.
type round struct {
	room     *room
	stage    *ledger.Stage
	now      time.Time // the batch's
	sequence uint64    // the batch's, if it gets one
	clocks   baseline  // with the reading that now is of; it goes into the journal with the batch
}

// sealed is true without a PIN. A token that is gone does not seal: it is tried
// again without anybody's help.
func (r *room) sealed() bool { return r.token == nil && r.tokenFault == nil }

func newRoom(cfg roomConfig) (*room, error) {
	m, err := newRoomMetrics(cfg.registry)
	if err != nil {
		return nil, err
	}
	r := &room{roomConfig: cfg, metrics: m, proposals: make(chan *proposal, maxWaiting), ended: make(chan struct{}), creating: make(chan struct{}, 1),
		clocks: cfg.journal.last.baseline()}
	if cfg.charter1 != "" {
		r.adopt(cfg.charter1)
	}
	m.sealed.Set(boolGauge(r.sealed()))
	m.token.Set(boolGauge(cfg.token != nil))
	return r, nil
}

// adopt starts a fold rooted in charter 1's digest.
func (r *room) adopt(charter1 policy.Digest) {
	r.fold = ledger.NewFold(charter1)
	r.publish(func(s *state) { *s = state{fold: r.fold, doubt: errors.New("the ledger is being read")} })
}

func (r *room) publish(change func(*state)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.state)
	r.metrics.author.Set(boolGauge(r.state.author == r.appliance))
}

func (r *room) known() state {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// run decides until ctx ends. An error means that what was decided may not be
// what is journaled: the process must end, and start from the store again.
func (r *room) run(ctx context.Context) error {
	defer close(r.ended)
	defer func() {
		if r.tenure.held() {
			r.store.resign(r.tenure)
		}
	}()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	if err := r.follow(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if !r.tenure.held() || !r.known().ready { // else nobody else writes
				if err := r.follow(ctx); err != nil {
					return err
				}
			}
			if r.known().ready {
				if err := r.tend(); err != nil {
					return err
				}
			}
		case p := <-r.proposals:
			if err := r.decideAll(ctx, r.gather(p)); err != nil {
				return err
			}
		}
	}
}

// gather takes everything that waits behind p.
func (r *room) gather(p *proposal) []*proposal {
	waiting := []*proposal{p}
	for {
		select {
		case p := <-r.proposals:
			waiting = append(waiting, p)
		default:
			return waiting
		}
	}
}

// submit has decide run and returns once what it recorded is committed and in
// the journal, or why it is not.
func (r *room) submit(ctx context.Context, decide func(*round) error) error {
	p := &proposal{ctx: ctx, decide: decide, done: make(chan error, 1)}
	select {
	case r.proposals <- p:
	default:
		return seal.Errorf(seal.KindBusy, "%d requests wait already", maxWaiting)
	}
	select {
	case err := <-p.done:
		return err
	case <-r.ended:
		return seal.Errorf(seal.KindStore, "the seal is stopping; whether this was recorded is not known yet")
	case <-ctx.Done():
		return seal.Errorf(seal.KindStore, "the ledger did not answer in time; whether this was recorded is not known yet")
	}
}

// follow reads the log behind our head to its end. What cannot be read or is
// refused is doubt, not an error: nothing is decided until it is over. An error
// is the journal's.
func (r *room) follow(ctx context.Context) error {
	if r.fold == nil {
		return nil
	}
	err := r.catchUp(ctx)
	var fatal *fatalError
	if errors.As(err, &fatal) {
		return err
	}
	if err != nil && ctx.Err() == nil {
		if was := r.known().doubt; was == nil || was.Error() != err.Error() {
			r.log.Error("ledger in doubt; nothing is decided", "error", err)
		}
	}
	r.publish(func(s *state) { s.ready, s.doubt = err == nil, err })
	if err == nil && !r.tenure.held() {
		if holder, err := r.store.holder(ctx); err == nil {
			r.publish(func(s *state) { s.author = holder })
		}
	}
	return nil
}

// fatalError ends the process.
type fatalError struct{ error }

func (e *fatalError) Unwrap() error { return e.error }

// behindError says that the store lacks what this appliance has seen there.
type behindError struct{ store, ours uint64 }

func (e *behindError) Error() string {
	return fmt.Sprintf("the store ends at batch %d, this appliance has seen %d there (a restored or wrong store; see mintwarden recover)", e.store, e.ours)
}

// forkedError says that the store holds another history than was seen there.
type forkedError struct {
	sequence     uint64
	store, known policy.Digest
}

func (e *forkedError) Error() string {
	return fmt.Sprintf("the store's batch %d is %s, this appliance has seen %s there", e.sequence, e.store, e.known)
}

// catchUp applies what is new, compares with the journal on the way, and makes
// the journal say where we are before it returns.
func (r *room) catchUp(ctx context.Context) error {
	seq, _ := r.fold.Head()
	err := r.store.after(ctx, seq, r.apply)
	if err != nil {
		return err
	}
	seq, head := r.fold.Head()
	if known := r.journal.last; seq < known.Sequence {
		return &behindError{seq, known.Sequence}
	} else if seq == known.Sequence {
		return nil
	}
	// What others wrote says nothing of our clock: the baseline stays.
	return r.remember(seq, head, r.clocks)
}

// apply takes one value of the log, unless it is another than the journal knows
// at its place: then the fold must not have it either.
func (r *room) apply(value []byte) error {
	seq, _ := r.fold.Head()
	known := r.journal.last
	if seq+1 == known.Sequence && policy.DigestOf(value) != known.Head {
		return &forkedError{seq + 1, policy.DigestOf(value), known.Head}
	}
	batch, err := r.fold.Apply(value)
	if err != nil {
		return err
	}
	if seq+1 > known.Sequence && batch.Author == r.appliance && custodianSpoke(batch.Records) {
		r.clocks.unexplained = 0 // an earlier life wrote it, and died before its journal said so
	}
	r.metrics.sequence.Set(float64(seq + 1))
	return nil
}

// skew is how far the wall clock may be ahead of the machine's in one boot.
func (r *room) skew() time.Duration {
	if charter, _ := r.fold.Charter(); charter != nil {
		return charter.MaxClockSkew()
	}
	return defaultSkew
}

// tend keeps the journal's clocks fresh while nothing is written, so that a
// reboot after quiet days is held against the time that it took, not the days.
// A boot's first minutes are left alone: the clock is often set in them.
func (r *room) tend() error {
	now, err := r.clock()
	if err != nil {
		return &fatalError{err}
	}
	age := now.boot
	if r.clocks.last.id == now.id {
		age -= r.clocks.last.boot
	}
	if age < tendEvery {
		return nil
	}
	clocks, err := r.clocks.next(now, r.fold.LastTime(), r.skew())
	if err != nil {
		return nil // whoever wants something decided is told
	}
	seq, head := r.fold.Head()
	return r.remember(seq, head, clocks)
}

// remember writes the head, and clocks that were found good, to the journal.
func (r *room) remember(seq uint64, head policy.Digest, clocks baseline) error {
	start := time.Now()
	err := r.journal.write(newMark(seq, head, clocks))
	r.metrics.journal.Observe(time.Since(start).Seconds())
	if err != nil {
		return &fatalError{fmt.Errorf("journal: %w", err)}
	}
	r.clocks = clocks
	return nil
}

// custodianSpoke is true of records that hold a document which a custodian
// signed: somebody looked, so what the clock did over reboots is forgiven.
func custodianSpoke(records []ledger.Record) bool {
	return slices.ContainsFunc(records, func(r ledger.Record) bool {
		return r.Charter != nil || r.Policy != nil || r.Binding != nil || r.Freeze != nil
	})
}
