package api

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

func (s *Server) vaultForm(v *registry.VaultAccount) VaultAccount {
	return VaultAccount{ID: v.ID, Name: v.Name, TenantID: s.tenant, Status: VaultAccountStatus(v.Status), CreatedAt: second(v.CreatedAt)}
}

func walletForm(w *registry.Wallet) Wallet {
	return Wallet{
		ID: w.ID, VaultAccountID: w.VaultAccountID, Network: w.Network, Label: w.Label, Address: w.Address.String(),
		PublicKey: w.PublicKey, Scheme: Scheme(w.Scheme), Protection: WalletProtection(w.Protection), CreatedAt: second(w.CreatedAt),
	}
}

// CreateVaultAccount answers POST /v1/vault/accounts.
func (s *Server) CreateVaultAccount(c *gin.Context, _ CreateVaultAccountParams) {
	r := requestOf(c)
	b, err := bind[VaultAccountCreate](r.raw)
	if err != nil {
		s.refuse(c, err)
		return
	}
	change(s, c, http.StatusCreated, sure(s.vaultForm), func(ctx context.Context, idem *store.Idempotent) (*registry.VaultAccount, error) {
		return s.registry.CreateVault(ctx, r.actor(), registry.VaultSpec{Name: b.Name}, idem)
	})
}

// ListVaultAccounts answers GET /v1/vault/accounts.
func (s *Server) ListVaultAccounts(c *gin.Context, params ListVaultAccountsParams) {
	limit, offset := page(params.Limit, params.Offset)
	vaults, total, err := s.registry.Vaults(c.Request.Context(), limit, offset)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, VaultAccountList{Data: forms(vaults, s.vaultForm), Pagination: Pagination{Total: total, Limit: limit, Offset: offset}})
}

// GetVaultAccount answers GET /v1/vault/accounts/{vaultAccountId}.
func (s *Server) GetVaultAccount(c *gin.Context, vaultAccountID VaultAccountID) {
	v, err := s.registry.Vault(c.Request.Context(), vaultAccountID)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, s.vaultForm(v))
}

// CreateWallet answers POST /v1/vault/accounts/{vaultAccountId}/wallets.
func (s *Server) CreateWallet(c *gin.Context, vaultAccountID VaultAccountID, _ CreateWalletParams) {
	r := requestOf(c)
	b, err := bind[WalletCreate](r.raw)
	if err != nil {
		s.refuse(c, err)
		return
	}
	spec := registry.WalletSpec{Network: b.Network, Label: of(b.Label), Scheme: tx.Scheme(of(b.Scheme))}
	change(s, c, http.StatusCreated, sure(walletForm), func(ctx context.Context, idem *store.Idempotent) (*registry.Wallet, error) {
		return s.registry.CreateWallet(ctx, r.actor(), vaultAccountID, spec, idem)
	})
}

// ListWallets answers GET /v1/vault/accounts/{vaultAccountId}/wallets.
func (s *Server) ListWallets(c *gin.Context, vaultAccountID VaultAccountID, params ListWalletsParams) {
	limit, offset := page(params.Limit, params.Offset)
	wallets, total, err := s.registry.WalletsOf(c.Request.Context(), vaultAccountID, limit, offset)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, WalletList{Data: forms(wallets, walletForm), Pagination: Pagination{Total: total, Limit: limit, Offset: offset}})
}

// GetWallet answers GET /v1/wallets/{walletId}.
func (s *Server) GetWallet(c *gin.Context, walletID WalletID) {
	w, err := s.registry.Wallet(c.Request.Context(), walletID)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, walletForm(w))
}

// GetWalletBalance answers GET /v1/wallets/{walletId}/balance.
func (s *Server) GetWalletBalance(c *gin.Context, walletID WalletID) {
	ctx := c.Request.Context()
	w, err := s.registry.Wallet(ctx, walletID)
	if err != nil {
		s.refuse(c, err)
		return
	}
	balance, err := s.registry.WalletBalance(ctx, w)
	if err != nil {
		s.refuse(c, err)
		return
	}
	charter, _ := s.registry.Fold().Charter()
	f := WalletBalance{WalletID: w.ID, Network: w.Network, Address: w.Address.String(), Balance: balance.String()}
	if n, ok := charter.Network(w.Network); ok {
		f.Currency = n.Currency
	}
	s.answer(c, f)
}
