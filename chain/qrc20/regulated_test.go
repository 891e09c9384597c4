package qrc20_test

import (
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/qrc20/bindings"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// lists reads what the regulated template has beyond the plain one.
var lists = bindings.NewQRC20RegulatedV1()

func onRegulated(t *testing.T, f func(t *testing.T, w *world)) {
	for fork := range forks {
		t.Run(fork, func(t *testing.T) { f(t, newWorld(t, fork, "tpl_qrc20_regulated_v1")) })
	}
}

func on(m qrc20.Method, who tx.Address) qrc20.Call { return qrc20.Call{Method: m, Account: who} }

func transfer(to tx.Address, n int64) qrc20.Call {
	return qrc20.Call{Method: qrc20.Transfer, To: to, Amount: units(n)}
}

func take(from, to tx.Address, n int64) qrc20.Call {
	return qrc20.Call{Method: qrc20.TransferFrom, Account: from, To: to, Amount: units(n)}
}

func frozen(who tx.Address) string     { return who.String() + " is frozen" }
func notAllowed(who tx.Address) string { return who.String() + " is not on the token's allowlist" }

func (w *world) isFrozen(token, who tx.Address) bool {
	w.t.Helper()
	return read(w, token, lists.PackFrozen(common.Address(who)), lists.UnpackFrozen)
}

func (w *world) isAllowed(token, who tx.Address) bool {
	w.t.Helper()
	return read(w, token, lists.PackAllowed(common.Address(who)), lists.UnpackAllowed)
}

func TestTheAdminAloneIsOnTheAllowlistAtFirst(t *testing.T) {
	onRegulated(t, func(t *testing.T, w *world) {
		a := example()
		a.InitialSupply = units(7)
		token := w.deployOnly(a)
		require.True(t, w.isAllowed(token, admin))
		require.False(t, w.isAllowed(token, alice))
		require.False(t, w.isFrozen(token, admin))
		require.Equal(t, units(7), w.balance(token, admin))
		require.Equal(t, notAllowed(alice), w.call(admin, token, transfer(alice, 1)))
	})
}

func TestListsAreKeptByTheirRolesAlone(t *testing.T) {
	onRegulated(t, func(t *testing.T, w *world) {
		token := w.deploy(example())
		for m, role := range map[qrc20.Method]qrc20.Role{
			qrc20.Freeze: qrc20.Freezer, qrc20.Unfreeze: qrc20.Freezer,
			qrc20.Allow: qrc20.ComplianceOperator, qrc20.Disallow: qrc20.ComplianceOperator,
		} {
			require.Equal(t, mallory.String()+" does not hold the role "+string(role), w.call(mallory, token, on(m, alice)))
		}
		require.Empty(t, w.call(admin, token, qrc20.Call{Method: qrc20.GrantRole, Role: qrc20.Freezer, Account: bob}))
		require.Empty(t, w.call(bob, token, on(qrc20.Freeze, alice)))
		require.Equal(t, bob.String()+" does not hold the role COMPLIANCE_OPERATOR", w.call(bob, token, on(qrc20.Disallow, alice)))
		require.True(t, w.isFrozen(token, alice))
		require.True(t, w.isAllowed(token, alice), "the two lists do not touch each other")
	})
}

// TestSettingWhatIsSetIsNoError: a freeze must not fail because somebody was quicker.
func TestSettingWhatIsSetIsNoError(t *testing.T) {
	onRegulated(t, func(t *testing.T, w *world) {
		token := w.deploy(example())
		for _, m := range []qrc20.Method{qrc20.Freeze, qrc20.Unfreeze, qrc20.Disallow, qrc20.Allow} {
			require.Empty(t, w.call(admin, token, on(m, alice)), m)
			require.Empty(t, w.call(admin, token, on(m, alice)), m)
		}
		require.False(t, w.isFrozen(token, alice))
		require.True(t, w.isAllowed(token, alice))
	})
}

// TestAttackAFrozenHolderMoves: by himself, by another's hand through an allowance given before, by a burn,
// or with what somebody sends or mints to him.
func TestAttackAFrozenHolderMoves(t *testing.T) {
	onRegulated(t, func(t *testing.T, w *world) {
		token := w.deploy(example())
		require.Empty(t, w.call(admin, token, mint(mallory, 100)))
		require.Empty(t, w.call(admin, token, mint(alice, 100)))
		require.Empty(t, w.call(admin, token, qrc20.Call{Method: qrc20.GrantRole, Role: qrc20.Burner, Account: mallory}))
		w.approve(mallory, token, bob, units(100))
		w.approve(mallory, token, admin, units(100))
		w.approve(alice, token, mallory, units(100))
		require.Empty(t, w.call(admin, token, on(qrc20.Freeze, mallory)))

		want := frozen(mallory)
		require.Equal(t, want, w.call(mallory, token, transfer(alice, 1)))
		require.Equal(t, want, w.call(mallory, token, transfer(mallory, 1)), "to himself")
		require.Equal(t, want, w.call(mallory, token, transfer(alice, 0)), "nothing at all")
		require.Equal(t, want, w.call(bob, token, take(mallory, bob, 1)), "an allowance given before")
		require.Equal(t, want, w.call(mallory, token, qrc20.Call{Method: qrc20.Burn, Amount: units(1)}))
		require.Equal(t, want, w.call(admin, token, qrc20.Call{Method: qrc20.BurnFrom, Account: mallory, Amount: units(1)}))
		require.Equal(t, want, w.call(alice, token, transfer(mallory, 1)), "into it")
		require.Equal(t, want, w.call(admin, token, mint(mallory, 1)))
		require.Equal(t, want, w.call(mallory, token, take(alice, bob, 1)), "with others' tokens")
		require.Equal(t, want, w.call(mallory, token, qrc20.Call{Method: qrc20.BurnFrom, Account: alice, Amount: units(1)}))
		require.Equal(t, units(100), w.balance(token, mallory))
		require.Equal(t, units(100), w.balance(token, alice))

		require.Empty(t, w.call(admin, token, on(qrc20.Unfreeze, mallory)))
		require.Empty(t, w.call(mallory, token, transfer(alice, 1)))
	})
}

// TestAttackAFrozenMinterMints: freezing an account stops what it does with its role, too.
func TestAttackAFrozenMinterMints(t *testing.T) {
	onRegulated(t, func(t *testing.T, w *world) {
		token := w.deploy(example())
		require.Empty(t, w.call(admin, token, qrc20.Call{Method: qrc20.GrantRole, Role: qrc20.Minter, Account: mallory}))
		require.Empty(t, w.call(admin, token, on(qrc20.Freeze, mallory)))
		require.Equal(t, frozen(mallory), w.call(mallory, token, mint(alice, 1)))
		require.Empty(t, w.call(admin, token, mint(alice, 1)))
	})
}

// TestAttackAllowlistBypassed: by a mint, by an allowance, by a burn of what was left behind, by asking for
// nothing.
func TestAttackAllowlistBypassed(t *testing.T) {
	onRegulated(t, func(t *testing.T, w *world) {
		token := w.deployOnly(example())
		want := notAllowed(mallory)
		require.Equal(t, want, w.call(admin, token, mint(mallory, 1)))
		require.Equal(t, want, w.call(admin, token, mint(mallory, 0)))

		require.Empty(t, w.call(admin, token, on(qrc20.Allow, alice)))
		require.Empty(t, w.call(admin, token, mint(alice, 100)))
		require.Equal(t, want, w.call(alice, token, transfer(mallory, 1)))
		w.approve(alice, token, mallory, units(50))
		require.Equal(t, want, w.call(mallory, token, take(alice, mallory, 1)), "to himself")
		require.Empty(t, w.call(mallory, token, take(alice, admin, 1)), "who only carries needs no place on the list")

		require.Empty(t, w.call(admin, token, on(qrc20.Disallow, alice)))
		want = notAllowed(alice)
		require.Equal(t, want, w.call(alice, token, transfer(admin, 1)), "what she holds stays")
		require.Equal(t, want, w.call(mallory, token, take(alice, admin, 1)))
		w.approve(alice, token, admin, units(50))
		require.Equal(t, want, w.call(admin, token, qrc20.Call{Method: qrc20.BurnFrom, Account: alice, Amount: units(1)}))
		require.Equal(t, units(99), w.balance(token, alice))
	})
}

// TestAttackPauseBypassed: being on every list helps nobody while the token is paused, and who keeps the
// lists can go on doing so.
func TestAttackPauseBypassed(t *testing.T) {
	onRegulated(t, func(t *testing.T, w *world) {
		token := w.deploy(example())
		require.Empty(t, w.call(admin, token, mint(alice, 100)))
		w.approve(alice, token, admin, units(50))
		require.Empty(t, w.call(admin, token, qrc20.Call{Method: qrc20.Pause}))
		for _, c := range []qrc20.Call{
			mint(alice, 1), take(alice, bob, 1), transfer(bob, 0), {Method: qrc20.Burn, Amount: units(0)},
			{Method: qrc20.BurnFrom, Account: alice, Amount: units(1)},
		} {
			require.Equal(t, "the token is paused", w.call(admin, token, c), c.Method)
		}
		require.Empty(t, w.call(admin, token, on(qrc20.Freeze, mallory)))
		require.Empty(t, w.call(admin, token, on(qrc20.Disallow, mallory)))
		require.Empty(t, w.call(admin, token, qrc20.Call{Method: qrc20.Unpause}))
		require.Equal(t, frozen(mallory), w.call(alice, token, transfer(mallory, 1)))
	})
}

// TestAdminFrozenCanBeUnfrozen: no setting of the lists locks a token up for good.
func TestAdminFrozenCanBeUnfrozen(t *testing.T) {
	onRegulated(t, func(t *testing.T, w *world) {
		token := w.deploy(example())
		require.Empty(t, w.call(admin, token, on(qrc20.Freeze, admin)))
		require.Empty(t, w.call(admin, token, on(qrc20.Disallow, admin)))
		require.Equal(t, frozen(admin), w.call(admin, token, mint(alice, 1)))
		require.Empty(t, w.call(admin, token, on(qrc20.Unfreeze, admin)))
		require.Empty(t, w.call(admin, token, mint(alice, 1)), "who mints to others needs no place on the list")
		require.Equal(t, notAllowed(admin), w.call(admin, token, mint(admin, 1)))
		require.Empty(t, w.call(admin, token, on(qrc20.Allow, admin)))
		require.Empty(t, w.call(admin, token, mint(admin, 1)))
	})
}

// TestAttackFreezingNobody: mints come from the zero address and burns go to it; freezing it stops neither.
func TestAttackFreezingNobody(t *testing.T) {
	onRegulated(t, func(t *testing.T, w *world) {
		token := w.deploy(example())
		require.Empty(t, w.call(admin, token, on(qrc20.Freeze, tx.Address{})))
		require.Empty(t, w.call(admin, token, on(qrc20.Disallow, tx.Address{})))
		require.Empty(t, w.call(admin, token, mint(admin, 5)))
		require.Empty(t, w.call(admin, token, qrc20.Call{Method: qrc20.Burn, Amount: units(5)}))
	})
}

// TestListsTellTheirEvents: what changes a list says whom and by whom, so that the chain's log explains it.
func TestListsTellTheirEvents(t *testing.T) {
	w := newWorld(t, "london", "tpl_qrc20_regulated_v1")
	token := w.deployOnly(example())
	for m, topic := range map[qrc20.Method]string{
		qrc20.Freeze: "Frozen(address,address)", qrc20.Unfreeze: "Unfrozen(address,address)",
		qrc20.Allow: "Allowed(address,address)", qrc20.Disallow: "Disallowed(address,address)",
	} {
		require.Empty(t, w.call(admin, token, on(m, alice)))
		logs := w.state.Logs()
		last := logs[len(logs)-1]
		require.Equal(t, common.Address(token), last.Address)
		require.Equal(t, []common.Hash{crypto.Keccak256Hash([]byte(topic)), common.BytesToHash(alice[:]), common.BytesToHash(admin[:])}, last.Topics, m)
	}
}

// TestEveryMovementObeysTheLists plays random calls against a model: nothing ever moves out of, into or by
// a frozen account, nor out of or into one off the list, and whatever neither forbids succeeds.
func TestEveryMovementObeysTheLists(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t, "london", "tpl_qrc20_regulated_v1")
		token := w.deployOnly(example())
		people := []tx.Address{admin, alice, bob, mallory}
		off, ice := map[tx.Address]bool{alice: true, bob: true, mallory: true}, map[tx.Address]bool{}
		held, total := map[tx.Address]int64{}, int64(0)
		for _, p := range people {
			for _, q := range people {
				w.approve(p, token, q, new(big.Int).Lsh(units(1), 200))
			}
		}
		bad := func(who tx.Address) bool { return off[who] || ice[who] }
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			one := rapid.SampledFrom(people).Draw(r, "one")
			two := rapid.SampledFrom(people).Draw(r, "two")
			by := rapid.SampledFrom(people).Draw(r, "by")
			n := int64(rapid.IntRange(0, 9).Draw(r, "n"))
			var ok bool
			var why string
			switch rapid.IntRange(0, 7).Draw(r, "what") {
			case 0:
				ok, why = true, w.call(admin, token, on(qrc20.Freeze, one))
				ice[one] = true
			case 1:
				ok, why = true, w.call(admin, token, on(qrc20.Unfreeze, one))
				ice[one] = false
			case 2, 3:
				ok, why = true, w.call(admin, token, on(qrc20.Allow, one))
				off[one] = false
			case 4:
				ok, why = true, w.call(admin, token, on(qrc20.Disallow, one))
				off[one] = true
			case 5:
				if ok, why = !ice[admin] && !bad(one), w.call(admin, token, mint(one, n)); ok {
					held[one] += n
					total += n
				}
			case 6:
				if ok, why = !ice[by] && !bad(one) && !bad(two) && held[one] >= n, w.call(by, token, take(one, two, n)); ok {
					held[one] -= n
					held[two] += n
				}
			case 7:
				c := qrc20.Call{Method: qrc20.BurnFrom, Account: one, Amount: units(n)}
				if ok, why = !ice[admin] && !bad(one) && held[one] >= n, w.call(admin, token, c); ok {
					held[one] -= n
					total -= n
				}
			}
			if ok != (why == "") {
				r.Fatalf("expected success %v, the contract says %q", ok, why)
			}
		}
		for _, p := range people {
			if got := w.balance(token, p); got.Int64() != held[p] {
				r.Fatalf("%s holds %v, want %d", p, got, held[p])
			}
		}
		if got := w.supply(token); got.Int64() != total {
			r.Fatalf("supply %v, want %d", got, total)
		}
	})
}
