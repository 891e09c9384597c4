package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Genesis is the first entry's prevHash.
var Genesis = strings.Repeat("0", 64)

// Hash is e's entryHash as it must be: sha256: and the hex of SHA-256 over e.PrevHash, as text, and e's
// RFC 8785 form without entryHash. Metadata in another form have none: digits that a float64 does not hold would be
// read and not be hashed.
func (e *Entry) Hash() (string, error) {
	bare := *e
	bare.EntryHash = ""
	b, err := canonical(&bare)
	if err != nil {
		return "", fmt.Errorf("audit: entry %d: %w", e.Seq, err)
	}
	if !bytes.Contains(b, slices.Concat([]byte(`"metadata":`), e.Metadata)) {
		return "", fmt.Errorf("%w: entry %d: its metadata are not in RFC 8785 form", ErrEntry, e.Seq)
	}
	h := sha256.New()
	h.Write([]byte(e.PrevHash))
	h.Write(b)
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// Result is what a verification found.
type Result struct {
	Valid          bool     `json:"valid"`
	EntriesChecked uint64   `json:"entriesChecked"` // links that hold, counted up to the first that does not
	FirstEntryHash string   `json:"firstEntryHash"` // empty when there is none
	LastEntryHash  string   `json:"lastEntryHash"`  // of the last link that holds
	BrokenAt       Sequence `json:"brokenAt"`       // the number where the chain breaks; 0 when it holds
}

// Verify checks a chain from its first entry on: numbers 1, 2, 3, … without gaps, every prevHash the
// hash before, every entryHash right. It stops at the first break, and returns an error only when reading
// the entries failed, which proves nothing about the chain.
func Verify(entries iter.Seq2[*Entry, error]) (Result, error) {
	v := NewVerifier()
	for e, err := range entries {
		if err != nil {
			return Result{}, err
		}
		if !v.Add(e) {
			break
		}
	}
	return v.Result(), nil
}

// Verifier checks a chain link by link. It is not safe for concurrent use.
type Verifier struct {
	r    Result
	prev string
	next Sequence
}

// NewVerifier starts before the first entry.
func NewVerifier() *Verifier { return &Verifier{prev: Genesis, next: 1, r: Result{Valid: true}} }

// Add checks the next link and reports whether the chain still holds.
func (v *Verifier) Add(e *Entry) bool {
	if !v.r.Valid {
		return false
	}
	h, err := e.Hash()
	if err != nil || e.Seq != v.next || e.PrevHash != v.prev || e.EntryHash != h {
		v.Break()
		return false
	}
	if v.r.EntriesChecked == 0 {
		v.r.FirstEntryHash = h
	}
	v.r.EntriesChecked++
	v.r.LastEntryHash, v.prev = h, h
	v.next++
	return true
}

// Break ends the chain at the next number: what stands there is missing or not an entry.
func (v *Verifier) Break() {
	if v.r.Valid {
		v.r.Valid, v.r.BrokenAt = false, v.next
	}
}

// Result is what was found so far.
func (v *Verifier) Result() Result { return v.r }
