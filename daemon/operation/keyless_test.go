package operation_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// A token is restored from a backup that is older than a wallet. What that wallet is to sign says so and what to do, and
// nobody else waits; with the key back it goes on by itself.
func TestAnOperationWithoutAKeySaysSo(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	tokens := filepath.Join(filepath.Dir(h.hsmConf), "tokens")
	older, newer := filepath.Join(t.TempDir(), "older"), filepath.Join(t.TempDir(), "newer")
	restore := func(backup string) {
		t.Helper()
		require.NoError(t, os.RemoveAll(tokens))
		require.NoError(t, os.CopyFS(tokens, os.DirFS(backup)))
		h.runSeal()
		h.until("the seal answers", func() bool { s, err := h.seal.Status(t.Context()); return err == nil && !s.Sealed })
	}
	require.NoError(t, os.CopyFS(older, os.DirFS(tokens)))
	vault, err := h.registry.CreateVault(h.patient(), operator, registry.VaultSpec{Name: "late"}, nil)
	require.NoError(t, err)
	wallet, err := h.registry.CreateWallet(h.patient(), operator, vault.ID, registry.WalletSpec{Network: networkName}, nil)
	require.NoError(t, err)
	token := h.token("0", func(s *registry.TokenSpec) { s.AdminVaultAccountID = vault.ID })
	o := h.submit(operation.Request{Type: policy.OpDeployToken, TokenID: token.ID})
	h.stopSeal()
	require.NoError(t, os.CopyFS(newer, os.DirFS(tokens)))
	restore(older)

	h.approve(o)
	h.until("it asks for a person", func() bool { return h.now(o.ID).Attention != "" })
	o = h.now(o.ID)
	require.False(t, o.Status.Terminal())
	for _, says := range []string{"HSM: ", wallet.ID, "restore a backup"} {
		require.Truef(t, strings.Contains(o.Attention, says), "%q does not say %q", o.Attention, says)
	}
	h.deployed("0") // another wallet's

	h.stopSeal()
	restore(newer)
	require.Empty(t, h.ends(o, operation.Completed).Attention)
}
