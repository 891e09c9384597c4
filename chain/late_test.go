package chain

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// beforeAnswers is the URL of a node before whose answers to one method f runs.
func beforeAnswers(t *testing.T, n *devnet.Node, method string, f func()) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && bytes.Contains(body, []byte(strconv.Quote(method))) {
			f()
		}
		answer, err := http.Post(n.URL(), "application/json", bytes.NewReader(body))
		if err != nil {
			http.Error(out, err.Error(), http.StatusBadGateway)
			return
		}
		defer func() { _ = answer.Body.Close() }()
		out.Header().Set("Content-Type", "application/json")
		_, _ = io.Copy(out, answer.Body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestAttack_OurOwnBlocksBetweenTwoQuestions: our transaction is mined, and becomes deep, between the question for
// its receipt and the one for the account's nonce. That the nonce is used up by then is no theft: an operation that
// ended as one would be done a second time by whoever does it again.
func TestAttack_OurOwnBlocksBetweenTwoQuestions(t *testing.T) {
	n := manual(t)
	w := newWallet(t)
	fund(t, n, w)
	late := beforeAnswers(t, n, "eth_getTransactionCount", func() { mine(t, n, 3) })
	c := dial(t, network(late))
	raw := w.sign(t, transfer(0))
	require.NoError(t, c.Send(t.Context(), raw))
	o, err := c.Ask(t.Context(), w.address, 0, []tx.Hash{tx.HashOf(raw)})
	require.NoError(t, err)
	require.False(t, o.Stolen, "the nonce is ours")
	require.True(t, o.Mined.Mined && o.Final)
}

// TestAttack_AnIndexThatIsMadeAnewCallsNobodyAThief: a node that finds no transaction by its hash shows that our nonce is
// used up, at depth, and lists our transaction in the block in which it was. That is no theft, however long ago.
func TestAttack_AnIndexThatIsMadeAnewCallsNobodyAThief(t *testing.T) {
	n := manual(t)
	w := newWallet(t)
	fund(t, n, w)
	p := proxy(t, n)
	c := dial(t, network(p.URL()))
	mine(t, n, 5)
	var hashes []tx.Hash
	for nonce := range uint64(3) {
		raw := w.sign(t, transfer(nonce))
		hashes = append(hashes, tx.HashOf(raw))
		require.NoError(t, c.Send(t.Context(), raw))
		mine(t, n, nonce+1)
	}
	p.Set("unindexed", "")
	for _, blocks := range []uint64{1, 1, 1, 40, 300} {
		mine(t, n, blocks)
		for nonce, hash := range hashes[:2] {
			opinion := func(hashes ...tx.Hash) Opinion {
				o, err := c.Ask(t.Context(), w.address, uint64(nonce), hashes)
				require.NoError(t, err)
				return o
			}
			require.Equal(t, Opinion{Absent: true}, opinion(tx.Hash{1}, hash))
			require.Equal(t, Opinion{Absent: true, Stolen: true}, opinion(hashes[nonce+1], tx.Hash{1}), "another one's hash stands there")
		}
	}
}

// TestAHungNodeHoldsUpNoSending: who sends to all waits for none that hangs while another one has taken it, and the hung
// one gets it all the same.
func TestAHungNodeHoldsUpNoSending(t *testing.T) {
	n := manual(t)
	w := newWallet(t)
	fund(t, n, w)
	released, got := make(chan struct{}), make(chan struct{}, 1)
	release := sync.OnceFunc(func() { close(released) })
	hung := beforeAnswers(t, n, "eth_sendRawTransaction", func() {
		<-released
		got <- struct{}{}
	})
	t.Cleanup(release)
	net := network(hung, n.URL())
	net.Timeout = 2 * patience
	c := dial(t, net)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, c.SendAll(ctx, w.sign(t, transfer(0))))
	require.NoError(t, ctx.Err(), "it waited for the one that hangs")
	release()
	select {
	case <-got:
	case <-ctx.Done():
		t.Fatal("the one that was late was never asked")
	}
}
