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

// order is the nodes in the order in which to ask them: as configured, but those that failed
// lately last.
func (c *Client) order() []*node {
	nodes := slices.Clone(c.nodes)
	slices.SortStableFunc(nodes, func(a, b *node) int {
		switch x, y := a.resting(), b.resting(); {
		case x == y:
			return 0
		case x:
			return 1
		default:
			return -1
		}
	})
	return nodes
}

// final errors are answers about the question, which another node would give as well.
func final(err error) bool {
	var revert *RevertError
	return errors.As(err, &revert)
}

// ask puts questions to the first node that can answer all of them. The error wraps ErrUnavailable
// if none can; it is the context's if the caller gave up.
func ask[T any](ctx context.Context, c *Client, questions func(session) (T, error)) (T, error) {
	var zero T
	var failed failures
	for _, n := range c.order() {
		s := session{n, ctx, c.metrics}
		err := c.check(s)
		if err == nil {
			var v T
			if v, err = questions(s); err == nil || final(err) {
				return v, err
			}
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return zero, ctx.Err()
		}
		failed.add(n, err)
		if ctx.Err() != nil {
			break // the caller's own deadline says nothing of the node
		}
		c.failed(n, err)
	}
	return zero, failed.err(c.net.Name)
}

// failed lets a node rest that failed to answer. One that merely refused a question is working.
func (c *Client) failed(n *node, err error) {
	var refused *RPCError
	if errors.As(err, &refused) {
		return
	}
	if !n.resting() {
		c.log.Warn("chain node fails", "node", n.host, "error", plain(err))
	}
	n.rest(restTime)
}

// failures is why each node could not answer.
type failures struct {
	texts []string
	wrong error // some node's ErrWrongChain
	last  error
}

func (f *failures) add(n *node, err error) {
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
