package ledger

import "fmt"

// Reason says which kind of rule a batch or record broke; the zero value is none.
type Reason string

// The reasons.
const (
	ReasonEncoding  Reason = "encoding"  // not the canonical bytes of a batch, or too large
	ReasonLink      Reason = "link"      // not the batch that comes next: sequence, previous, instance, epoch, term, time
	ReasonAuthor    Reason = "author"    // unknown or suspended author, or its signature fails
	ReasonEnvelope  Reason = "envelope"  // a signature, key or threshold of an envelope does not hold
	ReasonDocument  Reason = "document"  // the document in an envelope is not what its type asks, or not of here and now
	ReasonValue     Reason = "value"     // a record's own field is out of its range
	ReasonUnknown   Reason = "unknown"   // names an operation, wallet, contract, person or appliance that the ledger does not know
	ReasonDuplicate Reason = "duplicate" // was recorded already
	ReasonConflict  Reason = "conflict"  // excluded by what was recorded before: authorized, cancelled, rejected, bound
	ReasonQueued    Reason = "queued"    // the wallet has as many unsettled authorizations as the charter allows
	ReasonLimit     Reason = "limit"     // a limit of the charter: wallets, fees, versions
	ReasonNonce     Reason = "nonce"     // not the lane's next nonce
	ReasonCharge    Reason = "charge"    // the charges are not what the intent or the bindings ask
	ReasonExpired   Reason = "expired"   // after the intent's expiry, or an operation id older than what was let go
	ReasonFrozen    Reason = "frozen"    // the token is frozen, or the person suspended
	ReasonStale     Reason = "stale"     // the stage's fold has moved on
	ReasonFull      Reason = "full"      // the record does not fit into this batch; seal it and stage anew
)

// Refusal is why a batch or a record was not taken. Nothing of it took effect.
type Refusal struct {
	Sequence uint64 // of the batch; 0 if its bytes are not a batch
	Record   int    // index of the record in the batch, −1 if it is the batch itself
	Type     Type   // of the record, empty if it is the batch itself
	Reason   Reason
	Err      error // what was wrong, with the value
}

func (r *Refusal) Error() string {
	if r.Record < 0 {
		return fmt.Sprintf("batch %d refused (%s): %v", r.Sequence, r.Reason, r.Err)
	}
	return fmt.Sprintf("batch %d refused at record %d, %s (%s): %v", r.Sequence, r.Record, r.Type, r.Reason, r.Err)
}

func (r *Refusal) Unwrap() error { return r.Err }

// refuse makes a refusal whose place its caller fills in.
func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Record: -1, Reason: reason, Err: fmt.Errorf(format, args...)}
}
