package audit

import (
	"bytes"
	"encoding/binary"
	"encoding/json/v2"
	"errors"
	"fmt"
	"math"
)

// Logs that the tree holds leaves of.
const (
	AuditLeaves  = "audit"  // numbered entries; the digest is the entry's hash
	LedgerLeaves = "ledger" // the seals' batches; the digest is of a batch's exact bytes
)

// ErrLeaf says that bytes are not a leaf of the tree, or not a bundle of leaves.
var ErrLeaf = errors.New("audit: not a leaf of the tree")

// maxLeaf bounds a leaf, in bytes; one has about 140.
const maxLeaf = 1024

// Leaf is one entry of the tree: a link of one of the two logs, by its number and its digest, which both
// stand for all before.
type Leaf struct {
	Digest   string `json:"digest"` // sha256: and hex
	Format   int    `json:"format"` // 1
	Log      string `json:"log"`    // AuditLeaves or LedgerLeaves
	Sequence uint64 `json:"sequence"`
}

// Leaf is what the tree holds of e.
func (e *Entry) Leaf() Leaf { return Leaf{e.EntryHash, 1, AuditLeaves, uint64(e.Seq)} }

// Encode is the leaf as it is hashed into the tree: RFC 8785 JSON.
func (l Leaf) Encode() []byte {
	return fmt.Appendf(nil, `{"digest":"%s","format":%d,"log":"%s","sequence":%d}`, l.Digest, l.Format, l.Log, l.Sequence)
}

// ParseLeaf reads exactly what Encode gives. Errors wrap ErrLeaf.
func ParseLeaf(b []byte) (Leaf, error) {
	var l Leaf
	if len(b) > maxLeaf {
		return l, fmt.Errorf("%w: %d bytes", ErrLeaf, len(b))
	}
	if err := json.Unmarshal(b, &l, json.RejectUnknownMembers(true)); err != nil {
		return l, fmt.Errorf("%w: %w", ErrLeaf, err)
	}
	if l.Format != 1 || !isHash(l.Digest) || l.Sequence == 0 || (l.Log != AuditLeaves && l.Log != LedgerLeaves) || !bytes.Equal(l.Encode(), b) {
		return l, fmt.Errorf("%w: %.200q", ErrLeaf, b)
	}
	return l, nil
}

// isHash is true of sha256: and 64 lower-case hex digits.
func isHash(s string) bool {
	const prefix = "sha256:"
	if len(s) != len(prefix)+64 || s[:len(prefix)] != prefix {
		return false
	}
	for _, c := range []byte(s[len(prefix):]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// AppendBundle adds a leaf to an entry bundle (C2SP tlog-tiles: each with its length in two bytes).
func AppendBundle(bundle, leaf []byte) []byte {
	return append(binary.BigEndian.AppendUint16(bundle, uint16(min(len(leaf), math.MaxUint16))), leaf...)
}

// CutBundle gives the first leaf of a bundle, and what follows it. Errors wrap ErrLeaf.
func CutBundle(bundle []byte) (leaf, rest []byte, err error) {
	if len(bundle) < 2 {
		return nil, nil, fmt.Errorf("%w: a bundle ends in a length", ErrLeaf)
	}
	n := int(binary.BigEndian.Uint16(bundle))
	if bundle = bundle[2:]; n > len(bundle) {
		return nil, nil, fmt.Errorf("%w: a bundle ends %d bytes too soon", ErrLeaf, n-len(bundle))
	}
	return bundle[:n], bundle[n:], nil
}
