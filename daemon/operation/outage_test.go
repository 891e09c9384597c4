package operation_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/chaintest"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/policy"
)

// TestAnOutageOfSixHours: every node is away for six hours, by this appliance's clock and by the chain's blocks, and
// comes back without what it had been sent. What was sent before is delivered once, as it was and at the fees that it
// had; what was approved meanwhile follows, or has expired; nothing is sent again and again. Pauses between tries do
// not grow with an outage, so that hours differ from seconds by the clock and by the blocks alone, which both pass here.
func TestAnOutageOfSixHours(t *testing.T) {
	t.Parallel()
	const blocks = 6 * 60 * 60 / 15
	var ahead atomic.Int64
	var nodes []*chaintest.Proxy
	h := newHouse(t, options{period: manual, timeout: time.Second, rules: []policy.Rule{approvals(1)},
		clock: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		nodes: func(own string) (urls []string) {
			for range 2 {
				n := chaintest.New(own)
				t.Cleanup(n.Close)
				nodes, urls = append(nodes, n), append(urls, n.URL())
			}
			return urls
		}})
	all := func(f func(*chaintest.Proxy)) {
		for _, n := range nodes {
			f(n)
		}
	}
	sends := func() (n int) {
		all(func(p *chaintest.Proxy) { n += p.Count("eth_sendRawTransaction") })
		return n
	}
	stop := h.mineAlways()
	token := h.deployed("0")
	ask := func(amount string, ttl time.Duration) *operation.Operation {
		return h.submit(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: &amount, Recipient: h.own(), IntentTTL: ttl})
	}
	stop()
	late, expires := ask("40", 0), ask("500", time.Hour)
	all(func(p *chaintest.Proxy) { p.Set("swallow", "") })
	var sent []*operation.Operation
	for _, amount := range []string{"1", "2", "3"} {
		o := ask(amount, 0)
		h.approve(o)
		sent = append(sent, h.is(o.ID, operation.Broadcasting))
	}
	h.until("they are sent", func() bool { return sends() >= len(sent) })

	all(func(p *chaintest.Proxy) { p.Set("stall", "") })
	h.restart() // it knows nothing of the chain any more
	h.approve(late)
	h.approve(expires)
	h.is(late.ID, operation.PendingSignature)
	h.mine(blocks)
	ahead.Store(int64(6 * time.Hour))
	h.is(expires.ID, operation.Cancelled) // for that no node is asked
	for _, o := range append(sent, late) {
		require.False(t, h.now(o.ID).Status.Terminal(), "silence ends nothing")
	}
	before := 0
	all(func(p *chaintest.Proxy) { before += p.Asked() })
	h.until("nodes are asked in vain", func() bool {
		n := 0
		all(func(p *chaintest.Proxy) { n += p.Asked() })
		return n > before
	})

	during := sends()
	all((*chaintest.Proxy).Behave)
	defer h.mineAlways()()
	for _, o := range append(sent, late) {
		done := h.ends(o, operation.Completed)
		require.Len(t, h.versions(done), 1, "it waited for nodes, not for a dearer fee")
	}
	require.LessOrEqual(t, sends()-during, 2*len(nodes)*(len(sent)+1), "a storm of sends")
	require.Equal(t, "46", h.supply(token))
	w, err := h.registry.OldestWallet(t.Context(), h.vault, networkName)
	require.NoError(t, err)
	used, err := h.chain.NonceAt(t.Context(), w.Address, nil)
	require.NoError(t, err)
	require.EqualValues(t, 1+len(sent)+1, used, "a nonce for each, and none for what expired")
	h.settled(sent[0].ID, sent[1].ID, sent[2].ID, late.ID)
	h.verifies()
}
