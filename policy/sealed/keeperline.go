package sealed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// keeperPipe is a worker's way to its keeper. Safe for concurrent use.
type keeperPipe struct {
	up io.Writer

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan answer
	gone    error // the keeper does not answer any more

	leveled func(level string) // hears of a new level to log from; nil: nobody does
}

// ask asks the keeper and waits for its answer. What the keeper refuses is a
// *seal.Error.
func (l *keeperPipe) ask(ctx context.Context, q asking) (*answer, error) {
	l.mu.Lock()
	if l.gone != nil {
		defer l.mu.Unlock()
		return nil, l.gone
	}
	if l.waiting == nil {
		l.waiting = map[uint64]chan answer{}
	}
	l.last++
	q.ID = l.last
	answered := make(chan answer, 1)
	l.waiting[q.ID] = answered
	err := writeMessage(l.up, q)
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.waiting, q.ID)
		l.mu.Unlock()
	}()
	if err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	select {
	case a, ok := <-answered:
		if !ok {
			return nil, l.gone
		}
		if a.Error != nil {
			return &a, a.Error
		}
		return &a, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hear hands on the keeper's answers until the pipe closes, which it returns.
func (l *keeperPipe) hear(down io.Reader) error {
	for {
		var a answer
		err := readMessage(down, &a)
		if err == nil && a.ID == 0 && l.leveled != nil {
			l.leveled(a.Level)
		}
		l.mu.Lock()
		if err != nil {
			l.gone = fmt.Errorf("keeper: %w", err)
			for id, answered := range l.waiting {
				close(answered)
				delete(l.waiting, id)
			}
			l.mu.Unlock()
			return err
		}
		if answered, ok := l.waiting[a.ID]; ok {
			answered <- a
			delete(l.waiting, a.ID)
		}
		l.mu.Unlock()
	}
}

// keeperLine is what a room asks of its keeper.
type keeperLine interface {
	// look says how far a quorum is; nil where there is no custody.
	look(context.Context) (*progress, error)
	// share hands in a share. open is true when the quorum is complete: this
	// process ends then.
	share(ctx context.Context, q asking) (p *progress, open bool, err error)
	// renew hands in a part of a renewal, or asks how far it is. Where it was the last,
	// this process ends.
	renew(ctx context.Context, p *renewPart) (*seal.Renewal, error)
	// sealBy seals on a document, which counts once.
	sealBy(ctx context.Context, document policy.Digest, until time.Time) error
}

func (w *worker) look(ctx context.Context) (*progress, error) {
	a, err := w.pipe.ask(ctx, asking{Word: wordLook})
	if err != nil {
		return nil, err
	}
	return a.Progress, nil
}

func (w *worker) share(ctx context.Context, q asking) (*progress, bool, error) {
	q.Word = wordShare
	a, err := w.pipe.ask(ctx, q)
	if err != nil {
		return nil, false, err
	}
	if a.Open {
		w.end(exitUnsealed)
	}
	return a.Progress, a.Open, nil
}

func (w *worker) renew(ctx context.Context, p *renewPart) (*seal.Renewal, error) {
	a, err := w.pipe.ask(ctx, asking{Word: wordRenew, Renew: p})
	if err != nil {
		return nil, err
	}
	if a.Renewal == nil {
		return nil, errors.New("the keeper does not say how far it is")
	}
	if a.Open {
		w.end(exitRenewed)
	}
	return a.Renewal, nil
}

// seal asks the keeper to forget the PIN, and shares, for good. A process that has
// a login ends whatever came of it: what the vendor's library holds goes with it,
// also where sealing could not be made to last.
func (w *worker) seal(ctx context.Context) error { return w.sealed(ctx, asking{Word: wordSeal}) }

func (w *worker) sealBy(ctx context.Context, document policy.Digest, until time.Time) error {
	return w.sealed(ctx, asking{Word: wordSeal, Document: document, Until: until})
}

func (w *worker) sealed(ctx context.Context, q asking) error {
	_, err := w.pipe.ask(ctx, q)
	if kind, _ := seal.KindOf(err); w.hello.PINLength > 0 && kind != seal.KindDuplicate {
		w.end(exitSealed)
	}
	return err
}

var _ keeperLine = (*worker)(nil)

// refusedBy is how a keeper's refusal crosses the pipe.
func refusedBy(err error) *seal.Error {
	if err == nil {
		return nil
	}
	var told *seal.Error
	if errors.As(err, &told) {
		return told
	}
	return seal.Errorf(seal.KindStore, "%v", err)
}
