package operation

import "slices"

// Status is where an operation is (spec/api.md, “Operation states”). The zero value is invalid.
type Status string

const (
	Submitted            Status = "SUBMITTED"
	PendingAuthorization Status = "PENDING_AUTHORIZATION" // people are asked
	Approved             Status = "APPROVED"
	PendingSignature     Status = "PENDING_SIGNATURE" // the seal is asked
	Queued               Status = "QUEUED"            // authorized by nobody yet: its wallet has too many unconfirmed authorizations
	Signed               Status = "SIGNED"            // the signed bytes are in the store
	Broadcasting         Status = "BROADCASTING"      // they may be known to a node
	Confirming           Status = "CONFIRMING"        // they are in a block
	Completed            Status = "COMPLETED"
	Rejected             Status = "REJECTED"  // a person or a policy refused
	Cancelled            Status = "CANCELLED" // withdrawn or expired before it was signed
	Failed               Status = "FAILED"    // a check at signing or the chain said no
)

// legal is every transition that there is. The last two lines are a reorg deeper than the network's
// confirmations.
var legal = map[Status][]Status{
	"":                   {Submitted},
	Submitted:            {PendingAuthorization, Approved},
	PendingAuthorization: {Approved, Rejected, Cancelled},
	Approved:             {PendingSignature, Rejected, Cancelled},
	PendingSignature:     {Signed, Queued, PendingAuthorization, Rejected, Cancelled, Failed},
	Queued:               {Signed, Queued, PendingAuthorization, Rejected, Cancelled, Failed},
	Signed:               {Broadcasting},
	Broadcasting:         {Confirming, Failed},
	Confirming:           {Completed, Failed, Broadcasting},
	Completed:            {Broadcasting},
	Failed:               {Broadcasting},
}

// Legal reports whether an operation may go from one state to the other. FAILED → BROADCASTING holds only
// for an operation that failed on the chain; Operation.move looks at that.
func Legal(from, to Status) bool { return slices.Contains(legal[from], to) }

// Statuses is every state, in the order of an operation's life.
func Statuses() []Status {
	return []Status{Submitted, PendingAuthorization, Approved, PendingSignature, Queued, Signed, Broadcasting,
		Confirming, Completed, Rejected, Cancelled, Failed}
}

// Valid reports whether s is a state.
func (s Status) Valid() bool { return slices.Contains(Statuses(), s) }

// Terminal reports whether s is an end: nothing but a deep reorg leads on.
func (s Status) Terminal() bool {
	switch s {
	case Completed, Rejected, Cancelled, Failed:
		return true
	}
	return false
}

// beforeSignature reports whether an operation in s can still be rejected or cancelled, as far as this
// side knows; the seal decides.
func (s Status) beforeSignature() bool {
	switch s {
	case PendingAuthorization, Approved, PendingSignature, Queued:
		return true
	}
	return false
}

// released reports whether signed bytes exist and are not final.
func (s Status) released() bool { return s == Signed || s == Broadcasting || s == Confirming }
