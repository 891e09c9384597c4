package webhook

import (
	"fmt"

	"github.com/mintwarden/mintwarden/daemon/packed"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// storedDelivery is how a delivery is kept: events tell much the same of every operation. Earlier versions wrote the
// JSON as it is. What is here is part of the form: it is not changed, another mark gets another one.
var storedDelivery = packed.New(1, `","attempts":[{"at":"2026-0","status":500,"error":"status 5","ms":10}],"tries":1,"nextAttemptAt":"2026-"`+
	`webhook.testcallback.approvaltoken.reconciliation_failedtoken.operation_failedtoken.operation_cancelledtoken.operation_rejected`+
	`token.deployment_requestedtoken.deployment_failedtoken.deployedtoken.burn_requestedtoken.burnedtoken.transfer_requestedtoken.transferred`+
	`token.role_grantedtoken.role_revokedtoken.pausedtoken.unpausedtoken.frozentoken.unfrozentoken.allowlist_addedtoken.allowlist_removed`+
	`\"role\":\"MINTER\",\"subject\":\"0x\"source\":\"0x\",\"failureReason\":\"\"reason\":\"DEPLOY_TOKENBURNTRANSFERGRANT_ROLEREVOKE_ROLE`+
	`REJECTEDCANCELLEDFAILEDPENDING_SIGNATUREPENDING_AUTHORIZATION\"approvedBy\":[],\"`+
	`","eventType":"token.minted","eventType":"token.mint_requested","eventType":"approval.required","eventType":"approval.decision`+
	`{"id":"del_01M","eventId":"evt_01M","eventType":"token.mint_requested","order":"op_01M","status":"PENDING","createdAt":"2026-","nextAttemptAt":"2026-`+
	`{"id":"del_01M","eventId":"evt_01M","eventType":"token.mint_requested","order":"op_01M","status":"DELIVERED","attempts":[{"at":"2026-`+
	`Z","status":200,"ms":1}],"tries":1,"createdAt":"2026-1Z","finishedAt":"2026-1Z","body":"{\"id\":\"evt_01M`+
	`\",\"type\":\"token.minted\",\"createdAt\":\"2026-1Z\",\"tenantId\":\"\",\"data\":{\"tokenId\":\"token_01M\",\"operationId\":\"op_01M`+
	`\",\"operationType\":\"MINT\",\"status\":\"COMPLETED\",\"transactionRequestId\":\"txreq_01M\",\"network\":\"quantum-chain-mainnet`+
	`\",\"amount\":\"1000000\",\"recipient\":\"0x\",\"requestedBy\":\"operator\",\"requiredApprovals\":2,\"approvalGroup\":\"approvers`+
	`\",\"approvedBy\":[\"approver-1\",\"approver-2\"],\"intentDigest\":\"sha256:\",\"approver\":\"approver-1\",\"decision\":\"APPROVE`+
	`\",\"transactionHash\":\"0x\",\"blockNumber\":1,\"expiresAt\":\"2026-1Z\",\"receipt\":\"/v1/token-operations/op_01M/receipt\"}}"}`)

// maxDelivery bounds a delivery in JSON, in bytes: an event's data, as a text within it, beside its attempts.
const maxDelivery = 8 * store.MaxEventData

// stored is the delivery's value in the store.
func (d *Delivery) stored() []byte { return storedDelivery.Pack(encode(d)) }

// deliveryText is the JSON of a delivery that stands at a key.
func deliveryText(kv store.KV) ([]byte, error) {
	text, err := storedDelivery.Unpack(kv.Value, maxDelivery)
	if err != nil {
		return nil, fmt.Errorf("webhook: the value of %s: %w", kv.Key, err)
	}
	return text, nil
}

// parseDelivery reads what stands at a delivery's key.
func parseDelivery(kv store.KV) (*Delivery, error) {
	text, err := deliveryText(kv)
	if err != nil {
		return nil, err
	}
	kv.Value = text
	return decode[Delivery](kv)
}
