package policy

import (
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// Outcome is what a rule, or all of them, say; the zero value is invalid and means DENY.
type Outcome string

// The outcomes.
const (
	Allow Outcome = "ALLOW"
	Deny  Outcome = "DENY"
	Wait  Outcome = "WAIT" // approvals are missing or a delay runs: it may yet become ALLOW
)

// Usage is what was charged before. An implementation must be fixed while Judge runs, and must
// never say less than what was charged.
type Usage interface {
	// Charged is the sum of what was charged to the contract and operation since the moment, 2^256-1
	// where the sum would pass it.
	Charged(chainID uint64, contract tx.Address, op OperationType, since time.Time) Amount
}

// Input is everything that a verdict depends on.
type Input struct {
	Intent       *Intent
	IntentDigest Digest     // of its exact bytes: what decisions are compared with
	Charter      *Charter   // the current one
	CharterKnown bool       // Intent.Charter is the current charter or an ancestor of it
	Charters     []Reign    // since the operation's first decision, the last one is Charter; empty where none came since
	Epoch        uint64     // the ledger's
	Binding      *Binding   // of the intent's token; nil for DEPLOY_TOKEN and CANCEL
	Policies     []*InForce // in force now and in scope
	Submitted    []*InForce // the versions that Intent.Policies names, where they are no longer in force
	Decisions    []RecordedDecision
	Requests     []RecordedRequest // the requester's own signatures (signedRequests)
	Suspended    []string          // persons whose approvals and requests do not count, whose rejects do
	Frozen       bool              // the token is frozen by a custodian
	Usage        Usage
	Now          time.Time
}

// Reign is a charter from when it was in force.
type Reign struct {
	Charter  *Charter
	Since    time.Time // its batch's; or later, where that is not known any more
	Sequence uint64    // of that batch
}

// Verdict is the answer of Judge. The zero value denies.
type Verdict struct {
	Outcome  Outcome       `json:"outcome"`
	Rules    []RuleOutcome `json:"rules"`
	Reported *RuleOutcome  `json:"reported"` // the reason to give; nil where the outcome is ALLOW
}

// RuleOutcome is what one rule of one policy said. Limit, Used and Requested are decimal or empty.
type RuleOutcome struct {
	PolicyID      string   `json:"policyId"` // empty for what no policy wrote
	PolicyVersion uint64   `json:"policyVersion"`
	Rule          RuleType `json:"rule"`
	Outcome       Outcome  `json:"outcome"`
	Limit         string   `json:"limit,omitzero"`
	Used          string   `json:"used,omitzero"`
	Requested     string   `json:"requested,omitzero"`
	Group         string   `json:"group,omitzero"`
	Have          int      `json:"have,omitzero"` // distinct persons whose approvals count
	Need          int      `json:"need,omitzero"` // 0 where the rule asks nobody
	Message       string   `json:"message"`       // for people; what people wrote is escaped

	rule     *Rule // that said it; nil where no policy wrote it, or the verdict was not judged here
	rejected bool  // it denies because a member rejected the operation; false where the verdict was not judged here
}
