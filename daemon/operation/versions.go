package operation

import (
	"context"
	"fmt"
	"iter"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// txreqPrefix begins the id under which an operation's transaction is addressed.
const txreqPrefix = "txreq_"

// OfTransactionRequest is the id of the operation that a transaction request belongs to, whether there is one or
// not; TX_NOT_FOUND if there cannot be one.
func OfTransactionRequest(id string) (string, error) {
	suffix, ok := strings.CutPrefix(id, txreqPrefix)
	if op := IDPrefix + suffix; ok && store.ValidID(IDPrefix, op) {
		return op, nil
	}
	return "", registry.Refuse(registry.TxNotFound, "there is no transaction request %q; GET /v1/transactions lists them", id)
}

// Version is one signed transaction of an operation: all have one nonce, and at most one of them is mined.
type Version struct {
	Number      int // from 1
	Hash        tx.Hash
	Nonce, Gas  uint64
	MaxFee, Tip *big.Int // wei a unit of gas
}

// Versions are an operation's signed transactions, first to last, read from their bytes. None before it is
// signed. Errors are the store's, or that what is stored is no transaction.
func (s *Service) Versions(ctx context.Context, o *Operation) ([]Version, error) {
	if o.TransactionHash == nil {
		return nil, nil
	}
	prefix := store.OpTxs(o.ID)
	kvs, err := s.stored(ctx, o.ID, prefix, "")
	if err != nil {
		return nil, err
	}
	c, ok := s.chains[o.Network]
	if len(kvs) > 0 && !ok {
		return nil, fmt.Errorf("operation: network %s of %s is not in the configuration", o.Network, o.ID)
	}
	out := make([]Version, 0, len(kvs))
	for _, kv := range kvs {
		n, err := strconv.Atoi(kv.Key[len(prefix):])
		if err != nil {
			return nil, fmt.Errorf("operation: %s: %w", kv.Key, err)
		}
		t, err := parseStoredTx(kv.Value, s.keyOf(ctx, o))
		if err != nil {
			return nil, fmt.Errorf("operation: %s: %w", kv.Key, err)
		}
		signed, err := tx.Decode(c.Network().Kind, t.Raw)
		if err != nil {
			return nil, fmt.Errorf("operation: %s: %w", kv.Key, err)
		}
		out = append(out, Version{Number: n, Hash: signed.Hash, Nonce: signed.Nonce, Gas: signed.Gas, MaxFee: signed.MaxFee, Tip: signed.Tip})
	}
	slices.SortFunc(out, func(a, b Version) int { return a.Number - b.Number })
	return out, nil
}

// All is every operation that f admits, newest first, read a page at a time: memory does not grow with how many
// there are. What comes while it runs is not in it. It ends with the first error.
func (s *Service) All(ctx context.Context, f Filter) iter.Seq2[*Operation, error] {
	return func(yield func(*Operation, error) bool) {
		for cursor := ""; ; {
			ops, _, next, err := s.List(ctx, f, store.MaxTxOps, 0, cursor)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, o := range ops {
				if !yield(o, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			cursor = next
		}
	}
}
