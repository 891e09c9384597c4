package policy

import (
	"fmt"
	"slices"
	"time"
)

// Request is the requester's own signature over an intent, in charters with signedRequests.
type Request struct {
	Format      int       `json:"format"`
	Intent      []byte    `json:"intent"` // exact bytes, as shown
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

// IntentDigest is the digest of the intent's exact bytes: what the request counts for.
func (r *Request) IntentDigest() Digest { return DigestOf(r.Intent) }

// RecordedRequest is a request as the ledger holds it.
type RecordedRequest struct {
	Person   string    // whose key signed: the intent's requester
	Intent   Digest    // of the exact intent bytes that were signed
	Keys     []string  // ids of the keys that signed, each the person's own when it was recorded
	At       time.Time // of the batch that recorded it
	Sequence uint64    // of that batch
}

// request judges what signedRequests asks for: the requester's own signature over exactly this
// intent, by a key that is still his. Until it is recorded the operation waits, as it waits for an
// approval; where nobody can give it, it is denied before anyone is asked.
func (j *judgement) request() {
	if !j.Charter.Flags.SignedRequests {
		return
	}
	who := j.Intent.Requester
	o := RuleOutcome{Rule: ReasonRequest, Outcome: Wait}
	switch {
	case !j.able(who):
		o.Outcome, o.Message = Deny, fmt.Sprintf("the charter asks for the requester's own signature, and %s is no person of it with a key", Printable(who))
	case slices.Contains(j.Suspended, who):
		o.Message = fmt.Sprintf("the requester %s is suspended", who)
	case !slices.ContainsFunc(j.Requests, j.requested):
		o.Message = fmt.Sprintf("the charter asks for the requester's own signature, and %s's is missing", who)
	default:
		o.Outcome, o.Message = Allow, fmt.Sprintf("%s signed the request", who)
	}
	j.add(rankApproval, o)
}

// requested is true of a signature of the requester over exactly this intent that counts.
func (j *judgement) requested(r RecordedRequest) bool {
	return r.Person == j.Intent.Requester && r.Intent == j.IntentDigest && j.Charter.Requested(r)
}
