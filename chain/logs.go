package chain

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// ErrTooManyLogs is wrapped when a node does not give all logs of a range at once: ask for fewer blocks.
var ErrTooManyLogs = errors.New("too many logs in one question")

// Log is what a contract's code wrote while a transaction was carried out.
type Log struct {
	Address     tx.Address
	Topics      []tx.Hash // at most four; the first names the event
	Data        []byte
	BlockNumber uint64
	BlockHash   tx.Hash
	TxHash      tx.Hash
	Index       uint64 // its place in the block
}

// Same tells whether two nodes speak of the same log.
func (l *Log) Same(other *Log) bool {
	return l.Address == other.Address && slices.Equal(l.Topics, other.Topics) && bytes.Equal(l.Data, other.Data) &&
		l.BlockNumber == other.BlockNumber && l.BlockHash == other.BlockHash && l.TxHash == other.TxHash && l.Index == other.Index
}

// LogQuery picks logs. All of it is checked again on what a node answers.
type LogQuery struct {
	Addresses []tx.Address // at least one; any of them
	// Topics are the alternatives at each place; no alternatives, or a place that is not named: any.
	Topics [][]tx.Hash
}

func (q *LogQuery) admits(l *Log) bool {
	if !slices.Contains(q.Addresses, l.Address) {
		return false
	}
	for i, any := range q.Topics {
		if len(any) > 0 && (i >= len(l.Topics) || !slices.Contains(any, l.Topics[i])) {
			return false
		}
	}
	return true
}

func (q *LogQuery) object(from, to uint64) map[string]any {
	addresses := make([]string, len(q.Addresses))
	for i, a := range q.Addresses {
		addresses[i] = hexutil.Encode(a[:])
	}
	topics := make([]any, len(q.Topics))
	for i, alternatives := range q.Topics {
		if len(alternatives) > 0 {
			texts := make([]string, len(alternatives))
			for j, t := range alternatives {
				texts[j] = hexutil.Encode(t[:])
			}
			topics[i] = texts
		}
	}
	return map[string]any{"fromBlock": hexutil.EncodeUint64(from), "toBlock": hexutil.EncodeUint64(to), "address": addresses, "topics": topics}
}

type rawLog struct {
	Address     *address        `json:"address"`
	Topics      []hash          `json:"topics"`
	Data        hexutil.Bytes   `json:"data"`
	BlockNumber *hexutil.Uint64 `json:"blockNumber"`
	BlockHash   *hash           `json:"blockHash"`
	TxHash      *hash           `json:"transactionHash"`
	Index       *hexutil.Uint64 `json:"logIndex"`
	Removed     bool            `json:"removed"`
}

func (r *rawLog) log() (Log, error) {
	if r == nil || r.Address == nil || r.BlockNumber == nil || r.BlockHash == nil || r.TxHash == nil || r.Index == nil || r.Removed || len(r.Topics) > 4 {
		return Log{}, fmt.Errorf("%w: log", errAnswer)
	}
	l := Log{Address: tx.Address(*r.Address), Data: r.Data, BlockNumber: uint64(*r.BlockNumber), BlockHash: tx.Hash(*r.BlockHash),
		TxHash: tx.Hash(*r.TxHash), Index: uint64(*r.Index)}
	for _, t := range r.Topics {
		l.Topics = append(l.Topics, tx.Hash(t))
	}
	return l, nil
}

// told is what one node says of the logs of a range.
type told struct {
	by      *node
	logs    []Log   // in the chain's order, each once
	last    tx.Hash // the hash of the range's last block
	tooMany error   // the node's words; then there is nothing else
}

// Logs is what any of the queries picks of the blocks from and to and those between, in the chain's order, each
// log once, and the hash of block to. All of it is one node's answer, and a node that does not have block to yet
// is not asked. ErrTooManyLogs when the node wants a smaller range.
func (c *Client) Logs(ctx context.Context, from, to uint64, queries ...LogQuery) ([]Log, tx.Hash, error) {
	a, err := c.tellLogs(ctx, from, to, queries)
	return a.logs, a.last, err
}

// wideRange is how many blocks a range must have for one node's limit to count where another node told all of it:
// a smaller one is asked for then, but not block by block for the sake of a node that says so whatever it is asked.
const wideRange = 64

// AllLogs is Logs and, beside it, what the other nodes that work tell of the same blocks and that one does not, in the
// chain's order: a log that stands elsewhere for them is none of those. One node may hide what stands in the chain,
// and one may make something up; who of them is right this does not say. ErrTooManyLogs when one of them wants a
// smaller range.
func (c *Client) AllLogs(ctx context.Context, from, to uint64, queries ...LogQuery) (logs, others []Log, last tx.Hash, err error) {
	first, err := c.tellLogs(ctx, from, to, queries)
	if err != nil {
		return nil, nil, tx.Hash{}, err
	}
	var mu sync.Mutex
	var more []told
	var all sync.WaitGroup
	for _, n := range c.nodes {
		if n == first.by || n.resting() {
			continue
		}
		all.Go(func() {
			s := session{n, ctx, c.metrics}
			var a told
			err := c.check(s)
			if err == nil {
				a, err = s.tellLogs(from, to, queries)
			}
			if err != nil {
				if ctx.Err() == nil {
					c.failed(n, err)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			more = append(more, a)
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, tx.Hash{}, err
	}
	have := map[string]int{} // how often each is there, wherever it stands
	for i := range first.logs {
		have[first.logs[i].content()]++
	}
	for _, a := range more {
		if a.tooMany != nil {
			if to-from >= wideRange {
				return nil, nil, tx.Hash{}, c.tooManyLogs(from, to, a.tooMany)
			}
			continue
		}
		seen := map[string]int{}
		for _, l := range a.logs {
			text := l.content()
			if seen[text]++; seen[text] > have[text] {
				have[text]++
				others = append(others, l)
			}
		}
	}
	sortLogs(others)
	return first.logs, others, first.last, nil
}

// content is what tells a log from others, but for its place in the chain.
func (l *Log) content() string {
	b := slices.Concat(l.TxHash[:], l.Address[:], []byte{byte(len(l.Topics))})
	for _, t := range l.Topics {
		b = append(b, t[:]...)
	}
	return string(append(b, l.Data...))
}

func sortLogs(logs []Log) {
	slices.SortFunc(logs, func(a, b Log) int {
		return cmp.Or(cmp.Compare(a.BlockNumber, b.BlockNumber), cmp.Compare(a.Index, b.Index))
	})
}

// tellLogs is the first working node's answer.
func (c *Client) tellLogs(ctx context.Context, from, to uint64, queries []LogQuery) (told, error) {
	a, err := ask(ctx, c, func(s session) (told, error) { return s.tellLogs(from, to, queries) })
	if err == nil && a.tooMany != nil {
		err = c.tooManyLogs(from, to, a.tooMany)
	}
	return a, err
}

func (c *Client) tooManyLogs(from, to uint64, words error) error {
	return fmt.Errorf("%w: blocks %d to %d of %s: %s", ErrTooManyLogs, from, to, c.net.Name, plain(words))
}

func (s session) tellLogs(from, to uint64, queries []LogQuery) (told, error) {
	last, err := s.blockHash(to)
	if err != nil {
		return told{}, err
	}
	seen := map[uint64]map[uint64]bool{}
	a := told{by: s.node, last: last}
	for _, q := range queries {
		some, err := s.logs(from, to, q)
		if tooMany(err) {
			return told{by: s.node, tooMany: err}, nil // the next one need not be asked
		}
		if err != nil {
			return told{}, err
		}
		for _, l := range some {
			if seen[l.BlockNumber] == nil {
				seen[l.BlockNumber] = map[uint64]bool{}
			}
			if !seen[l.BlockNumber][l.Index] {
				seen[l.BlockNumber][l.Index] = true
				a.logs = append(a.logs, l)
			}
		}
	}
	sortLogs(a.logs)
	return a, nil
}

func (s session) logs(from, to uint64, q LogQuery) ([]Log, error) {
	var raw []*rawLog
	if err := s.ask(&raw, "eth_getLogs", q.object(from, to)); err != nil {
		return nil, err
	}
	logs := make([]Log, 0, len(raw))
	for _, r := range raw {
		l, err := r.log()
		if err != nil {
			return nil, err
		}
		if l.BlockNumber < from || l.BlockNumber > to || !q.admits(&l) {
			return nil, fmt.Errorf("%w: a log of block %d that was not asked for", errAnswer, l.BlockNumber)
		}
		logs = append(logs, l)
	}
	return logs, nil
}

// limits are what nodes say when a range is too large for them: geth's, Erigon's, Nethermind's, Besu's and the large
// providers' words.
var limits = []string{"more than", "block range", "too large", "too many", "too big", "limit exceeded", "limited to", "exceed", "response size",
	"query timeout", "timed out", "max results", "range is"}

// tooMany tells a node's limit from its other refusals. An answer beyond the limit of size is one, too; that there is
// none in time is not, for another node may have one.
func tooMany(err error) bool {
	var refused *RPCError
	var size *http.MaxBytesError
	var status rpc.HTTPError
	switch {
	case errors.As(err, &refused):
		if refused.Code == -32005 {
			return true
		}
		message := strings.ToLower(refused.Message)
		return slices.ContainsFunc(limits, func(l string) bool { return strings.Contains(message, l) })
	case errors.As(err, &size):
		return true
	case errors.As(err, &status):
		return status.StatusCode == http.StatusRequestEntityTooLarge
	}
	return false
}

// errNotThere is of a block that a node does not have yet.
var errNotThere = errors.New("not there yet")

// BlockHash is the hash of the canonical block with a number. A block that no node has yet is an error.
func (c *Client) BlockHash(ctx context.Context, number uint64) (tx.Hash, error) {
	return ask(ctx, c, func(s session) (tx.Hash, error) { return s.blockHash(number) })
}

func (s session) blockHash(number uint64) (tx.Hash, error) {
	var h *header
	if err := s.ask(&h, "eth_getBlockByNumber", hexutil.EncodeUint64(number), false); err != nil {
		return tx.Hash{}, err
	}
	if h == nil {
		return tx.Hash{}, fmt.Errorf("block %d is %w", number, errNotThere)
	}
	if h.Hash == nil || h.Number == nil || uint64(*h.Number) != number {
		return tx.Hash{}, fmt.Errorf("%w: block %d", errAnswer, number)
	}
	return tx.Hash(*h.Hash), nil
}

// CallAt is Call on the state after a block; nodes forget states, so it must be a recent one.
func (c *Client) CallAt(ctx context.Context, from, to tx.Address, data []byte, block uint64) ([]byte, error) {
	args := callObject{From: hexutil.Encode(from[:]), To: hexutil.Encode(to[:]), Data: data}
	return ask(ctx, c, func(s session) ([]byte, error) { return s.call(args, hexutil.EncodeUint64(block)) })
}

// Sent is a transaction as a node tells of it.
type Sent struct {
	From  tx.Address
	To    *tx.Address // nil for a contract creation
	Input []byte
}

// Transaction is a transaction, nil if the node that answers does not know it.
func (c *Client) Transaction(ctx context.Context, txHash tx.Hash) (*Sent, error) {
	return ask(ctx, c, func(s session) (*Sent, error) { return s.sent(txHash) })
}

func (s session) sent(txHash tx.Hash) (*Sent, error) {
	t, err := s.transaction(txHash)
	if err != nil || t == nil {
		return nil, err
	}
	return &Sent{From: tx.Address(t.From), To: (*tx.Address)(t.To), Input: t.Input}, nil
}

// AgreedTransaction is Transaction by the word of every node: nil where one of them contradicts another, or, of several
// nodes, fewer than two know it. The error wraps ErrUnavailable if a node did not answer, for what it would have said
// may matter, or is the context's.
func (c *Client) AgreedTransaction(ctx context.Context, txHash tx.Hash) (*Sent, error) {
	var known []*Sent
	var failed failures
	for _, a := range everybody(ctx, c, func(s session) (*Sent, error) { return s.sent(txHash) }) {
		switch {
		case a.err != nil:
			failed.add(a.n, a.err)
			if ctx.Err() == nil {
				c.failed(a.n, a.err)
			}
		case a.v != nil:
			known = append(known, a.v)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if failed.last != nil {
		return nil, failed.err(c.net.Name)
	}
	if len(known) < min(2, len(c.nodes)) {
		return nil, nil
	}
	for _, other := range known[1:] {
		if !known[0].same(other) {
			return nil, nil
		}
	}
	return known[0], nil
}

func (s *Sent) same(other *Sent) bool {
	to := s.To == nil && other.To == nil || s.To != nil && other.To != nil && *s.To == *other.To
	return to && s.From == other.From && bytes.Equal(s.Input, other.Input)
}

// Witness is what the nodes of a network, each for itself, say of a log. Those that did not answer, or are not as far
// yet, are in neither number.
type Witness struct {
	Stand int // say that it stands in the canonical chain
	Deny  int // say that the chain has that block without it, or another block there
	Nodes int // all there are
}

// Witnesses asks every node for itself whether a log stands in the canonical chain. The error is the context's.
func (c *Client) Witnesses(ctx context.Context, l Log) (Witness, error) {
	w := Witness{Nodes: len(c.nodes)}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, n := range c.nodes {
		all.Go(func() {
			s := session{n, ctx, c.metrics}
			err := c.check(s)
			stands := false
			if err == nil {
				stands, err = s.witness(l)
			}
			if err != nil {
				if ctx.Err() == nil {
					c.failed(n, err)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if stands {
				w.Stand++
			} else {
				w.Deny++
			}
		})
	}
	all.Wait()
	return w, ctx.Err()
}

func (s session) witness(l Log) (bool, error) {
	at, err := s.blockHash(l.BlockNumber)
	if err != nil || at != l.BlockHash {
		return false, err
	}
	var r *struct {
		Logs []*rawLog `json:"logs"`
	}
	if err := s.ask(&r, "eth_getTransactionReceipt", hexutil.Encode(l.TxHash[:])); err != nil {
		return false, err
	}
	if r == nil {
		// A node that keeps no index of old transactions does not know this one by its hash either.
		logs, err := s.logs(l.BlockNumber, l.BlockNumber, LogQuery{Addresses: []tx.Address{l.Address}})
		return slices.ContainsFunc(logs, func(other Log) bool { return l.Same(&other) }), err
	}
	for _, raw := range r.Logs {
		other, err := raw.log()
		if err != nil {
			return false, err
		}
		if l.Same(&other) {
			return true, nil
		}
	}
	return false, nil
}
