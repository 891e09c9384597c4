package operation

import (
	"encoding/json/v2"
	"fmt"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// The events of spec/api.md that do not belong to one type of operation, and the one that says that an
// operation was withdrawn or ran out, which the page is silent about and a waiting client must hear.
const (
	eventApprovalRequired     = "approval.required"
	eventApprovalDecision     = "approval.decision"
	eventRejected             = "token.operation_rejected"
	eventCancelled            = "token.operation_cancelled"
	eventFailed               = "token.operation_failed"
	eventReconciliationFailed = "token.reconciliation_failed"
)

// eventNames are the events of one type of operation; an empty one is not sent.
type eventNames struct {
	requested, completed, failed string
}

var eventsOf = map[policy.OperationType]eventNames{
	policy.OpDeployToken:     {"token.deployment_requested", "token.deployed", "token.deployment_failed"},
	policy.OpMint:            {"token.mint_requested", "token.minted", ""},
	policy.OpBurn:            {"token.burn_requested", "token.burned", ""},
	policy.OpTransfer:        {"token.transfer_requested", "token.transferred", ""},
	policy.OpGrantRole:       {"", "token.role_granted", ""},
	policy.OpRevokeRole:      {"", "token.role_revoked", ""},
	policy.OpPause:           {"", "token.paused", ""},
	policy.OpUnpause:         {"", "token.unpaused", ""},
	policy.OpFreeze:          {"", "token.frozen", ""},
	policy.OpUnfreeze:        {"", "token.unfrozen", ""},
	policy.OpAllowlistAdd:    {"", "token.allowlist_added", ""},
	policy.OpAllowlistRemove: {"", "token.allowlist_removed", ""},
	policy.OpCancel:          {},
}

// eventsInto are the events of a transition into a state, in order.
func eventsInto(t policy.OperationType, from, to Status) []string {
	names := eventsOf[t]
	var events []string
	switch {
	case to == Submitted:
		events = []string{names.requested}
	case to == PendingAuthorization:
		events = []string{eventApprovalRequired}
	case to == Completed:
		events = []string{names.completed}
	case to == Rejected:
		events = []string{eventRejected}
	case to == Cancelled:
		events = []string{eventCancelled}
	case to == Failed:
		events = []string{names.failed, eventFailed}
	case to == Broadcasting && from.Terminal():
		events = []string{eventReconciliationFailed}
	}
	sent := events[:0]
	for _, e := range events {
		if e != "" {
			sent = append(sent, e)
		}
	}
	return sent
}

// eventData is what an event of an operation tells. It is a hint: the receipt and the chain are the proof.
type eventData struct {
	TokenID              *string              `json:"tokenId"` // null for CANCEL
	OperationID          string               `json:"operationId"`
	OperationType        policy.OperationType `json:"operationType"`
	Status               Status               `json:"status"`
	TransactionRequestID string               `json:"transactionRequestId"`
	Network              string               `json:"network"`

	Amount    *policy.Amount `json:"amount,omitzero"`
	Role      string         `json:"role,omitzero"`
	Recipient *tx.Address    `json:"recipient,omitzero"`
	From      *tx.Address    `json:"from,omitzero"`
	Subject   *tx.Address    `json:"subject,omitzero"`

	RequestedBy       string        `json:"requestedBy"`
	RequiredApprovals int           `json:"requiredApprovals"`
	ApprovalGroup     string        `json:"approvalGroup,omitzero"`
	ApprovedBy        []string      `json:"approvedBy"`
	IntentDigest      policy.Digest `json:"intentDigest"`
	Replaces          string        `json:"replaces,omitzero"`

	Approver string      `json:"approver,omitzero"` // of approval.decision
	Decision policy.Verb `json:"decision,omitzero"` // of approval.decision

	TransactionHash *tx.Hash    `json:"transactionHash,omitzero"`
	BlockNumber     uint64      `json:"blockNumber,omitzero"`
	ContractAddress *tx.Address `json:"contractAddress,omitzero"` // of token.deployed
	FailureReason   string      `json:"failureReason,omitzero"`

	ExpiresAt time.Time `json:"expiresAt"`
	Receipt   string    `json:"receipt"` // path of the operation's receipt
}

const (
	// maxEventReason bounds what an event tells of a failure, in bytes; the operation has all of it.
	maxEventReason = 1000
	// maxEventNames bounds how many approvers an event names: a change whose event is too large is refused.
	maxEventNames = 64
)

func (o *Operation) event() eventData {
	d := eventData{
		OperationID: o.ID, OperationType: o.Type, Status: o.Status, TransactionRequestID: o.TransactionRequestID(), Network: o.Network,
		Amount: o.Amount, Role: string(o.Role), Recipient: o.Recipient, From: o.From, Subject: o.Subject,
		RequestedBy: o.RequestedBy, RequiredApprovals: o.RequiredApprovals, ApprovalGroup: o.ApprovalGroup, ApprovedBy: o.ApprovedBy(),
		IntentDigest: o.IntentDigest, Replaces: o.Replaces, TransactionHash: o.TransactionHash, BlockNumber: o.BlockNumber,
		FailureReason: o.FailureReason, ExpiresAt: o.ExpiresAt.UTC().Truncate(time.Second), Receipt: "/v1/token-operations/" + o.ID + "/receipt",
	}
	d.ApprovedBy = d.ApprovedBy[:min(len(d.ApprovedBy), maxEventNames)]
	if len(d.FailureReason) > maxEventReason {
		d.FailureReason = strings.ToValidUTF8(d.FailureReason[:maxEventReason], "") + "…"
	}
	if o.TokenID != "" {
		d.TokenID = &o.TokenID
	}
	if o.Type == policy.OpDeployToken && o.Status == Completed {
		contract := tx.CreateAddress(o.Performer, o.Nonce)
		d.ContractAddress = &contract
	}
	return d
}

// emit puts into t the events of everything that happened to the operation since before (nil: it is new):
// each decision and each transition. Every change of an operation is committed through here, so that none is
// forgotten. Events of one operation are passed on in the order of UpdatedAt, so that has to rise.
func (o *Operation) emit(t *store.Tx, before *Operation) {
	steps, approvals, from := 0, 0, Status("")
	if before != nil {
		steps, approvals, from = len(before.History), len(before.Approvals), before.Status
		if !o.UpdatedAt.After(before.UpdatedAt) {
			o.UpdatedAt = before.UpdatedAt.Add(time.Millisecond)
		}
	}
	for _, a := range o.Approvals[approvals:] {
		d := o.event()
		d.Approver, d.Decision = a.Approver, a.Verb
		o.tell(t, eventApprovalDecision, d.encode())
	}
	var data []byte // every transition of one change tells the same: what the operation is after all of them
	for _, s := range o.History[steps:] {
		for _, name := range eventsInto(o.Type, from, s.Status) {
			if data == nil {
				data = o.event().encode()
			}
			o.tell(t, name, data)
		}
		from = s.Status
	}
}

func (d eventData) encode() []byte {
	b, err := json.Marshal(d)
	if err != nil {
		panic(fmt.Sprintf("operation: an event of %s does not encode: %v", d.OperationID, err)) // no value of these types can do that
	}
	return b
}

func (o *Operation) tell(t *store.Tx, name string, b []byte) {
	t.Emit(store.Emission{Type: name, Data: b, Order: o.ID, At: o.UpdatedAt})
}
