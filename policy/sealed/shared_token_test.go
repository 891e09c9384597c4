package sealed

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// suspension is a document that suspends an appliance, or lifts that.
func (i *instance) suspension(appliance string, frozen bool, by int, ago time.Duration) *policy.Envelope {
	i.t.Helper()
	f := policy.Freeze{Format: 1, Instance: i.charter.Instance, Subject: policy.Subject{ApplianceID: appliance}, Frozen: frozen,
		CreatedAt: policy.Seconds(time.Now().Add(-ago))}
	payload, err := f.Encode()
	return sign(i.t, policy.DocFreeze, payload, err, i.people.custodians[:by]...)
}

// Two appliances use one token. Its PINs and its wrapping key change while the other one
// is suspended, and not before; suspended, it makes no key. When the threshold lets it
// take part again it goes on with what is there then.
func TestWhatTwoAppliancesShareChangesWhileOneIsSuspended(t *testing.T) {
	i, first, second, doors := twoProcesses(t, "2s")
	one, two := doors[0], doors[1]
	split(t, filepath.Join(first.dir, "state"), i.people, processPIN)
	rotate := func(to string) (*seal.Rotated, error) { return one.Rotate(t.Context(), i.rotation(to, 2, nil)) }

	_, err := rotate(wrappingKeyOf(2))
	requireKind(t, seal.KindInvalid, err)
	require.ErrorContains(t, err, "appliance-2 uses the same token")
	_, err = one.Renew(t.Context(), nil)
	requireKind(t, seal.KindInvalid, err)
	require.ErrorContains(t, err, "appliance-2 uses the same token")

	_, err = one.Freeze(t.Context(), seal.FreezeRequest{Envelope: i.suspension(secondAppliance, true, 1, time.Minute)})
	require.NoError(t, err, "one custodian is enough to suspend")
	done, err := rotate(wrappingKeyOf(2))
	require.NoError(t, err)
	require.Equal(t, wrappingKeyOf(2), done.WrappingKey)
	_, err = one.Renew(t.Context(), nil)
	require.NoError(t, err)
	mints(t, i, one)

	_, err = one.Freeze(t.Context(), seal.FreezeRequest{Envelope: i.suspension(secondAppliance, false, 1, 0)})
	require.Error(t, err, "one is not enough to lift it")
	_, err = one.Freeze(t.Context(), seal.FreezeRequest{Envelope: i.suspension(secondAppliance, false, 2, 0)})
	require.NoError(t, err)
	_, err = one.Renew(t.Context(), nil)
	requireKind(t, seal.KindInvalid, err)
	i.follows(two)
	first.stop()
	i.door = two
	require.Eventually(t, func() bool {
		s, err := two.Status(t.Context())
		return err == nil && s.Author == secondAppliance
	}, patience, 10*time.Millisecond)
	mints(t, i, two) // its envelopes are under a key that is gone
	w, err := two.WalletCreate(t.Context(), seal.WalletCreateRequest{WalletID: newID("wallet"), VaultAccountID: newID("vault"), Network: testNetwork, Scheme: tx.Dilithium3, Label: "another"})
	require.NoError(t, err)
	require.NotEmpty(t, w.Address)
	second.stop()
}
