package chain

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// everybody asks every node at once, whatever it is known to be like, and gives each one's answer.
func everybody[T any](ctx context.Context, c *Client, questions func(session) (T, error)) []said[T] {
	answers := make([]said[T], len(c.nodes))
	var all sync.WaitGroup
	for i, n := range c.nodes {
		all.Go(func() {
			s := session{n, ctx, c.metrics}
			a := said[T]{n: n}
			if a.err = c.check(s); a.err == nil {
				a.v, a.err = questions(s)
			}
			answers[i] = a
		})
	}
	all.Wait()
	return answers
}

// aloneKey is under what a context holds the one node that is to be asked.
type aloneKey struct{}

// Each calls f for one configured node after the other, whatever it is known to be like, and gives what f returned for
// each. Under f's context that node alone answers what this client is asked, save what asks every node: Ask, Stands,
// MostNonce and the like.
func (c *Client) Each(ctx context.Context, f func(context.Context) error) []error {
	errs := make([]error, len(c.nodes))
	for i, n := range c.nodes {
		errs[i] = f(context.WithValue(ctx, aloneKey{}, n))
	}
	return errs
}

// Nodes is how many nodes are configured.
func (c *Client) Nodes() int { return len(c.nodes) }

// Opinion is what all configured nodes together say of the transactions of one operation, which share a nonce.
type Opinion struct {
	// Mined is what the nodes say that found one of them in a block, of the node that sees it deepest.
	Mined TxStatus
	// Which is the mined one's place in what was asked for; meaningful only if Mined.Mined.
	Which int
	// Blocks are those in which nodes have one of them, by each node's own word.
	Blocks []tx.Hash
	// Final: every configured node says that this very transaction is final, in the same block, with the same
	// result.
	Final bool
	// Stolen: every configured node says that none of them is in a block, and that the nonce is used up by
	// blocks that are final, in one that lists none of them.
	Stolen bool
	// Absent: of the nodes that answered, at least one, none has any of them in a block.
	Absent bool
	// Missing are the hosts of nodes that gave no usable answer.
	Missing []string
	// Differing: some nodes say that it is final, and others something else than that it is a few blocks less deep.
	Differing bool
}

// view is one node's word.
type view struct {
	status TxStatus
	which  int
	nonce  uint64 // used up by final blocks
}

// Ask asks every configured node what became of an operation's transactions: the same nonce of one account,
// with different fees. A node that does not answer has no opinion, so nothing is final or stolen then. The
// error is the context's, or wraps ErrUnavailable if no node answered.
func (c *Client) Ask(ctx context.Context, account tx.Address, nonce uint64, hashes []tx.Hash) (Opinion, error) {
	answers := everybody(ctx, c, func(s session) (view, error) { return s.view(account, nonce, hashes, c.net.Confirmations) })
	if ctx.Err() != nil {
		return Opinion{}, ctx.Err()
	}
	var failed failures
	var views []view
	var o Opinion
	for _, a := range answers {
		if a.err != nil {
			failed.add(a.n, a.err)
			c.failed(a.n, a.err)
			o.Missing = append(o.Missing, a.n.host)
			continue
		}
		views = append(views, a.v)
	}
	if len(views) == 0 {
		return o, failed.err(c.net.Name)
	}
	o.sum(views, nonce, c.net.Confirmations, len(o.Missing) == 0)
	return o, nil
}

// sum makes one opinion of what the nodes said; all reports whether every configured one did.
func (o *Opinion) sum(views []view, nonce, confirmations uint64, all bool) {
	o.Final, o.Stolen, o.Absent = all, all, true
	for _, v := range views {
		st := v.status
		if st.Mined {
			o.Absent = false
			o.Blocks = append(o.Blocks, st.BlockHash)
			if !o.Mined.Mined || st.Confirmations > o.Mined.Confirmations {
				o.Mined, o.Which = st, v.which
			}
		}
		o.Stolen = o.Stolen && !st.Mined && v.nonce > nonce
		o.Final = o.Final && st.Final && v.same(views[0])
		o.Differing = o.Differing || slices.ContainsFunc(views, func(other view) bool {
			return other.status.Final && !v.backs(other, confirmations)
		})
	}
}

// same reports whether two nodes have the same transaction in the same block, with the same result.
func (v view) same(other view) bool {
	a, b := v.status, other.status
	return a.Mined && b.Mined && v.which == other.which && a.BlockHash == b.BlockHash && a.Success == b.Success
}

// backs reports whether a node says the same as another one for which it is final, or is only a few blocks behind that
// one: they hear of a block one after the other.
func (v view) backs(other view, confirmations uint64) bool {
	deep := v.status.Confirmations
	return v.same(other) && (v.status.Final || deep < confirmations && deep+behindMost >= other.status.Confirmations)
}

// view is what one node says of transactions of which at most one can be in a block: that with the account's nonce.
func (s session) view(account tx.Address, nonce uint64, hashes []tx.Hash, confirmations uint64) (view, error) {
	v, err := s.inBlock(hashes, confirmations)
	if err != nil || v.status.Mined {
		return v, err
	}
	// Unused now is unused before: a node is asked about a state that it may not keep only where that decides.
	used, err := s.nonceAt(account, nil)
	if err != nil || used <= nonce {
		return view{nonce: used}, err
	}
	var newest *hexutil.Uint64
	if err := s.ask(&newest, "eth_blockNumber"); err != nil {
		return view{}, err
	}
	if newest == nil || uint64(*newest)+1 < confirmations {
		return view{}, nil
	}
	used, err = s.nonceAt(account, new(big.Int).SetUint64(uint64(*newest)+1-confirmations))
	if err != nil || used <= nonce {
		return view{nonce: used}, err
	}
	// Blocks that came since the receipts were asked for may hold one of them, and have used the nonce up for it: only
	// receipts that were not there afterwards either say that it is a stranger's.
	if v, err = s.inBlock(hashes, confirmations); err != nil || v.status.Mined {
		return v, err
	}
	if ours, err := s.usedBy(account, nonce, hashes, uint64(*newest)+1-confirmations); err != nil || ours {
		return view{}, err
	}
	return view{nonce: used}, nil
}

// mostSearched is how many blocks before a final one are looked through for the one in which a nonce was used up.
const mostSearched = 4096

// usedBy reports whether the block in which an account's nonce was used up, at the latest the one with the number final,
// holds one of these transactions: a node whose index of transactions is not there, or is behind, knows no receipt of what
// its own blocks list. False, too, where it has forgotten the states that tell which block that is.
func (s session) usedBy(account tx.Address, nonce uint64, hashes []tx.Hash, final uint64) (bool, error) {
	unused, by := final, final
	for step := uint64(1); ; step *= 2 {
		if unused == 0 || step > mostSearched {
			return false, nil
		}
		unused -= min(unused, step)
		used, err := s.nonceAt(account, new(big.Int).SetUint64(unused))
		var refused *RPCError
		if errors.As(err, &refused) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if used <= nonce {
			break
		}
		by = unused
	}
	for unused+1 < by {
		middle := unused + (by-unused)/2
		used, err := s.nonceAt(account, new(big.Int).SetUint64(middle))
		if err != nil {
			return false, err
		}
		if used > nonce {
			by = middle
		} else {
			unused = middle
		}
	}
	var b *struct {
		Transactions *[]hash `json:"transactions"`
	}
	if err := s.ask(&b, "eth_getBlockByNumber", hexutil.EncodeUint64(by), false); err != nil {
		return false, err
	}
	if b == nil || b.Transactions == nil {
		return false, fmt.Errorf("%w: block %d", errAnswer, by)
	}
	return slices.ContainsFunc(*b.Transactions, func(h hash) bool { return slices.Contains(hashes, tx.Hash(h)) }), nil
}

// Stands reports whether a configured node has the block with that hash in its chain. The error is the context's, or
// wraps ErrUnavailable if no node answered.
func (c *Client) Stands(ctx context.Context, number uint64, block tx.Hash) (bool, error) {
	answers := everybody(ctx, c, func(s session) (tx.Hash, error) { return s.hashAt(number) })
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	var failed failures
	for _, a := range answers {
		if a.err == nil && a.v == block {
			return true, nil
		}
		if a.err != nil {
			failed.add(a.n, a.err)
			c.failed(a.n, a.err)
		}
	}
	if len(failed.texts) == len(answers) {
		return false, failed.err(c.net.Name)
	}
	return false, nil
}

// MostNonce is how many of an account's nonces are used up at the newest block of the node that says the most. The
// error is the context's, or wraps ErrUnavailable if no node answered.
func (c *Client) MostNonce(ctx context.Context, account tx.Address) (uint64, error) {
	answers := everybody(ctx, c, func(s session) (uint64, error) { return s.nonceAt(account, nil) })
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	var failed failures
	var most uint64
	for _, a := range answers {
		if a.err != nil {
			failed.add(a.n, a.err)
			c.failed(a.n, a.err)
			continue
		}
		most = max(most, a.v)
	}
	if len(failed.texts) == len(answers) {
		return 0, failed.err(c.net.Name)
	}
	return most, nil
}

// inBlock is the one of several transactions that a node has in a block; the zero view if it has none.
func (s session) inBlock(hashes []tx.Hash, confirmations uint64) (view, error) {
	for i := len(hashes) - 1; i >= 0; i-- { // the newest version is the likeliest
		st, err := s.status(hashes[i], confirmations)
		if err != nil {
			return view{}, err
		}
		if st.Mined {
			return view{status: st, which: i}, nil
		}
	}
	return view{}, nil
}
