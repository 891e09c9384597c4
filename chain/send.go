package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// Send hands a signed transaction to the first node that takes it. Nil means that some node has
// it, also if it had it before; sending the same bytes again is safe. *RejectedError if every node
// that answers refuses it; that no node answers wraps ErrUnavailable. Neither says that the
// transaction will never be mined: a node may have had it already.
func (c *Client) Send(ctx context.Context, raw []byte) error {
	want := tx.HashOf(raw)
	_, failed, err := race(ctx, c, func(s session) (struct{}, error) { return struct{}{}, s.send(raw, want) }, func(error) bool { return false })
	if failed == nil {
		return err
	}
	if failed.rejected != nil {
		return failed.rejected
	}
	return failed.err(c.net.Name)
}

// SendAll hands a signed transaction to every node: one that took it before and does not pass it on is not
// the only one that has it. The result is Send's; one node that takes it is enough, and those that are slower get it while
// nobody waits for them any more.
func (c *Client) SendAll(ctx context.Context, raw []byte) error {
	want := tx.HashOf(raw)
	answers := make(chan said[struct{}], len(c.nodes))
	for _, n := range c.nodes {
		c.work.Go(func() {
			s := session{n, c.life, c.metrics}
			a := said[struct{}]{n: n}
			if a.err = c.check(s); a.err == nil {
				a.err = s.send(raw, want)
			}
			if a.err != nil && c.life.Err() == nil {
				c.failed(n, a.err)
			}
			answers <- a
		})
	}
	var failed failures
	var late <-chan time.Time // set once one has taken it
	for range c.nodes {
		select {
		case a := <-answers:
			if a.err != nil {
				failed.add(a.n, a.err)
			} else if late == nil {
				late = time.After(outrunAfter)
			}
		case <-late:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	switch {
	case late != nil:
		return nil
	case failed.rejected != nil:
		return failed.rejected
	}
	return failed.err(c.net.Name)
}

func (s session) send(raw []byte, want tx.Hash) error {
	var got *hash
	err := s.ask(&got, "eth_sendRawTransaction", hexutil.Encode(raw))
	var refused *RPCError
	if errors.As(err, &refused) {
		if r := rejection(refused.Message); r != nil {
			return r
		}
		return nil
	}
	if err != nil {
		return err
	}
	if got == nil || tx.Hash(*got) != want {
		return fmt.Errorf("%w: hash of transaction %s", errAnswer, want)
	}
	return nil
}
