package api_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// otherNames are what a careless router, or a proxy in front of one, takes for a path: none of them is another name
// of it.
func otherNames(path string) []string {
	segments := strings.Split(path, "/")[1:]
	out := []string{path + "/", "/" + path, path + "//", "/v1/.." + path, "/." + path, path + "/.", path + "/%2e", "/V1" + strings.TrimPrefix(path, "/v1"),
		"/v2" + strings.TrimPrefix(path, "/v1"), "/%76" + strings.TrimPrefix(path, "/v"), strings.ReplaceAll(path, "/", "\\"), strings.ReplaceAll(path, "/", "%2f")}
	for i, s := range segments {
		rest := func(middle string) string {
			return "/" + strings.Join(slices.Concat(segments[:i], []string{middle}, segments[i+1:]), "/")
		}
		if i > 0 {
			out = append(out, rest("/"+s), rest("./"+s), rest("%2e/"+s), rest("x/../"+s), rest("%2f"+s), rest("x%2f..%2f"+s), rest("%2e%2e%2f"+s))
		}
		if strings.ToLower(s) == s && !strings.Contains(s, "_") { // no id
			out = append(out, rest(strings.ToUpper(s)), rest(strings.ToUpper(s[:1])+s[1:]), rest(fmt.Sprintf("%%%02x%s", s[0], s[1:])),
				rest(s+"%20"), rest(s+"%00"), rest(s+";v=1"), rest(s+"."), rest(s+"%2f"), rest("\u200b"+s), rest(strings.Replace(s, "e", "\u0435", 1)))
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == path })
}

// TestAttack_EveryRouteHasOneName: a route that is reached complains of a parameter that it does not know; under none
// of its other names does any, save where what stands in the id's place is taken for an id, which nothing has.
func TestAttack_EveryRouteHasOneName(t *testing.T) {
	t.Parallel()
	s := newSurface(newHouse(t))
	for _, c := range s.calls() {
		t.Run(c.op.OperationID, func(t *testing.T) {
			send := func(path string, parameters ...string) (answer, bool) {
				query := strings.TrimPrefix(strings.Join(append([]string{c.query}, parameters...), "&"), "&")
				return s.raw(t, text(c.method, path+"?"+query, s.keys[c.user()], "Idempotency-Key: other-names", c.body))
			}
			a, ok := send(c.path, "nonsense=1")
			require.True(t, ok)
			require.Contains(t, a.fails(400, 1100), "nonsense", "the route itself")
			for _, name := range otherNames(c.path) {
				a, ok := send(name, "nonsense=1")
				if ok && strings.Contains(string(a.body), "nonsense") {
					a, _ = send(name)
					require.Contains(t, []int{404, 422}, a.status, "%s: %s", name, a.body) // an envelope that is none comes before
					continue
				}
				if !ok {
					continue // Go's own server answers it
				}
				require.Contains(t, []int{400, 404, 405}, a.status, "%s: %s", name, a.body)
				require.NotContains(t, string(a.body), "nonsense", name)
			}
		})
	}
}

// TestEveryPathKnowsItsMethods: each method that the document does not have is refused on each path, and told which
// ones there are.
func TestEveryPathKnowsItsMethods(t *testing.T) {
	t.Parallel()
	s := newSurface(newHouse(t))
	// A path may be one of several that the document has: "import" could be a token's id.
	of := map[string][]string{}
	for _, c := range s.calls() {
		for template, item := range s.doc.Paths.Map() {
			if !regexp.MustCompile("^" + regexp.MustCompile(`\{\w+\}`).ReplaceAllString(template, "[^/]+") + "$").MatchString(c.path) {
				continue
			}
			for method := range item.Operations() {
				if !slices.Contains(of[c.path], method) {
					of[c.path] = append(of[c.path], method)
				}
			}
		}
	}
	for path, known := range of {
		slices.Sort(known)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW", "get", "Post"} {
			if slices.Contains(known, method) {
				continue
			}
			a, ok := s.raw(t, text(method, path, s.keys["admin"], "", ""))
			require.True(t, ok)
			require.Equal(t, 405, a.status, "%s %s", method, path)
			allowed := strings.Split(a.header.Get("Allow"), ", ")
			slices.Sort(allowed)
			require.Equal(t, known, allowed, "%s %s", method, path)
			if method != "HEAD" {
				a.fails(405, 1112)
			}
		}
	}
}

const inflated = 64 << 20 // bytes of a bomb

// bombs are bodies that are small until somebody inflates them, by what they say that they are.
func bombs(t *testing.T) map[string][]byte {
	squeeze := func(b []byte, w func(io.Writer) io.WriteCloser) []byte {
		var out bytes.Buffer
		z := w(&out)
		_, err := z.Write(b)
		require.NoError(t, err)
		require.NoError(t, z.Close())
		return out.Bytes()
	}
	gz := func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
	text := append(append([]byte(`{"name":"`), bytes.Repeat([]byte("a"), inflated)...), `"}`...)
	once := squeeze(text, gz)
	out := map[string][]byte{
		"gzip": once, "GZip": once, "x-gzip": once, "gzip, gzip": squeeze(once, gz), "identity, gzip": once, "gzip, identity": once, "identity\r\nContent-Encoding: gzip": once,
		"deflate": squeeze(text, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }),
		"raw": squeeze(text, func(w io.Writer) io.WriteCloser {
			z, err := flate.NewWriter(w, flate.BestCompression)
			require.NoError(t, err)
			return z
		}),
		"zstd": zstdZeros(inflated), "br": once, "compress": once, "nonsense": once, "gzip;q=1": once,
	}
	for name, b := range out {
		require.Less(t, len(b), 1<<20, name)
	}
	return out
}

// zstdZeros is a zstd frame (RFC 8878) of n zeros: blocks of one repeated byte.
func zstdZeros(n int) []byte {
	const block = 128 << 10
	out := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58}
	for at := 0; at < n; at += block {
		head := uint32(block<<3 | 1<<1)
		if at+block >= n {
			head |= 1
		}
		out = append(binary.LittleEndian.AppendUint32(out, head)[:len(out)+3], 0)
	}
	return out
}

// TestAttack_CompressedBombsOnEveryRoute: whatever a body is compressed by, once or twice, each route refuses it for
// that, unread, and nobody inflates it.
func TestAttack_CompressedBombsOnEveryRoute(t *testing.T) {
	s := newSurface(newHouse(t))
	all := bombs(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	sent := uint64(0)
	for _, c := range s.calls() {
		for encoding, bomb := range all {
			headers := "Idempotency-Key: bomb\r\nContent-Encoding: " + encoding
			a, ok := s.raw(t, text(c.method, c.url(), s.keys[c.user()], headers, string(bomb)))
			sent++
			require.True(t, ok)
			if !c.writes() { // whose body nobody reads
				require.NotContains(t, []int{500, 413}, a.status)
				continue
			}
			said := a.fails(400, 1100)
			if c.body != "" {
				require.Contains(t, said, "is encoded as", "%s: %s", c.op.OperationID, encoding)
			}
		}
	}
	runtime.ReadMemStats(&after)
	require.Less(t, (after.TotalAlloc-before.TotalAlloc)/sent, uint64(inflated/8), "bytes for a request")
}

// TestAttack_HeaderFloodsOnEveryRoute: more of a header, or more headers, than anybody needs is refused by each route
// in HTTP/1.1 and HTTP/2, and the next request is answered.
func TestAttack_HeaderFloodsOnEveryRoute(t *testing.T) {
	t.Parallel()
	s := newHouse(t).serve()
	s.userWith("compliance-1", "compliance_officer")
	conf := &tls.Config{RootCAs: s.pki.roots, Certificates: []tls.Certificate{s.cert}}
	old := &http.Transport{TLSClientConfig: conf.Clone()} // without HTTP/2
	t.Cleanup(old.CloseIdleConnections)
	clients := map[string]*http.Client{"HTTP/2": s.client, "HTTP/1.1": {Transport: old}}
	floods := map[string]func(http.Header){
		"a long one": func(h http.Header) { h.Set("X-Flood", strings.Repeat("x", 256<<10)) },
		"many": func(h http.Header) {
			for i := range 4000 {
				h.Set(fmt.Sprint("X-Flood-", i), "of headers without an end")
			}
		},
		"one many times": func(h http.Header) { h["X-Flood"] = slices.Repeat([]string{strings.Repeat("x", 60)}, 4000) },
	}
	for _, c := range s.calls() {
		for version, cl := range clients {
			for name, flood := range floods {
				req := s.request(c.user(), c.method, c.url(), c.body, key("flood"))
				flood(req.Header)
				resp, err := cl.Do(req)
				if err != nil {
					continue // the connection was cut
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				require.Equal(t, 431, resp.StatusCode, "%s %s of %s by %s", c.method, c.path, name, version)
			}
		}
	}
	is[api.TokenList](s.as("viewer", "GET", "/v1/tokens", ""), 200)
}

// TestEveryRouteOfWhatIsGone: what was deleted, revoked, retired, withdrawn or has ended is answered as such by every
// route that is about one of its kind: the table has all of them.
func TestEveryRouteOfWhatIsGone(t *testing.T) {
	t.Parallel()
	s := newHouse(t).serve()
	s.userWith("compliance-1", "compliance_officer")
	vault, wallet := s.vault("treasury")
	token := s.token(vault)
	op := is[api.DeployAccepted](s.as("operator", "POST", "/v1/tokens/"+token+"/deploy", "", key("deploy")), 202).OperationID
	is[api.Operation](s.as("operator", "POST", "/v1/token-operations/"+op+"/cancel", ""), 200)
	is[api.Token](s.as("operator", "POST", "/v1/tokens/"+token+"/retire", "", key("retire")), 200)

	hook := newHook(t)
	h := is[api.WebhookCreated](s.as("admin", "POST", "/v1/webhooks", `{"url":"`+hook.URL+`/hook","events":["*"]}`), 201)
	delivery := is[api.WebhookDelivery](s.as("admin", "POST", "/v1/webhooks/"+h.ID+"/test", ""), 202).ID
	is[api.Webhook](s.as("admin", "DELETE", "/v1/webhooks/"+h.ID, ""), 200)

	u := is[api.User](s.as("admin", "POST", "/v1/users", `{"name":"leaver","role":"viewer"}`), 201)
	s.draw("leaver", u.ID)
	credential := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", `{"userId":"`+u.ID+`"}`), 201)
	is[api.Credential](s.as("admin", "DELETE", "/v1/credentials/"+credential.ID, ""), 200)
	is[api.User](s.as("admin", "PATCH", "/v1/users/"+u.ID, `{"status":"SUSPENDED"}`), 200)
	s.as("leaver", "GET", "/v1/tokens", "").fails(401, 1002)
	s.as("", "GET", "/v1/tokens", "", bearer(*credential.Key)).fails(401, 1002)

	withdrawn := func() string {
		p := is[api.Policy](s.as("operator", "POST", "/v1/policies", `{"name":"p","rules":[{"type":"REQUIRE_APPROVAL","minApprovers":1,"approverGroup":"approvers"}]}`), 202)
		is[api.Policy](s.as("operator", "DELETE", "/v1/policies/"+p.ID, ""), 202)
		return p.ID
	}

	const there = 0
	gone := map[string]struct {
		id   string
		want map[string][2]int // status and code by operationId; there: it is answered as any
	}{
		"tokenId": {token, map[string][2]int{
			"getToken": {200}, "updateToken": {200}, "getTokenDeployment": {200}, "listTokenRoles": {409, 1703}, "getTokenBinding": {404, 1112}, "getTokenReconciliation": {409, 1703},
			"getTokenBalance": {409, 1703}, "estimateTokenDeployment": {422, 1704}, "deployToken": {422, 1704}, "mintToken": {422, 1704}, "burnToken": {422, 1704},
			"transferToken": {422, 1704}, "grantTokenRole": {422, 1704}, "revokeTokenRole": {422, 1704}, "pauseToken": {422, 1704}, "unpauseToken": {422, 1704},
			"freezeTokenAccount": {422, 1704}, "unfreezeTokenAccount": {422, 1704}, "addTokenAllowlist": {422, 1704}, "removeTokenAllowlist": {422, 1704},
			"retireToken": {422, 1704}, "signTokenBinding": {422, 1202},
		}},
		"operationId": {op, map[string][2]int{
			"getTokenOperation": {200}, "getTokenOperationReceipt": {409, 1301}, "signTokenOperationRequest": {422, 1202},
			"approveTokenOperation": {409, 1715}, "rejectTokenOperation": {409, 1715}, "cancelTokenOperation": {409, 1715},
		}},
		"transactionRequestId": {"txreq_" + strings.TrimPrefix(op, "op_"), map[string][2]int{
			"getTransaction": {200}, "approveTransaction": {409, 1715}, "rejectTransaction": {409, 1715}, "cancelTransaction": {409, 1715},
		}},
		"webhookId": {h.ID, map[string][2]int{
			"deleteWebhook": {404, 1112}, "testWebhook": {404, 1112}, "rotateWebhook": {404, 1112}, "listWebhookDeliveries": {404, 1112}, "replayWebhookDelivery": {404, 1112},
		}},
		"deliveryId": {delivery, map[string][2]int{"replayWebhookDelivery": {404, 1112}}},
		"userId":     {u.ID, map[string][2]int{"getUser": {200}, "updateUser": {200}}},
		"credentialId": {credential.ID, map[string][2]int{
			"getCredential": {200}, "revokeCredential": {200}, // as it was
		}},
		"policyId": {"", map[string][2]int{ // a withdrawn proposal; it may be proposed anew
			"getPolicy": {200}, "proposePolicyVersion": {202}, "withdrawPolicy": {409, 1301}, "signPolicy": {422, 1202}, "simulatePolicy": {404, 1300},
		}},
	}
	// Of these kinds nothing ever goes.
	stays := []string{"templateId", "vaultAccountId", "walletId", "auditId", "address"}
	seen := map[string]bool{}
	for _, c := range s.calls() {
		for _, p := range c.op.Parameters {
			name := p.Value.Name
			if p.Value.In != openapi3.ParameterInPath || slices.Contains(stays, name) {
				continue
			}
			kind, known := gone[name]
			require.True(t, known, "nothing is said of a %s that is gone", name)
			want, known := kind.want[c.op.OperationID]
			require.True(t, known, "nothing is said of %s", c.op.OperationID)
			seen[name+" "+c.op.OperationID] = true
			t.Run(name+"/"+c.op.OperationID, func(t *testing.T) {
				s := s.in(t)
				sent, ids := c, maps.Clone(gone)
				if name == "policyId" {
					ids[name] = struct {
						id   string
						want map[string][2]int
					}{withdrawn(), nil}
				}
				for of, k := range ids {
					if of == "webhookId" || of == name {
						sent.path = strings.ReplaceAll(sent.path, fmt.Sprint(exampleOf(c.op, of)), k.id)
					}
				}
				for example, own := range map[string]string{"wallet_": wallet, "vault_": vault} {
					sent.body = strings.ReplaceAll(sent.body, example+"01JS0Z4M9GQ3V1T7T2B5C8D0EF", own)
				}
				switch _, verb, _ := strings.Cut(c.path, "EF/"); {
				case strings.HasPrefix(c.op.OperationID, "approve"):
					sent.body = s.decision(sent.user(), policy.Approve, op)
				case strings.HasPrefix(c.op.OperationID, "reject"):
					sent.body = s.decision(sent.user(), policy.Reject, op)
				case verb == "simulate":
					sent.body = `{"operationType":"DEPLOY_TOKEN","tokenId":"` + s.token(vault) + `"}`
				}
				a := s.send(sent, key("gone-"+name+"-"+c.op.OperationID))
				if want[1] == there {
					require.Equal(t, want[0], a.status, "%s", a.body)
					return
				}
				a.fails(want[0], want[1])
			})
		}
	}
	for name, kind := range gone {
		for operation := range kind.want {
			require.True(t, seen[name+" "+operation], "%s is no route of a %s", operation, name)
		}
	}
}

// exampleOf is the example of a path's parameter, or what no path holds.
func exampleOf(op *openapi3.Operation, name string) any {
	for _, p := range op.Parameters {
		if p.Value.Name == name && p.Value.In == openapi3.ParameterInPath {
			if p.Value.Example != nil {
				return p.Value.Example
			}
			return p.Value.Schema.Value.Example
		}
	}
	return "\x00"
}

// TestAttack_ARevokedKeysBodyComesLater: a key is revoked, its user suspended, or its role taken away while a request
// that it began holds its body back. Whoever stole it has nothing under way that counts once that was answered.
func TestAttack_ARevokedKeysBodyComesLater(t *testing.T) {
	t.Parallel()
	s := newHouse(t).serve()
	thief := is[api.User](s.as("admin", "POST", "/v1/users", `{"name":"thief","role":"operator"}`), 201)
	for name, tt := range map[string]struct {
		out    func(credential string)
		status int
		code   int
	}{
		"the key is revoked": {func(id string) { is[api.Credential](s.as("admin", "DELETE", "/v1/credentials/"+id, ""), 200) }, 401, 1002},
		"the role is taken away": {func(string) {
			is[api.User](s.as("admin", "PATCH", "/v1/users/"+thief.ID, `{"role":"viewer"}`), 200)
		}, 403, 1001},
		"the user is suspended": {func(string) {
			is[api.User](s.as("admin", "PATCH", "/v1/users/"+thief.ID, `{"status":"SUSPENDED"}`), 200)
		}, 401, 1002},
	} {
		is[api.User](s.as("admin", "PATCH", "/v1/users/"+thief.ID, `{"role":"operator","status":"ACTIVE"}`), 200)
		made := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", `{"userId":"`+thief.ID+`"}`), 201)
		is[api.TokenList](s.patiently("", "GET", "/v1/tokens", "", bearer(*made.Key)), 200)
		from, to := io.Pipe()
		admitted := make(chan struct{})
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(admitted) }})
		req, err := http.NewRequestWithContext(ctx, "POST", s.url+"/v1/vault/accounts", from)
		require.NoError(t, err)
		for h, v := range map[string]string{"Authorization": "Bearer " + *made.Key, "Content-Type": "application/json", "Expect": "100-continue"} {
			req.Header.Set(h, v)
		}
		tr := s.client.Transport.(*http.Transport).Clone()
		t.Cleanup(tr.CloseIdleConnections)
		tr.ExpectContinueTimeout = patience
		got := make(chan answer, 1)
		go func() {
			defer close(got)
			resp, err := (&http.Client{Transport: tr, Timeout: patience}).Do(req)
			if err != nil {
				return
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err == nil {
				got <- answer{t: t, status: resp.StatusCode, header: resp.Header, body: b}
			}
		}()
		select {
		case <-admitted:
		case a := <-got:
			require.FailNow(t, "it is answered before its body came", "%s: %d %s", name, a.status, a.body)
		}
		tt.out(made.ID)
		_, err = to.Write([]byte(`{"name":"the thief's"}`))
		require.NoError(t, err)
		require.NoError(t, to.Close())
		a, ok := <-got
		require.True(t, ok, name)
		a.fails(tt.status, tt.code)
	}
	require.Zero(t, is[client.VaultAccountList](s.as("viewer", "GET", "/v1/vault/accounts", ""), 200).Pagination.Total)
}
