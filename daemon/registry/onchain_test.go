package registry_test

import (
	"bytes"
	"crypto/rand"
	"math/big"
	"testing"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// account is a funded account of the devnet that signs by itself.
type account struct {
	*desk
	public  []byte
	private *mode3.PrivateKey
	address tx.Address
	nonce   uint64
}

func newAccount(d *desk) *account {
	public, private, err := mode3.GenerateKey(rand.Reader)
	require.NoError(d.t, err)
	a := &account{desk: d, public: public.Bytes(), private: private}
	a.address, err = tx.Sender(tx.KindQuantum, a.public)
	require.NoError(d.t, err)
	_, err = d.node.Fund(common.Address(a.address))
	require.NoError(d.t, err)
	return a
}

// send executes a transaction, which must succeed; nil creates a contract.
func (a *account) send(to *tx.Address, data []byte) {
	a.t.Helper()
	u := &tx.Unsigned{
		Kind: tx.KindQuantum, ChainID: a.node.ChainID(), Nonce: a.nonce, Tip: big.NewInt(1e9), MaxFee: big.NewInt(1e11),
		Gas: 8_000_000, To: to, Value: new(big.Int), Data: data,
	}
	digest, err := u.SigningHash()
	require.NoError(a.t, err)
	sig := make([]byte, mode3.SignatureSize)
	mode3.SignTo(a.private, digest[:], sig)
	raw, err := u.Encode(a.public, sig)
	require.NoError(a.t, err)
	require.NoError(a.t, a.chains[network].Send(a.t.Context(), raw))
	a.nonce++
	require.Eventually(a.t, func() bool {
		st, err := a.chains[network].Status(a.t.Context(), tx.HashOf(raw))
		require.NoError(a.t, err)
		require.Truef(a.t, !st.Mined || st.Success, "reverted: %s", st.RevertReason)
		return st.Mined
	}, waitLimit, waitStep)
}

func TestWhatTheChainSaysOfAToken(t *testing.T) {
	d := newDesk(t)
	made, err := d.s.CreateToken(t.Context(), operator, d.spec(), nil)
	require.NoError(t, err)
	_, err = d.s.TotalSupply(t.Context(), made)
	require.Contains(t, refused(t, err, registry.NotDeployed), made.ID)
	_, err = d.s.Roles(t.Context(), made)
	refused(t, err, registry.NotDeployed)

	owner := newAccount(d)
	template, _ := qrc20.TemplateByID("tpl_qrc20_v1")
	code, err := template.InitCode(qrc20.DeployArgs{
		Name: made.Name, Symbol: made.Symbol, Decimals: made.Decimals, Cap: big.NewInt(1_000_000), InitialSupply: big.NewInt(70),
		Mintable: true, Burnable: true, Admin: qrc20.Address(owner.address),
	})
	require.NoError(t, err)
	contract := tx.CreateAddress(owner.address, 0)
	owner.send(nil, code)
	d.deployed(made.ID, contract)
	token, err := d.s.Token(t.Context(), made.ID)
	require.NoError(t, err)

	call := func(c qrc20.Call) {
		data, err := c.Pack()
		require.NoError(t, err)
		owner.send(&contract, data)
	}
	var minters []tx.Address
	for i := range byte(5) {
		who := tx.Address{0: 200 - 40*i, 19: 1}
		minters = append(minters, who)
		call(qrc20.Call{Method: qrc20.GrantRole, Role: qrc20.Minter, Account: qrc20.Address(who)})
	}
	roles, err := d.s.Roles(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, []qrc20.Role{qrc20.Admin, qrc20.Minter, qrc20.Burner, qrc20.Pauser},
		[]qrc20.Role{roles[0].Role, roles[1].Role, roles[2].Role, roles[3].Role})
	require.Equal(t, []tx.Address{owner.address}, roles[0].Holders)
	require.Len(t, roles[1].Holders, 6)
	require.Subset(t, roles[1].Holders, minters)
	for i := range 5 {
		require.Negative(t, bytes.Compare(roles[1].Holders[i][:], roles[1].Holders[i+1][:]), "holders are sorted")
	}
	has, err := d.s.HasRole(t.Context(), token, qrc20.Minter, minters[2])
	require.NoError(t, err)
	require.True(t, has)
	call(qrc20.Call{Method: qrc20.RevokeRole, Role: qrc20.Minter, Account: qrc20.Address(minters[2])})
	has, err = d.s.HasRole(t.Context(), token, qrc20.Minter, minters[2])
	require.NoError(t, err)
	require.False(t, has)

	call(qrc20.Call{Method: qrc20.Mint, Account: qrc20.Address(minters[0]), Amount: big.NewInt(30)})
	supply, err := d.s.TotalSupply(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, policy.AmountOf(100), supply)
	balance, err := d.s.BalanceOf(t.Context(), token, minters[0])
	require.NoError(t, err)
	require.Equal(t, policy.AmountOf(30), balance)
	allowance, err := d.s.Allowance(t.Context(), token, owner.address, minters[0])
	require.NoError(t, err)
	require.Equal(t, policy.AmountOf(0), allowance)
	paused, err := d.s.Paused(t.Context(), token)
	require.NoError(t, err)
	require.False(t, paused)
	call(qrc20.Call{Method: qrc20.Pause})
	paused, err = d.s.Paused(t.Context(), token)
	require.NoError(t, err)
	require.True(t, paused)

	coins, err := d.s.WalletBalance(t.Context(), &registry.Wallet{Network: network, Address: owner.address})
	require.NoError(t, err)
	require.Positive(t, coins.Cmp(policy.AmountOf(0)))
	d.node.Stall(true)
	defer d.node.Stall(false)
	_, err = d.s.TotalSupply(t.Context(), token)
	require.ErrorIs(t, err, chain.ErrUnavailable)
}
