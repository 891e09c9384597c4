package seal

// Op is what a request asks; the zero value is none.
type Op string

// The operations (spec formats.md, “Seal socket”).
const (
	OpStatus       Op = "status"
	OpInit         Op = "init"
	OpUnseal       Op = "unseal"
	OpSeal         Op = "seal"
	OpWalletCreate Op = "wallet.create"
	OpWalletProve  Op = "wallet.prove"
	OpCharterApply Op = "charter.apply"
	OpPolicyApply  Op = "policy.apply"
	OpBindingApply Op = "binding.apply"
	OpJoin         Op = "join"
	OpRecover      Op = "recover"
	OpFreeze       Op = "freeze"
	OpDecide       Op = "decide"
	OpCancel       Op = "cancel"
	OpAuthorize    Op = "authorize"
	OpBump         Op = "bump"
	OpSettle       Op = "settle"
	OpCheckpoint   Op = "checkpoint"
	OpMetrics      Op = "metrics"
	OpRenew        Op = "renew"
	OpRotate       Op = "rotate"
)

// Valid is true of the operations above.
func (o Op) Valid() bool { _, ok := calls[o]; return ok }
