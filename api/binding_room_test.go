package api_test

import (
	"context"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func (r *room) BindingApply(_ context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	return r.once(e, ledger.Record{Binding: e})
}
