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
func ParseDecision(b []byte) (*Decision, error) { return parse[Decision]("decision", b) }

// Encode checks the decision and gives its JSON. Errors wrap ErrDocument.
func (d *Decision) Encode() ([]byte, error) { return encodeDocument(d) }

// Check is nil if the decision and its intent are well-formed. Errors wrap ErrDocument.
func (d *Decision) Check() error {
	if err := d.check(); err != nil {
		return refused("decision", err)
	}
	return nil
}

func (d *Decision) check() error {
	if !d.Decision.Valid() {
		return fmt.Errorf("decision %.40q, want APPROVE or REJECT", d.Decision)
	}
	if _, err := ParseIntent(d.Intent); err != nil {
		return err
	}
	return first(checkFormat(d.Format), CheckName(d.Approver), CheckText(d.Reason, maxReason), checkTime("decidedAt", d.DecidedAt))
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

// Request is the requester's own signature over an intent, in charters with signedRequests.
type Request struct {
	Format      int       `json:"format"`
	Intent      []byte    `json:"intent"`
	Requester   string    `json:"requester"`
	RequestedAt time.Time `json:"requestedAt"`
}

// ParseRequest reads a request strictly, the intent inside too. Errors wrap ErrDocument.
func ParseRequest(b []byte) (*Request, error) { return parse[Request]("request", b) }

// Encode checks the request and gives its JSON. Errors wrap ErrDocument.
func (r *Request) Encode() ([]byte, error) { return encodeDocument(r) }

// Check is nil if the request and its intent are well-formed and name one requester. Errors wrap
// ErrDocument.
func (r *Request) Check() error {
	i, err := ParseIntent(r.Intent)
	if err != nil {
		return refused("request", err)
	}
	if i.Requester != r.Requester {
		return refused("request", fmt.Errorf("requester %.64q, the intent says %s", r.Requester, i.Requester))
	}
	if err := first(checkFormat(r.Format), checkTime("requestedAt", r.RequestedAt)); err != nil {
		return refused("request", err)
	}
	return nil
}
