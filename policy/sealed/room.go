package sealed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
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
	custody    custody
	sealedWhy  string // for the status log, when token is nil
	unsealKey  []byte
	tokenLabel string

	ledger LedgerConfig
	state  string // directory of snapshots and archive; empty: none are kept

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

	checkpoints checkpointing

	mu    sync.Mutex
	state state // what handlers may know of run's situation

	// of run's goroutine alone:
	fold   *ledger.Fold
	tenure *tenure
	term   uint64 // of our batches in this tenure; 0 until the log was read in it
	clocks baseline
	key    policy.PublicKey // our ledger key, once the token was asked

	arrivals arrivals
	withheld withheld

	keep      keeping
	asked     bool   // the ledger was read, or that failed, once
	loaded    bool   // the fold began with what load gave
	refolds   bool   // our own snapshot is not to be gone by
	lent      uint64 // the batch of the store's snapshot that the fold began with; 0: it began with batch 1 or our own
	joinedIn  uint64 // the batch of the newest join of ours that was read and not used; 0: none was
	trimmedIn trimBatch

	anchors    anchoring
	trail      *trail
	surrenders []surrender // of the recover records that the fold went through
	reread     pause       // between attempts to read a store that is in doubt from its beginning
}

// state is what handlers read; it is replaced, never changed.
type state struct {
	fold   *ledger.Fold // nil until charter 1 is known
	author string       // who holds the author key, as far as we know
	ready  bool         // the log was read to its end and extends the journal
	doubt  error        // why not
	known  point        // the newest batch that journal or anchor saw, while doubt is of that
}

// proposal is one request that wants something decided.
type proposal struct {
	ctx context.Context // the caller's
	// decide runs in run's goroutine, again if a round has to be repeated: it must
	// only read the stage, add to it, and set results of its own.
	decide func(*round) error
	// enter is set where the proposal is one that a seal in doubt may decide: it is
	// asked, with the doubt or nil, before we become author for it. Such a proposal
	// has a batch of its own.
	enter func(context.Context, error) error
	done  chan error
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
	held, err := readWithheld(cfg.state)
	if err != nil {
		return nil, err
	}
	r := &room{roomConfig: cfg, metrics: m, proposals: make(chan *proposal, maxWaiting), ended: make(chan struct{}), creating: make(chan struct{}, 1),
		checkpoints: checkpointing{lag: maxTreeLag}, withheld: held, clocks: cfg.journal.last.baseline(), trail: newTrail()}
	if cfg.token != nil {
		r.anchors.token = cfg.token
		cfg.token.Known(r.publicKey)
	}
	r.keep = keeping{LedgerConfig: cfg.ledger.filled(), dir: cfg.state}
	if now, err := cfg.clock(); err == nil {
		r.keep.taken = now.wall
	}
	if cfg.charter1 != "" {
		r.adopt(cfg.charter1)
	}
	m.sealed.Set(boolGauge(r.sealed()))
	m.token.Set(boolGauge(cfg.token != nil))
	return r, nil
}

// adopt starts a fold rooted in charter 1's digest.
func (r *room) adopt(charter1 policy.Digest) {
	r.charter1 = charter1
	r.begins(ledger.NewFold(charter1))
	r.loaded = false
}

// begins makes f the fold that reading goes on with.
func (r *room) begins(f *ledger.Fold) {
	r.fold, r.trail, r.surrenders = f, newTrail(), nil
	r.lent, r.joinedIn, r.trimmedIn = 0, 0, trimBatch{}
	if seq, head := f.Head(); seq > 0 {
		r.trail.pass(seq, head)
	}
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
		if r.tenure != nil { // also one whose lease ctx's end keeps alive no more: the next author need not wait for that
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
			r.leaveSnapshot(ctx)
			return nil
		case <-tick.C:
			if !r.tenure.held() || !r.known().ready { // else nobody else writes
				if err := r.follow(ctx); err != nil {
					return err
				}
			}
			if err := r.watchOver(ctx); err != nil {
				return err
			}
		case p := <-r.proposals:
			n, err := r.decideAll(ctx, r.arrivals.crowd(p, r.proposals))
			if err != nil {
				return err
			}
			r.arrivals.answered(n, len(r.proposals))
		}
	}
}

// submit has decide run and returns once what it recorded is committed and in
// the journal, or why it is not.
func (r *room) submit(ctx context.Context, decide func(*round) error) error {
	return r.wait(ctx, &proposal{ctx: ctx, decide: decide, done: make(chan error, 1)})
}

func (r *room) wait(ctx context.Context, p *proposal) error {
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
	starting := !r.asked
	r.asked = true
	if err != nil && starting && away(err) && ctx.Err() == nil {
		// It may be starting beside us.
		r.log.Warn("the ledger is not read yet; it is tried again", "error", err)
		return nil
	}
	if err != nil && ctx.Err() == nil {
		if was := r.known().doubt; was == nil || was.Error() != err.Error() {
			r.log.Error("ledger in doubt; nothing is decided", "error", err)
			r.metrics.doubted(err)
		}
	}
	r.doubts(err)
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

// rewrittenError says that the store no longer holds the batch that was its end
// when we read it.
type rewrittenError struct {
	sequence uint64
	head     policy.Digest
}

func (e *rewrittenError) Error() string {
	return fmt.Sprintf("the store no longer has batch %d as it was read, %s", e.sequence, e.head)
}

// muchRead is how many bytes of batches are worth a collection of their own: a start's,
// not what an author writes while one follows him.
const muchRead = 4 << 20

// catchUp applies what is new, and is nil if what the store holds then is the
// ledger: it extends the journal and the token's anchor, and this appliance may
// go by it. It makes the journal say where we are before it returns.
func (r *room) catchUp(ctx context.Context) error {
	if r.reread.over(r.known().doubt) {
		r.refolds = true
		r.adopt(r.charter1)
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	if err := r.look(ctx); err != nil {
		return err
	}
	before := r.keep.grown
	err := r.readOn(ctx)
	if r.keep.grown-before >= muchRead {
		debug.FreeOSMemory() // reading it took several times what it left
	}
	if err != nil {
		return err
	}
	for _, w := range r.witnesses() {
		if err := r.extends(ctx, w); err != nil {
			return err
		}
	}
	seq, head := r.fold.Head()
	if a := r.anchors.held; a != nil && a.Instance != r.fold.Instance() {
		return &anchorBad{fmt.Errorf("it is of instance %s, the ledger of %s", a.Instance, r.fold.Instance())}
	}
	if err := r.lawful(ctx); err != nil {
		return err
	}
	if err := r.remembers(ctx); err != nil {
		return err
	}
	last := r.journal.last
	if r.token == nil || seq == last.Sequence && head == last.Head {
		return nil // without a login the anchor was not asked, so nothing is believed yet
	}
	// What others wrote says nothing of our clock: the baseline stays.
	return r.remember(seq, head, r.clocks)
}

// start has the fold begin with a snapshot, where there is one to begin with.
func (r *room) start(ctx context.Context) error {
	if r.loaded {
		return nil
	}
	f, lent, err := r.load(ctx, !r.refolds)
	if err != nil {
		return err
	}
	if headOf(f) > 0 {
		r.begins(f)
		r.keep.at, r.keep.grown = headOf(f), 0
		now, err := r.clock()
		if err != nil {
			return &fatalError{err}
		}
		r.trimmedIn.time = now.wall // a trim that lies before it is as new as can be
		if lent {
			r.lent = headOf(f)
			r.lentLate(now)
		}
		r.log.Info("the ledger is read from a snapshot on", "sequence", r.keep.at)
		debug.FreeOSMemory() // reading it took several times what it left
	}
	r.loaded = true
	return nil
}

// look reads the anchor, and has the trail keep what the store must extend.
func (r *room) look(ctx context.Context) error {
	if r.token != nil {
		if err := r.anchors.look(ctx); err != nil {
			return err
		}
	}
	r.trail.pin(ledger.FirstSequence)
	for _, w := range r.witnesses() {
		r.trail.pin(w.sequence)
	}
	return nil
}

// readOn applies what the store has behind our head, if it still has our head.
func (r *room) readOn(ctx context.Context) error {
	seq, head := r.fold.Head()
	if seq == 0 {
		return r.store.after(ctx, 0, r.apply)
	}
	found := false
	err := r.store.after(ctx, seq-1, func(value []byte) error {
		if found {
			return r.apply(value)
		}
		if policy.DigestOf(value) != head {
			return &rewrittenError{seq, head}
		}
		found = true
		return nil
	})
	if err == nil && !found {
		return &rewrittenError{seq, head}
	}
	return err
}

// apply takes one value of the log. Whether it is the history that we know is
// asked when all of it was read: only then is it known what was given up.
func (r *room) apply(value []byte) error {
	seq, _ := r.fold.Head()
	batch, err := r.fold.Apply(value)
	if err != nil {
		return err
	}
	_, head := r.fold.Head()
	if err := r.notes(batch, head); err != nil {
		return err
	}
	// Behind a recover the numbers are those of batches that it gave up.
	if last := r.journal.last; seq+1 > last.Sequence || last.Epoch > 0 && batch.Epoch > last.Epoch {
		if batch.Author == r.appliance && custodianSpoke(batch.Records, batch.Time) {
			// An earlier life wrote it, and died before its journal said so.
			r.clocks = r.clocks.vouched()
		}
		if now, err := r.clock(); err == nil {
			r.held(batch, r.later(now, batch.Time))
		}
	}
	r.metrics.sequence.Set(float64(seq + 1))
	r.keep.grown += len(value)
	return nil
}

// later is how long after a batch's own time it is read, by the machine where the wall
// clock is behind that.
func (r *room) later(now instant, of time.Time) time.Duration {
	by := max(now.wall.Sub(of), 0)
	if b, err := r.clocks.next(now, time.Time{}, r.skew()); err == nil {
		by = plus(by, b.behind())
	}
	return by
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
	if err := r.withheld.save(r.keep.dir, r.fold); err != nil {
		return &fatalError{fmt.Errorf("what the store held back: %w", err)}
	}
	m := newMark(seq, head, clocks)
	if seq > 0 {
		m.Epoch = r.fold.Epoch()
	} else {
		m.Offered = r.journal.last.Offered
	}
	err := r.mark(m)
	if err == nil {
		r.clocks = clocks
	}
	return err
}

// mark makes a line of the journal last.
func (r *room) mark(m mark) error {
	start := time.Now()
	err := r.journal.write(m)
	r.metrics.journal.Observe(time.Since(start).Seconds())
	if err != nil {
		return &fatalError{fmt.Errorf("journal: %w", err)}
	}
	return nil
}

// spokenWithin is how far a freeze's own time may be from the batch's that records it,
// so that it says something of the clock: he who signed it looked at his.
const spokenWithin = time.Hour

// custodianSpoke is true of records that hold a freeze which a custodian signed, by its
// own time, just now: somebody looked, so what the clock did over reboots is forgiven.
// One that was held back says nothing; nor do other documents, which are dated by
// whoever proposes them, or not at all.
func custodianSpoke(records []ledger.Record, at time.Time) bool {
	return slices.ContainsFunc(records, func(r ledger.Record) bool {
		if r.Freeze == nil {
			return false
		}
		f, err := policy.ParseFreeze(r.Freeze.Payload)
		return err == nil && at.Sub(f.CreatedAt).Abs() <= spokenWithin
	})
}
