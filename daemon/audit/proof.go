package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrProof says that bytes are not a proof of inclusion, or that it does not hold.
var ErrProof = errors.New("audit: not a proof")

const (
	proofHeader = "c2sp.org/tlog-proof@v1"
	// MaxProof bounds a proof, in bytes: what it carries are the charters, which are the most of it.
	MaxProof = 16 << 20
	// maxProofHashes is what a tree of 2^63 leaves needs.
	maxProofHashes = 63
)

// Proof is a C2SP tlog-proof: that a leaf stands in the tree of a signed checkpoint.
type Proof struct {
	Extra      []byte      // what the application makes the leaf from; not authenticated by the proof
	Index      uint64      // of the leaf, from 0
	Hashes     []tlog.Hash // RFC 6962 audit path, from the leaf's sibling upwards
	Checkpoint []byte      // the signed note, as the log gave it
}

// Encode is p as a .tlog-proof file holds it.
func (p *Proof) Encode() []byte {
	var b bytes.Buffer
	b.WriteString(proofHeader + "\n")
	if len(p.Extra) > 0 {
		b.WriteString("extra " + base64.StdEncoding.EncodeToString(p.Extra) + "\n")
	}
	fmt.Fprintf(&b, "index %d\n", p.Index)
	for _, h := range p.Hashes {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteByte('\n')
	b.Write(p.Checkpoint)
	return b.Bytes()
}

// ParseProof reads exactly what Encode gives. Whether it holds says Check. Errors wrap ErrProof.
func ParseProof(b []byte) (*Proof, error) {
	if len(b) > MaxProof {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrProof, len(b), MaxProof)
	}
	head, checkpoint, ok := strings.Cut(string(b), "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || lines[0] != proofHeader {
		return nil, fmt.Errorf("%w: it begins with %.60q, want %s", ErrProof, lines[0], proofHeader)
	}
	p, lines := &Proof{Checkpoint: []byte(checkpoint)}, lines[1:]
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		extra, err := base64.StdEncoding.Strict().DecodeString(lines[0][len("extra "):])
		if err != nil {
			return nil, fmt.Errorf("%w: extra: %w", ErrProof, err)
		}
		p.Extra, lines = extra, lines[1:]
	}
	if len(lines) == 0 || len(lines)-1 > maxProofHashes {
		return nil, fmt.Errorf("%w: %d lines behind the header", ErrProof, len(lines))
	}
	digits, ok := strings.CutPrefix(lines[0], "index ")
	index, err := strconv.ParseUint(digits, 10, 63)
	if !ok || err != nil {
		return nil, fmt.Errorf("%w: index %.40q", ErrProof, lines[0])
	}
	p.Index = index
	for _, line := range lines[1:] {
		h, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(h) != tlog.HashSize {
			return nil, fmt.Errorf("%w: hash %.60q", ErrProof, line)
		}
		p.Hashes = append(p.Hashes, tlog.Hash(h))
	}
	if !bytes.Equal(p.Encode(), b) {
		return nil, fmt.Errorf("%w: not as one is written", ErrProof)
	}
	return p, nil
}

// Check is nil if the leaf stands at the proof's index in the tree of that size and root, which the
// caller has from the checkpoint, verified. Errors wrap ErrProof.
func (p *Proof) Check(leaf Leaf, size uint64, root tlog.Hash) error {
	if p.Index >= size || size > 1<<62 {
		return fmt.Errorf("%w: leaf %d of a tree of %d", ErrProof, p.Index, size)
	}
	if err := tlog.CheckRecord(p.Hashes, int64(size), root, int64(p.Index), tlog.RecordHash(leaf.Encode())); err != nil {
		return fmt.Errorf("%w: %s %d does not stand at place %d of the signed tree", ErrProof, leaf.Log, leaf.Sequence, p.Index)
	}
	return nil
}
