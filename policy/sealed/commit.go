package sealed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// maxRounds is how often the same requests are decided anew because somebody
// else wrote the ledger meanwhile.
const maxRounds = 3

// errRefused says that etcd refused a batch for good, or another seal the anchor: the log has moved on.
var errRefused = errors.New("the log has moved on")

// decideAll decides the proposals in their order, in as many batches as they
// need, and answers each once its batch is in the journal. It tells how many it
// answered.
func (r *room) decideAll(ctx context.Context, c *crowd) (answered int, err error) {
	for attempts := 0; c.at(0) != nil; {
		n, answers, err := r.decideSome(ctx, c)
		if errors.Is(err, errRefused) {
			if attempts++; attempts < maxRounds {
				continue
			}
		}
		var fatal *fatalError
		switch {
		case err == nil:
			attempts = 0
		case errors.As(err, &fatal):
			answerAll(c.rest(), seal.Errorf(seal.KindStore, "the journal or the clock failed; the outcome is in doubt"))
			return answered, err
		default:
			refused := c.refuse()
			answerAll(refused, r.refusal(err))
			answered += len(refused)
			continue
		}
		for i := range n {
			c.at(i).done <- answers[i]
		}
		c.leave(n)
		answered += n
	}
	return answered, nil
}

func answerAll(waiting []*proposal, err error) {
	for _, p := range waiting {
		p.done <- err
	}
}

// decideSome decides the first of the proposals, as many as fit into one batch,
// each as soon as it is there, and commits it. Their answers count only if err is
// nil: some may rest on records that others staged.
func (r *room) decideSome(ctx context.Context, c *crowd) (n int, answers []error, err error) {
	first := c.at(0)
	rd, err := r.begin(ctx, first)
	if err != nil {
		if first.enter == nil || errors.Is(err, errRefused) {
			return 0, nil, err
		}
		var fatal *fatalError
		if errors.As(err, &fatal) {
			return 0, nil, err
		}
		return 1, []error{r.refusal(err)}, nil // the others are none of its business
	}
	for p := first; p != nil; p = c.at(len(answers)) {
		// Who may enter in doubt has a batch of his own: nobody else is decided in a
		// round that was begun for him, whatever came of him.
		if len(answers) > 0 && (p.enter != nil || first.enter != nil || r.grownOld(rd)) {
			break
		}
		if err := p.ctx.Err(); err != nil {
			answers = append(answers, err) // nobody waits any more
			continue
		}
		err := p.decide(rd)
		var refusal *ledger.Refusal
		if errors.As(err, &refusal) && refusal.Reason == ledger.ReasonFull && len(answers) > 0 {
			break // the rest goes into the next batch
		}
		if err != nil {
			err = r.refusal(err)
		}
		answers = append(answers, err)
	}
	if rd.changed() {
		if err := r.commit(ctx, rd); err != nil {
			return 0, nil, err
		}
	} else if err := r.anchorStands(ctx); err != nil {
		return 0, nil, err
	}
	return len(answers), answers, nil
}

// maxRoundAge is how long after its reading of the clocks somebody is still decided in
// a round: what is judged, charged and dated by that reading must be of that time,
// however long a hostile store held up who came before.
const maxRoundAge = time.Second

func (r *room) grownOld(rd *round) bool {
	now, err := r.clock()
	return err != nil || now.id != rd.clocks.last.id || now.boot-rd.clocks.last.boot > maxRoundAge
}

// begin makes sure that we may decide: there is a login, the ledger is read and
// ours to write, the clock is not in doubt.
func (r *room) begin(ctx context.Context, p *proposal) (*round, error) {
	if r.token == nil {
		return nil, r.tokenError()
	}
	if err := r.root(); err != nil {
		return nil, err
	}
	if err := r.author(ctx, p); err != nil {
		return nil, err
	}
	now, err := r.clock()
	if err != nil {
		return nil, &fatalError{err}
	}
	if r.anchors.due && r.known().ready {
		if err := r.anchorHere(ctx, now); err != nil {
			return nil, err
		}
	}
	seq, _ := r.fold.Head()
	if charter, _ := r.fold.Charter(); charter != nil {
		if err := r.mayServe(ctx, charter); err != nil {
			return nil, err
		}
	}
	clocks, err := r.clocks.next(now, r.fold.LastTime(), r.skew())
	if err != nil {
		r.metrics.noticed(noticedClock)
		return nil, seal.Errorf(seal.KindClock, "%v", err)
	}
	stage := r.fold.Stage(now.wall, r.appliance)
	return &round{room: r, stage: stage, now: stage.Time(), sequence: seq + 1, clocks: clocks}, nil
}

// defaultSkew bounds the clock before charter 1 says otherwise.
const defaultSkew = 30 * time.Second

// root learns charter 1's digest from seal.toml, which its owner completes
// while we run (formats.md, "First start").
func (r *room) root() error {
	if r.fold != nil {
		return nil
	}
	cfg, err := LoadConfig(r.configPath)
	if err != nil {
		return seal.Errorf(seal.KindInvalid, "seal.toml: %v", err)
	}
	if cfg.Charter1 == "" {
		return seal.Errorf(seal.KindInvalid, "seal.toml has no charter1: only status and init are answered")
	}
	r.adopt(cfg.Charter1)
	return nil
}

// tokenError says why there is no token.
func (r *room) tokenError() error {
	if r.tokenFault != nil {
		return seal.Errorf(seal.KindHSM, "the token %q cannot be used; it is tried again: %v", r.tokenLabel, r.tokenFault)
	}
	why := r.sealedWhy
	if why == "" {
		why = "no PIN"
	}
	return seal.Errorf(seal.KindSealed, "sealed: %s", why)
}

// mayServe refuses what this charter does not let this process do.
func (r *room) mayServe(ctx context.Context, c *policy.Charter) error {
	a, ok := c.Appliance(r.appliance)
	if !ok {
		return seal.Errorf(seal.KindInvalid, "appliance %s is not in the charter", r.appliance)
	}
	if r.key.IsZero() {
		key, err := r.ledgerKey(ctx)
		if err != nil {
			return err
		}
		r.key = key
	}
	if r.key != a.LedgerKey {
		return seal.Errorf(seal.KindInvalid, "the charter knows another ledger key of appliance %s than the token holds", r.appliance)
	}
	if err := r.production(c); err != nil {
		return seal.Errorf(seal.KindSealed, "%v", err)
	}
	return nil
}

// author makes us the author, with everything read that others wrote before, and
// the anchor saying so. The proposal, if there is one, may be one that a seal in
// doubt decides.
func (r *room) author(ctx context.Context, p *proposal) error {
	if r.tenure.held() && r.term > 0 && r.known().ready {
		return r.admits(ctx, p)
	}
	if err := r.follow(ctx); err != nil {
		return err
	}
	if err := r.admits(ctx, p); err != nil {
		return err
	}
	if !r.tenure.held() {
		if err := r.campaign(ctx); err != nil {
			return err
		}
		// Until a moment ago others may have written.
		if err := r.follow(ctx); err != nil {
			return err
		}
		if err := r.admits(ctx, p); err != nil {
			return err
		}
	}
	if r.term > 0 {
		return nil
	}
	term := r.fold.Term() + 1
	if a := r.anchors.held; a != nil {
		term = max(term, a.Term+1)
	}
	// Before batch 1 there is no instance that an anchor could name.
	if headOf(r.fold) > 0 {
		if err := r.anchorBefore(ctx, term); err != nil {
			return err
		}
	}
	r.term = term
	r.log.Info("author of the ledger", "term", r.term)
	return nil
}

// admits is nil if the ledger is read and believed, or the proposal is one that
// puts an end to the doubt.
func (r *room) admits(ctx context.Context, p *proposal) error {
	s := r.known()
	if p != nil && p.enter != nil {
		return p.enter(ctx, s.doubt)
	}
	if !s.ready {
		return seal.Errorf(seal.KindStore, "the ledger cannot be gone by: %v", s.doubt)
	}
	return nil
}

// campaign takes the author key.
func (r *room) campaign(ctx context.Context) error {
	t, err := r.store.campaign(ctx, r.appliance)
	var other *otherAuthorError
	if errors.As(err, &other) {
		r.publish(func(s *state) { s.author = other.appliance })
		return &seal.Error{Kind: seal.KindNotAuthor, Appliance: other.appliance, Message: "another appliance writes the ledger"}
	}
	if err != nil {
		return seal.Errorf(seal.KindStore, "author key: %v", err)
	}
	r.tenure, r.term = t, 0
	r.publish(func(s *state) { s.author = r.appliance })
	return nil
}

// commit signs the round's records as one batch, offers it until etcd says yes
// or no, and has fold and journal follow. errRefused: decide anew.
func (r *room) commit(ctx context.Context, rd *round) error {
	batch, value, err := r.encode(ctx, rd)
	if err != nil {
		return err
	}
	if rd.sequence == ledger.FirstSequence {
		first := r.journal.last
		first.Offered = policy.DigestOf(value)
		if err := r.mark(first); err != nil {
			return err
		}
	}
	// Held against the stage while etcd has it: nothing is answered before both are over.
	type checked struct {
		taking *ledger.Taking
		err    error
	}
	held := make(chan checked, 1)
	go func() {
		t, err := r.fold.Taking(rd.stage, batch, value)
		held <- checked{t, err}
	}()
	start := time.Now()
	// gofail: var batchBeforeCommit struct{}
	out, err := r.offer(ctx, rd.sequence, value)
	// gofail: var batchAfterCommit struct{}
	r.metrics.commit.Observe(time.Since(start).Seconds())
	own := <-held
	if err != nil {
		return err
	}
	if out == refused {
		r.metrics.noticed(noticedOvertaken)
		r.log.Warn("the log has moved on, or the author key changed; deciding anew", "sequence", rd.sequence)
		r.depose()
		return errRefused
	}
	// A batch that we made and refuse ourselves is a fault of this program.
	if own.err == nil {
		own.err = own.taking.Take()
	}
	if own.err != nil {
		return &fatalError{fmt.Errorf("own batch %d: %w", rd.sequence, own.err)}
	}
	r.metrics.sequence.Set(float64(rd.sequence))
	r.keep.grown += len(value)
	r.metrics.batch.Observe(float64(len(batch.Records)))
	now, err := r.clock()
	if err != nil {
		return &fatalError{err}
	}
	r.held(batch, plus(now.boot-rd.clocks.last.boot, rd.clocks.behind()))
	// The very reading that begin checked: while etcd held the commit, the clock
	// may have been set.
	if custodianSpoke(batch.Records, batch.Time) {
		rd.clocks = rd.clocks.vouched()
	}
	_, head := r.fold.Head()
	if err := r.notes(batch, head); err != nil {
		return &fatalError{err}
	}
	if out == outlived {
		// Whoever has the author key by now may have written the anchor, to whom ours, of the term before his,
		// would look like another history's. He answers for this batch; and so do we, once we author again.
		if err := r.remember(rd.sequence, head, rd.clocks); err != nil {
			return err
		}
		r.log.Info("the batch is in the log, but the author key is not ours any more; deciding anew", "sequence", rd.sequence)
		r.depose()
		return errRefused
	}
	// Both before any answer leaves, in whatever order they get there.
	anchored := make(chan error, 1)
	go func() { anchored <- r.anchorAfter(ctx, rd, batch.Records) }()
	journaled := r.remember(rd.sequence, head, rd.clocks)
	if err := <-anchored; journaled == nil {
		return r.anchored(ctx, err)
	}
	return journaled
}

// encode has the token sign the round's batch. Package hsm verifies the signature
// with the public key that the charter names, for begin compared the two.
func (r *room) encode(ctx context.Context, rd *round) (*ledger.Batch, []byte, error) {
	b := rd.stage.Batch(r.term)
	input, err := b.SigningInput()
	if err != nil {
		return nil, nil, err
	}
	// gofail: var batchBeforeHSM struct{}
	if b.Signature, err = r.token.SignEd25519(ctx, r.ledgerKeyID(), input); err != nil {
		return nil, nil, hsmError(err)
	}
	// gofail: var batchAfterHSM struct{}
	value, err := b.Encode()
	return b, value, err
}

// offer brings a batch to an outcome. While it is unknown nothing else is
// decided: the very same batch is offered again, until it is in the log, or
// cannot get in any more.
func (r *room) offer(ctx context.Context, sequence uint64, value []byte) (outcome, error) {
	pause := settleFirst
	for unknown := false; ; unknown = true {
		out, err := r.store.commit(ctx, sequence, value, r.tenure)
		if err == nil {
			if unknown {
				r.publish(func(s *state) { s.doubt = nil })
				r.log.Info("commit of unknown outcome settled", "sequence", sequence, "committed", out != refused)
			}
			return out, nil
		}
		if !unknown && certainly(err) {
			return 0, seal.Errorf(seal.KindStore, "etcd refuses batch %d: %v", sequence, err)
		}
		r.metrics.noticed(noticedUnknown)
		r.metrics.unknown.Inc()
		r.log.Error("outcome of a commit is unknown; offering it again", "sequence", sequence, "error", err)
		r.publish(func(s *state) { s.doubt = err })
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return 0, &fatalError{fmt.Errorf("stopped while the outcome of batch %d was unknown: %w", sequence, err)}
		}
		pause = min(2*pause, settleLast)
	}
}

// away is true where nobody answered.
func away(err error) bool {
	var refused rpctypes.EtcdError
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &refused) && refused.Code() == codes.Unavailable
}

// certainly is true of errors with which etcd says that it did nothing.
func certainly(err error) bool {
	var refused rpctypes.EtcdError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code() {
	case codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument, codes.ResourceExhausted:
		return true
	}
	return false
}
