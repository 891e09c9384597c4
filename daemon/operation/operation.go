package operation

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// IDPrefix begins every operation's id.
const IDPrefix = "op_"

// ErrIllegal says that a transition is not one of spec/api.md's; nothing was written.
var ErrIllegal = errors.New("operation: illegal transition")

// Operation is one privileged operation. What is stored under its state key is this, in at most a few
// hundred bytes; intent, reasons of decisions and signed transactions stand under keys of their own.
type Operation struct {
	ID      string               `json:"id"`
	Type    policy.OperationType `json:"type"`
	Status  Status               `json:"status"`
	TokenID string               `json:"tokenId,omitzero"` // empty for CANCEL
	Network string               `json:"network"`

	WalletID    string     `json:"walletId"`             // performer; its lane
	Performer   tx.Address `json:"performer"`            // the wallet's address
	VaultID     string     `json:"vaultId"`              // the performing vault account
	SourceVault string     `json:"sourceVault,omitzero"` // the vault account that pays, if it is one of ours

	Amount    *policy.Amount `json:"amount,omitzero"`
	Role      qrc20.Role     `json:"role,omitzero"`
	Recipient *tx.Address    `json:"recipient,omitzero"`
	From      *tx.Address    `json:"from,omitzero"`
	Subject   *tx.Address    `json:"subject,omitzero"`

	RequestedBy  string        `json:"requestedBy"` // the person's name
	CredentialID string        `json:"credentialId,omitzero"`
	Place        int           `json:"place,omitzero"` // of its key's places for operations that await approval, from 1
	FeeStrategy  FeeStrategy   `json:"feeStrategy"`
	FeeCap       policy.Amount `json:"feeCap"` // wei

	PolicyID          string        `json:"policyId"` // the policy that asks for the most approvals
	PolicyVersion     uint64        `json:"policyVersion"`
	ApprovalPolicyID  string        `json:"approvalPolicyId"` // the token's
	RequiredApprovals int           `json:"requiredApprovals"`
	ApprovalGroup     string        `json:"approvalGroup,omitzero"`
	IntentDigest      policy.Digest `json:"intentDigest"`
	Approvals         []Approval    `json:"approvals,omitzero"` // recorded decisions, in the ledger's order

	Authorized      bool     `json:"authorized,omitzero"`      // the ledger holds its authorization
	Nonce           uint64   `json:"nonce,omitzero"`           // of the authorization
	Version         int      `json:"version,omitzero"`         // signed transactions in the store, if more than one
	TransactionHash *tx.Hash `json:"transactionHash,omitzero"` // of the mined one, else of the newest
	BlockNumber     uint64   `json:"blockNumber,omitzero"`
	EndBlock        uint64   `json:"endBlock,omitzero"`      // the block that was final when it ended on the chain: its own, or the one at whose depth its nonce was another's
	EndHash         *tx.Hash `json:"endHash,omitzero"`       // that block's
	SingleNode      bool     `json:"singleNode,omitzero"`    // it ended on the word of the only configured node
	Confirmations   uint64   `json:"confirmations,omitzero"` // when it was last written; Service.Get counts anew
	Settled         bool     `json:"settled,omitzero"`       // the ledger holds its settlement

	Attention     string `json:"attention,omitzero"`     // what a person should look at
	FailureReason string `json:"failureReason,omitzero"` // of REJECTED, CANCELLED and FAILED
	Replaces      string `json:"replaces,omitzero"`
	Foreign       string `json:"foreign,omitzero"` // whoever made its transaction has this id for it (Foreign.Ref)

	// LedgerSeq and LedgerIndex are the last record of the ledger that was carried into this state: the
	// batch, and the record's place in it counted from 1. Each record is carried once, in order.
	LedgerSeq   uint64 `json:"ledgerSeq,omitzero"`
	LedgerIndex int    `json:"ledgerIndex,omitzero"`

	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	History   []Step    `json:"history"`

	// Set by Service.Get and by the methods that answer one operation; not by List.
	Intent    []byte     `json:"-"` // the exact bytes that approvers sign
	Reason    string     `json:"-"` // why it was asked for, in the requester's words
	Decisions []Decision `json:"-"` // with their reasons
}

// Step says when a state was reached.
type Step struct {
	Status Status    `json:"status"`
	At     time.Time `json:"at"`
}

// Approval is a recorded decision in short.
type Approval struct {
	Approver string      `json:"approver"`
	Verb     policy.Verb `json:"decision"`
}

// Decision is a recorded decision.
type Decision struct {
	Approver   string        `json:"approver"`
	Verb       policy.Verb   `json:"decision"`
	Reason     string        `json:"reason"`
	DecidedAt  time.Time     `json:"decidedAt"`  // as the approver signed it
	RecordedAt time.Time     `json:"recordedAt"` // of the ledger's batch
	Sequence   uint64        `json:"sequence"`   // of the ledger's batch
	Document   policy.Digest `json:"document"`   // of the exact bytes that the approver signed
}

// FeeStrategy picks how much to offer for a place in a block.
type FeeStrategy = chain.Strategy

// TransactionRequestID is the id under which the operation's transaction is addressed.
func (o *Operation) TransactionRequestID() string {
	return "txreq_" + strings.TrimPrefix(o.ID, IDPrefix)
}

// ApprovedBy names who approved, in the ledger's order.
func (o *Operation) ApprovedBy() []string {
	names := []string{}
	for _, a := range o.Approvals {
		if a.Verb == policy.Approve {
			names = append(names, a.Approver)
		}
	}
	return names
}

// decided reports whether the person's decision is recorded.
func (o *Operation) decided(person string) bool {
	return slices.ContainsFunc(o.Approvals, func(a Approval) bool { return a.Approver == person })
}

// closed reports whether nothing is left to do: the operation is terminal, and settled if it was authorized.
func (o *Operation) closed() bool { return o.Status.Terminal() && (o.Settled || !o.Authorized) }

// move takes the operation to another state. The error is ErrIllegal when that transition does not exist.
func (o *Operation) move(to Status, at time.Time) error {
	if !Legal(o.Status, to) || (o.Status == Failed && o.TransactionHash == nil) {
		return fmt.Errorf("%w: %s from %s to %s", ErrIllegal, o.ID, o.Status, to)
	}
	o.UpdatedAt = moment(at)
	o.History = slices.Clone(o.History)
	step := Step{Status: to, At: moment(at)}
	if last := len(o.History) - 1; last >= maxHistory && onTheWay(o.Status) && onTheWay(to) {
		o.History[last] = step
	} else {
		o.History = append(o.History, step)
	}
	o.Status = to
	return nil
}

// maxHistory is how many steps a history has before an operation that goes to and fro between being sent and being in a
// block leaves but the last of those steps in it: nodes that contradict each other for days must not make a state too
// large to be written. The audit log has them all.
const maxHistory = 512

func onTheWay(s Status) bool { return s == Broadcasting || s == Confirming }

// since is when the current state was reached.
func (o *Operation) since() time.Time { return o.History[len(o.History)-1].At }

// moment is how times are stored: UTC, whole milliseconds.
func moment(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func (o *Operation) encode() []byte {
	b, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("operation: %s does not encode: %v", o.ID, err)) // no value of these types can do that
	}
	return b
}

func decode(b []byte) (*Operation, error) {
	b, err := unpack(storedState, b)
	if err != nil {
		return nil, err
	}
	var o Operation
	if err := json.Unmarshal(b, &o, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("operation: stored state: %w", err)
	}
	if !o.Status.Valid() || !o.Type.Valid() || len(o.History) == 0 {
		return nil, fmt.Errorf("operation: stored state of %q: status %q, type %q", o.ID, o.Status, o.Type)
	}
	return &o, nil
}

// summary is the value of the operation's index key: what a list must know of an operation that is over.
type summary struct {
	ID          string               `json:"id"`
	TokenID     string               `json:"tokenId,omitzero"`
	Type        policy.OperationType `json:"type"`
	RequestedBy string               `json:"requestedBy"`
	WalletID    string               `json:"walletId"`
	Network     string               `json:"network"`
	Status      Status               `json:"status"` // right for closed operations, last written for others
	Closed      bool                 `json:"closed,omitzero"`
}

func (o *Operation) summary() summary {
	return summary{
		ID: o.ID, TokenID: o.TokenID, Type: o.Type, RequestedBy: o.RequestedBy, WalletID: o.WalletID, Network: o.Network,
		Status: o.Status, Closed: o.closed(),
	}
}

// stage writes o, which was read at rev (0: it is new), into t, and its index key if that has changed.
func (o *Operation) stage(t *store.Tx, rev int64, wasClosed bool) {
	t.PutIf(store.OpState(o.ID), o.stored(), rev)
	if rev == 0 || wasClosed || o.closed() {
		b, err := json.Marshal(o.summary())
		if err != nil {
			panic(fmt.Sprintf("operation: %s: %v", o.ID, err))
		}
		t.Put(store.OpIndexKey(o.ID), b)
	}
}

// draft is the audit entry of something that happened to o.
func (o *Operation) draft(a registry.Actor, action string, metadata map[string]any) audit.Draft {
	if metadata == nil {
		metadata = map[string]any{}
	}
	metadata["operationType"] = string(o.Type)
	if o.TokenID != "" {
		metadata["tokenId"] = o.TokenID
	}
	d := audit.Draft{
		ActorID: a.Name, ActorType: audit.User, Action: action, ResourceType: "operation", ResourceID: o.ID,
		RequestID: a.RequestID, IP: a.IP, UserAgent: a.UserAgent, Metadata: metadata,
	}
	if a.System {
		d.ActorType = audit.System
	}
	return d
}

// action names a state in audit entries: operation.pending_authorization, say.
func (s Status) action() string { return "operation." + strings.ToLower(string(s)) }
