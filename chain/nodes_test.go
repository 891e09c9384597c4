package chain

import (
	"context"
	"errors"
	"math/big"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/chaintest"
	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/tx"
)

func proxy(t *testing.T, n *devnet.Node) *chaintest.Proxy {
	t.Helper()
	p := chaintest.New(n.URL())
	t.Cleanup(p.Close)
	return p
}

// TestEveryFaultFailsOver: whatever the first node does, the second one's answer is given, and never later than
// the first one's timeout; and the first one is asked again once it behaves.
func TestEveryFaultFailsOver(t *testing.T) {
	n := manual(t)
	w := newWallet(t)
	fund(t, n, w)
	bad := proxy(t, n)
	c := dial(t, network(bad.URL(), n.URL()))
	c.stop()
	c.work.Wait() // the watch finds faults, too
	for _, fault := range []string{"stall", "reset", "upgrade", "429", "500", "html", "garbage", "huge", "empty"} {
		t.Run(fault, func(t *testing.T) {
			bad.Set(fault, "")
			b, err := c.Balance(t.Context(), w.address)
			require.NoError(t, err)
			require.Equal(t, devnet.Gift, b)
			bad.Behave()
			c.nodes[0].outrun(0)
			before := bad.Asked()
			_, err = c.Balance(t.Context(), w.address)
			require.NoError(t, err)
			require.Greater(t, bad.Asked(), before, "it is asked first again")
		})
	}
}

// TestAttack_ANodeThatSwitchesProtocols: whoever answers that he goes on in another protocol, and says nothing more,
// holds nobody who asked.
func TestAttack_ANodeThatSwitchesProtocols(t *testing.T) {
	n := manual(t)
	bad := proxy(t, n)
	c := dial(t, network(bad.URL()))
	bad.Set("upgrade", "")
	_, err := c.Balance(t.Context(), newWallet(t).address)
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorContains(t, err, "switches protocols")
}

// TestEachNodeIsAskedAlone: what one says is no other's word.
func TestEachNodeIsAskedAlone(t *testing.T) {
	n := manual(t)
	w := newWallet(t)
	fund(t, n, w)
	poor := proxy(t, n)
	poor.Set("poor", "")
	c := dial(t, network(poor.URL(), n.URL(), "http://127.0.0.1:1"))
	var said []*big.Int
	errs := c.Each(t.Context(), func(ctx context.Context) error {
		b, err := c.Balance(ctx, w.address)
		if err != nil {
			return err
		}
		f, err := c.Fees(ctx, Medium)
		require.NoError(t, err)
		require.Positive(t, f.MaxFee.Sign())
		said = append(said, b)
		return nil
	})
	require.Len(t, errs, 3)
	require.NoError(t, errs[0])
	require.NoError(t, errs[1])
	require.ErrorIs(t, errs[2], ErrUnavailable)
	require.Len(t, said, 2)
	require.Zero(t, said[0].Sign())
	require.Equal(t, devnet.Gift, said[1])
}

// TestAHungNodeIsOutrun: a timeout of minutes keeps nobody waiting while another node answers.
func TestAHungNodeIsOutrun(t *testing.T) {
	n := manual(t)
	bad := proxy(t, n)
	net := network(bad.URL(), n.URL())
	net.Timeout = 10 * time.Minute
	c := dial(t, net)
	bad.Set("stall", "")
	_, err := c.Head(t.Context())
	require.NoError(t, err)
	require.True(t, c.nodes[0].resting())
	require.Equal(t, c.nodes[1], c.order(t.Context())[0], "further questions go to the other one at once")
	w := newWallet(t)
	fund(t, n, w)
	c.nodes[0].outrun(0)
	require.NoError(t, c.Send(t.Context(), w.sign(t, transfer(0))))
}

func TestAWrongChainLater(t *testing.T) {
	n := manual(t)
	w := newWallet(t)
	fund(t, n, w)
	p := proxy(t, n)
	c := dial(t, network(p.URL()))
	c.stop()
	c.work.Wait() // the watch would notice, too
	for fault, argument := range map[string]string{"chain": "7", "genesis": ""} {
		t.Run(fault, func(t *testing.T) {
			p.Set(fault, argument)
			c.nodes[0].mu.Lock()
			c.nodes[0].checked = time.Now().Add(-checkedFor) // so much later
			if fault == "genesis" {
				c.nodes[0].known = false // it failed in between, as whatever is replaced does
			}
			c.nodes[0].mu.Unlock()
			before := p.Count("eth_sendRawTransaction")
			require.ErrorIs(t, c.Send(t.Context(), w.sign(t, transfer(0))), ErrWrongChain)
			require.ErrorIs(t, c.Send(t.Context(), w.sign(t, transfer(0))), ErrWrongChain)
			_, err := c.Head(t.Context())
			require.ErrorIs(t, err, ErrWrongChain)
			require.Equal(t, before, p.Count("eth_sendRawTransaction"), "nothing was sent")
			p.Behave()
			_, err = c.Head(t.Context())
			require.NoError(t, err)
		})
	}
}

func TestHealth(t *testing.T) {
	n := manual(t)
	mine(t, n, 20)
	var proxies []*chaintest.Proxy
	var urls []string
	for range 3 {
		p := proxy(t, n)
		proxies, urls = append(proxies, p), append(urls, p.URL())
	}
	c := dial(t, network(urls...))
	first := func() int {
		c.look(t.Context())
		for i, n := range c.nodes {
			if n == c.order(t.Context())[0] {
				return i
			}
		}
		return -1
	}
	require.Equal(t, 0, first())
	proxies[0].Set("head", "-10")
	require.Equal(t, 1, first(), "a node that is behind the others is asked last")
	proxies[1].Set("future", "3600")
	require.Equal(t, 2, first(), "so is one whose blocks are of a time that has not come")
	proxies[0].Behave()
	proxies[1].Behave()
	require.Equal(t, 0, first())
	proxies[0].Set("future", "-7200")
	require.Equal(t, 1, first(), "and one whose newest block is old")
	proxies[1].Set("head", "1000000")
	require.Equal(t, 1, first(), "a claim of more blocks makes nobody the odd one")
	for _, p := range proxies {
		p.Behave()
	}
	proxies[0].Set("freeze", "")
	require.Equal(t, 0, first())
	for _, n := range c.nodes {
		n.mu.Lock()
		n.rose = time.Now().Add(-time.Hour) // so much later
		n.mu.Unlock()
	}
	require.Equal(t, 0, first(), "on a chain that stands still nobody is the odd one")
	mine(t, n, 1)
	require.Equal(t, 1, first(), "one that stands still alone is, of whatever time it says its newest block is")
}

// TestANodeThatIsBehindDoesNotRest: one that does not have a block yet works; it is not left alone for that.
func TestANodeThatIsBehindDoesNotRest(t *testing.T) {
	n := manual(t)
	mine(t, n, 3)
	c := dial(t, network(n.URL()))
	l := Log{BlockNumber: 3}
	var err error
	l.BlockHash, err = c.BlockHash(t.Context(), l.BlockNumber)
	require.NoError(t, err)
	n.Lag(1)
	w, err := c.Witnesses(t.Context(), l)
	require.NoError(t, err)
	require.Equal(t, Witness{Nodes: 1}, w, "it says nothing")
	require.False(t, c.nodes[0].resting())
	_, err = c.BlockHash(t.Context(), l.BlockNumber)
	require.ErrorIs(t, err, ErrUnavailable)
	require.False(t, c.nodes[0].resting())
}

// TestOpinion: an operation's end is what every configured node says.
func TestOpinion(t *testing.T) {
	n := manual(t)
	w := newWallet(t)
	fund(t, n, w)
	one, two := proxy(t, n), proxy(t, n)
	c := dial(t, network(one.URL(), two.URL()))
	cheap := w.sign(t, transfer(0))
	dear := transfer(0)
	dear.Tip, dear.MaxFee = big.NewInt(2e9), big.NewInt(60e9)
	bumped := w.sign(t, dear)
	hashes := []tx.Hash{tx.HashOf(cheap), tx.HashOf(bumped)}
	opinion := func() Opinion {
		t.Helper()
		o, err := c.Ask(t.Context(), w.address, 0, hashes)
		require.NoError(t, err)
		return o
	}
	require.Equal(t, Opinion{Absent: true}, opinion())
	require.NoError(t, c.SendAll(t.Context(), cheap))
	require.NoError(t, c.SendAll(t.Context(), cheap), "again")
	mine(t, n, 1)
	o := opinion()
	require.True(t, o.Mined.Mined && !o.Final && !o.Absent && !o.Stolen)
	require.Zero(t, o.Which)
	mine(t, n, 1)
	require.True(t, opinion().Final)

	for _, fault := range []string{"hide", "receipts-hide", "failed", "otherblock"} {
		two.Set(fault, "")
		o := opinion()
		require.False(t, o.Final || o.Stolen || o.Absent, fault)
		require.True(t, o.Differing, fault)
		two.Behave()
	}
	for _, p := range []*chaintest.Proxy{one, two} {
		p.Set("head", "-1")
		o = opinion()
		require.False(t, o.Final, "one does not see the depth")
		require.False(t, o.Differing, "a block less contradicts nobody")
		p.Behave()
	}
	mine(t, n, behindMost)
	two.Set("head", "-"+strconv.Itoa(behindMost+2))
	require.True(t, opinion().Differing, "one that stays behind does")
	two.Behave()
	two.Set("reset", "")
	o = opinion()
	require.False(t, o.Final)
	require.Len(t, o.Missing, 1)
	one.Set("reset", "")
	_, err := c.Ask(t.Context(), w.address, 0, hashes)
	require.ErrorIs(t, err, ErrUnavailable)
	one.Behave()
	two.Behave()

	// Somebody else's transaction with the same nonce is at depth.
	hashes = hashes[1:]
	o = opinion()
	require.True(t, o.Stolen && o.Absent && !o.Final)
	two.Set("nonce", "-1")
	require.False(t, opinion().Stolen)
	two.Behave()
	one.Set("nonce", "5")
	o, err = c.Ask(t.Context(), w.address, 3, hashes)
	require.NoError(t, err)
	require.False(t, o.Stolen, "one node says so")
}

// inTime asks until the answer is as wanted: on a busy machine nodes that tell the truth may be too late to be heard beside
// one that does not.
func inTime[T any](t *testing.T, want T, ask func() (T, error)) {
	t.Helper()
	var got T
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if got, err = ask(); err == nil && assert.ObjectsAreEqual(want, got) {
			return
		}
	}
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// What is signed at fees that one node makes too low is in no block, and its nonce is spent: with two nodes the one that
// says more is believed, with three most are.
func TestAttack_ANodeSaysThatBlocksAreCheap(t *testing.T) {
	n := manual(t)
	honest := dial(t, network(n.URL()))
	want, err := honest.Fees(t.Context(), Medium)
	require.NoError(t, err)
	liar := proxy(t, n)
	for fault, nodes := range map[string][]string{"cheap": {liar.URL(), n.URL()}, "dear": {liar.URL(), n.URL(), n.URL() + "/"}} {
		t.Run(fault, func(t *testing.T) {
			c := dial(t, network(nodes...))
			liar.Set(fault, "1000")
			defer liar.Behave()
			said := func() (Fees, error) { return c.Fees(t.Context(), Medium) }
			inTime(t, want, said)
			liar.Set("stall", "")
			inTime(t, want, said)
		})
	}
}

// What is signed with the gas that one node makes too little runs out of it: it fails, and its nonce and its fee are spent.
// With two nodes the one that says more is believed, with three most are; that a call cannot be carried out is more than
// any gas.
func TestAttack_ANodeSaysThatACallNeedsLittleGas(t *testing.T) {
	n := manual(t)
	w := newWallet(t)
	fund(t, n, w)
	estimate := func(c *Client) (uint64, error) { return c.EstimateGas(t.Context(), w.address, nil, obedient) }
	want, err := estimate(dial(t, network(n.URL())))
	require.NoError(t, err)
	liar := proxy(t, n)
	three := dial(t, network(liar.URL(), n.URL(), n.URL()+"/"))
	for _, c := range []*Client{dial(t, network(liar.URL(), n.URL())), three} {
		for fault, factor := range map[string]string{"light": "1000", "stall": ""} {
			liar.Set(fault, factor)
			inTime(t, want, func() (uint64, error) { return estimate(c) })
			liar.Behave()
			c.nodes[0].outrun(0)
		}
	}
	liar.Set("reverts", "")
	last := dial(t, network(n.URL(), liar.URL()))
	var revert *RevertError
	require.Eventually(t, func() bool { // once it is in time
		_, err := estimate(last)
		return errors.As(err, &revert)
	}, patience, time.Millisecond, "one of two says so, whichever")
	for _, fault := range []string{"reverts", "light"} {
		liar.Behave()
		liar.Set(fault, "1/1000")
		inTime(t, want, func() (uint64, error) { return estimate(three) })
	}
}
