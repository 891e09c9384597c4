package chain

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// TestAttack_OurOwnBlocksBetweenTwoQuestions: our transaction is mined, and becomes deep, between the question for
// its receipt and the one for the account's nonce. That the nonce is used up by then is no theft: an operation that
// ended as one would be done a second time by whoever does it again.
func TestAttack_OurOwnBlocksBetweenTwoQuestions(t *testing.T) {
	n := manual(t)
	w := newWallet(t)
	fund(t, n, w)
	late := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && bytes.Contains(body, []byte(`"eth_getTransactionCount"`)) {
			mine(t, n, 3)
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
	t.Cleanup(late.Close)
	c := dial(t, network(late.URL))
	raw := w.sign(t, transfer(0))
	require.NoError(t, c.Send(t.Context(), raw))
	o, err := c.Ask(t.Context(), w.address, 0, []tx.Hash{tx.HashOf(raw)})
	require.NoError(t, err)
	require.False(t, o.Stolen, "the nonce is ours")
	require.True(t, o.Mined.Mined && o.Final)
}
