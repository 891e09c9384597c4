package registry

import (
	"context"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// VaultStatus is where a vault account stands. The zero value is invalid.
type VaultStatus string

// The one state of a vault account so far.
const VaultActive VaultStatus = "ACTIVE"

// VaultAccount is a named set of wallets, one or more a network, that acts for
// one desk of the organization.
type VaultAccount struct {
	ID        string      `json:"id"`
	Name      string      `json:"name"`
	Status    VaultStatus `json:"status"`
	CreatedBy string      `json:"createdBy"`
	CreatedAt time.Time   `json:"createdAt"`
}

// VaultSpec is what is asked for when a vault account is made.
type VaultSpec struct{ Name string }

// CreateVault makes a vault account, empty of wallets.
func (s *Service) CreateVault(ctx context.Context, a Actor, spec VaultSpec, idem *store.Idempotent) (*VaultAccount, error) {
	if err := checkText("name", spec.Name, 1, maxName); err != nil {
		return nil, err
	}
	v := &VaultAccount{ID: store.NewID(vaultPrefix), Name: spec.Name, Status: VaultActive, CreatedBy: a.Name, CreatedAt: s.second()}
	h := happening{"vault.created", "vault", v.ID, map[string]any{"name": v.Name}}
	if err := create(ctx, s, s.vaults, store.Vault(v.ID), v, a, h, idem); err != nil {
		return nil, err
	}
	return v, nil
}

// Vault is one vault account; an unknown one is VAULT_NOT_FOUND.
func (s *Service) Vault(ctx context.Context, id string) (*VaultAccount, error) {
	if !store.ValidID(vaultPrefix, id) {
		return nil, noVault(id)
	}
	v, _, err := load[VaultAccount](ctx, s.store, store.Vault(id))
	if err == nil && v == nil {
		err = noVault(id)
	}
	return v, err
}

// Vaults lists vault accounts, newest first, and says how many there are.
func (s *Service) Vaults(ctx context.Context, limit, offset int) ([]*VaultAccount, int, error) {
	return s.vaults.newest(ctx, s.store, func(*VaultAccount) bool { return true }, limit, offset)
}

func noVault(id string) error {
	return Refuse(VaultNotFound, "there is no vault account %q; GET /v1/vault/accounts lists them", id)
}
