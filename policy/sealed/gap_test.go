package sealed

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// A recovery left a gap in a wallet's lane. Nothing behind it is mined before it is filled; once as many
// wait as may, nothing fills it any more.
func TestAGapIsFilledThoughAsManyWaitAsMay(t *testing.T) {
	dir := t.TempDir()
	i, _, stop := inProcess(t, roomOptions{state: dir}, func(c *policy.Charter) { c.Limits.MaxOutstanding = 2 })
	i.furnish()
	i.deploy()
	i.many(1)
	require.NoError(t, stop())
	trimLog(t, 1)
	r := newTestRoom(t, i.digest, roomOptions{state: dir})
	start(t, r)
	i.door = r
	inDoubt(t, r, "behind")
	gap := r.known().fold.NextNonce(i.wallet.WalletID)
	_, err := r.Recover(t.Context(), i.recovering(r, func(d *ledger.Recover) {
		d.Usage = []ledger.RecoverUsage{{ChainID: testChain, ContractAddress: *i.token.ContractAddress, Operation: policy.OpMint}}
	})) // the lane goes on behind one nonce
	require.NoError(t, err)
	again := func(in *policy.Intent) *policy.Intent { in.Epoch = 2; return in }
	for n := range 2 {
		in := again(i.mint("1"))
		i.approve(in, 0, 1)
		_, err := r.Authorize(t.Context(), i.request(in))
		if n == 0 {
			require.NoError(t, err)
			continue
		}
		requireKind(t, seal.KindQueued, err) // the last place is for what fills the gap
	}
	token := i.token
	i.token = policy.Token{}
	nonce := fmt.Sprint(gap)
	cancel := again(i.intent(policy.OpCancel, policy.Params{Nonce: &nonce}))
	i.token = token
	i.approve(cancel, 0, 1)
	q := i.request(cancel)
	q.GasLimit = 21_000
	_, err = r.Authorize(t.Context(), q)
	require.NoError(t, err, "else none of the two is ever mined, and none ever settled")
}

// Of two nonces that a recovery left open the higher one is cancelled first: it is not mined before the lower one is,
// whose CANCEL must still find a place.
func TestTheLastPlaceIsTheLowestGaps(t *testing.T) {
	dir := t.TempDir()
	i, _, stop := inProcess(t, roomOptions{state: dir}, func(c *policy.Charter) { c.Limits.MaxOutstanding = 2 })
	i.furnish()
	i.deploy()
	i.many(1)
	require.NoError(t, stop())
	trimLog(t, 1)
	r := newTestRoom(t, i.digest, roomOptions{state: dir})
	start(t, r)
	i.door = r
	inDoubt(t, r, "behind")
	gap := r.known().fold.NextNonce(i.wallet.WalletID)
	_, err := r.Recover(t.Context(), i.recovering(r, func(d *ledger.Recover) {
		d.Usage = []ledger.RecoverUsage{{ChainID: testChain, ContractAddress: *i.token.ContractAddress, Operation: policy.OpMint}}
		d.Lanes[0].Nonce = gap + 2
	}))
	require.NoError(t, err)
	in := i.mint("1")
	in.Epoch = 2
	i.approve(in, 0, 1)
	_, err = r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
	fill := func(nonce uint64) error {
		token, text := i.token, fmt.Sprint(nonce)
		i.token = policy.Token{}
		cancel := i.intent(policy.OpCancel, policy.Params{Nonce: &text})
		cancel.Epoch, i.token = 2, token
		i.approve(cancel, 0, 1)
		q := i.request(cancel)
		q.GasLimit = 21_000
		_, err := r.Authorize(t.Context(), q)
		return err
	}
	requireKind(t, seal.KindQueued, fill(gap+1))
	require.NoError(t, fill(gap), "else nothing of this wallet is ever mined")
}
