package chain

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
)

const (
	// maxAsking is how many requests to one node are under way before further questions wait for company: few
	// questions do not wait, and many cost little.
	maxAsking = 4
	// maxBatch bounds the questions of one request; nodes that bound it allow a hundred and more.
	maxBatch = 50
)

// asking puts the questions of many goroutines to one node. While some are under way, further ones gather,
// and go together as one JSON-RPC batch, equal ones once: everybody's answer is still given after everybody
// asked. A node that takes no batches is asked one question at a time from then on.
type asking struct {
	client  *rpc.Client
	timeout time.Duration // of one request that answers several
	single  atomic.Bool   // it takes no batches

	mu      sync.Mutex
	running int
	waiting []*question
}

// question is one on its way, asked by whoever waits for done.
type question struct {
	method string
	args   []any
	text   string // of both: what makes questions equal
	wanted int    // by how many; of asking's lock
	done   chan struct{}
	answer json.RawMessage // set, or err is, before done is closed
	err    error
}

// ask puts one question and fills result; ctx bounds the wait. Errors are those of rpc.Client.CallContext.
func (a *asking) ask(ctx context.Context, result any, method string, args []any) error {
	a.mu.Lock()
	if a.running < maxAsking || a.single.Load() {
		a.running++
		a.mu.Unlock()
		defer a.finish(ctx)
		return a.client.CallContext(ctx, result, method, args...)
	}
	q, err := a.join(method, args)
	a.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-q.done:
	case <-ctx.Done():
		a.leave(q)
		return ctx.Err()
	}
	if q.err != nil {
		return q.err
	}
	return json.Unmarshal(q.answer, result)
}

// join is the question among those that wait; the caller holds the lock.
func (a *asking) join(method string, args []any) (*question, error) {
	text, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	q := &question{method: method, args: args, text: method + string(text), done: make(chan struct{})}
	for _, other := range a.waiting {
		if other.text == q.text {
			other.wanted++
			return other, nil
		}
	}
	q.wanted = 1
	a.waiting = append(a.waiting, q)
	return q, nil
}

// leave gives a question up. One that waits and that nobody wants any more is not asked: behind a node that hangs there
// would be more of them for as long as it does, and whoever asks next would wait for all of them.
func (a *asking) leave(q *question) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if q.wanted--; q.wanted == 0 {
		a.waiting = slices.DeleteFunc(a.waiting, func(other *question) bool { return other == q })
	}
}

// finish ends a request, or has what gathered meanwhile asked in its place.
func (a *asking) finish(ctx context.Context) {
	if batch := a.take(); len(batch) > 0 {
		go a.run(context.WithoutCancel(ctx), batch)
	}
}

// take is what waits, and gives the place of a request that ended back if that is nothing.
func (a *asking) take() []*question {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := min(len(a.waiting), maxBatch)
	if n == 0 {
		a.running--
		return nil
	}
	batch := a.waiting[:n:n]
	a.waiting = a.waiting[n:]
	return batch
}

// run asks batches until nobody waits.
func (a *asking) run(ctx context.Context, batch []*question) {
	for ; len(batch) > 0; batch = a.take() {
		a.put(ctx, batch)
	}
}

// put asks the questions of a batch and answers who waits for them.
func (a *asking) put(ctx context.Context, batch []*question) {
	failed := batch
	if len(batch) > 1 && !a.single.Load() {
		failed = a.together(ctx, batch)
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout) // its own: what answers no batch at all may answer questions
	defer cancel()
	var alone sync.WaitGroup
	var good atomic.Bool
	for _, q := range failed {
		alone.Go(func() {
			if q.err = a.client.CallContext(ctx, &q.answer, q.method, q.args...); q.err == nil {
				good.Store(true)
			}
			close(q.done)
		})
	}
	alone.Wait()
	if len(failed) > 1 && len(failed) == len(batch) && good.Load() {
		a.single.Store(true) // it answers each question, and not all of them together
	}
}

// together asks a batch as one request and returns the questions that got no answer by it.
func (a *asking) together(ctx context.Context, batch []*question) (failed []*question) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	elems := make([]rpc.BatchElem, len(batch))
	for i, q := range batch {
		elems[i] = rpc.BatchElem{Method: q.method, Args: q.args, Result: &q.answer}
	}
	err := a.client.BatchCallContext(ctx, elems)
	for i, q := range batch {
		if err != nil || errors.Is(elems[i].Error, rpc.ErrMissingBatchResponse) || ofBatch(elems[i].Error) {
			failed = append(failed, q)
			continue
		}
		q.err = elems[i].Error
		close(q.done)
	}
	return failed
}

// ofBatch is true of a refusal that is of the batch, given to each of its questions, and of no question.
func ofBatch(err error) bool {
	var refused rpc.Error
	return errors.As(err, &refused) && strings.Contains(strings.ToLower(refused.Error()), "batch")
}
