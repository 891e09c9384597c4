package operation

import (
	"context"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// Retire ends the appliance's work on a token; the chain is not touched. A token that operations are under
// way for is TX_STATE_CONFLICT: have them decided, cancelled or completed first. One that another appliance
// takes at the same moment is refused when it comes to its signature.
func (s *Service) Retire(ctx context.Context, a registry.Actor, tokenID, reason string, idem *store.Idempotent) (*registry.Token, error) {
	if err := s.index.ready(ctx); err != nil {
		return nil, err
	}
	return s.registry.RetireToken(ctx, a, tokenID, reason, func() error {
		open := 0
		s.index.ask(func(t *tally) { open = t.open[tokenID] })
		if open == 0 {
			return nil
		}
		return registry.Refuse(registry.TxStateConflict, "%d operations of token %s are under way; it can be retired when they are over", open, tokenID)
	}, idem)
}
