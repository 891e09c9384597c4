package ledger

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// Join is the document by which the custodians' threshold lets an appliance take part that has no
// memory of the log: new, replaced or wiped. It names what that appliance's own seal must find in
// the store before it believes it.
type Join struct {
	Format      int              `json:"format"`
	Instance    string           `json:"instance"`
	ApplianceID string           `json:"applianceId"`
	LedgerKey   policy.PublicKey `json:"ledgerKey"`
	UnsealKey   []byte           `json:"unsealKey"`
	Sequence    uint64           `json:"sequence"`
	Head        policy.Digest    `json:"head"`
	CreatedAt   time.Time        `json:"createdAt"`
}

// ParseJoin reads a join strictly.
func ParseJoin(b []byte) (*Join, error) {
	var j Join
	if err := decodeDocument(b, &j); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	return &j, j.Check()
}

// Encode checks the join and gives its JSON.
func (j *Join) Encode() ([]byte, error) {
	if err := j.Check(); err != nil {
		return nil, err
	}
	return json.Marshal(j)
}

// Check is nil if the join is well-formed.
func (j *Join) Check() error {
	var format, key error
	if j.Format != policy.Format {
		format = fmt.Errorf("format %d, want %d", j.Format, policy.Format)
	}
	if j.LedgerKey.IsZero() || len(j.UnsealKey) == 0 {
		key = fmt.Errorf("ledgerKey or unsealKey is empty")
	}
	err := errors.Join(format, key, policy.CheckName(j.Instance), policy.CheckName(j.ApplianceID), checkPoint("", j.Sequence, j.Head),
		checkTime("createdAt", j.CreatedAt))
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	return nil
}

// checkPoint is of a sequence and the digest of its batch.
func checkPoint(name string, sequence uint64, head policy.Digest) error {
	if sequence == 0 || sequence > MaxInteger || !head.Valid() {
		return fmt.Errorf("%ssequence %d, head %.80q: want a batch", name, sequence, string(head))
	}
	return nil
}

// join lets an appliance of the charter take part. That the batch it names has the head it names is
// for the joining seal to find: it reads all of them.
func (s *state) join(at place, e *Enveloped) *Refusal {
	if r := s.threshold(policy.DocJoin, e); r != nil {
		return r
	}
	j, err := ParseJoin(e.Payload)
	if err != nil {
		return refuse(ReasonDocument, "%w", err)
	}
	if r := s.here(j.Instance); r != nil {
		return r
	}
	a, ok := s.law.charter.Appliance(j.ApplianceID)
	if !ok || a.LedgerKey != j.LedgerKey || !bytes.Equal(a.UnsealKey, j.UnsealKey) {
		return refuse(ReasonDocument, "the charter has no appliance %s with the keys of the join", j.ApplianceID)
	}
	if j.Sequence >= at.sequence {
		return refuse(ReasonDocument, "the join of %s names batch %d, which is not before batch %d", j.ApplianceID, j.Sequence, at.sequence)
	}
	s.joins.put(j.ApplianceID, j)
	s.documents.put(e.PayloadDigest(), at.sequence)
	return nil
}

// decodeDocument reads a document's JSON so that encoding it again gives the same members and
// values: none is missing, unknown, repeated or spelled otherwise.
func decodeDocument(b []byte, v any) error {
	if len(b) > policy.MaxDocument {
		return fmt.Errorf("%w: %d bytes, at most %d", policy.ErrDocument, len(b), policy.MaxDocument)
	}
	if err := json.Unmarshal(b, v, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("%w: %w", policy.ErrDocument, err)
	}
	again, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %w", policy.ErrDocument, err)
	}
	have, want := jsontext.Value(bytes.Clone(b)), jsontext.Value(again)
	whole := jsontext.CanonicalizeRawInts(false)
	if err := errors.Join(have.Canonicalize(whole), want.Canonicalize(whole)); err != nil {
		return fmt.Errorf("%w: %w", policy.ErrDocument, err)
	}
	if !bytes.Equal(have, want) {
		return fmt.Errorf("%w: a member is missing, null or not spelled as it must be", policy.ErrDocument)
	}
	return nil
}
