package api

import (
	"context"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// Used stores that a key was used for a path with a body that nobody sends.
func Used(ctx context.Context, s *store.Store, tenant, method, path, key string) error {
	idem := &store.Idempotent{
		Hash: scope(tenant, method, path, key), BodyHash: "of no body",
		Render: func(any) (int, []byte, error) { return 200, []byte("{}"), nil },
	}
	t := s.Tx()
	t.Idempotent(idem, nil)
	_, err := t.Commit(ctx)
	return err
}
