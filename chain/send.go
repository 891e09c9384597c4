package chain

import (
	"context"
	"errors"
	"fmt"

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
// the only one that has it. The result is Send's; one node that takes it is enough.
func (c *Client) SendAll(ctx context.Context, raw []byte) error {
	want := tx.HashOf(raw)
	var failed failures
	taken := false
	for _, a := range everybody(ctx, c, func(s session) (struct{}, error) { return struct{}{}, s.send(raw, want) }) {
		if a.err == nil {
			taken = true
			continue
		}
		failed.add(a.n, a.err)
		if ctx.Err() == nil {
			c.failed(a.n, a.err)
		}
	}
	switch {
	case taken:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
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
