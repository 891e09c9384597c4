package qrc20_test

import (
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// extremes runs every method in its cheapest and its dearest circumstances and tells seen of each
// successful call what gas limit it needed at least.
func extremes(w *world, seen func(m qrc20.Method, used uint64)) {
	highest := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	half := new(big.Int).Rsh(highest, 1)
	sparse := tx.Address{19: 1} // zero bytes are the cheapest calldata
	a := example()
	a.Cap = new(big.Int)
	token := w.deploy(a)
	regulated := w.template.HasMethod(qrc20.Allow)
	if regulated {
		require.Empty(w.t, w.call(admin, token, qrc20.Call{Method: qrc20.Allow, Account: sparse}))
	}
	do := func(from tx.Address, c qrc20.Call) {
		w.t.Helper()
		require.Empty(w.t, w.call(from, token, c))
		seen(c.Method, w.used)
	}
	do(admin, qrc20.Call{Method: qrc20.Mint, Account: alice, Amount: half})
	do(admin, qrc20.Call{Method: qrc20.Mint, Account: alice, Amount: units(1)})
	do(admin, qrc20.Call{Method: qrc20.Mint, Account: sparse, Amount: units(0)})

	do(alice, qrc20.Call{Method: qrc20.Transfer, To: bob, Amount: new(big.Int).Rsh(half, 1)})
	do(alice, qrc20.Call{Method: qrc20.Transfer, To: sparse, Amount: units(0)})
	do(alice, qrc20.Call{Method: qrc20.Transfer, To: alice, Amount: units(0)})
	w.approve(bob, token, admin, half)
	do(admin, qrc20.Call{Method: qrc20.TransferFrom, Account: bob, To: mallory, Amount: new(big.Int).Rsh(half, 2)})
	do(admin, qrc20.Call{Method: qrc20.TransferFrom, Account: bob, To: sparse, Amount: units(0)})
	do(admin, qrc20.Call{Method: qrc20.BurnFrom, Account: bob, Amount: new(big.Int).Rsh(half, 3)})
	w.approve(bob, token, admin, highest) // is never lowered
	do(admin, qrc20.Call{Method: qrc20.BurnFrom, Account: bob, Amount: units(0)})
	do(admin, qrc20.Call{Method: qrc20.TransferFrom, Account: bob, To: sparse, Amount: units(0)})
	do(bob, qrc20.Call{Method: qrc20.Transfer, To: admin, Amount: units(10)})
	do(admin, qrc20.Call{Method: qrc20.Burn, Amount: units(0)})
	do(admin, qrc20.Call{Method: qrc20.Burn, Amount: units(9)})
	do(admin, qrc20.Call{Method: qrc20.Burn, Amount: units(1)})

	for _, r := range []qrc20.Role{qrc20.Pauser, qrc20.Admin} {
		for _, who := range []tx.Address{alice, bob, mallory, sparse, alice} {
			do(admin, qrc20.Call{Method: qrc20.GrantRole, Role: r, Account: who})
		}
		for _, who := range []tx.Address{alice, bob, alice, sparse, mallory} {
			do(admin, qrc20.Call{Method: qrc20.RevokeRole, Role: r, Account: who})
		}
	}
	do(admin, qrc20.Call{Method: qrc20.RevokeRole, Role: qrc20.Minter, Account: admin})
	do(admin, qrc20.Call{Method: qrc20.GrantRole, Role: qrc20.Minter, Account: alice})

	do(admin, qrc20.Call{Method: qrc20.Pause})
	do(admin, qrc20.Call{Method: qrc20.Unpause})
	if !regulated {
		return
	}
	// Into an account that nobody ever named, of one that is set, back, and where nothing changes.
	fresh := account(9)
	for _, who := range []tx.Address{fresh, sparse, {19: 2}} {
		for _, m := range []qrc20.Method{qrc20.Freeze, qrc20.Freeze, qrc20.Unfreeze, qrc20.Unfreeze, qrc20.Allow, qrc20.Allow,
			qrc20.Freeze, qrc20.Unfreeze, qrc20.Disallow, qrc20.Disallow} {
			do(admin, qrc20.Call{Method: m, Account: who})
		}
	}
	do(admin, qrc20.Call{Method: qrc20.Allow, Account: fresh})
}

// TestCallsFitTheirGasBounds holds the bounds to what the EVM really needs: the cheapest call is
// within the low one and not far above it, the dearest leaves the estimate room for a margin of
// half, and no bound is wide enough to be none.
func TestCallsFitTheirGasBounds(t *testing.T) {
	lowest, highest := map[qrc20.Method]uint64{}, map[qrc20.Method]uint64{}
	for fork := range forks {
		for _, tpl := range qrc20.Templates() {
			extremes(newWorld(t, fork, tpl.ID), func(m qrc20.Method, used uint64) {
				if lowest[m] == 0 || used < lowest[m] {
					lowest[m] = used
				}
				highest[m] = max(highest[m], used)
			})
		}
	}
	for _, m := range allMethods {
		low, high := qrc20.GasBounds(m)
		t.Logf("%-14s needs %6d to %6d, bounds %6d to %6d", m, lowest[m], highest[m], low, high)
		assertFits(t, string(m), lowest[m], highest[m], low, high)
	}
}

func TestDeploymentsFitTheirGasBounds(t *testing.T) {
	small := qrc20.DeployArgs{Name: "a", Symbol: "A", Cap: units(0), InitialSupply: units(0), Admin: admin}
	large := qrc20.DeployArgs{
		Name: strings.Repeat("n", qrc20.MaxNameSize), Symbol: strings.Repeat("s", qrc20.MaxSymbolSize), Decimals: 255,
		Cap: units(0), InitialSupply: new(big.Int).Lsh(units(1), 255), Mintable: true, Burnable: true, Admin: admin,
	}
	for _, tpl := range qrc20.Templates() {
		var lowest, highest uint64
		for fork := range forks {
			w := newWorld(t, fork, tpl.ID)
			w.deployOnly(small)
			if lowest == 0 || w.used < lowest {
				lowest = w.used
			}
			w.deployOnly(large)
			highest = max(highest, w.used)
		}
		low, high := tpl.DeployGasBounds()
		t.Logf("%s needs %d to %d, bounds %d to %d", tpl.ID, lowest, highest, low, high)
		assertFits(t, tpl.ID, lowest, highest, low, high)
	}
}

func assertFits(t *testing.T, what string, lowest, highest, low, high uint64) {
	t.Helper()
	assert.NotZero(t, lowest, what)
	assert.LessOrEqual(t, low, lowest, what)
	assert.Greater(t, low, lowest*8/10, what)
	assert.GreaterOrEqual(t, high, highest*3/2, what)
	assert.Less(t, high, highest*5/2, what)
}

func TestUnknownMethodFitsNoGasLimit(t *testing.T) {
	low, high := qrc20.GasBounds("selfdestruct")
	require.Zero(t, low)
	require.Zero(t, high)
}
