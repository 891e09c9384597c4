package sealed

import (
	"crypto/rand"
	"slices"
	"testing"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// A vault with more wallets than a binding names deploys all the same: whoever
// makes wallets cannot stop deployments by it. The deployer, here the vault's
// youngest, always performs; beside it the oldest do.
func TestAVaultWithTooManyWalletsDeploys(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, func(c *policy.Charter) { c.Limits.WalletsPerHour = 1000 })
	vault := newID("vault")
	var oldest []string
	for range 3 { // a batch each
		var batch []string
		var records []ledger.Record
		for range 100 {
			public, _, err := mode3.GenerateKey(rand.Reader)
			require.NoError(t, err)
			w := ledger.Wallet{WalletID: newID("wallet"), VaultAccountID: vault, Network: testNetwork, Scheme: tx.Dilithium3, PublicKey: public.Bytes()}
			w.Address, err = tx.Sender(tx.KindQuantum, w.PublicKey)
			require.NoError(t, err)
			records, batch = append(records, ledger.Record{Wallet: &w}), append(batch, w.WalletID)
		}
		require.NoError(t, r.submit(t.Context(), func(rd *round) error { return rd.add(records...) }))
		slices.Sort(batch)
		oldest = append(oldest, batch...)
	}
	i.furnish()
	q := walletRequest()
	q.VaultAccountID = vault
	youngest, err := r.WalletCreate(t.Context(), q)
	require.NoError(t, err)
	i.wallet = youngest
	i.deploy()
	b, _, _, ok := r.known().fold.BindingDocument(i.token.ID)
	require.True(t, ok)
	require.Len(t, b.Performers, maxPerformers)
	want := append([]string{i.wallet.WalletID}, oldest[:maxPerformers-1]...)
	slices.Sort(want)
	require.Equal(t, want, b.Performers)
}
