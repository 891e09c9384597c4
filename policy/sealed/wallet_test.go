package sealed

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func walletRequest() seal.WalletCreateRequest {
	return seal.WalletCreateRequest{WalletID: newID("wallet"), VaultAccountID: newID("vault"), Network: testNetwork, Scheme: tx.Dilithium3}
}

// keysOf is how many of the wallets have a key in the token.
func keysOf(t *testing.T, asked []seal.WalletCreateRequest) (n int) {
	t.Helper()
	for _, q := range asked {
		_, _, err := house.hsm.SeedPublic(t.Context(), q.WalletID)
		if err == nil {
			n++
		} else {
			require.ErrorIs(t, err, hsm.ErrNotFound)
		}
	}
	return n
}

// The charter's limits are limits of keys: who asks for many wallets at once gets
// no key more, with or without a record.
func TestManyWalletsAtOnceMakeNoKeyPastTheLimit(t *testing.T) {
	_, r, _ := inProcess(t, roomOptions{}, func(c *policy.Charter) { c.Limits.WalletsPerHour = 3 })
	asked := make([]seal.WalletCreateRequest, 24)
	var made atomic.Int32
	var wg sync.WaitGroup
	for n := range asked {
		asked[n] = walletRequest()
		wg.Go(func() {
			_, err := r.WalletCreate(context.Background(), asked[n])
			if err == nil {
				made.Add(1)
			} else if kind, _ := seal.KindOf(err); kind != seal.KindDenied {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, int32(3), made.Load())
	require.Len(t, r.known().fold.Wallets(), 3)
	require.Equal(t, 3, keysOf(t, asked))
}

// An etcd that refuses every record of a wallet gets no key past the limit
// either; the wallets that have keys are completed by asking again.
func TestKeysWithoutRecordsCount(t *testing.T) {
	s := openLog(t, house.store)
	no := &atomic.Bool{}
	s.c.KV = refusingKV{s.c.KV, no}
	_, r, _ := inProcess(t, roomOptions{store: s}, func(c *policy.Charter) { c.Limits.WalletsPerHour = 2 })
	no.Store(true)
	var asked []seal.WalletCreateRequest
	for range 5 {
		q := walletRequest()
		asked = append(asked, q)
		_, err := r.WalletCreate(t.Context(), q)
		require.Error(t, err)
	}
	require.Equal(t, 2, keysOf(t, asked))
	no.Store(false)
	for n, q := range asked {
		_, err := r.WalletCreate(t.Context(), q)
		if n < 2 {
			require.NoError(t, err)
		} else {
			requireKind(t, seal.KindDenied, err)
		}
	}
	require.Equal(t, 2, keysOf(t, asked))
}

// refusingKV is an etcd that takes no batch while no is set, and says so.
type refusingKV struct {
	clientv3.KV
	no *atomic.Bool
}

func (k refusingKV) Txn(ctx context.Context) clientv3.Txn {
	if !k.no.Load() {
		return k.KV.Txn(ctx)
	}
	return refusingTxn{k.KV.Txn(ctx)}
}

type refusingTxn struct{ clientv3.Txn }

func (x refusingTxn) If(...clientv3.Cmp) clientv3.Txn  { return x }
func (x refusingTxn) Then(...clientv3.Op) clientv3.Txn { return x }
func (x refusingTxn) Else(...clientv3.Op) clientv3.Txn { return x }
func (x refusingTxn) Commit() (*clientv3.TxnResponse, error) {
	return nil, rpctypes.ErrPermissionDenied
}

// A suspended appliance makes no key, whatever the limits leave.
func TestASuspendedApplianceMakesNoKey(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	f := policy.Freeze{Format: 1, Instance: i.charter.Instance, Subject: policy.Subject{ApplianceID: testAppliance}, Frozen: true,
		CreatedAt: policy.Seconds(time.Now())}
	payload, err := f.Encode()
	_, err = r.Freeze(t.Context(), seal.FreezeRequest{Envelope: sign(t, policy.DocFreeze, payload, err, i.people.custodians[0])})
	require.NoError(t, err)
	q := walletRequest()
	_, err = r.WalletCreate(t.Context(), q)
	requireKind(t, seal.KindDenied, err)
	require.Zero(t, keysOf(t, []seal.WalletCreateRequest{q}))
}

// What the token did not do for sure takes a place, what it did not do takes none.
func TestAKeyWithoutAWalletTakesAPlace(t *testing.T) {
	_, r, _ := inProcess(t, roomOptions{}, func(c *policy.Charter) { c.Limits.WalletsPerHour = 1 })
	broken := walletRequest()
	broken.Scheme = tx.MLDSA65
	_, err := house.hsm.CreateSeedKey(t.Context(), broken.WalletID, hsm.Dilithium3, wrappingKey) // its id is another's key
	require.NoError(t, err)
	_, err = r.WalletCreate(t.Context(), broken)
	requireKind(t, seal.KindHSM, err)
	_, err = r.WalletCreate(t.Context(), walletRequest())
	requireKind(t, seal.KindDenied, err)
	r.places.giveBack(broken.WalletID)
	_, err = r.WalletCreate(t.Context(), walletRequest())
	require.NoError(t, err)
}

// An Ethereum wallet's key is made in the token, which signs itself, and the seal
// says so.
func TestAWalletOfAnEVMNetwork(t *testing.T) {
	const network, chain = "evm-devnet", 31337
	i, r, _ := inProcess(t, roomOptions{}, func(c *policy.Charter) {
		c.Networks = append(c.Networks, policy.Network{Name: network, Kind: tx.KindEVM, ChainID: chain, Scheme: tx.Secp256k1, Currency: "ETH",
			DefaultMaxFee: amount("1000000000000000000"), DailyFee: amount("100000000000000000000")})
	})
	i.furnish()
	require.Equal(t, string(hsm.Wrapped), i.wallet.Protection)
	q := walletRequest()
	q.Network, q.Scheme = network, tx.Secp256k1
	w, err := r.WalletCreate(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, string(hsm.Native), w.Protection)
	again, err := r.WalletCreate(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, w, again)
	i.wallet = w
	in := i.deployIntent()
	in.Network, in.ChainID = network, chain
	i.approve(in, 0, 1)
	ask := i.request(in)
	ask.GasLimit, _ = qrc20.Templates()[0].DeployGasBounds()
	out, err := r.Authorize(t.Context(), ask)
	require.NoError(t, err)
	s, err := tx.Decode(tx.KindEVM, out.RawTx)
	require.NoError(t, err)
	require.True(t, s.Verify(tx.Secp256k1))
	require.Equal(t, w.Address, s.Sender)
	require.Equal(t, uint64(chain), s.ChainID)
}
