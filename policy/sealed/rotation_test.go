package sealed

import (
	"os"
	"testing"
	"time"

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

// rotation is a document that has the wrapping key rotated.
func (i *instance) rotation(to string, by int, change func(*policy.Rotate)) *policy.Envelope {
	i.t.Helper()
	d := &policy.Rotate{Format: 1, Instance: i.charter.Instance, ApplianceID: testAppliance, Charter: i.digest, WrappingKey: to, CreatedAt: policy.Seconds(time.Now())}
	if change != nil {
		change(d)
	}
	payload, err := d.Encode()
	return sign(i.t, policy.DocRotate, payload, err, i.people.custodians[:by]...)
}

// The wrapping key is rotated by the threshold, step by step, and cut short at each: the
// wallet signs before, between and after, nothing is left under the old key, and the
// charter goes on.
func TestTheWrappingKeyIsRotated(t *testing.T) {
	p := newProcess(t)
	p.throughShim("")
	door := p.start()
	i := found(t, p, door)
	i.furnish()
	i.deploy()
	refused := func(e *policy.Envelope, says string) {
		t.Helper()
		_, err := door.Rotate(t.Context(), e)
		requireKind(t, seal.KindInvalid, err)
		require.ErrorContains(t, err, says)
	}
	refused(i.rotation(wrappingKeyOf(2), 1, nil), "threshold")
	refused(i.rotation(wrappingKeyOf(3), 2, nil), "the next is mintwarden-wrapping-2")
	refused(i.rotation(wrappingKey, 2, nil), "the next is mintwarden-wrapping-2")
	refused(i.rotation(wrappingKeyOf(2), 2, func(d *policy.Rotate) { d.ApplianceID = "appliance-2" }), "appliance-2")
	refused(i.rotation(wrappingKeyOf(2), 2, func(d *policy.Rotate) { d.Charter = policy.DigestOf([]byte("x")) }), "in force")

	for n, fault := range []string{"C_GenerateKey abort", "C_Encrypt abort", "C_CreateObject abort", "C_DestroyObject abort"} {
		to := wrappingKeyOf(2 + n)
		p.tell(fault)
		_, err := door.Rotate(t.Context(), i.rotation(to, 2, nil))
		require.ErrorIs(t, err, seal.ErrUnreachable, fault)
		p.back(door)
		p.awaitLedger(door)
		mints(t, i, door)
		done, err := door.Rotate(t.Context(), i.rotation(to, 2, nil))
		require.NoError(t, err, fault)
		require.Equal(t, to, done.WrappingKey)
		mints(t, i, door)
	}
	const last = 6
	e := i.rotation(wrappingKeyOf(last), 2, nil)
	done, err := door.Rotate(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, wrappingKeyOf(last), done.WrappingKey)
	require.Positive(t, done.Rewrapped)
	again, err := door.Rotate(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, &seal.Rotated{WrappingKey: done.WrappingKey, CheckValue: done.CheckValue}, again, "it counts once")
	mints(t, i, door)
	i.wallet, err = door.WalletCreate(t.Context(), seal.WalletCreateRequest{WalletID: newID("wallet"), VaultAccountID: newID("vault"), Network: testNetwork, Scheme: tx.Dilithium3})
	require.NoError(t, err, "under the new one")
	me, err := door.Init(t.Context())
	require.NoError(t, err)
	require.Equal(t, done.CheckValue, me.Token.CheckValues[wrappingKeyOf(last)])
	require.NotContains(t, me.Token.CheckValues, wrappingKey)

	// A charter leaves the old values or says the new ones, and no others.
	apply := func(values map[string]string) error {
		next := *i.charter
		next.Version, next.Replaces = i.charter.Version+1, &i.digest
		next.Appliances = []policy.Appliance{i.charter.Appliances[0]}
		next.Appliances[0].Token.CheckValues = values
		payload, err := next.Encode()
		e := sign(t, policy.DocCharter, payload, err, i.people.custodians[:2]...)
		if _, err = door.CharterApply(t.Context(), e); err == nil {
			i.charter, i.digest = &next, e.PayloadDigest()
		}
		return err
	}
	require.NoError(t, apply(i.charter.Appliances[0].Token.CheckValues))
	requireKind(t, seal.KindInvalid, apply(map[string]string{wrappingKeyOf(last): "000000"}))
	require.NoError(t, apply(me.Token.CheckValues))
	refused(e, "in force") // of the charter before
	done, err = door.Rotate(t.Context(), i.rotation(wrappingKeyOf(last+1), 2, nil))
	require.NoError(t, err)
	require.Equal(t, wrappingKeyOf(last+1), done.WrappingKey)
}

func TestGenerationsOfWrappingKeys(t *testing.T) {
	for n := 1; n < 12; n++ {
		require.Equal(t, n, generation(wrappingKeyOf(n)))
	}
	for _, id := range []string{"", "other", wrappingKey + "-", wrappingKey + "-1", wrappingKey + "-02", wrappingKey + "-x", wrappingKey + "-2-3", wrappingKey + "2"} {
		require.Zero(t, generation(id), id)
	}
}

// The token hides a wallet's key for a moment, from whoever lists: the old wrapping key
// stays as long as the ledger's wallets are not all found under the new one.
func TestAttack_AWalletsKeyIsHiddenFromARotation(t *testing.T) {
	p := newProcess(t)
	p.throughShim("")
	door := p.start()
	i := found(t, p, door)
	i.furnish()
	i.deploy()
	e := i.rotation(wrappingKeyOf(2), 2, nil)
	p.tell("C_FindObjects hide seed:" + i.wallet.WalletID)
	_, err := door.Rotate(t.Context(), e)
	requireKind(t, seal.KindHSM, err)
	require.NoError(t, os.Remove(p.control()))
	mints(t, i, door)
	done, err := door.Rotate(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, 1, done.Rewrapped)
	mints(t, i, door)
	p.stop()
	p.launch()
	p.back(door)
	p.awaitLedger(door)
	mints(t, i, door)
}
