package devnet

import (
	"container/heap"
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/holiman/uint256"

	"github.com/mintwarden/mintwarden/chain/tx"
)

const (
	poolBytes = 64 << 20 // encodings of all, about 10,000 token calls
	poolSlots = 1024     // transactions of one sender
	priceBump = 10       // percent by which both fees of a replacement must be higher, geth's default
)

// In geth's words.
var (
	errPoolFull = errors.New("txpool is full")
	// errSignature: no scheme that this chain accepts verifies the signature.
	errSignature = errors.New("invalid sender: invalid signature")
)

// minTip is the smallest tip that is taken, in wei; geth's default.
var minTip = big.NewInt(1)

// pool holds the transactions that wait for a block. The chain's mu guards it.
type pool struct {
	byHash   map[common.Hash]*waiting
	bySender map[common.Address]map[uint64]*waiting // by nonce
	arrivals uint64
	bytes    int // of all encodings
}

type waiting struct {
	*transaction
	notBefore uint64 // number of the first block that may take it (Delay)
	arrival   uint64
}

func newPool() *pool {
	return &pool{byHash: map[common.Hash]*waiting{}, bySender: map[common.Address]map[uint64]*waiting{}}
}

// admit decodes raw and checks all that needs no state: form, chain, limits, signature. It needs
// no lock.
func (c *chain) admit(raw []byte) (*transaction, error) {
	if len(raw) > tx.MaxSize {
		return nil, fmt.Errorf("%w: transaction size %d, limit %d", txpool.ErrOversizedData, len(raw), tx.MaxSize)
	}
	t, err := decode(raw, c.chainID)
	if err != nil {
		return nil, err
	}
	if t.ChainID != c.chainID {
		return nil, fmt.Errorf("invalid sender: invalid chain id for signer: have %d want %d", t.ChainID, c.chainID)
	}
	if t.Gas > GasLimit {
		return nil, txpool.ErrGasLimit
	}
	if t.MaxFee.Cmp(t.Tip) < 0 {
		return nil, core.ErrTipAboveFeeCap
	}
	if t.Nonce == math.MaxUint64 {
		return nil, core.ErrNonceMax
	}
	if t.cost().BitLen() > 256 {
		return nil, core.ErrInsufficientFunds
	}
	rules := c.config.Rules(new(big.Int), false, 0)
	need, err := core.IntrinsicGas(t.Data, t.access, nil, t.sender, t.to(), uint256.MustFromBig(t.Value), rules)
	if err != nil {
		return nil, err
	}
	if t.Gas < need {
		return nil, fmt.Errorf("%w: gas %d, minimum needed %d", core.ErrIntrinsicGas, t.Gas, need)
	}
	if t.Tip.Cmp(minTip) < 0 {
		return nil, fmt.Errorf("%w: gas tip cap %d, minimum needed %d", txpool.ErrTxGasPriceTooLow, t.Tip, minTip)
	}
	for _, s := range c.schemes {
		if t.Verify(s) {
			return t, nil
		}
	}
	return nil, errSignature
}

// add takes t in if st, the newest state, allows it, and returns the one that it replaced, if any.
func (p *pool) add(t *transaction, st *state.StateDB, notBefore uint64) (replaced *transaction, err error) {
	if _, ok := p.byHash[t.hash]; ok {
		return nil, txpool.ErrAlreadyKnown
	}
	if next := st.GetNonce(t.sender); t.Nonce < next {
		return nil, fmt.Errorf("%w: next nonce %d, tx nonce %d", core.ErrNonceTooLow, next, t.Nonce)
	}
	mine := p.bySender[t.sender]
	old := mine[t.Nonce]
	if err := p.affordable(t, old, st.GetBalance(t.sender).ToBig()); err != nil {
		return nil, err
	}
	switch {
	case old != nil:
		if !bumped(old.MaxFee, t.MaxFee) || !bumped(old.Tip, t.Tip) {
			return nil, txpool.ErrReplaceUnderpriced
		}
		replaced = old.transaction
		p.remove(replaced)
	case len(mine) >= poolSlots:
		return nil, fmt.Errorf("%w: pooled %d txs", txpool.ErrAccountLimitExceeded, len(mine))
	case p.bytes+len(t.Raw) > poolBytes:
		return nil, errPoolFull
	}
	if p.bySender[t.sender] == nil {
		p.bySender[t.sender] = map[uint64]*waiting{}
	}
	p.arrivals++
	w := &waiting{t, notBefore, p.arrivals}
	p.bySender[t.sender][t.Nonce] = w
	p.byHash[t.hash] = w
	p.bytes += len(t.Raw)
	return replaced, nil
}

// affordable refuses t if its sender could not pay it and all of his others.
func (p *pool) affordable(t *transaction, old *waiting, balance *big.Int) error {
	cost := t.cost()
	if balance.Cmp(cost) < 0 {
		return fmt.Errorf("%w: balance %d, tx cost %d, overshot %d", core.ErrInsufficientFunds, balance, cost,
			new(big.Int).Sub(cost, balance))
	}
	queued := new(big.Int)
	for _, w := range p.bySender[t.sender] {
		if w != old {
			queued.Add(queued, w.cost())
		}
	}
	if need := new(big.Int).Add(queued, cost); balance.Cmp(need) < 0 {
		return fmt.Errorf("%w: balance %d, queued cost %d, tx cost %d, overshot %d", core.ErrInsufficientFunds, balance, queued, cost,
			need.Sub(need, balance))
	}
	return nil
}

// bumped is true if fee is at least priceBump percent above old.
func bumped(old, fee *big.Int) bool {
	least := new(big.Int).Mul(old, big.NewInt(100+priceBump))
	least.Div(least, big.NewInt(100))
	return fee.Cmp(old) > 0 && fee.Cmp(least) >= 0
}

// remove forgets one.
func (p *pool) remove(t *transaction) {
	w := p.byHash[t.hash]
	if w == nil {
		return
	}
	p.bytes -= len(t.Raw)
	delete(p.byHash, t.hash)
	delete(p.bySender[t.sender], t.Nonce)
	if len(p.bySender[t.sender]) == 0 {
		delete(p.bySender, t.sender)
	}
}

// settle forgets what was mined, and what the state after it made impossible: nonces that are
// used up, costs that cannot be paid any more. It returns the latter.
func (p *pool) settle(mined []*transaction, after *state.StateDB) (gone []*transaction) {
	for _, t := range mined {
		p.remove(t)
	}
	if len(mined) == 0 {
		return nil
	}
	for sender, own := range p.bySender {
		next, balance := after.GetNonce(sender), after.GetBalance(sender).ToBig()
		for nonce, w := range own {
			if nonce < next || balance.Cmp(w.cost()) < 0 {
				gone = append(gone, w.transaction)
			}
		}
	}
	for _, t := range gone {
		p.remove(t)
	}
	return gone
}

// nextNonce is the first nonce from next on that no waiting transaction of sender has.
func (p *pool) nextNonce(sender common.Address, next uint64) uint64 {
	own := p.bySender[sender]
	for own[next] != nil {
		next++
	}
	return next
}

// executable is the pool's transactions in the order in which a block takes them: the best tip
// first, a sender's own by nonce without a gap.
func (p *pool) executable(st *state.StateDB, number uint64) *queue {
	q := &queue{lines: map[common.Address][]*waiting{}}
	for sender, own := range p.bySender {
		var line []*waiting
		for n := st.GetNonce(sender); own[n] != nil && own[n].notBefore <= number; n++ {
			line = append(line, own[n])
		}
		if line != nil {
			q.lines[sender] = line
		}
	}
	return q
}

// empty is true if no block could take anything, whatever its base fee.
func (q *queue) empty() bool { return len(q.lines) == 0 }

// queue yields a block's candidates.
type queue struct {
	lines map[common.Address][]*waiting // by sender; each sender's first one is in the heap
	heap  byTip
	begun bool
}

// next is the best candidate at baseFee, or nil; it stays the candidate until took or skip.
func (q *queue) next(baseFee *big.Int) *transaction {
	if !q.begun {
		q.begun = true
		q.heap.baseFee = baseFee
		for _, line := range q.lines {
			q.push(line)
		}
	}
	if len(q.heap.firsts) == 0 {
		return nil
	}
	return q.heap.firsts[0].transaction
}

// push enters a sender's first transaction if the base fee allows it.
func (q *queue) push(line []*waiting) {
	if len(line) > 0 && line[0].MaxFee.Cmp(q.heap.baseFee) >= 0 {
		heap.Push(&q.heap, line[0])
	}
}

// took says that the block took t: its sender's next one is a candidate now.
func (q *queue) took(t *transaction) {
	heap.Pop(&q.heap)
	q.lines[t.sender] = q.lines[t.sender][1:]
	q.push(q.lines[t.sender])
}

// skip leaves the sender out of the rest of the block.
func (q *queue) skip(sender common.Address) {
	heap.Pop(&q.heap)
	delete(q.lines, sender)
}

// byTip orders by effective tip, then by arrival.
type byTip struct {
	firsts  []*waiting
	baseFee *big.Int
}

func (h *byTip) Len() int      { return len(h.firsts) }
func (h *byTip) Swap(i, j int) { h.firsts[i], h.firsts[j] = h.firsts[j], h.firsts[i] }
func (h *byTip) Push(x any)    { h.firsts = append(h.firsts, x.(*waiting)) }

func (h *byTip) Less(i, j int) bool {
	a, b := h.firsts[i], h.firsts[j]
	if c := a.effectiveTip(h.baseFee).Cmp(b.effectiveTip(h.baseFee)); c != 0 {
		return c > 0
	}
	return a.arrival < b.arrival
}

func (h *byTip) Pop() any {
	last := h.firsts[len(h.firsts)-1]
	h.firsts = h.firsts[:len(h.firsts)-1]
	return last
}
