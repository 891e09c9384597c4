package sealed

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// A wallet's key is rotated by operations that people approve, one after the other: a
// new wallet, each role granted to it by the old one, then each revoked from the old one
// by the new one, ADMIN last. Each transaction is one that the chain takes in this order.
func TestAWalletsKeyIsRotated(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	old := i.wallet
	fresh, err := r.WalletCreate(t.Context(), seal.WalletCreateRequest{WalletID: newID("wallet"), VaultAccountID: old.VaultAccountID,
		Network: testNetwork, Scheme: tx.MLDSA65, Label: "treasury, its next key"})
	require.NoError(t, err)
	require.NotEqual(t, old.Address, fresh.Address)
	roles := []qrc20.Role{qrc20.Minter, qrc20.Burner, qrc20.Pauser, qrc20.Admin}
	for _, role := range roles {
		call := i.do(i.intent(policy.OpGrantRole, policy.Params{Role: role, Subject: &fresh.Address}), qrc20.GrantRole)
		require.Equal(t, fresh.Address, tx.Address(call.Account))
	}
	i.wallet = fresh
	i.do(i.mint("7"), qrc20.Mint) // the new key works before the old one goes
	for _, role := range roles {
		call := i.do(i.intent(policy.OpRevokeRole, policy.Params{Role: role, Subject: &old.Address}), qrc20.RevokeRole)
		require.Equal(t, old.Address, tx.Address(call.Account))
	}
	own := i.intent(policy.OpRevokeRole, policy.Params{Role: qrc20.Admin, Subject: &fresh.Address})
	i.approve(own, 0, 1)
	_, err = r.Authorize(t.Context(), i.request(own))
	requireKind(t, seal.KindDenied, err) // nobody is locked out: the last ADMIN stays
}

// A token that nobody may mint has MINTER all the same, and whoever holds it against
// its supply policy is stopped: the seal asks for approvals, and for nothing else.
func TestARoleThatNobodyShouldHaveIsRevoked(t *testing.T) {
	i, _, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deployed(i.deployIntentOf(false))
	thief := tx.Address{6, 6, 6}
	for _, role := range []qrc20.Role{qrc20.Minter, qrc20.Burner} {
		call := i.do(i.intent(policy.OpRevokeRole, policy.Params{Role: role, Subject: &thief}), qrc20.RevokeRole)
		require.Equal(t, thief, tx.Address(call.Account))
	}
}
