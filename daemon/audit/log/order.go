package auditlog

import (
	"encoding/json/v2"
	"errors"
	"fmt"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// errOrder says that what stands in the store is no block of the tree's order.
var errOrder = errors.New("auditlog: not a block of the tree's order")

// block is a stretch of the tree: numbered entries first, then batches of the ledger. The sequencer writes
// it in the transaction that numbers the entries, so that every appliance grows the same tree from the
// store alone.
type block struct {
	Format  int      `json:"format"`
	First   uint64   `json:"first"`          // index of its first leaf
	Entries uint64   `json:"entries"`        // audit entries in it, the last of which is
	Audit   uint64   `json:"audit"`          // the newest in the tree, with this block
	Batches []string `json:"batches"`        // digests of batches, the last of which is
	Ledger  uint64   `json:"ledger"`         // the newest in the tree, with this block
	Quiet   bool     `json:"quiet,omitzero"` // it holds nothing but batches that record a checkpoint
}

const (
	blockFormat = 1
	// blockBatches bounds a block's digests: they take 75 bytes each.
	blockBatches = 2000
)

// end is the tree's size with the block.
func (b *block) end() uint64 { return b.First + b.Entries + uint64(len(b.Batches)) }

// key is where the block stands: its end, so that the newest is the last.
func (b *block) key() string { return orderKey(b.end()) }

func orderKey(end uint64) string { return fmt.Sprintf("%s%020d", store.AuditOrder, end) }

func (b *block) encode() ([]byte, error) { return json.Marshal(b) }

// readBlock reads a block, strictly.
func readBlock(text []byte) (*block, error) {
	var b block
	if err := json.Unmarshal(text, &b, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	const most = 1 << 52
	if b.Format != blockFormat || b.First > most || b.Entries > most || b.Audit > most || b.Ledger > most || b.Entries > b.Audit ||
		uint64(len(b.Batches)) > b.Ledger || b.Entries+uint64(len(b.Batches)) == 0 {
		return nil, fmt.Errorf("%.200q is no block", text)
	}
	for i, d := range b.Batches {
		if _, err := audit.ParseLeaf(b.batch(i)); err != nil {
			return nil, fmt.Errorf("%.80q is no digest", d)
		}
	}
	return &b, nil
}

// batch is the leaf of the block's i-th batch.
func (b *block) batch(i int) []byte {
	sequence := b.Ledger - uint64(len(b.Batches)) + uint64(i) + 1
	return audit.Leaf{Digest: b.Batches[i], Format: 1, Log: audit.LedgerLeaves, Sequence: sequence}.Encode()
}
