package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// restTime is how long a node that failed is asked last.
const restTime = 3 * time.Second

// checkAll checks all nodes at once; one of the wrong chain is the error, one that does not
// answer is logged.
func (c *Client) checkAll(ctx context.Context) error {
	errs := make([]error, len(c.nodes))
	var all sync.WaitGroup
	for i, n := range c.nodes {
		all.Go(func() { errs[i] = c.check(session{n, ctx, c.metrics}) })
	}
	all.Wait()
	for i, err := range errs {
		if errors.Is(err, ErrWrongChain) {
			return err
		}
		if err != nil {
			c.log.Warn("chain node does not answer", "node", c.nodes[i].host, "error", plain(err))
			c.nodes[i].rest(restTime)
		}
	}
	return nil
}

// final errors are answers about the question, which another node would give as well.
func final(err error) bool {
	var revert *RevertError
	return errors.As(err, &revert)
}

// outrunAfter is how long a node may be silent before the next one is asked beside it: whoever waits does not
// wait for a timeout when a node hangs.
const outrunAfter = 400 * time.Millisecond

// ask puts questions to the first node that can answer all of them. The error wraps ErrUnavailable
// if none can; it is the context's if the caller gave up.
func ask[T any](ctx context.Context, c *Client, questions func(session) (T, error)) (T, error) {
	v, failed, err := race(ctx, c, questions, final)
	if failed != nil {
		return v, failed.err(c.net.Name)
	}
	return v, err
}

// heard asks every node that does not rest and gives what those say that answer soon: once one has, the others have as
// long as a silent node has before it is outrun. Errors are ask's.
func heard[T any](ctx context.Context, c *Client, questions func(session) (T, error)) (all []T, err error) {
	nodes := slices.DeleteFunc(slices.Clone(c.order(ctx)), (*node).resting)
	if len(nodes) < 2 {
		v, err := ask(ctx, c, questions)
		return []T{v}, err
	}
	answers := make(chan said[T], len(nodes))
	own, cancel := context.WithCancel(ctx)
	defer cancel() // whoever is late
	for _, n := range nodes {
		go func() {
			a := said[T]{n: n}
			s := session{n, own, c.metrics}
			if a.err = c.check(s); a.err == nil {
				a.v, a.err = questions(s)
			}
			answers <- a
		}()
	}
	var failed failures
	var late <-chan time.Time
	for range nodes {
		select {
		case a := <-answers:
			switch {
			case a.err == nil:
				all = append(all, a.v)
				if late == nil {
					late = time.After(outrunAfter)
				}
			case ctx.Err() != nil:
				return nil, ctx.Err()
			default:
				failed.add(a.n, a.err)
				c.failed(a.n, a.err)
			}
		case <-late:
			return all, nil // whoever is a little slower works, and is asked for other things
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if len(all) == 0 {
		return nil, failed.err(c.net.Name)
	}
	return all, nil
}

// said is what one node had to say.
type said[T any] struct {
	n   *node
	v   T
	err error
}

// race asks the nodes in their order, the next one when one fails or is silent for a while, until one gives an
// answer, or an error that settles says would be everybody's. failed, if not nil, is why there is none; err is
// what settled it, or the context's if the caller gave up.
func race[T any](ctx context.Context, c *Client, questions func(session) (T, error), settles func(error) bool) (v T, failed *failures, err error) {
	order := c.order(ctx)
	answers := make(chan said[T], len(order))
	own, cancel := context.WithCancel(ctx)
	defer cancel() // whoever was outrun
	next := 0
	start := func() {
		n := order[next]
		next++
		go func() {
			s := session{n, own, c.metrics}
			var v T
			err := c.check(s)
			if err == nil {
				v, err = questions(s)
			}
			answers <- said[T]{n, v, err}
		}()
	}
	start()
	patience := time.NewTimer(outrunAfter)
	defer patience.Stop()
	failed = &failures{}
	for waiting := 1; waiting > 0; {
		select {
		case <-patience.C:
			if next == len(order) {
				continue
			}
			c.slow(order[next-1])
			start()
			waiting++
			patience.Reset(outrunAfter)
		case a := <-answers:
			waiting--
			if a.err == nil || settles(a.err) {
				return a.v, nil, a.err
			}
			if errors.Is(ctx.Err(), context.Canceled) {
				return v, nil, ctx.Err()
			}
			failed.add(a.n, a.err)
			if ctx.Err() != nil {
				return v, failed, nil // the caller's own deadline says nothing of the node
			}
			c.failed(a.n, a.err)
			if next < len(order) {
				start()
				waiting++
				patience.Reset(outrunAfter)
			}
		}
	}
	return v, failed, nil
}

// slow has a node asked last for a while that kept somebody waiting. Its chain is as it was.
func (c *Client) slow(n *node) {
	if !n.resting() {
		c.log.Warn("chain node is slow; others are asked beside it", "node", n.host)
	}
	n.outrun(restTime)
}

// failed lets a node rest that failed to answer. One that merely refused a question, or is behind, is working.
func (c *Client) failed(n *node, err error) {
	var refused *RPCError
	var rejected *RejectedError
	if errors.As(err, &refused) || errors.As(err, &rejected) || errors.Is(err, errNotThere) {
		return
	}
	switch {
	case n.resting():
	case errors.Is(err, ErrWrongChain):
		c.log.Error("chain node is of another chain; nothing is sent to it", "node", n.host, "error", plain(err))
	default:
		c.log.Warn("chain node fails", "node", n.host, "error", plain(err))
	}
	n.rest(restTime)
}

// failures is why each node could not answer.
type failures struct {
	texts []string
	wrong error // some node's ErrWrongChain
	last  error
	// rejected is a node's refusal of a transaction. A used-up nonce is the one that asks for a look at the
	// chain: it is kept before others.
	rejected *RejectedError
}

func (f *failures) add(n *node, err error) {
	var rejected *RejectedError
	if errors.As(err, &rejected) && (f.rejected == nil || rejected.NonceTooLow) {
		f.rejected = rejected
	}
	f.texts = append(f.texts, n.host+": "+plain(err))
	f.last = err
	if errors.Is(err, ErrWrongChain) {
		f.wrong = err
	}
}

func (f *failures) err(network string) error {
	text := fmt.Sprintf("network %q: %s", network, strings.Join(f.texts, "; "))
	var refused *RPCError
	switch {
	case f.wrong != nil:
		return fmt.Errorf("%w: %s (%w)", ErrUnavailable, text, ErrWrongChain)
	case errors.As(f.last, &refused):
		return &unavailable{text, refused}
	}
	return &unavailable{text, nil}
}

// unavailable is ErrUnavailable with the last node's own words behind it.
type unavailable struct {
	text    string
	refused *RPCError
}

func (u *unavailable) Error() string { return ErrUnavailable.Error() + ": " + u.text }

// Unwrap makes errors.Is find ErrUnavailable, and errors.As the *RPCError.
func (u *unavailable) Unwrap() []error {
	if u.refused == nil {
		return []error{ErrUnavailable}
	}
	return []error{ErrUnavailable, u.refused}
}
