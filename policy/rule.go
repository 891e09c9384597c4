package policy

import "github.com/mintwarden/mintwarden/chain/tx"

// RuleType is a kind of rule; the zero value is none.
type RuleType string

// The rules of spec/policy.md.
const (
	RuleRequireApproval  RuleType = "REQUIRE_APPROVAL"
	RuleMaxAmount        RuleType = "MAX_AMOUNT"
	RuleDailyLimit       RuleType = "DAILY_LIMIT"
	RuleTimeWindow       RuleType = "TIME_WINDOW"
	RuleWhitelistAddress RuleType = "WHITELIST_ADDRESS"
	RuleBlacklistAddress RuleType = "BLACKLIST_ADDRESS"
	RuleMaxFee           RuleType = "MAX_FEE"
	RuleTokenMintLimit   RuleType = "TOKEN_MINT_LIMIT"
	RuleTokenBurnLimit   RuleType = "TOKEN_BURN_LIMIT"
	RuleTokenRoleChange  RuleType = "TOKEN_ROLE_CHANGE"
	RuleDelay            RuleType = "DELAY"
)

// What a verdict reports beside rules that somebody wrote.
const (
	// ReasonIntent: the intent itself does not fit what it is judged by (chain, token, epoch,
	// charter, expiry).
	ReasonIntent RuleType = "INTENT"
	// ReasonPolicy: no policy in scope, or one that the intent names is not known.
	ReasonPolicy RuleType = "POLICY"
	// ReasonRequest: the requester's own signature, under a charter with signedRequests.
	ReasonRequest RuleType = "SIGNED_REQUEST"
)

// Rule is one rule of a policy. Which fields it has is decided by its type, no others (spec/policy.md);
// a zero field is absent. Amounts are base units, those of MAX_FEE wei.
type Rule struct {
	Type          RuleType        `json:"type"`
	MinApprovers  uint32          `json:"minApprovers,omitzero"`
	ApproverGroup string          `json:"approverGroup,omitzero"`
	Quorum        *Quorum         `json:"quorum,omitzero"` // in place of minApprovers and approverGroup
	Operations    []OperationType `json:"operations,omitzero"`
	AboveAmount   *Amount         `json:"aboveAmount,omitzero"`
	Amount        *Amount         `json:"amount,omitzero"`
	Timezone      string          `json:"timezone,omitzero"` // IANA name; absent: UTC
	Days          []Weekday       `json:"days,omitzero"`
	Start         Clock           `json:"start,omitzero"`
	End           Clock           `json:"end,omitzero"`
	Addresses     []tx.Address    `json:"addresses,omitzero"`
	PerOperation  *Amount         `json:"perOperation,omitzero"`
	PerDay        *Amount         `json:"perDay,omitzero"`
	Seconds       uint64          `json:"seconds,omitzero"`
}

// Quorum is a tree of whom it takes: exactly one of a leaf (Group and Min), All, Any and KOf. One
// person fills one leaf.
type Quorum struct {
	Group string    `json:"group,omitzero"`
	Min   uint32    `json:"min,omitzero"`
	All   []*Quorum `json:"all,omitzero"`
	Any   []*Quorum `json:"any,omitzero"`
	KOf   *KOf      `json:"kOf,omitzero"`
}

// KOf holds where K of its trees do.
type KOf struct {
	K  uint32    `json:"k"`
	Of []*Quorum `json:"of"`
}

// Weekday is MON to SUN; the zero value is none.
type Weekday string

// Clock is a time of day by the wall, "00:00" to "24:00"; the zero value is none.
type Clock string
