package ledger

import (
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// Type is the kind of a record; the zero value is none.
type Type string

// The types (spec formats.md, “Ledger”). Binding and freeze come with an envelope or, where the
// seal itself is the source, without.
const (
	TypeCharter    Type = "charter"
	TypePolicy     Type = "policy"
	TypeBinding    Type = "binding"
	TypeDecision   Type = "decision"
	TypeRequest    Type = "request"
	TypeFreeze     Type = "freeze"
	TypeJoin       Type = "join"
	TypeRecover    Type = "recover"
	TypeWallet     Type = "wallet"
	TypeAuthorize  Type = "authorize"
	TypeBump       Type = "bump"
	TypeCancel     Type = "cancel"
	TypeSettle     Type = "settle"
	TypeCheckpoint Type = "checkpoint"
	TypeTrim       Type = "trim"
)

// Enveloped is a document as its signers signed it.
type Enveloped = policy.Envelope

// Record is one fact of a batch: exactly one member is set.
type Record struct {
	Charter  *Enveloped // custodians' threshold; the first by every custodian
	Policy   *Enveloped // custodians' threshold
	Binding  *Enveloped // custodians' threshold
	Decision *Enveloped // one person
	Request  *Enveloped // the requester, in charters with signedRequests
	Freeze   *Enveloped // one custodian to freeze, the threshold to unfreeze
	Join     *Enveloped // custodians' threshold
	Recover  *Enveloped // custodians' threshold

	// DeployBinding is what a deployment's token id is from now on. It stands right behind the
	// authorization of that deployment, in the same batch. JSON: type "binding", member "binding".
	DeployBinding *policy.Binding
	// EventFreeze is a freeze on the word of serve, which saw something on the chain. JSON: type
	// "freeze", members "tokenId" and "event".
	EventFreeze *EventFreeze

	Wallet     *Wallet
	Authorize  *Authorize
	Bump       *Bump
	Cancel     *Cancel
	Settle     *Settle
	Checkpoint *Checkpoint
	Trim       *Trim
}

// Wallet is a key that the seal made and attests.
type Wallet struct {
	WalletID       string
	VaultAccountID string
	Network        string // the charter's name of the network
	Scheme         tx.Scheme
	PublicKey      []byte     // as the scheme has it, not a SubjectPublicKeyInfo
	Address        tx.Address // follows from the public key and the network's kind
}

// Authorize says that an operation may be signed, once: it charges the limits and takes the nonce.
// It is version 1 of the operation's transaction.
type Authorize struct {
	OperationID string
	Intent      policy.Digest // of the exact bytes that the approvers signed
	Charges     []Charge      // empty for an operation without an amount
	WalletID    string
	Nonce       uint64
	GasLimit    uint64
	MaxFee      policy.Amount // base units for a unit of gas
	Tip         policy.Amount // base units for a unit of gas, at most MaxFee
	Tx          tx.Hash       // signing hash of the unsigned transaction
	Expiry      time.Time     // the intent's
}

// Charge is what an authorization adds to a counter for good.
type Charge struct {
	Amount    policy.Amount        `json:"amount"`
	ChainID   uint64               `json:"chainId"`
	Contract  tx.Address           `json:"contractAddress"`
	Operation policy.OperationType `json:"operation"` // whose limit: a deployment's initial supply counts as a mint
}

// Bump is the same transaction with higher fees.
type Bump struct {
	OperationID string
	Version     uint64 // 2 to MaxVersions, one above the last
	MaxFee      policy.Amount
	Tip         policy.Amount
	Tx          tx.Hash
}

// MaxVersions is how many transactions one authorization may yield, itself included.
const MaxVersions = 10

// Cancel ends an operation that is not authorized.
type Cancel struct {
	OperationID string
	Reason      string // text, at most MaxReason bytes
}

// MaxReason is the longest reason and event, in bytes.
const MaxReason = 1024

// Settle is the API's word that an authorized operation is final on the chain. It frees a place of
// maxOutstanding, never a charge or a nonce.
type Settle struct {
	OperationID string
	TxHash      tx.Hash // of what holds the nonce at depth, ours or not
}

// EventFreeze freezes a token without a custodian's signature. Only the threshold unfreezes it.
type EventFreeze struct {
	TokenID string
	Event   string // text, at most MaxReason bytes: what was seen
}

// Checkpoint is a tree head that the seal signed.
type Checkpoint struct {
	Size uint64        // leaves; never shrinks
	Root policy.Digest // SHA-256, RFC 6962
}

// Trim says that batches before FirstKept may go from the store.
type Trim struct {
	FirstKept uint64
	Snapshot  policy.Digest // of the signed snapshot that stands in for what went
}
