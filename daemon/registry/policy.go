package registry

import (
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// PolicyStatus is where one version of a policy stands. The zero value is
// invalid.
type PolicyStatus string

// The states of a policy's version (spec: api, "Platform resources").
const (
	// PolicyPending: proposed; custodians' signatures are being collected.
	PolicyPending PolicyStatus = "PENDING_AUTHORIZATION"
	// PolicyActive: in force, by the ledger.
	PolicyActive PolicyStatus = "ACTIVE"
	// PolicySuperseded: another version took its place, in force or in the
	// race for it.
	PolicySuperseded PolicyStatus = "SUPERSEDED"
	// PolicyRejected: withdrawn before it was in force.
	PolicyRejected PolicyStatus = "REJECTED"
)

// Policy is one version of a policy: the one in force, or a proposal.
type Policy struct {
	ID      string        `json:"id"`
	Version uint64        `json:"version"`
	Name    string        `json:"name"`
	Status  PolicyStatus  `json:"status"`
	Scope   policy.Scope  `json:"scope"`
	Rules   []policy.Rule `json:"rules"`
	// Retired: this version ends the policy once it is in force.
	Retired bool `json:"retired,omitzero"`
	// Replaces is the digest of the version that this one follows; empty for
	// the first.
	Replaces policy.Digest `json:"replaces,omitzero"`
	// Document is the exact bytes that custodians sign.
	Document       []byte        `json:"document"`
	DocumentDigest policy.Digest `json:"documentDigest"`

	// RequiredSignatures is the custodians' threshold of the charter in force.
	RequiredSignatures int `json:"-"`
	// SignedBy names the custodians who signed, sorted.
	SignedBy   []string           `json:"signedBy"`
	Signatures []policy.Signature `json:"signatures"`
	// SupersededBy is the digest of the version that took this one's place.
	SupersededBy policy.Digest `json:"supersededBy,omitzero"`
	// LedgerSeq is the batch that put it in force.
	LedgerSeq  uint64    `json:"ledgerSeq,omitzero"`
	ProposedBy string    `json:"proposedBy"`
	CreatedAt  time.Time `json:"createdAt"`
	UpdatedAt  time.Time `json:"updatedAt"`

	// Proposals are the open proposals beside the version in force, newest
	// first; filled by Service.Policy and Service.Policies only.
	Proposals []*Policy `json:"-"`
}

// PolicySpec is what is proposed. At most one of VaultAccountID and TokenID is
// set; neither means every operation.
type PolicySpec struct {
	Name                    string
	VaultAccountID, TokenID string
	Rules                   []policy.Rule
}
