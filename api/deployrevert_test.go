package api_test

import (
	"bytes"
	"encoding/json/v2"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// noContracts stands before the house's node and lets it create no contract: the
// constructors of the templates revert for no token that the API takes, so a real
// node cannot be made to say so.
func (h *house) noContracts() string {
	node, err := url.Parse(h.node.URL())
	require.NoError(h.t, err)
	on := httputil.NewSingleHostReverseProxy(node)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the caller left
		}
		var call struct {
			ID     any    `json:"id"`
			Method string `json:"method"`
			Params []any  `json:"params"`
		}
		if json.Unmarshal(body, &call) == nil && call.Method == "eth_estimateGas" {
			if what, ok := call.Params[0].(map[string]any); ok && what["to"] == nil {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%v,"error":{"code":3,"message":"execution reverted: no contracts here"}}`, call.ID)
				return
			}
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		on.ServeHTTP(w, r)
	}))
	h.t.Cleanup(s.Close)
	return s.URL
}

// A deployment that the chain would revert is refused before anybody is asked to
// approve it, and when its price is asked for.
func TestADeploymentThatWouldRevertIsRefused(t *testing.T) {
	h := newHouse(t)
	vault, _ := h.serve().vault("treasury")
	c, err := chain.Dial(t.Context(), chain.Network{
		Name: network, Kind: tx.KindQuantum, ChainID: devnet.DefaultChainID, RPCURLs: []string{h.noContracts()}, Confirmations: 2, Scheme: tx.Dilithium3, Currency: "QC",
	}, storetest.Logger(t), prometheus.NewRegistry())
	require.NoError(t, err)
	t.Cleanup(c.Close)
	h.chains = map[string]*chain.Client{network: c}
	s := h.second()
	path := "/v1/tokens/" + s.token(vault)
	require.Contains(t, s.as("viewer", "POST", path+"/deployment/estimate", "").fails(422, 1709), "no contracts here")
	require.Contains(t, s.as("operator", "POST", path+"/deploy", "", key("k")).fails(422, 1709), "no contracts here")
	require.Zero(t, s.count("/v1/token-operations"))
}
