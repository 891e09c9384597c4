package api

import (
	"encoding/json/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// binders decode a body into the type that its handler takes.
var binders = map[string]func(*request) error{
	"createToken":               binds[TokenCreate],
	"updateToken":               binds[TokenUpdate],
	"deployToken":               moves[DeployRequest],
	"mintToken":                 moves[MintRequest],
	"burnToken":                 moves[BurnRequest],
	"grantTokenRole":            moves[RoleChangeRequest],
	"revokeTokenRole":           moves[RoleChangeRequest],
	"approveTokenOperation":     enveloped,
	"rejectTokenOperation":      enveloped,
	"cancelTokenOperation":      binds[CancelRequest],
	"createVaultAccount":        binds[VaultAccountCreate],
	"createWallet":              binds[WalletCreate],
	"createPolicy":              func(r *request) error { _, err := policySpec(r); return err },
	"proposePolicyVersion":      func(r *request) error { _, err := policySpec(r); return err },
	"signPolicy":                enveloped,
	"simulatePolicy":            binds[SimulationRequest],
	"proposeCharter":            binds[CharterWrite],
	"signCharter":               enveloped,
	"signTokenBinding":          enveloped,
	"unsealSeal":                enveloped,
	"sealSeal":                  enveloped,
	"freeze":                    enveloped,
	"signTokenOperationRequest": enveloped,
	"importToken":               binds[TokenImport],
	"estimateTokenDeployment":   binds[DeploymentEstimateRequest],
	"transferToken":             moves[TransferRequest],
	"pauseToken":                moves[PauseRequest],
	"unpauseToken":              moves[PauseRequest],
	"freezeTokenAccount":        moves[AccountFreezeRequest],
	"unfreezeTokenAccount":      moves[AccountFreezeRequest],
	"addTokenAllowlist":         moves[AllowlistRequest],
	"retireToken":               binds[RetireRequest],
	"approveTransaction":        enveloped,
	"rejectTransaction":         enveloped,
	"cancelTransaction":         binds[CancelRequest],
	"cancelWalletNonce":         moves[CancelNonceRequest],
	"updateUser":                binds[UserUpdate],
	"createRole":                binds[RoleDefinitionCreate],
	"rotateCredential":          binds[CredentialRotate],
	"createWebhook":             binds[WebhookCreate],
	"testWebhook":               binds[WebhookTest],
	"rotateWebhook":             binds[WebhookRotate],
	"replayWebhookDelivery":     binds[WebhookReplay],
	"createUser":                binds[UserCreate],
	"createCredential": func(r *request) error {
		b, err := bind[CredentialCreate](r.raw)
		if err != nil {
			return err
		}
		_, err = credentialSpec(b)
		return err
	},
}

func binds[T any](r *request) error {
	if r.badValue != nil {
		return r.badValue
	}
	_, err := bind[T](r.raw)
	return err
}

func moves[T any](r *request) error { _, err := privileged[T](r); return err }

func enveloped(r *request) error { _, err := envelopeOf(r); return err }

func TestEveryBodyHasABinder(t *testing.T) {
	for name, r := range offline(t).document.routes {
		require.Equal(t, r.body != nil, binders[r.id] != nil, name)
	}
}

// FuzzBody: whatever a body is, it is refused in words with a code of the table,
// or it decodes into what its handler takes. A body that is not refused is the
// same to the idempotency record however often it is read.
func FuzzBody(f *testing.F) {
	d, err := readDocument()
	require.NoError(f, err)
	var routes []*route
	for _, r := range d.routes {
		if r.body != nil {
			routes = append(routes, r)
		}
	}
	slices.SortFunc(routes, func(a, b *route) int { return strings.Compare(a.id, b.id) })
	for i, r := range routes {
		f.Add(byte(i), "{}")
		if r.body.Example != nil {
			b, err := json.Marshal(r.body.Example)
			require.NoError(f, err)
			f.Add(byte(i), string(b))
		}
	}
	f.Add(byte(0), `{"amount":1e400,"recipient":{"type":"address","address":7}}`)
	f.Add(byte(3), `{"a":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+`}`)
	f.Add(byte(5), `{"name":"\u202e","rules":[{"type":"MAX_AMOUNT","amount":"\u0661"}]}`)
	f.Fuzz(func(t *testing.T, which byte, body string) {
		if len(body) > maxBody {
			t.Skip("readBody refuses it")
		}
		r := &request{route: routes[int(which)%len(routes)]}
		raw, tree, err := parseBody([]byte(body))
		if err != nil {
			inTable(t, err)
			return
		}
		r.raw = raw
		if r.badValue, err = r.route.checkBody(tree); err != nil {
			inTable(t, err)
			return
		}
		if r.badValue != nil {
			inTable(t, r.badValue)
		}
		if _, err := r.route.checkKey(http.Header{"Idempotency-Key": {"k"}}, tree); err != nil {
			inTable(t, err)
		}
		if err := binders[r.route.id](r); err != nil {
			inTable(t, err)
			return
		}
		one, err := bodyHash(raw)
		require.NoError(t, err)
		two, err := bodyHash(raw)
		require.NoError(t, err)
		require.Equal(t, one, two)
	})
}

func inTable(t *testing.T, err error) {
	t.Helper()
	var p *problem
	require.ErrorAs(t, err, &p)
	require.NotEqual(t, internalFault, p.name, "%s", p.message)
	require.NotEmpty(t, p.message)
	require.True(t, p.status >= 400 && p.status < 500)
	for _, c := range p.message {
		require.True(t, c >= ' ' && c != 0x7f && (c < 0x202a || c > 0x202e), "%q", p.message)
	}
}

// FuzzValues: an amount or an address that a mint's body carries is refused
// exactly if the one parser that the services use refuses it.
func FuzzValues(f *testing.F) {
	for _, a := range []string{"0", "1", "-1", "1.5", "0x10", "1e18", "01", "+1", " 1", "1 ", "", "٠", "115792089237316195423570985008687907853269984665640564039457584007913129639935", "115792089237316195423570985008687907853269984665640564039457584007913129639936"} {
		f.Add(a, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")
	}
	for _, a := range []string{"0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", "0X5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED", "0x5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED", "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0x", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"} {
		f.Add("1", a)
	}
	d, err := readDocument()
	require.NoError(f, err)
	mint := d.routes["POST /v1/tokens/:tokenId/mint"]
	f.Fuzz(func(t *testing.T, amount, address string) {
		body, err := json.Marshal(map[string]any{"amount": amount, "recipient": map[string]any{"type": "address", "address": address}})
		if err != nil {
			return // not UTF-8: no JSON holds it
		}
		_, tree, err := parseBody(body)
		require.NoError(t, err)
		bad, err := mint.checkBody(tree)
		require.NoError(t, err)
		_, amountErr := policy.ParseAmount(amount)
		_, addressErr := tx.ParseAddress(address)
		require.Equal(t, amountErr != nil || addressErr != nil, bad != nil, "%q %q: %v %v, %v", amount, address, amountErr, addressErr, bad)
		if bad != nil {
			inTable(t, bad)
			require.Contains(t, []string{registry.InvalidTokenAmount, registry.InvalidRecipient}, bad.name)
		}
	})
}

// FuzzQuery: whatever a query is, it is refused in words or its page is within
// the document's bounds.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{"", "limit=1", "limit=200&offset=10000", "limit=0", "limit=1e2", "offset=-1", "cursor=a", "cursor=a&offset=0", "limit=1&limit=2", "limit=%31", "a;b", "%", "limit=+1", "limit=9223372036854775808", "status=COMPLETED"} {
		f.Add(q)
	}
	s := offline(f)
	r := s.document.routes["GET /v1/token-operations"]
	f.Fuzz(func(t *testing.T, query string) {
		c, _ := gin.CreateTestContext(httptest.NewRecorder())
		c.Request = &http.Request{Method: "GET", URL: &url.URL{Path: "/v1/token-operations", RawQuery: query}, Header: http.Header{}}
		if err := s.checkParams(c, r); err != nil {
			inTable(t, err)
			return
		}
		called := false
		w := ServerInterfaceWrapper{
			Handler: pages{list: func(p ListTokenOperationsParams) { called = true; inBounds(t, p) }},
			ErrorHandler: func(_ *gin.Context, err error, _ int) {
				t.Fatalf("%q passed the document's checks and not the wrapper: %v", query, err)
			},
		}
		w.ListTokenOperations(c)
		require.True(t, called)
	})
}

// pages is the one handler that FuzzQuery reaches.
type pages struct {
	ServerInterface
	list func(ListTokenOperationsParams)
}

func (p pages) ListTokenOperations(_ *gin.Context, params ListTokenOperationsParams) { p.list(params) }

func inBounds(t *testing.T, p ListTokenOperationsParams) {
	limit, offset := page(p.Limit, p.Offset)
	require.True(t, limit >= 1 && limit <= 200 && offset >= 0 && offset <= 10000, "%d %d", limit, offset)
}

// FuzzKey: a key is refused or is 1 to 255 visible characters, and no other
// key, path, method or tenant shares its scope.
func FuzzKey(f *testing.F) {
	for _, k := range []string{"", "k", strings.Repeat("k", 255), strings.Repeat("k", 256), "a b", "ü", "a\x00", "~!"} {
		f.Add(k, k)
	}
	d, err := readDocument()
	require.NoError(f, err)
	mint := d.routes["POST /v1/tokens/:tokenId/mint"]
	f.Fuzz(func(t *testing.T, inHeader, inBody string) {
		key, err := mint.checkKey(http.Header{"Idempotency-Key": {inHeader}}, map[string]any{"idempotencyKey": inBody})
		if err != nil {
			inTable(t, err)
			return
		}
		require.True(t, visible(key, 255), "%q", key)
		require.Equal(t, inHeader, inBody)
		require.NotEqual(t, scope("t", "POST", "/a", key), scope("t", "POST", "/a"+key[:1], key[1:]))
	})
}
