package chain

import (
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/chaintest"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// askAll asks many questions at once, most of them the same, and checks each answer.
func askAll(t *testing.T, c *Client, rich, poor tx.Address, want *big.Int) {
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			who, has := rich, want
			if i%10 == 0 {
				who, has = poor, new(big.Int)
			}
			b, err := c.Balance(t.Context(), who)
			if err != nil || b.Cmp(has) != 0 {
				t.Errorf("question %d: %v, %v; want %v", i, b, err, has)
			}
			if i%20 == 0 {
				// keccak("EnforcedPause()")[:4] at an account that is no contract: an answer of its own.
				if _, err := c.Call(t.Context(), who, poor, []byte{0xd9, 0x3c, 0x06, 0x65}); err != nil {
					t.Errorf("call %d: %v", i, err)
				}
			}
		})
	}
	all.Wait()
}

// patient is a network of one node that is given time for hundreds of questions at once.
func patient(url string) Network {
	n := network(url)
	n.Timeout = 2 * time.Minute
	return n
}

// before is what stands before a node, and an account there with what it has.
func before(t *testing.T) (p *chaintest.Proxy, rich tx.Address, full *big.Int) {
	t.Helper()
	n := manual(t)
	w := newWallet(t)
	fund(t, n, w)
	full, err := dial(t, network(n.URL())).Balance(t.Context(), w.address)
	require.NoError(t, err)
	return proxy(t, n), w.address, full
}

func TestManyQuestionsAreFewRequests(t *testing.T) {
	p, rich, full := before(t)
	askAll(t, dial(t, patient(p.URL())), rich, tx.Address{7}, full)
	require.Less(t, p.Requests(), 150, "210 questions")
	require.Less(t, p.Asked(), 200, "equal questions that wait are asked once")
}

func TestANodeThatTakesNoBatches(t *testing.T) {
	p, rich, full := before(t)
	p.Set("no-batches", "")
	c := dial(t, patient(p.URL()))
	askAll(t, c, rich, tx.Address{7}, full)
	once := p.Batches()
	askAll(t, c, rich, tx.Address{7}, full)
	require.LessOrEqual(t, once, maxAsking)
	require.Equal(t, once, p.Batches(), "it is not tried again")
}

// TestANodeThatRefusesEachOfABatch: some say so to each question of a batch in place of once; then they are asked one
// by one, too.
func TestANodeThatRefusesEachOfABatch(t *testing.T) {
	p, rich, full := before(t)
	p.Set("no-batch", "")
	askAll(t, dial(t, patient(p.URL())), rich, tx.Address{7}, full)
	require.NotZero(t, p.Batches())
}

// TestANodeThatAnswersNoBatch: something before it drops them, and nobody hears of it. Who waited for one waits in
// vain; from then on it is asked one by one.
func TestANodeThatAnswersNoBatch(t *testing.T) {
	n := manual(t)
	p := proxy(t, n)
	p.Set("stall-batches", "")
	one := network(p.URL())
	one.Timeout = time.Second
	c := dial(t, one)
	require.Eventually(t, func() bool {
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() { _, _ = c.Balance(t.Context(), tx.Address{byte(i)}) })
		}
		all.Wait()
		return c.nodes[0].asking.single.Load()
	}, patience, time.Millisecond)
	require.Eventually(t, func() bool {
		_, err := c.Head(t.Context())
		return err == nil
	}, patience, time.Millisecond)
}

// TestAttack_QuestionsToAHungNodeDoNotPileUp: whoever gave up waits no more, and his question neither.
func TestAttack_QuestionsToAHungNodeDoNotPileUp(t *testing.T) {
	p, rich, full := before(t)
	one := network(p.URL())
	one.Timeout = time.Second
	c := dial(t, one)
	p.Set("stall", "")
	var all sync.WaitGroup
	for i := range 2_000 {
		all.Go(func() { _, _ = c.Balance(t.Context(), tx.Address{byte(i), byte(i >> 8), 1}) })
	}
	all.Wait()
	a := c.nodes[0].asking
	a.mu.Lock()
	left := len(a.waiting)
	a.mu.Unlock()
	require.Less(t, left, 10, "but for the watch's own")
	p.Behave()
	require.Eventually(t, func() bool {
		b, err := c.Balance(t.Context(), rich)
		return err == nil && b.Cmp(full) == 0
	}, patience, time.Millisecond)
}
