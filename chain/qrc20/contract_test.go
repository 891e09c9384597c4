package qrc20_test

import (
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// onEveryFork runs a behaviour of every template under the rules of each network kind.
func onEveryFork(t *testing.T, f func(t *testing.T, w *world)) {
	for fork := range forks {
		for _, tpl := range qrc20.Templates() {
			t.Run(fork+" "+tpl.ID, func(t *testing.T) { f(t, newWorld(t, fork, tpl.ID)) })
		}
	}
}

func mint(to tx.Address, n int64) qrc20.Call {
	return qrc20.Call{Method: qrc20.Mint, Account: to, Amount: units(n)}
}

func TestConstructorSetsWhatItWasTold(t *testing.T) {
	onEveryFork(t, func(t *testing.T, w *world) {
		a := example()
		a.InitialSupply = units(7)
		token := w.deploy(a)
		require.Equal(t, a.Name, read(w, token, reads.PackName(), reads.UnpackName))
		require.Equal(t, a.Symbol, read(w, token, reads.PackSymbol(), reads.UnpackSymbol))
		require.Equal(t, a.Decimals, read(w, token, reads.PackDecimals(), reads.UnpackDecimals))
		require.Equal(t, a.Cap, read(w, token, reads.PackCap(), reads.UnpackCap))
		require.True(t, read(w, token, reads.PackMintable(), reads.UnpackMintable))
		require.True(t, read(w, token, reads.PackBurnable(), reads.UnpackBurnable))
		require.Equal(t, units(7), w.supply(token))
		require.Equal(t, units(7), w.balance(token, admin))
		for _, r := range w.template.Roles {
			require.Equal(t, []tx.Address{admin}, w.holders(token, r), r)
		}
	})
}

func TestNoCapIsTheWholeUint256(t *testing.T) {
	onEveryFork(t, func(t *testing.T, w *world) {
		a := example()
		a.Cap = new(big.Int)
		token := w.deploy(a)
		highest := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
		require.Equal(t, highest, read(w, token, reads.PackCap(), reads.UnpackCap))
		require.Empty(t, w.call(admin, token, qrc20.Call{Method: qrc20.Mint, Account: alice, Amount: highest}))
		require.Equal(t, highest, w.supply(token))
		require.Equal(t, "arithmetic overflow or underflow", w.call(admin, token, mint(alice, 1)))
	})
}

func TestMint(t *testing.T) {
	onEveryFork(t, func(t *testing.T, w *world) {
		token := w.deploy(example())
		require.Empty(t, w.call(admin, token, mint(alice, 1000)))
		require.Equal(t, units(1000), w.balance(token, alice))
		require.Equal(t, units(1000), w.supply(token))

		require.Equal(t, mallory.String()+" does not hold the role MINTER", w.call(mallory, token, mint(mallory, 1)))
		require.Equal(t, "the total supply would be 1000001, above the cap of 1000000", w.call(admin, token, mint(bob, 999_001)))
		require.Empty(t, w.call(admin, token, mint(bob, 999_000)), "up to the cap")
		require.Equal(t, "0x0000000000000000000000000000000000000000 cannot receive the token",
			w.call(admin, token, mint(tx.Address{}, 0)))
		require.Equal(t, units(1_000_000), w.supply(token))
	})
}

func TestBurnNeedsTheRoleAndBurnFromTheAllowanceToo(t *testing.T) {
	onEveryFork(t, func(t *testing.T, w *world) {
		token := w.deploy(example())
		require.Empty(t, w.call(admin, token, mint(admin, 100)))
		require.Empty(t, w.call(admin, token, mint(alice, 100)))
		burn := qrc20.Call{Method: qrc20.Burn, Amount: units(40)}
		burnFrom := qrc20.Call{Method: qrc20.BurnFrom, Account: alice, Amount: units(40)}

		require.Equal(t, alice.String()+" does not hold the role BURNER", w.call(alice, token, burn), "not even one's own")
		require.Empty(t, w.call(admin, token, burn))
		require.Equal(t, units(60), w.balance(token, admin))
		require.Equal(t, admin.String()+" has a balance of 60, and needs 61",
			w.call(admin, token, qrc20.Call{Method: qrc20.Burn, Amount: units(61)}))

		require.Equal(t, admin.String()+" has an allowance of 0, and needs 40", w.call(admin, token, burnFrom))
		w.approve(alice, token, mallory, units(40))
		require.Equal(t, mallory.String()+" does not hold the role BURNER", w.call(mallory, token, burnFrom))
		w.approve(alice, token, admin, units(40))
		require.Empty(t, w.call(admin, token, burnFrom))
		require.Equal(t, units(60), w.balance(token, alice))
		require.Equal(t, admin.String()+" has an allowance of 0, and needs 40", w.call(admin, token, burnFrom), "spent")
		require.Equal(t, units(120), w.supply(token))
	})
}

func TestTransfers(t *testing.T) {
	onEveryFork(t, func(t *testing.T, w *world) {
		token := w.deploy(example())
		require.Empty(t, w.call(admin, token, mint(alice, 100)))
		require.Empty(t, w.call(alice, token, qrc20.Call{Method: qrc20.Transfer, To: bob, Amount: units(30)}))
		from := qrc20.Call{Method: qrc20.TransferFrom, Account: alice, To: bob, Amount: units(20)}
		require.Equal(t, admin.String()+" has an allowance of 0, and needs 20", w.call(admin, token, from))
		w.approve(alice, token, admin, units(20))
		require.Empty(t, w.call(admin, token, from))
		require.Equal(t, units(50), w.balance(token, alice))
		require.Equal(t, units(50), w.balance(token, bob))
	})
}

func TestRolesAreGivenAndTakenByAdmin(t *testing.T) {
	onEveryFork(t, func(t *testing.T, w *world) {
		token := w.deploy(example())
		grant := qrc20.Call{Method: qrc20.GrantRole, Role: qrc20.Minter, Account: alice}
		revoke := qrc20.Call{Method: qrc20.RevokeRole, Role: qrc20.Minter, Account: alice}

		require.Equal(t, mallory.String()+" does not hold the role ADMIN", w.call(mallory, token, grant))
		require.Empty(t, w.call(admin, token, grant))
		require.Equal(t, []tx.Address{admin, alice}, w.holders(token, qrc20.Minter))
		require.True(t, read(w, token, reads.PackHasRole(qrc20.RoleID(qrc20.Minter), common.Address(alice)), reads.UnpackHasRole))
		require.Empty(t, w.call(alice, token, mint(bob, 1)))

		require.Empty(t, w.call(admin, token, revoke))
		require.Equal(t, []tx.Address{admin}, w.holders(token, qrc20.Minter))
		require.Equal(t, alice.String()+" does not hold the role MINTER", w.call(alice, token, mint(bob, 1)))
	})
}

func TestSupplyPolicyThatLacksARoleGivesItToNobodyEver(t *testing.T) {
	onEveryFork(t, func(t *testing.T, w *world) {
		a := example()
		a.Mintable, a.Burnable, a.InitialSupply = false, false, units(500)
		token := w.deploy(a)
		require.Equal(t, units(500), w.balance(token, admin))
		for _, r := range []qrc20.Role{qrc20.Minter, qrc20.Burner} {
			require.Empty(t, w.holders(token, r))
			require.Equal(t, "the token's supply policy has no role "+string(r),
				w.call(admin, token, qrc20.Call{Method: qrc20.GrantRole, Role: r, Account: admin}))
		}
		require.Equal(t, admin.String()+" does not hold the role MINTER", w.call(admin, token, mint(alice, 1)))
		require.Equal(t, admin.String()+" does not hold the role BURNER",
			w.call(admin, token, qrc20.Call{Method: qrc20.Burn, Amount: units(1)}))
	})
}

func TestPauseStopsEveryMovement(t *testing.T) {
	onEveryFork(t, func(t *testing.T, w *world) {
		token := w.deploy(example())
		require.Empty(t, w.call(admin, token, mint(admin, 100)))
		pause, unpause := qrc20.Call{Method: qrc20.Pause}, qrc20.Call{Method: qrc20.Unpause}

		require.Equal(t, mallory.String()+" does not hold the role PAUSER", w.call(mallory, token, pause))
		require.Equal(t, "the token is not paused", w.call(admin, token, unpause))
		require.Empty(t, w.call(admin, token, pause))
		require.True(t, read(w, token, reads.PackPaused(), reads.UnpackPaused))
		for _, c := range []qrc20.Call{
			mint(alice, 1),
			{Method: qrc20.Burn, Amount: units(1)},
			{Method: qrc20.Transfer, To: alice, Amount: units(1)},
			pause,
		} {
			require.Equal(t, "the token is paused", w.call(admin, token, c), c.Method)
		}
		require.Empty(t, w.call(admin, token, unpause))
		require.Empty(t, w.call(admin, token, mint(alice, 1)))
	})
}

// TestConstructorRefuses gives the constructor what InitCode never does, as a stranger could.
func TestConstructorRefuses(t *testing.T) {
	nobody := common.Address{}
	for name, c := range map[string]struct {
		args []byte
		want string
	}{
		"zero admin": {reads.PackConstructor("n", "s", 18, units(1), true, true, units(0), nobody),
			"0x0000000000000000000000000000000000000000 cannot be the token's admin"},
		"zero cap": {reads.PackConstructor("n", "s", 18, units(0), true, true, units(0), common.Address(admin)),
			"a cap of 0 is not possible"},
		"supply above cap": {reads.PackConstructor("n", "s", 18, units(1), true, true, units(2), common.Address(admin)),
			"the total supply would be 2, above the cap of 1"},
	} {
		for _, tpl := range qrc20.Templates() {
			t.Run(name+" "+tpl.ID, func(t *testing.T) {
				w := newWorld(t, "london", tpl.ID)
				ret, ok := w.send(admin, nil, append(append([]byte(nil), tpl.Bytecode...), c.args...), 10_000_000)
				require.False(t, ok)
				require.Equal(t, c.want, qrc20.DecodeRevert(ret))
			})
		}
	}
}
