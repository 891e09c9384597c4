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
	var rejected *RejectedError
	var failed failures
	for _, n := range c.order() {
		s := session{n, ctx, c.metrics}
		err := c.check(s)
		if err == nil {
			err = s.send(raw, want)
		}
		if err == nil {
			return nil
		}
		var refused *RejectedError
		switch {
		case errors.As(err, &refused):
			// A used-up nonce is the one refusal that asks for a look at the chain; keep it.
			if rejected == nil || refused.NonceTooLow {
				rejected = refused
			}
		case errors.Is(ctx.Err(), context.Canceled):
			return ctx.Err()
		default:
			failed.add(n, err)
			if ctx.Err() == nil {
				c.failed(n, err)
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	if rejected != nil {
		return rejected
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
