package api_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
)

// surface answers raw requests in this process, as if they had come through TLS
// from somebody with the tests' certificate.
type surface struct {
	*server
	handler http.Handler
	leaf    *x509.Certificate
}

func newSurface(h *house) *surface {
	t := h.t
	s := h.serve()
	s.userWith("compliance-1", "compliance_officer")
	d := h.deps()
	d.Limits.PerSecond, d.Limits.Burst = 1<<20, 1<<20
	d.Log = slog.New(slog.DiscardHandler)
	handler, err := api.New(d)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(s.cert.Certificate[0])
	require.NoError(t, err)
	return &surface{s, handler, leaf}
}

// raw answers one request as its bytes come. ok is false if they are none to
// Go's own parser, whose business that is.
func (s *surface) raw(t testing.TB, request string) (a answer, ok bool) {
	t.Helper()
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request)))
	if err != nil {
		return answer{}, false
	}
	req = req.WithContext(t.Context())
	req.TLS, req.RemoteAddr = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{s.leaf}}, "127.0.0.1:1"
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, req)
	a = answer{t: t, status: rec.Code, header: rec.Header(), body: rec.Body.Bytes()}
	require.NotEqual(t, 500, a.status, "%s", a.body)
	if req.Method == "HEAD" {
		return a, true
	}
	in := *s.server.in(t)
	in.conforms(req, a)
	return a, true
}

// text is a request's bytes.
func text(method, target, bearer, headers, body string) string {
	r := method + " " + target + " HTTP/1.1\r\nHost: appliance\r\n"
	if bearer != "" {
		r += "Authorization: Bearer " + bearer + "\r\n"
	}
	if headers != "" {
		r += headers + "\r\n"
	}
	if body != "" {
		r += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return r + "\r\n" + body
}

// FuzzSurface: whatever is asked of whatever route by whomever, nothing panics,
// no fault of ours is answered, and every answer is one of the document.
func FuzzSurface(f *testing.F) {
	s := newSurface(newHouse(f))
	users := []string{"", "operator", "admin", "viewer", "approver-1", "custodian-1", "compliance-1"}
	for _, c := range s.calls() {
		for i, u := range users {
			if u == c.user() {
				f.Add(byte(i), c.method, c.url(), "Idempotency-Key: k", c.body)
			}
		}
	}
	for _, target := range tricks {
		f.Add(byte(3), "GET", target, "", "")
	}
	f.Add(byte(1), "POST", "/v1/vault/accounts", "Content-Encoding: gzip", `{"name":"a"}`)
	f.Add(byte(1), "POST", "/v1/vault/accounts", "Transfer-Encoding: chunked", "")
	f.Add(byte(1), "POST", "/v1/vault/accounts", "Expect: 100-continue\r\nIdempotency-Key: a\r\nIdempotency-Key: b", `{"name":"a"}`)
	f.Add(byte(3), "GET", "/v1/tokens", "Request-Id: \x7f\r\nX-Forwarded-For: 10.0.0.1", "")
	f.Fuzz(func(t *testing.T, who byte, method, target, headers, body string) {
		if len(method)+len(target)+len(headers)+len(body) > 64<<10 {
			return // more of the same
		}
		s.raw(t, text(method, target, s.keys[users[int(who)%len(users)]], headers, body))
	})
}

// tricks are paths that a careless router takes for others.
var tricks = []string{
	"/v1/tokens/", "//v1/tokens", "/v1//tokens", "/v1/./tokens", "/v1/x/../tokens", "/v1/%2e%2e/v1/tokens", "/v1/tokens%2f", "/v1%2ftokens",
	"/V1/tokens", "/v1/Tokens", "/v1/tokens;a=b", "/v1/tokens%00", "/v1/tokens%20", "/v1/tokens/.", "/v1/tokens/..", "/v1/tokens\\", "/",
	"", "*", "/v1", "/v1/tokens/token_x%2f..%2f..%2fusers", "/v1/tokens/token_x/mint/", "/v1/tokens/%74oken_x", "/v1/tokens/token_\u00e9",
	"/v1/users/../tokens", "/.well-known/x", "/healthz", "/metrics", "http://elsewhere/v1/tokens", "/v1/tokens?%", "/v1/tokens?a;b", "/v1/tokens#x",
}

// TestPathTricks: a resource has one path. Nothing is cleaned, folded, or
// unescaped into another route, so nobody reaches one under a name that whoever
// guards the way to it does not know.
func TestPathTricks(t *testing.T) {
	s := newSurface(sharedHouse(t))
	for _, target := range tricks {
		t.Run(target, func(t *testing.T) {
			a, ok := s.raw(t, text("GET", target, s.keys["viewer"], "", ""))
			if !ok {
				return // Go's own server answers it
			}
			// Two of them are the path itself: another host's name and a fragment are not part of it.
			if target == "http://elsewhere/v1/tokens" || target == "/v1/tokens#x" {
				require.Contains(t, []int{200, 404}, a.status)
				return
			}
			require.Contains(t, []int{400, 404}, a.status, "%s", a.body)
		})
	}
}

// TestFloods: more headers, more of a line, more of a body than anybody needs
// are refused, and the next request is answered.
func TestFloods(t *testing.T) {
	s := sharedHouse(t).serve()
	flood := func(change func(*http.Request)) {
		req := s.request("viewer", "GET", "/v1/tokens", "")
		change(req)
		resp, err := s.client.Do(req)
		if err != nil {
			return // the connection was cut
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		require.Contains(t, []int{400, 414, 431}, resp.StatusCode)
	}
	flood(func(r *http.Request) { r.Header.Set("X-Flood", strings.Repeat("x", 2<<20)) })
	flood(func(r *http.Request) {
		for i := range 20000 {
			r.Header.Set(fmt.Sprint("X-Flood-", i), strings.Repeat("x", 64))
		}
	})
	flood(func(r *http.Request) { r.URL.RawQuery = "cursor=" + strings.Repeat("a", 1<<18) })
	bomb := strings.Repeat("\x1f\x8b\x08", 1000)
	s.as("operator", "POST", "/v1/vault/accounts", bomb, header("Content-Encoding", "gzip")).fails(400, 1100)
	s.as("operator", "POST", "/v1/vault/accounts", `{"name":`+strings.Repeat("[", 1<<19)).fails(400, 1100)
	is[api.TokenList](s.as("viewer", "GET", "/v1/tokens", ""), 200)
}
