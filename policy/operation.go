package policy

// OperationType is what an operation does; the zero value is none.
type OperationType string

// The operation types of spec/api.md.
const (
	OpDeployToken     OperationType = "DEPLOY_TOKEN"
	OpMint            OperationType = "MINT"
	OpBurn            OperationType = "BURN"
	OpTransfer        OperationType = "TRANSFER"
	OpGrantRole       OperationType = "GRANT_ROLE"
	OpRevokeRole      OperationType = "REVOKE_ROLE"
	OpPause           OperationType = "PAUSE"
	OpUnpause         OperationType = "UNPAUSE"
	OpFreeze          OperationType = "FREEZE"
	OpUnfreeze        OperationType = "UNFREEZE"
	OpAllowlistAdd    OperationType = "ALLOWLIST_ADD"
	OpAllowlistRemove OperationType = "ALLOWLIST_REMOVE"
	OpCancel          OperationType = "CANCEL"
)

// OperationTypes is every operation type, in the order of spec/api.md.
func OperationTypes() []OperationType {
	return []OperationType{OpDeployToken, OpMint, OpBurn, OpTransfer, OpGrantRole, OpRevokeRole, OpPause, OpUnpause,
		OpFreeze, OpUnfreeze, OpAllowlistAdd, OpAllowlistRemove, OpCancel}
}

// Valid is true of the types of spec/api.md.
func (t OperationType) Valid() bool { _, ok := paramFields[t]; return ok }

// HasAmount is true of the operations that amount rules judge: MINT, BURN, TRANSFER, and
// DEPLOY_TOKEN by its initial supply.
func (t OperationType) HasAmount() bool {
	switch t {
	case OpMint, OpBurn, OpTransfer, OpDeployToken:
		return true
	}
	return false
}

// Counted is the type under which an amount of this operation is charged: DEPLOY_TOKEN's initial
// supply counts as MINT, everything else as itself.
func (t OperationType) Counted() OperationType {
	if t == OpDeployToken {
		return OpMint
	}
	return t
}

// asHardAsMint is true of the operations that may not need fewer approvals than MINT: each of them
// can end in new supply.
func (t OperationType) asHardAsMint() bool {
	switch t {
	case OpGrantRole, OpRevokeRole, OpDeployToken, OpUnpause:
		return true
	}
	return false
}
