package link

import (
	"context"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Decide records a decision or a request, wherever the ledger is written.
func (d *Door) Decide(ctx context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	return d.envelope(ctx, seal.OpDecide, e, d.Client.Decide)
}

// CharterApply records a charter, wherever the ledger is written.
func (d *Door) CharterApply(ctx context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	return d.envelope(ctx, seal.OpCharterApply, e, d.Client.CharterApply)
}

// PolicyApply records a policy, wherever the ledger is written.
func (d *Door) PolicyApply(ctx context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	return d.envelope(ctx, seal.OpPolicyApply, e, d.Client.PolicyApply)
}

// BindingApply records what a token id is, wherever the ledger is written.
func (d *Door) BindingApply(ctx context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	return d.envelope(ctx, seal.OpBindingApply, e, d.Client.BindingApply)
}

func (d *Door) envelope(ctx context.Context, op seal.Op, e *policy.Envelope, here func(context.Context, *policy.Envelope) (*seal.Recorded, error)) (*seal.Recorded, error) {
	return through(ctx, d, op, seal.EnvelopeRequest{Envelope: e}, func(ctx context.Context) (*seal.Recorded, error) { return here(ctx, e) })
}

// Checkpoint has a tree head recorded and signed, wherever the ledger is written.
func (d *Door) Checkpoint(ctx context.Context, q seal.CheckpointRequest) (*seal.CheckpointResult, error) {
	return through(ctx, d, seal.OpCheckpoint, q, func(ctx context.Context) (*seal.CheckpointResult, error) { return d.Client.Checkpoint(ctx, q) })
}

// Freeze stops somebody or something, or lets go, wherever the ledger is written.
func (d *Door) Freeze(ctx context.Context, q seal.FreezeRequest) (*seal.Recorded, error) {
	return passed(ctx, d, seal.OpFreeze, q, d.Client.Freeze)
}

// Cancel ends an operation, wherever the ledger is written.
func (d *Door) Cancel(ctx context.Context, operationID, reason string) (*seal.Recorded, error) {
	return through(ctx, d, seal.OpCancel, seal.CancelRequest{OperationID: operationID, Reason: reason},
		func(ctx context.Context) (*seal.Recorded, error) { return d.Client.Cancel(ctx, operationID, reason) })
}

// Authorize asks for a signed transaction, wherever the ledger is written.
func (d *Door) Authorize(ctx context.Context, q seal.AuthorizeRequest) (*seal.AuthorizeResult, error) {
	return passed(ctx, d, seal.OpAuthorize, q, d.Client.Authorize)
}

// Bump asks for a transaction with higher fees, wherever the ledger is written.
func (d *Door) Bump(ctx context.Context, q seal.BumpRequest) (*seal.BumpResult, error) {
	return passed(ctx, d, seal.OpBump, q, d.Client.Bump)
}

// Settle says that an operation is final, wherever the ledger is written.
func (d *Door) Settle(ctx context.Context, q seal.SettleRequest) (*seal.Recorded, error) {
	return passed(ctx, d, seal.OpSettle, q, d.Client.Settle)
}

// WalletCreate makes a wallet, wherever the ledger is written: appliances that
// share a store reach the same wallet keys.
func (d *Door) WalletCreate(ctx context.Context, q seal.WalletCreateRequest) (*seal.WalletResult, error) {
	return passed(ctx, d, seal.OpWalletCreate, q, d.Client.WalletCreate)
}

func passed[P, R any](ctx context.Context, d *Door, op seal.Op, q P, here func(context.Context, P) (*R, error)) (*R, error) {
	return through(ctx, d, op, q, func(ctx context.Context) (*R, error) { return here(ctx, q) })
}
