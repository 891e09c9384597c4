package operation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// version is the number of the newest signed transaction of the operation that is in the store, once it is signed.
func (o *Operation) version() int { return max(1, o.Version) }

// versions are an operation's signed transactions as the store holds them, first to last. One in the middle may never
// have come here from the seal (keepVersion).
func (s *Service) versions(ctx context.Context, o *Operation) ([]storedTx, error) {
	keys := make([]string, o.version())
	for i := range keys {
		keys[i] = store.OpTx(o.ID, i+1)
	}
	kvs, _, err := s.store.GetMany(ctx, keys...)
	if err == nil {
		err = s.fill(slices.Repeat([]string{o.ID}, len(kvs)), kvs)
	}
	if err != nil {
		return nil, err
	}
	out := make([]storedTx, 0, len(kvs))
	for i, kv := range kvs {
		if kv.Value == nil && i > 0 && i < len(kvs)-1 {
			continue
		}
		t, err := s.readSigned(ctx, o, kv)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// readSigned reads one of an operation's signed transactions.
func (s *Service) readSigned(ctx context.Context, o *Operation, kv store.KV) (storedTx, error) {
	if kv.Value == nil {
		return storedTx{}, missing(false, "a signed transaction of "+o.ID)
	}
	t, err := parseStoredTx(kv.Value, s.keyOf(ctx, o))
	if err != nil {
		return storedTx{}, fmt.Errorf("operation: %s: %w", kv.Key, err)
	}
	return t, nil
}

// hashes are what an operation's transactions are known by, first version to last: whichever is mined counts.
func (s *Service) hashes(ctx context.Context, o *Operation) ([]tx.Hash, error) {
	if o.version() == 1 {
		return []tx.Hash{*o.TransactionHash}, nil
	}
	versions, err := s.versions(ctx, o)
	if err != nil {
		return nil, err
	}
	out := make([]tx.Hash, len(versions))
	for i, v := range versions {
		out[i] = v.Hash
	}
	return out, nil
}

// seen is what became of an operation's transactions in a head's chain, as far as one node says, and which of them it
// is about: the mined one, else the newest that is known.
func (s *Service) seen(ctx context.Context, c *chain.Client, head chain.Head, hashes []tx.Hash) (st chain.TxStatus, hash tx.Hash, err error) {
	canonical := func(ctx context.Context, number uint64) (tx.Hash, error) {
		return hashUnder(ctx, s.glances, c, head, number)
	}
	hash = hashes[len(hashes)-1]
	for i := len(hashes) - 1; i >= 0; i-- {
		one, err := c.StatusUnder(ctx, hashes[i], head, canonical)
		if err != nil {
			return chain.TxStatus{}, hash, err
		}
		if one.Mined {
			return one, hashes[i], nil
		}
		if one.Found && !st.Found {
			st, hash = one, hashes[i]
		}
	}
	return st, hash, nil
}

// agreed reports whether every configured node says that the transaction is final as st has it; if not, why is for
// whom the operation waits, or empty where one of them is only a block behind. With one node, which said so, there is
// nobody else to ask.
func (s *Service) agreed(ctx context.Context, c *chain.Client, o *Operation, hashes []tx.Hash, st chain.TxStatus) (final bool, why string, err error) {
	if c.Nodes() == 1 {
		return true, "", nil
	}
	opinion, err := c.Ask(ctx, o.Performer, o.Nonce, hashes)
	switch {
	case err != nil:
		return false, "", err
	case opinion.Final && opinion.Mined.BlockHash == st.BlockHash && opinion.Mined.Success == st.Success:
		return true, "", nil
	case len(opinion.Missing) > 0:
		return false, fmt.Sprintf("%s: it is final where it was asked for; no answer from %s", attentionNodes, strings.Join(opinion.Missing, ", ")), nil
	case opinion.Differing:
		return false, differing, nil
	}
	return false, "", nil
}

const differing = attentionDiffer + ": nodes contradict each other about what became of its transaction; it waits until they agree"

// disagreed says for whom an operation waits that some nodes call final.
func (l *lane) disagreed(ctx context.Context, fence *store.Fence, o *Operation, why string) error {
	if why == "" {
		return nil
	}
	if strings.HasPrefix(why, attentionDiffer) && !strings.HasPrefix(o.Attention, attentionDiffer) {
		l.s.metrics.alarms.WithLabelValues(attentionDiffer).Inc()
	}
	return l.attend(ctx, fence, o, why)
}

// stolen reports whether every configured node says that another transaction holds the nonce at depth; if not, why is
// for whom the operation waits, or empty where nodes only have its own in a block that is not final.
func (l *lane) stolen(ctx context.Context, c *chain.Client, o *Operation, hashes []tx.Hash) (is bool, why string, err error) {
	opinion, err := c.Ask(ctx, o.Performer, o.Nonce, hashes)
	switch {
	case err != nil || opinion.Stolen:
	case len(opinion.Missing) > 0:
		why = fmt.Sprintf("%s: its nonce is used up where it was asked for, and no block has it there; no answer from %s", attentionNodes, strings.Join(opinion.Missing, ", "))
	case opinion.Differing || opinion.Absent:
		why = differing
	}
	return opinion.Stolen, why, err
}
