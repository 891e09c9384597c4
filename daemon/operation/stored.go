package operation

import (
	"fmt"

	"github.com/mintwarden/mintwarden/daemon/packed"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// How intents, decisions and the states of operations that are over are kept: most of what one says, all say. Earlier
// versions wrote the JSON as it is, and so does this one the state of an operation that is not over, which is written
// and read again by many. What is in the dictionaries is part of the form: it is not changed, another mark gets another one.
var (
	storedIntent = packed.New(1, `,"replaces":"op_01M"source":"0x"role":"MINTER","subject":"0x"cap":"","mintable":true,"burnable":true,"initialSupply":""admin":"0x","initcodeKeccak":"0x`+
		`"params":{}ecdsa-secp256k1BURNTRANSFERGRANT_ROLEREVOKE_ROLEDEPLOY_TOKENPAUSEFREEZEtpl_qrc20_regulated_v1"contractAddress":null`+
		`{"format":1,"domain":"mintwarden/intent","instance":"inst_01M","epoch":1,"charter":"sha256:","operationId":"op_01M`+
		`","operationType":"MINT","network":"quantum-chain-mainnet","chainId":1,"scheme":"dilithium3","token":{"id":"token_01M`+
		`","contractAddress":"0x","templateId":"tpl_qrc20_v1","symbol":"","decimals":18},"performer":{"walletId":"wallet_01M`+
		`","address":"0x"},"params":{"amount":"1000000","recipient":"0x"},"feeCap":"19710571","policies":[{"id":"pol_01M`+
		`","version":1,"digest":"sha256:"}],"requester":"operator","notBefore":"2026-1Z","expiresAt":"2026-1Z"}`)

	storedDecisions = packed.New(1, `"decision":"REJECT","reason":"`+
		`[{"approver":"approver-1","decision":"APPROVE","reason":"","decidedAt":"2026-1Z","recordedAt":"2026-1Z","sequence":1,"document":"sha256:"}]`)

	storedState = packed.New(1, `,"attention":"","failureReason":"","replaces":"op_01M","foreign":"","from":"0x","subject":"0x","role":"MINTER","sourceVault":"vault_01M`+
		`"version":2,"place":1,"feeStrategy":"LOW""feeStrategy":"HIGH"REJECTCANCELLEDREJECTEDFAILEDQUEUEDDEPLOY_TOKENBURNTRANSFERGRANT_ROLEREVOKE_ROLE`+
		`{"id":"op_01M","type":"MINT","status":"COMPLETED","tokenId":"token_01M","network":"quantum-chain-mainnet","walletId":"wallet_01M`+
		`","performer":"0x","vaultId":"vault_01M","amount":"1000000","recipient":"0x","requestedBy":"operator","credentialId":"cred_01M`+
		`","feeStrategy":"MEDIUM","feeCap":"1971","policyId":"pol_01M","policyVersion":1,"approvalPolicyId":"pol_01M","requiredApprovals":2,`+
		`"approvalGroup":"approvers","intentDigest":"sha256:","approvals":[{"approver":"approver-1","decision":"APPROVE"},`+
		`{"approver":"approver-2","decision":"APPROVE"}],"authorized":true,"nonce":1,"transactionHash":"0x","blockNumber":1,"endBlock":1,`+
		`"endHash":"0x","singleNode":true,"confirmations":2,"settled":true,"ledgerSeq":1,"ledgerIndex":1,"createdAt":"2026-1Z",`+
		`"updatedAt":"2026-1Z","expiresAt":"2026-1Z","history":[{"status":"SUBMITTED","at":"2026-1Z"},{"status":"PENDING_AUTHORIZATION","at":"2026-1Z"},`+
		`{"status":"APPROVED","at":"2026-1Z"},{"status":"PENDING_SIGNATURE","at":"2026-1Z"},{"status":"SIGNED","at":"2026-1Z"},`+
		`{"status":"BROADCASTING","at":"2026-1Z"},{"status":"CONFIRMING","at":"2026-1Z"},{"status":"COMPLETED","at":"2026-1Z"}]}`)
)

// storedText bounds what a packed value unpacks to, in bytes.
const storedText = store.MaxTxBytes

// stored is the operation's state as it is written.
func (o *Operation) stored() []byte {
	if o.closed() {
		return storedState.Pack(o.encode())
	}
	return o.encode()
}

// IntentText is the exact bytes of an intent, of the value of its key (store.OpIntent).
func IntentText(value []byte) ([]byte, error) { return unpack(storedIntent, value) }

func unpack(k *packed.Kind, value []byte) ([]byte, error) {
	text, err := k.Unpack(value, storedText)
	if err != nil {
		return nil, fmt.Errorf("operation: %w", err)
	}
	return text, nil
}

// unpacked is what the archive takes for a value: its blocks are packed as a whole. rest is the key's end.
func unpacked(rest string, value []byte) ([]byte, error) {
	switch {
	case rest == "state":
		return unpack(storedState, value)
	case rest == "intent":
		return IntentText(value)
	case len(rest) > len(decisionRest) && rest[:len(decisionRest)] == decisionRest:
		return unpack(storedDecisions, value)
	}
	return value, nil
}

const decisionRest = "decision/"
