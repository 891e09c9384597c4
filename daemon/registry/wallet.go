package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// WalletStatus is where a wallet stands. The zero value is invalid.
type WalletStatus string

// The states of a wallet. A wallet is served only when it is active: before
// that it has no address.
const (
	WalletCreating WalletStatus = "CREATING"
	WalletActive   WalletStatus = "ACTIVE"
)

// Protection is the path that a wallet's key takes through the HSM (spec:
// policy, "Keys in the HSM").
type Protection string

// The two paths.
const (
	// ProtectionNative: generated in the token and used by the token.
	ProtectionNative Protection = "hsm-native"
	// ProtectionWrapped: a seed that a key of the token wraps; it is expanded
	// in the seal's memory while it signs.
	ProtectionWrapped Protection = "hsm-wrapped"
)

// Wallet is an account on one network whose key the HSM keeps.
type Wallet struct {
	ID             string       `json:"id"`
	VaultAccountID string       `json:"vaultAccountId"`
	Network        string       `json:"network"`
	Label          string       `json:"label"`
	Scheme         tx.Scheme    `json:"scheme"`
	Status         WalletStatus `json:"status"`

	// Set from the ledger when the wallet becomes active.
	Address    tx.Address `json:"address"`
	PublicKey  []byte     `json:"publicKey,omitzero"` // the scheme's own encoding
	Protection Protection `json:"protection,omitzero"`
	Carried

	CreatedBy string    `json:"createdBy"`
	CreatedAt time.Time `json:"createdAt"`
}

// WalletSpec is what is asked for when a wallet is made.
type WalletSpec struct {
	Network, Label string
	// Scheme is empty for the network's own.
	Scheme tx.Scheme
}

// idemPrefix and a key's hash is where an idempotency record stands (spec:
// formats, "Store keys of serve"): a refused wallet gives its key back.
const idemPrefix = "/mw/idem/"

// CreateWallet makes a key in the HSM and the wallet that it controls. It is
// done in two steps, each of which can be run again: the wallet's id is stored
// with the idempotency key, then the seal makes the key under that id and
// records it in the ledger, from where it becomes active. A caller that comes
// again with the same key goes on with the same wallet.
func (s *Service) CreateWallet(ctx context.Context, a Actor, vaultID string, spec WalletSpec, idem *store.Idempotent) (*Wallet, error) {
	w, err := s.requestWallet(ctx, a, vaultID, spec, idem)
	if err != nil {
		return nil, err
	}
	if w, err = s.finishWallet(ctx, a, w); err != nil {
		return nil, s.abandonWallet(ctx, a, w, idem, err)
	}
	return w, s.store.Finish(ctx, idem, w)
}

// requestWallet stores a wallet that is still to be made, or finds the one that
// an earlier request with the same idempotency key stored.
func (s *Service) requestWallet(ctx context.Context, a Actor, vaultID string, spec WalletSpec, idem *store.Idempotent) (*Wallet, error) {
	if w, err := s.pendingWallet(ctx, idem); w != nil || err != nil {
		return w, err
	}
	if _, err := s.Vault(ctx, vaultID); err != nil {
		return nil, err
	}
	scheme, err := s.checkWallet(spec)
	if err != nil {
		return nil, err
	}
	w := &Wallet{
		ID: store.NewID(walletPrefix), VaultAccountID: vaultID, Network: spec.Network, Label: spec.Label, Scheme: scheme,
		Status: WalletCreating, CreatedBy: a.Name, CreatedAt: s.second(),
	}
	t := s.store.Tx()
	t.PutIfAbsent(store.Wallet(w.ID), encode(w))
	t.Audit(a.draft(happening{"wallet.requested", "wallet", w.ID, map[string]any{"vaultAccountId": vaultID, "network": w.Network, "scheme": string(w.Scheme)}}))
	t.IdempotentPending(idem, w.ID)
	rev, err := t.Commit(ctx)
	if errors.Is(err, store.ErrIdempotencyLost) {
		if first, pendingErr := s.pendingWallet(ctx, idem); first != nil || pendingErr != nil {
			return first, pendingErr
		}
	}
	if err != nil {
		return nil, err
	}
	s.wallets.wrote(store.Wallet(w.ID), w, rev)
	return w, nil
}

// pendingWallet is the wallet that an earlier request with this idempotency key
// began and did not answer; nil if there is none. A key whose answer is known
// is [store.ErrIdempotencyLost]: the record is there to be replayed.
func (s *Service) pendingWallet(ctx context.Context, idem *store.Idempotent) (*Wallet, error) {
	if idem == nil {
		return nil, nil
	}
	r, ok, err := s.store.Idempotency(ctx, idem.Hash)
	if err != nil || !ok {
		return nil, err
	}
	if !r.Pending || r.BodyHash != idem.BodyHash {
		return nil, store.ErrIdempotencyLost
	}
	w, _, err := load[Wallet](ctx, s.store, store.Wallet(r.ResourceID))
	if err == nil && w == nil {
		err = fmt.Errorf("registry: wallet %s of a pending idempotency record does not exist", r.ResourceID)
	}
	return w, err
}

func (s *Service) checkWallet(spec WalletSpec) (tx.Scheme, error) {
	if err := checkText("label", spec.Label, 0, maxLabel); err != nil {
		return "", err
	}
	if err := s.checkNetwork(spec.Network); err != nil {
		return "", err
	}
	network := s.chains[spec.Network].Network()
	scheme := spec.Scheme
	if scheme == "" {
		scheme = network.Scheme
	}
	if !scheme.Valid() {
		return "", Refuse(Validation, "there is no signature scheme %+q; %s is the default of network %s", string(scheme), network.Scheme, network.Name)
	}
	if scheme.Kind() != network.Kind {
		return "", Refuse(Validation, "scheme %s signs for networks of kind %s; %s is of kind %s", scheme, scheme.Kind(), network.Name, network.Kind)
	}
	return scheme, nil
}

// finishWallet has the seal make the key and waits until the ledger's word of
// it is carried in. A wallet that is active already is asked for, too: what the
// ledger does not tell of it may not have been noted before its answer was lost.
// The wallet that it was given comes back with an error.
func (s *Service) finishWallet(ctx context.Context, a Actor, w *Wallet) (*Wallet, error) {
	made, err := s.seal.WalletCreate(ctx, seal.WalletCreateRequest{
		WalletID: w.ID, VaultAccountID: w.VaultAccountID, Network: w.Network, Scheme: w.Scheme, Label: w.Label,
	})
	if err != nil {
		return w, err
	}
	if err := s.WaitCarried(ctx, made.Sequence); err != nil {
		return w, err
	}
	active, err := s.noteProtection(ctx, a, w.ID, Protection(made.Protection))
	if err != nil {
		return w, err
	}
	if s.onWallet != nil {
		if err := s.onWallet(ctx, active); err != nil {
			s.log.Warn("registry: a new wallet was not greeted; it will be again", "wallet", w.ID, "error", err)
		}
	}
	return active, nil
}

// noteProtection stores which way the key takes through the HSM, where that is
// not what its scheme says: the ledger does not tell, the seal's answer does.
func (s *Service) noteProtection(ctx context.Context, a Actor, id string, p Protection) (*Wallet, error) {
	return update(ctx, s, s.wallets, store.Wallet(id), a, nil, noWallet(id), func(w *Wallet) (happening, error) {
		if w.Status != WalletActive {
			return happening{}, fmt.Errorf("registry: wallet %s is %s though the ledger holds it", w.ID, w.Status)
		}
		if p == "" || p == w.Protection {
			return happening{}, nil
		}
		w.Protection = p
		return happening{"wallet.protection_noted", "wallet", w.ID, map[string]any{"protection": string(p)}}, nil
	})
}

// abandonWallet takes back a wallet that the seal will never make, so that its
// idempotency key is free again; where the seal may yet make it, everything
// stays for the next try. It returns the error for the caller.
func (s *Service) abandonWallet(ctx context.Context, a Actor, w *Wallet, idem *store.Idempotent, cause error) error {
	kind, refused := seal.KindOf(cause)
	if !refused || !slices.Contains([]seal.Kind{seal.KindInvalid, seal.KindDenied, seal.KindConflict, seal.KindDuplicate}, kind) {
		return cause
	}
	current, rev, err := load[Wallet](ctx, s.store, store.Wallet(w.ID))
	if err != nil || current == nil || current.Status == WalletActive {
		return cause
	}
	t := s.store.Tx()
	t.DeleteIf(store.Wallet(w.ID), rev)
	if idem != nil {
		t.Delete(idemPrefix + idem.Hash)
	}
	t.Audit(a.draft(happening{"wallet.refused", "wallet", w.ID, map[string]any{"reason": cause.Error()}}))
	if _, err := t.Commit(ctx); err != nil && !errors.Is(err, store.ErrConflict) {
		s.log.Warn("registry: a refused wallet stays listed as being made", "wallet", w.ID, "error", err)
	}
	var told *seal.Error
	errors.As(cause, &told)
	if kind == seal.KindDenied {
		return Refuse(RateLimited, "the seal makes no wallet now: %s", told.Message)
	}
	return Refuse(Validation, "the seal does not make wallet %s on %s: %s", w.ID, w.Network, told.Message)
}

// Wallet is one active wallet; an unknown one, or one still being made, is
// VAULT_NOT_FOUND. It is not to be changed.
func (s *Service) Wallet(ctx context.Context, id string) (*Wallet, error) {
	if !store.ValidID(walletPrefix, id) {
		return nil, noWallet(id)
	}
	// Once active a wallet stays what it is: every submission asks for one.
	if w := s.wallets.known(store.Wallet(id)); w != nil && w.Status == WalletActive {
		return w, nil
	}
	w, _, err := load[Wallet](ctx, s.store, store.Wallet(id))
	switch {
	case err != nil:
		return nil, err
	case w == nil:
		return nil, noWallet(id)
	case w.Status != WalletActive:
		return nil, Refuse(VaultNotFound, "wallet %s is still being made; try again when the seal has recorded it", id)
	}
	return w, nil
}

// WalletsOf lists a vault account's active wallets, newest first, and says how
// many there are.
func (s *Service) WalletsOf(ctx context.Context, vaultID string, limit, offset int) ([]*Wallet, int, error) {
	if _, err := s.Vault(ctx, vaultID); err != nil {
		return nil, 0, err
	}
	keep := func(w *Wallet) bool { return w.VaultAccountID == vaultID && w.Status == WalletActive }
	return s.wallets.newest(ctx, s.store, keep, limit, offset)
}

// OldestWallet is what a vault account means on a network: its oldest active
// wallet there (spec: formats, "Vault to wallet"). None is VAULT_NOT_FOUND.
func (s *Service) OldestWallet(ctx context.Context, vaultID, network string) (*Wallet, error) {
	// A vault account is never changed or taken away: every submission that names no wallet asks for one.
	if s.vaults.known(store.Vault(vaultID)) == nil {
		if _, err := s.Vault(ctx, vaultID); err != nil {
			return nil, err
		}
	}
	all, err := s.wallets.ascending(ctx, s.store)
	if err != nil {
		return nil, err
	}
	for _, w := range all {
		if w.VaultAccountID == vaultID && w.Network == network && w.Status == WalletActive {
			return w, nil
		}
	}
	return nil, Refuse(VaultNotFound, "vault account %s has no wallet on %s; POST /v1/vault/accounts/%s/wallets makes one", vaultID, network, vaultID)
}

func noWallet(id string) error {
	return Refuse(VaultNotFound, "there is no wallet %q; GET /v1/vault/accounts/{id}/wallets lists a vault account's", id)
}
