package audit

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
)

// Evidence is what a receipt carries beside its proof, as the extra of a Proof: what the leaf is made of,
// and what leads from charter 1 to the keys of the checkpoint. None of it is believed for standing here:
// the entry is what the tree's leaf says, the charters follow from charter 1's digest, and the ledger key
// that the last one names signed the checkpoint's keys.
type Evidence struct {
	Format   int              `json:"format"`   // 1
	Entry    jsontext.Value   `json:"entry"`    // RFC 8785 form of the entry
	Charters []jsontext.Value `json:"charters"` // DSSE envelopes, from charter 1 to the one in force
	Keys     jsontext.Value   `json:"keys"`     // the signing appliance's statement of its checkpoint keys
	// Cosigners are the statements of the appliances whose cosignatures stand under the checkpoint besides.
	Cosigners []jsontext.Value `json:"cosigners,omitzero"`
}

// Encode is the evidence as a proof carries it.
func (e *Evidence) Encode() ([]byte, error) { return json.Marshal(e) }

// ParseEvidence reads what Encode gives, strictly, and the entry in it, whose hash it checks. Errors wrap
// ErrProof.
func ParseEvidence(b []byte) (*Evidence, *Entry, error) {
	var e Evidence
	if err := json.Unmarshal(b, &e, json.RejectUnknownMembers(true)); err != nil {
		return nil, nil, fmt.Errorf("%w: evidence: %w", ErrProof, err)
	}
	if e.Format != 1 || len(e.Charters) == 0 || len(e.Keys) == 0 {
		return nil, nil, fmt.Errorf("%w: evidence of format %d with %d charters", ErrProof, e.Format, len(e.Charters))
	}
	entry, err := Parse(e.Entry)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: evidence: %w", ErrProof, err)
	}
	if h, err := entry.Hash(); err != nil || h != entry.EntryHash {
		return nil, nil, fmt.Errorf("%w: entry %d says that its hash is %s, it is %s", ErrProof, entry.Seq, entry.EntryHash, h)
	}
	return &e, entry, nil
}

// Anchor is what stands beside a checkpoint on the disk, and leads from charter 1 to the keys that signed it: as
// Evidence, it is believed for what follows from charter 1's digest alone.
type Anchor struct {
	Format   int              `json:"format"`   // 1
	Charters []jsontext.Value `json:"charters"` // DSSE envelopes, from charter 1 to the one in force
	Keys     jsontext.Value   `json:"keys"`     // the signing appliance's statement of its checkpoint keys
}

// MaxAnchor bounds an anchor, in bytes: the charters are the most of it.
const MaxAnchor = MaxProof

// Encode is the anchor as a file holds it.
func (a *Anchor) Encode() ([]byte, error) { return json.Marshal(a) }

// ParseAnchor reads what Encode gives, strictly. Errors wrap ErrProof.
func ParseAnchor(b []byte) (*Anchor, error) {
	var a Anchor
	if len(b) > MaxAnchor {
		return nil, fmt.Errorf("%w: an anchor of %d bytes, at most %d", ErrProof, len(b), MaxAnchor)
	}
	if err := json.Unmarshal(b, &a, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: anchor: %w", ErrProof, err)
	}
	if a.Format != 1 || len(a.Charters) == 0 || len(a.Keys) == 0 {
		return nil, fmt.Errorf("%w: anchor of format %d with %d charters", ErrProof, a.Format, len(a.Charters))
	}
	return &a, nil
}
