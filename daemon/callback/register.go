package callback

import (
	"context"
	"encoding/hex"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// registeredWallet is the value of a wallet's key.
type registeredWallet struct {
	ID      string    `json:"id"` // Qustody's
	VaultID string    `json:"vaultId"`
	At      time.Time `json:"at"`
}

// registerWallet registers a wallet at Qustody, if it is not. It is repeated until Qustody's id of it is
// written; a registration whose answer was lost is found by the wallet's address.
func (s *Service) registerWallet(ctx context.Context, w Wallet) error {
	_, _, done, err := s.store.Get(ctx, store.CallbackWallet(w.ID))
	if done || err != nil {
		return err
	}
	ours, err := s.registry.Wallet(ctx, w.ID)
	if err != nil {
		return err
	}
	if ours.Status != registry.WalletActive {
		return fmt.Errorf("callback: it is %s", ours.Status)
	}
	proof, err := s.seal.WalletProve(ctx, seal.WalletProveRequest{WalletID: w.ID})
	if err != nil {
		return err
	}
	if proof.Address != ours.Address || !tx.VerifySignature(ours.Scheme, proof.PublicKey, tx.OwnershipDigest(ours.Address), proof.Signature) {
		return fmt.Errorf("callback: the seal's proof is not of %s", ours.Address)
	}
	// gofail: var callbackBeforeRegister struct{}
	there, err := s.client.register(ctx, w.VaultID, w.ID, registration{AssetID: w.AssetID, Address: ours.Address.String(),
		PublicKey: hex.EncodeToString(proof.PublicKey), Label: w.Label, Signature: hex.EncodeToString(proof.Signature)})
	// gofail: var callbackAfterRegister struct{}
	var answer *refusedError
	if errors.As(err, &answer) && answer.Status == http.StatusConflict {
		there, err = s.registeredAs(ctx, w.VaultID, ours.Address)
	}
	if err != nil {
		return err
	}
	switch key := strings.ToLower(strings.TrimPrefix(there.PublicKey, "0x")); {
	case !sameAddress(there.Address, &ours.Address) || key != "" && key != hex.EncodeToString(proof.PublicKey):
		return fmt.Errorf("%w: it registered another wallet than %s", errAnswer, ours.Address)
	case !operation.ValidRef(there.ID):
		return fmt.Errorf("%w: what stands for the wallet's id is none", errAnswer)
	}
	b, err := json.Marshal(registeredWallet{there.ID, w.VaultID, s.now().UTC().Truncate(time.Millisecond)})
	if err != nil {
		return err
	}
	t := s.store.Tx()
	t.PutIfAbsent(store.CallbackWallet(w.ID), b)
	t.Audit(s.draft("callback.wallet_registered", "wallet", w.ID, map[string]any{"address": ours.Address.String(),
		"qustodyWalletId": there.ID, "qustodyVaultAccountId": w.VaultID}))
	if _, err := t.Commit(ctx); err != nil && !errors.Is(err, store.ErrConflict) {
		return err
	}
	// gofail: var callbackAfterRegistration struct{}
	s.log.Info("callback: a wallet is registered", "wallet", w.ID, "address", ours.Address.String())
	return nil
}

// registeredAs finds a wallet that Qustody says it has.
func (s *Service) registeredAs(ctx context.Context, vault string, address tx.Address) (*registered, error) {
	for page := range maxPages {
		list, err := s.client.registered(ctx, vault, page*pageSize)
		if err != nil {
			return nil, err
		}
		for _, w := range list {
			if sameAddress(w.Address, &address) {
				return &w, nil
			}
		}
		if len(list) < pageSize {
			break
		}
	}
	return nil, fmt.Errorf("callback: Qustody has %s registered, and not in vault account %.80q; name the one that it is in", address, vault)
}
