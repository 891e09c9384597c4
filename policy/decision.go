package policy

import (
	"fmt"
	"time"
)

// Verb is what a person decided; the zero value is nothing.
type Verb string

// The verbs.
const (
	Approve Verb = "APPROVE"
	Reject  Verb = "REJECT"
)

// Valid is true of the two verbs.
func (v Verb) Valid() bool { return v == Approve || v == Reject }

// maxReason bounds a reason in bytes: the API's 512 characters of four bytes each.
const maxReason = 2048

// Decision is an approval or a rejection of one operation, over the whole intent's bytes.
type Decision struct {
	Format    int       `json:"format"`
	Decision  Verb      `json:"decision"`
	Intent    []byte    `json:"intent"` // exact bytes, as shown
	Approver  string    `json:"approver"`
	Reason    string    `json:"reason"` // may be empty
	DecidedAt time.Time `json:"decidedAt"`
}

// ParseDecision reads a decision strictly, the intent inside too. Errors wrap ErrDocument.
func ParseDecision(b []byte) (*Decision, error) {
	d, _, err := parseDecision(b)
	return d, err
}

// parseDecision gives the intent too, which is most of a decision's reading.
func parseDecision(b []byte) (*Decision, *Intent, error) {
	var d Decision
	if err := decodeStrict(b, MaxDocument, &d); err != nil {
		return nil, nil, fmt.Errorf("decision: %w", err)
	}
	i, err := d.check()
	if err != nil {
		return nil, nil, refused("decision", err)
	}
	return &d, i, nil
}

// Encode checks the decision and gives its JSON. Errors wrap ErrDocument.
func (d *Decision) Encode() ([]byte, error) { return encodeDocument(d) }

// Check is nil if the decision and its intent are well-formed. Errors wrap ErrDocument.
func (d *Decision) Check() error {
	if _, err := d.check(); err != nil {
		return refused("decision", err)
	}
	return nil
}

func (d *Decision) check() (*Intent, error) {
	if !d.Decision.Valid() {
		return nil, fmt.Errorf("decision %.40q, want APPROVE or REJECT", d.Decision)
	}
	i, err := ParseIntent(d.Intent)
	if err != nil {
		return nil, err
	}
	return i, first(checkFormat(d.Format), CheckName(d.Approver), CheckText(d.Reason, maxReason), checkTime("decidedAt", d.DecidedAt))
}

// IntentDigest is the digest of the intent's exact bytes: what a decision counts for.
func (d *Decision) IntentDigest() Digest { return DigestOf(d.Intent) }

// RecordedDecision is a decision as the ledger holds it.
type RecordedDecision struct {
	Person   string    // whose key signed
	Verb     Verb      //
	Intent   Digest    // of the exact intent bytes that were signed
	Keys     []string  // ids of the keys that signed, each the person's own when it was recorded
	At       time.Time // of the batch that recorded it
	Sequence uint64    // of that batch
}
