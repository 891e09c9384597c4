package registry

import (
	"context"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// RetireToken takes a token out of use for good: no privileged operation is
// taken for it any more, save those that stop things: a role revoked, a pause, a
// freeze, an account off the allowlist. Its contract stays as it is. idle says, each time the
// change is tried, why the token cannot be spared yet; nil is that it can.
func (s *Service) RetireToken(ctx context.Context, a Actor, id, reason string, idle func() error, idem *store.Idempotent) (*Token, error) {
	if !store.ValidID(tokenPrefix, id) {
		return nil, noToken(id)
	}
	if err := checkText("reason", reason, 0, maxDescription); err != nil {
		return nil, err
	}
	return update(ctx, s, s.tokens, store.Token(id), a, idem, noToken(id), func(t *Token) (happening, error) {
		switch t.Status {
		case TokenRetired:
			return happening{}, Refuse(OperationNotAllowed, "token %s is retired already", id)
		case TokenDeploying:
			return happening{}, Refuse(TxStateConflict, "token %s is being deployed by operation %s; it can be retired when that is over", id, t.DeployOperationID)
		}
		if err := idle(); err != nil {
			return happening{}, err
		}
		before := t.Status
		t.Status, t.UpdatedAt = TokenRetired, s.second()
		meta := map[string]any{"before": string(before)}
		if reason != "" {
			meta["reason"] = reason
		}
		return happening{"token.retired", "token", t.ID, meta}, nil
	})
}
