package chain

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// double answers every question with the same body: faults that the devnet cannot be told to have.
func double(t *testing.T, status int, body string) *Client {
	n := manual(t)
	lying := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, body)
	}))
	t.Cleanup(lying.Close)
	c := dial(t, network(n.URL()))
	liar, err := newNode(t.Context(), lying.URL, time.Second)
	require.NoError(t, err)
	liar.setChecked(time.Now())
	t.Cleanup(liar.close)
	return &Client{net: c.net, log: c.log, metrics: c.metrics, nodes: []*node{liar}}
}

func TestMalformedAnswers(t *testing.T) {
	answer := func(result string) string { return `{"jsonrpc":"2.0","id":1,"result":` + result + `}` }
	for name, tc := range map[string]struct {
		status int
		body   string
	}{
		"not JSON":         {200, "<html>"},
		"empty":            {200, ""},
		"HTTP 500":         {500, answer(`"0x1"`)},
		"redirect":         {302, ""},
		"null":             {200, answer("null")},
		"other type":       {200, answer("true")},
		"negative":         {200, answer(`"-0x1"`)},
		"more than 2^256":  {200, answer(`"0x1` + strings.Repeat("0", 64) + `"`)},
		"endless":          {200, answer(`"0x` + strings.Repeat("0", maxAnswer) + `"`)},
		"an error, escape": {200, `{"jsonrpc":"2.0","id":1,"error":{"code":-32005,"message":"limit\u001b[2J\u202e"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			c := double(t, tc.status, tc.body)
			_, err := c.Balance(t.Context(), tx.Address{1})
			require.ErrorIs(t, err, ErrUnavailable)
			require.Less(t, len(err.Error()), 1000)
			for _, r := range err.Error() {
				require.False(t, r < ' ' || r == '\u202e', "control character in %q", err.Error())
			}
		})
	}
	t.Run("another hash", func(t *testing.T) {
		c := double(t, 200, answer(`"0x`+strings.Repeat("ab", 32)+`"`))
		require.ErrorIs(t, c.Send(t.Context(), []byte{1}), ErrUnavailable)
	})
	t.Run("another receipt", func(t *testing.T) {
		c := double(t, 200, answer(`{"transactionHash":"0x`+strings.Repeat("ab", 32)+`"}`))
		_, err := c.Status(t.Context(), tx.Hash{1})
		require.ErrorIs(t, err, ErrUnavailable)
	})
}

func TestRejectionWords(t *testing.T) {
	for message, want := range map[string]*RejectedError{
		"already known":                                  nil,
		"AlreadyKnown":                                   nil,
		"known transaction: 0xab":                        nil,
		"nonce too low: next nonce 5, tx nonce 4":        {NonceTooLow: true},
		"replacement transaction underpriced":            {Underpriced: true},
		"transaction gas price below minimum: gas tip 0": {Underpriced: true},
		"insufficient funds for gas * price + value":     {InsufficientFunds: true},
		"exceeds block gas limit":                        {},
		"unknown transaction type":                       {},
	} {
		if want != nil {
			want.Message = message
		}
		require.Equal(t, want, rejection(message), message)
	}
}
