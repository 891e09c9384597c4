package operation

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// What is kept of the open operations is what counting them afresh gives, whatever became of them.
func TestTheTallyIsWhatCountingGives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex(nil, nil)
		all := map[string]*Operation{}
		for rev := range rapid.IntRange(1, 80).Draw(t, "changes") {
			o := anyOperation(t)
			if old := all[o.ID]; old != nil {
				o.WalletID, o.Network, o.CredentialID, o.RequestedBy = old.WalletID, old.Network, old.CredentialID, old.RequestedBy
			}
			x.put(o, int64(rev+1))
			all[o.ID] = o
		}
		checkTally(t, x, all)
	})
}

func anyOperation(t *rapid.T) *Operation {
	amount := policy.AmountOf(rapid.Uint64Range(1, 3).Draw(t, "amount"))
	recipient := tx.Address{byte(rapid.IntRange(1, 2).Draw(t, "recipient"))}
	pick := func(name string) string { return fmt.Sprint(name, rapid.IntRange(1, 2).Draw(t, name)) }
	return &Operation{
		ID: fmt.Sprintf("op_%02d", rapid.IntRange(0, 20).Draw(t, "id")), Type: rapid.SampledFrom([]policy.OperationType{policy.OpMint, policy.OpBurn}).Draw(t, "type"),
		Status: rapid.SampledFrom(Statuses()).Draw(t, "status"), TokenID: pick("token"), Network: pick("network"), WalletID: pick("wallet"),
		CredentialID: pick("credential"), RequestedBy: pick("person"), Amount: &amount, Recipient: &recipient,
		Authorized: rapid.Bool().Draw(t, "authorized"), Settled: rapid.Bool().Draw(t, "settled"), History: []Step{{Submitted, time.Unix(0, 0)}},
	}
}

func checkTally(t *rapid.T, x *index, all map[string]*Operation) {
	open, pending, released, alive := 0, map[string]int{}, map[string]int{}, map[string]int{}
	supply := map[requested]*big.Int{}
	for _, token := range []string{"token1", "token2"} {
		for _, person := range []string{"person1", "person2"} {
			supply[requested{token, person}] = new(big.Int)
		}
	}
	for _, o := range all {
		if o.closed() {
			continue
		}
		open++
		if o.Status == PendingAuthorization {
			pending[o.CredentialID]++
		}
		if o.Status.released() {
			released[o.Network]++
		}
		if !o.Status.Terminal() {
			alive[o.TokenID]++
		}
		for k, sum := range supply {
			unmined := o.Status == Signed || o.Status == Broadcasting || (o.Authorized && o.Status.beforeSignature())
			own := o.Status.beforeSignature() && o.RequestedBy == k.person
			if o.Type == policy.OpMint && o.TokenID == k.token && (unmined || own) {
				sum.Add(sum, o.Amount.Big())
			}
		}
	}
	require.Len(t, x.open, open)
	x.ask(func(c *tally) {
		require.Equal(t, pending, c.pending)
		require.Equal(t, released, c.released)
		require.Equal(t, alive, c.open)
		for k, sum := range supply {
			require.Zero(t, sum.Cmp(c.unminted(k.token, k.person)), "%v: %s, counted %s", k, c.unminted(k.token, k.person), sum)
		}
		for _, o := range all {
			newest := ""
			for _, other := range all {
				if !other.closed() && !other.Status.Terminal() && likenessOf(other) == likenessOf(o) {
					newest = max(newest, other.ID)
				}
			}
			require.Equal(t, newest, c.twin(o))
		}
	})
	var lanes, onTheirWay int
	for _, w := range x.lanes() {
		lanes += len(x.lane(w))
		onTheirWay += len(x.onTheirWay(w))
	}
	require.Equal(t, open, lanes)
	require.Equal(t, released["network1"]+released["network2"], onTheirWay)
}

// The oldest comes first, and each once.
func TestAgenda(t *testing.T) {
	a := newAgenda()
	for _, id := range []string{"op_3", "op_1", "op_2", "op_1", "op_3"} {
		a.add(id)
	}
	var got []string
	for id, ok := a.take(); ok; id, ok = a.take() {
		got = append(got, id)
	}
	require.Equal(t, []string{"op_1", "op_2", "op_3"}, got)
	a.add("op_1")
	id, ok := a.take()
	require.True(t, ok && id == "op_1", "what was taken may come again")
}

// Lists show the newest state of what changed last, and read the rest.
func TestRecentKeepsTheNewest(t *testing.T) {
	x := newIndex(nil, nil)
	put := func(n int, rev int64, s Status) {
		x.put(&Operation{ID: fmt.Sprintf("op_%06d", n), Type: policy.OpMint, Status: s, WalletID: "w", History: []Step{{s, time.Unix(0, 0)}}}, rev)
	}
	for n := range recentStates + 10 {
		put(n, int64(n+1), Rejected)
	}
	put(recentStates, recentStates+20, Cancelled)
	put(recentStates, recentStates+19, Rejected) // old news
	got := x.states([]string{"op_000009", fmt.Sprintf("op_%06d", 10), fmt.Sprintf("op_%06d", recentStates)})
	require.Nil(t, got[0])
	require.Equal(t, Rejected, got[1].Status)
	require.Equal(t, Cancelled, got[2].Status)
}

// An answer is shared under one head while that is the newest, an error never.
func TestGlances(t *testing.T) {
	h := newHeads(nil, nil)
	g := newGlances(h)
	_, is := h.recent("net")
	require.False(t, is, "no head is known")
	at := func() (*said, bool) {
		head, is := h.recent("net")
		require.True(t, is)
		return g.under("net", head.Hash, "fees")
	}
	h.set("net", headOf(1), time.Now())
	a, first := at()
	require.True(t, first)
	again, first := at()
	require.True(t, !first && again == a)
	g.forget("net", "fees", a)
	_, first = at()
	require.True(t, first, "what failed is asked again")
	h.set("net", headOf(2), time.Now())
	_, first = at()
	require.True(t, first, "another head")
	h.passed("net", 4)
	_, is = h.recent("net")
	require.False(t, is, "the chain is known to be further")
}

func headOf(n uint64) chain.Head { return chain.Head{Number: n, Hash: tx.Hash{byte(n)}} }
