package registry_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func walletKey(key string) *store.Idempotent {
	return &store.Idempotent{Hash: strings.Repeat(key, 64), BodyHash: "body", Render: func(v any) (int, []byte, error) {
		return 201, []byte(v.(*registry.Wallet).Address.String()), nil
	}}
}

func TestAWalletIsMadeByTheSeal(t *testing.T) {
	d := newDesk(t)
	w, err := d.s.CreateWallet(t.Context(), operator, d.vault.ID, registry.WalletSpec{Network: network, Label: "hot"}, walletKey("a"))
	require.NoError(t, err)
	require.Equal(t, registry.WalletActive, w.Status)
	require.Equal(t, tx.Dilithium3, w.Scheme, "the network's own, where none is asked for")
	address, err := tx.Sender(tx.KindQuantum, w.PublicKey)
	require.NoError(t, err)
	require.Equal(t, address, w.Address)
	recorded, ok := d.s.Fold().Wallet(w.ID)
	require.True(t, ok)
	require.Equal(t, w.Address, recorded.Address)
	require.Equal(t, w.LedgerSeq, recorded.Recorded.Sequence)
	require.Equal(t, "operator", w.CreatedBy)

	r, ok, err := d.store.Idempotency(t.Context(), strings.Repeat("a", 64))
	require.NoError(t, err)
	require.True(t, ok)
	require.False(t, r.Pending)
	require.Equal(t, w.Address.String(), string(r.Body))
	_, err = d.s.CreateWallet(t.Context(), operator, d.vault.ID, registry.WalletSpec{Network: network, Label: "hot"}, walletKey("a"))
	require.ErrorIs(t, err, store.ErrIdempotencyLost)

	second, err := d.s.CreateWallet(t.Context(), operator, d.vault.ID, registry.WalletSpec{Network: network}, nil)
	require.NoError(t, err)
	oldest, err := d.s.OldestWallet(t.Context(), d.vault.ID, network)
	require.NoError(t, err)
	require.Equal(t, w.ID, oldest.ID)
	all, total, err := d.s.WalletsOf(t.Context(), d.vault.ID, 50, 0)
	require.NoError(t, err)
	require.Equal(t, 2, total)
	require.Equal(t, []string{second.ID, w.ID}, []string{all[0].ID, all[1].ID})
}

func TestWalletsThatCannotBeMade(t *testing.T) {
	d := newDesk(t)
	unknown := store.NewID("vault_")
	for name, c := range map[string]struct {
		vault string
		spec  registry.WalletSpec
		kind  string
		says  string
	}{
		"unknown vault":      {unknown, registry.WalletSpec{Network: network}, registry.VaultNotFound, unknown},
		"no network":         {d.vault.ID, registry.WalletSpec{}, registry.MissingField, "network"},
		"unknown network":    {d.vault.ID, registry.WalletSpec{Network: "mainnet"}, registry.Validation, "mainnet"},
		"unknown scheme":     {d.vault.ID, registry.WalletSpec{Network: network, Scheme: "rsa"}, registry.Validation, "rsa"},
		"of another kind":    {d.vault.ID, registry.WalletSpec{Network: network, Scheme: tx.Secp256k1}, registry.Validation, "secp256k1"},
		"an unreadable name": {d.vault.ID, registry.WalletSpec{Network: network, Label: "a\u2066b"}, registry.Validation, "label"},
		"a long name":        {d.vault.ID, registry.WalletSpec{Network: network, Label: strings.Repeat("l", 65)}, registry.StringTooLong, "label"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := d.s.CreateWallet(t.Context(), operator, c.vault, c.spec, nil)
			require.Contains(t, refused(t, err, c.kind), c.says)
		})
	}
	_, err := d.s.OldestWallet(t.Context(), d.vault.ID, network)
	require.Contains(t, refused(t, err, registry.VaultNotFound), d.vault.ID)
	_, err = d.s.Wallet(t.Context(), store.NewID("wallet_"))
	refused(t, err, registry.VaultNotFound)
	require.Zero(t, d.audits("wallet.requested"))
}

func TestAWalletIsResumedUnderItsKey(t *testing.T) {
	d := newDesk(t)
	spec := registry.WalletSpec{Network: network, Label: "hot"}
	d.room.refuse(seal.ErrUnreachable)
	_, err := d.s.CreateWallet(t.Context(), operator, d.vault.ID, spec, walletKey("b"))
	require.ErrorIs(t, err, seal.ErrUnreachable)
	_, total, err := d.s.WalletsOf(t.Context(), d.vault.ID, 50, 0)
	require.NoError(t, err)
	require.Zero(t, total, "a wallet without an address is not shown")
	r, _, err := d.store.Idempotency(t.Context(), strings.Repeat("b", 64))
	require.NoError(t, err)
	require.True(t, r.Pending)

	d.room.refuse(nil)
	w, err := d.s.CreateWallet(t.Context(), operator, d.vault.ID, spec, walletKey("b"))
	require.NoError(t, err)
	require.Equal(t, r.ResourceID, w.ID, "the same wallet")
	require.Equal(t, 1, d.audits("wallet.requested"))
	require.Equal(t, 1, d.audits("wallet.created"))
	other := walletKey("b")
	other.BodyHash = "another"
	_, err = d.s.CreateWallet(t.Context(), operator, d.vault.ID, spec, other)
	require.ErrorIs(t, err, store.ErrIdempotencyLost)
}

// cutOff makes the wallet and then does not answer, as a crash between the
// ledger's commit and the answer looks from here.
type cutOff struct{ *room }

func (c cutOff) WalletCreate(ctx context.Context, q seal.WalletCreateRequest) (*seal.WalletResult, error) {
	if _, err := c.room.WalletCreate(ctx, q); err != nil {
		return nil, err
	}
	return nil, seal.ErrUnreachable
}

// native is a seal whose token uses the key itself.
type native struct{ *room }

func (n native) WalletCreate(ctx context.Context, q seal.WalletCreateRequest) (*seal.WalletResult, error) {
	made, err := n.room.WalletCreate(ctx, q)
	if err != nil {
		return nil, err
	}
	of := *made
	of.Protection = "hsm-native"
	return &of, nil
}

func TestAWalletWhoseAnswerWasLostIsOneWallet(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, stop := h.open(func(d *registry.Deps) { d.Seal = cutOff{h.room} })
	require.NoError(t, s.WaitReady(soon(t)))
	v, err := s.CreateVault(t.Context(), operator, registry.VaultSpec{Name: "treasury"}, nil)
	require.NoError(t, err)
	_, err = s.CreateWallet(t.Context(), operator, v.ID, registry.WalletSpec{Network: network}, walletKey("c"))
	require.ErrorIs(t, err, seal.ErrUnreachable)
	stop()

	s, _ = h.open(func(d *registry.Deps) { d.Seal = native{h.room} })
	require.NoError(t, s.WaitReady(soon(t)))
	w, err := s.CreateWallet(t.Context(), operator, v.ID, registry.WalletSpec{Network: network}, walletKey("c"))
	require.NoError(t, err)
	require.Equal(t, registry.WalletActive, w.Status)
	require.Equal(t, registry.ProtectionNative, w.Protection, "what only the lost answer told")
	_, total, err := s.WalletsOf(t.Context(), v.ID, 50, 0)
	require.NoError(t, err)
	require.Equal(t, 1, total)
	require.Len(t, s.Fold().Wallets(), 1)
}

func TestAWalletThatTheSealRefusesGivesItsKeyBack(t *testing.T) {
	d := newDesk(t)
	spec := registry.WalletSpec{Network: network}
	d.room.refuse(seal.Errorf(seal.KindDenied, "20 wallets were made in the last hour"))
	_, err := d.s.CreateWallet(t.Context(), operator, d.vault.ID, spec, walletKey("d"))
	require.Contains(t, refused(t, err, registry.RateLimited), "20 wallets")
	_, ok, err := d.store.Idempotency(t.Context(), strings.Repeat("d", 64))
	require.NoError(t, err)
	require.False(t, ok)
	n, err := d.store.Count(t.Context(), store.WalletPrefix)
	require.NoError(t, err)
	require.Zero(t, n)
	d.room.refuse(nil)
	_, err = d.s.CreateWallet(t.Context(), operator, d.vault.ID, spec, walletKey("d"))
	require.NoError(t, err)
}

func TestEveryWalletIsGreetedThoughTheFirstTryFails(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var mu sync.Mutex
	greeted, tries := map[string]int{}, 0
	greet := func(d *registry.Deps) {
		d.OnWallet = func(_ context.Context, w *registry.Wallet) error {
			mu.Lock()
			defer mu.Unlock()
			if tries++; tries == 1 {
				return errors.New("the node is not up yet")
			}
			greeted[w.ID]++
			return nil
		}
	}
	s, stop := h.open(greet)
	require.NoError(t, s.WaitReady(soon(t)))
	v, err := s.CreateVault(t.Context(), operator, registry.VaultSpec{Name: "treasury"}, nil)
	require.NoError(t, err)
	w, err := s.CreateWallet(t.Context(), operator, v.ID, registry.WalletSpec{Network: network}, nil)
	require.NoError(t, err)
	stop()
	mu.Lock()
	clear(greeted)
	mu.Unlock()
	s, _ = h.open(greet)
	require.NoError(t, s.WaitReady(soon(t)))
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return greeted[w.ID] > 0 }, waitLimit, waitStep)
}
