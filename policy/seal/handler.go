package seal

import (
	"context"

	"github.com/mintwarden/mintwarden/policy"
)

// Handler answers what comes through the door. Serve calls it from many goroutines; a method
// returns before long after its context ends. What is refused is an [*Error]; any other error is
// logged and answered as KindStore without its text, for the outcome is in doubt.
type Handler interface {
	Status(context.Context) (*Status, error)
	Init(context.Context) (*InitResult, error)
	Unseal(context.Context, *policy.Envelope) (*Status, error)
	Seal(context.Context, SealRequest) (*Status, error)
	WalletCreate(context.Context, WalletCreateRequest) (*WalletResult, error)
	WalletProve(context.Context, WalletProveRequest) (*WalletProof, error)
	CharterApply(context.Context, *policy.Envelope) (*Recorded, error)
	PolicyApply(context.Context, *policy.Envelope) (*Recorded, error)
	BindingApply(context.Context, *policy.Envelope) (*Recorded, error)
	Join(context.Context, *policy.Envelope) (*Recorded, error)
	Recover(context.Context, *policy.Envelope) (*Recorded, error)
	Freeze(context.Context, FreezeRequest) (*Recorded, error)
	Decide(context.Context, *policy.Envelope) (*Recorded, error)
	Cancel(context.Context, CancelRequest) (*Recorded, error)
	Authorize(context.Context, AuthorizeRequest) (*AuthorizeResult, error)
	Bump(context.Context, BumpRequest) (*BumpResult, error)
	Settle(context.Context, SettleRequest) (*Recorded, error)
	Checkpoint(context.Context, CheckpointRequest) (*CheckpointResult, error)
	Metrics(context.Context) (*Metrics, error)
	Renew(context.Context, RenewRequest) (*Renewal, error)
	Rotate(context.Context, *policy.Envelope) (*Rotated, error)
}

// Refusing answers every operation with KindInvalid. A handler that embeds it need only write the
// operations that it has.
type Refusing struct{}

func refused[T any](op Op) (*T, error) {
	return nil, Errorf(KindInvalid, "this seal does not answer %s", op)
}

// Status refuses.
func (Refusing) Status(context.Context) (*Status, error) { return refused[Status](OpStatus) }

// Init refuses.
func (Refusing) Init(context.Context) (*InitResult, error) { return refused[InitResult](OpInit) }

// Unseal refuses.
func (Refusing) Unseal(context.Context, *policy.Envelope) (*Status, error) {
	return refused[Status](OpUnseal)
}

// Seal refuses.
func (Refusing) Seal(context.Context, SealRequest) (*Status, error) { return refused[Status](OpSeal) }

// WalletCreate refuses.
func (Refusing) WalletCreate(context.Context, WalletCreateRequest) (*WalletResult, error) {
	return refused[WalletResult](OpWalletCreate)
}

// WalletProve refuses.
func (Refusing) WalletProve(context.Context, WalletProveRequest) (*WalletProof, error) {
	return refused[WalletProof](OpWalletProve)
}

// CharterApply refuses.
func (Refusing) CharterApply(context.Context, *policy.Envelope) (*Recorded, error) {
	return refused[Recorded](OpCharterApply)
}

// PolicyApply refuses.
func (Refusing) PolicyApply(context.Context, *policy.Envelope) (*Recorded, error) {
	return refused[Recorded](OpPolicyApply)
}

// BindingApply refuses.
func (Refusing) BindingApply(context.Context, *policy.Envelope) (*Recorded, error) {
	return refused[Recorded](OpBindingApply)
}

// Join refuses.
func (Refusing) Join(context.Context, *policy.Envelope) (*Recorded, error) {
	return refused[Recorded](OpJoin)
}

// Recover refuses.
func (Refusing) Recover(context.Context, *policy.Envelope) (*Recorded, error) {
	return refused[Recorded](OpRecover)
}

// Freeze refuses.
func (Refusing) Freeze(context.Context, FreezeRequest) (*Recorded, error) {
	return refused[Recorded](OpFreeze)
}

// Decide refuses.
func (Refusing) Decide(context.Context, *policy.Envelope) (*Recorded, error) {
	return refused[Recorded](OpDecide)
}

// Cancel refuses.
func (Refusing) Cancel(context.Context, CancelRequest) (*Recorded, error) {
	return refused[Recorded](OpCancel)
}

// Authorize refuses.
func (Refusing) Authorize(context.Context, AuthorizeRequest) (*AuthorizeResult, error) {
	return refused[AuthorizeResult](OpAuthorize)
}

// Bump refuses.
func (Refusing) Bump(context.Context, BumpRequest) (*BumpResult, error) {
	return refused[BumpResult](OpBump)
}

// Settle refuses.
func (Refusing) Settle(context.Context, SettleRequest) (*Recorded, error) {
	return refused[Recorded](OpSettle)
}

// Checkpoint refuses.
func (Refusing) Checkpoint(context.Context, CheckpointRequest) (*CheckpointResult, error) {
	return refused[CheckpointResult](OpCheckpoint)
}

// Metrics refuses.
func (Refusing) Metrics(context.Context) (*Metrics, error) { return refused[Metrics](OpMetrics) }

// Renew refuses.
func (Refusing) Renew(context.Context, RenewRequest) (*Renewal, error) {
	return refused[Renewal](OpRenew)
}

// Rotate refuses.
func (Refusing) Rotate(context.Context, *policy.Envelope) (*Rotated, error) {
	return refused[Rotated](OpRotate)
}

var _ Handler = Refusing{}
