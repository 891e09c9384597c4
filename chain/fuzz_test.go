package chain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// FuzzAnswer: whatever a node answers to everything, each question ends in a value or in a bounded
// line of text.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`null`, `"0x1"`, `"0x"`, `true`, `{}`, `[]`,
		`{"number":"0x1","hash":"0x` + strings.Repeat("ab", 32) + `","timestamp":"0x1","baseFeePerGas":"0x7"}`,
		`{"transactionHash":"0x01` + strings.Repeat("00", 31) + `","blockHash":"0x` + strings.Repeat("ab", 32) +
			`","blockNumber":"0x1","status":"0x0","gasUsed":"0x5208","effectiveGasPrice":"0x7"}`,
		`{"baseFeePerGas":["0x7","0x7"],"gasUsedRatio":[0.5],"reward":[["0x1"]]}`,
		`{"baseFeePerGas":[null],"reward":[[]]}`,
	} {
		f.Add(s, 0, "")
	}
	f.Add("null", 3, "execution reverted\u202e\n")
	f.Add("null", -32000, "nonce too low")
	m, err := newMetrics(nil, "")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, result string, code int, message string) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if message == "" {
				io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":`+result+`}`)
			} else {
				io.WriteString(w, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"error":{"code":%d,"message":%q,"data":%s}}`, code, message, result))
			}
		}))
		defer server.Close()
		n, err := newNode(t.Context(), server.URL, time.Second)
		require.NoError(t, err)
		defer n.close()
		n.setChecked(time.Now())
		c := &Client{net: Network{Confirmations: 1}, log: slog.New(slog.DiscardHandler), metrics: m, nodes: []*node{n}}
		_, headErr := c.Head(t.Context())
		_, feesErr := c.Fees(t.Context(), Low)
		_, statusErr := c.Status(t.Context(), tx.Hash{1})
		_, callErr := c.Call(t.Context(), tx.Address{}, tx.Address{}, nil)
		sendErr := c.Send(t.Context(), []byte{1})
		for _, err := range []error{headErr, feesErr, statusErr, callErr, sendErr} {
			if err == nil {
				continue
			}
			var revert *RevertError
			var rejected *RejectedError
			require.True(t, errors.Is(err, ErrUnavailable) || errors.As(err, &revert) || errors.As(err, &rejected), "%v", err)
			require.NotErrorIs(t, err, context.Canceled)
			require.Less(t, len(err.Error()), 4*maxText)
			for _, r := range err.Error() {
				require.True(t, unicode.IsPrint(r), "%q", err.Error())
			}
		}
	})
}
