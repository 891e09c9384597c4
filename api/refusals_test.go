package api_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// call is a request that a route's schema admits, about resources that do not
// exist.
type call struct {
	op           *openapi3.Operation
	method, path string
	query        string
	body         string
	permissions  []string
	keyed        bool
}

// calls are one of each route, by operationId.
func (h *house) calls() []call {
	var out []call
	for path, item := range h.doc.Paths.Map() {
		for method, op := range item.Operations() {
			c := call{op: op, method: method, path: path}
			var query []string
			for _, p := range op.Parameters {
				example := fmt.Sprint(p.Value.Example)
				if p.Value.Example == nil {
					example = fmt.Sprint(p.Value.Schema.Value.Example)
				}
				switch {
				case p.Value.Name == "templateId":
					c.path = strings.ReplaceAll(c.path, "{templateId}", "tpl_nope")
				case p.Value.In == openapi3.ParameterInPath:
					c.path = strings.ReplaceAll(c.path, "{"+p.Value.Name+"}", example)
				case p.Value.In == openapi3.ParameterInQuery && p.Value.Required:
					query = append(query, p.Value.Name+"="+example)
				case p.Value.In == openapi3.ParameterInHeader:
					c.keyed = true
				}
			}
			c.query = strings.Join(query, "&")
			if op.RequestBody != nil {
				body := sample(op.RequestBody.Value.Content["application/json"].Schema.Value).(map[string]any)
				delete(body, "idempotencyKey")
				c.body = jsonOf(h.t, body)
			}
			switch p := op.Extensions["x-permission"].(type) {
			case string:
				c.permissions = []string{p}
			case []any:
				for _, one := range p {
					c.permissions = append(c.permissions, one.(string))
				}
			}
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b call) int { return strings.Compare(a.op.OperationID, b.op.OperationID) })
	return out
}

// sample is a value that a schema admits: its example, or what it requires.
func sample(s *openapi3.Schema) any {
	if s.Example != nil {
		return s.Example
	}
	switch {
	case s.Type.Is("object"):
		out := map[string]any{}
		for _, name := range s.Required {
			out[name] = sample(s.Properties[name].Value)
		}
		return out
	case s.Type.Is("array"):
		if s.MinItems == 0 {
			return []any{}
		}
		return []any{sample(s.Items.Value)}
	case len(s.Enum) > 0:
		return s.Enum[0]
	}
	return nil
}

// open tells whether the route asks for no permission.
func (c *call) open() bool { return slices.Contains(c.permissions, "none") }

func (c *call) writes() bool { return c.method != "GET" }

func (c *call) url() string {
	if c.query == "" {
		return c.path
	}
	return c.path + "?" + c.query
}

// user is somebody who may make the call.
func (c *call) user() string {
	if c.open() {
		return ""
	}
	roles := map[string]registry.UserRole{"compliance-1": registry.ComplianceOfficer}
	maps.Copy(roles, people)
	for _, name := range slices.Sorted(maps.Keys(roles)) {
		for _, held := range roles[name].Permissions() {
			for _, want := range c.permissions {
				if held.Covers(registry.Permission(want)) {
					return name
				}
			}
		}
	}
	return "nobody"
}

// send makes the call, changed, and holds the answer against the document.
func (s *server) send(c call, changes ...with) answer {
	s.t.Helper()
	if c.keyed && c.op.Extensions["x-idempotency"] == "required" {
		changes = append([]with{key("key-of-" + c.op.OperationID)}, changes...)
	}
	return s.as(c.user(), c.method, c.url(), c.body, changes...)
}

// TestEveryRouteRefuses: what is refused before a resource is looked at is
// refused alike by every route that there is, and by each as the document says.
func TestEveryRouteRefuses(t *testing.T) {
	s := newHouse(t).serve()
	s.userWith("compliance-1", "compliance_officer")
	s.keys["auditor"] = s.narrow("audit:read")
	s.keys["reader"] = s.narrow("tokens:read")
	calls := s.calls()
	each := func(name string, which func(*call) bool, f func(s *server, c call)) {
		t.Run(name, func(t *testing.T) {
			for _, c := range calls {
				if which == nil || which(&c) {
					t.Run(c.op.OperationID, func(t *testing.T) { f(s.in(t), c) })
				}
			}
		})
	}
	asked := func(c *call) bool { return !c.open() }
	bodied := func(c *call) bool { return c.body != "" }

	each("a parameter that nobody knows", nil, func(s *server, c call) {
		c.query = strings.TrimPrefix(c.query+"&nonsense=1", "&")
		require.Contains(s.t, s.send(c).fails(400, 1100), "nonsense")
	})
	each("a parameter twice", func(c *call) bool { return strings.Contains(c.query, "=") }, func(s *server, c call) {
		c.query += "&" + c.query
		s.send(c).fails(400, 1100)
	})
	each("no key", asked, func(s *server, c call) { s.as("", c.method, c.url(), c.body).fails(401, 1000) })
	each("a key of nobody", asked, func(s *server, c call) {
		s.as("", c.method, c.url(), c.body, header("Authorization", "Bearer qcs_test_"+strings.Repeat("A", 43))).fails(401, 1000)
	})
	each("a key that may not", asked, func(s *server, c call) {
		who := "auditor"
		if slices.Contains(c.permissions, "audit:read") {
			who = "reader"
			if slices.Contains(c.permissions, "tokens:read") {
				who = "admin's"
			}
		}
		if who == "admin's" {
			s.keys[who] = s.narrow("users:read")
		}
		s.as(who, c.method, c.url(), c.body).fails(403, 1001)
	})
	each("a resource that is not there", func(c *call) bool {
		return strings.Contains(c.path, "_01JS0Z4M9GQ3V1T7T2B5C8D0EF") || c.op.OperationID == "getTokenTemplate"
	}, func(s *server, c call) {
		a := s.send(c)
		require.Contains(s.t, []int{404, 422}, a.status, "%s", a.body) // an envelope that is none comes before what it is about
	})
	each("an id of another kind", func(c *call) bool { return strings.Contains(c.path, "_01JS0Z4M9GQ3V1T7T2B5C8D0EF") }, func(s *server, c call) {
		c.path = strings.Replace(c.path, "_01JS0Z4M9GQ3V1T7T2B5C8D0EF", "x_01JS0Z4M9GQ3V1T7T2B5C8D0EF", 1)
		a := s.send(c)
		require.Equal(s.t, 404, a.status, "%s", a.body)
	})
	each("another method", nil, func(s *server, c call) {
		a := s.as(c.user(), "TRACE", c.url(), "")
		a.fails(405, 1112)
		require.Contains(s.t, a.header.Get("Allow"), c.method)
	})
	each("a body that is not JSON", bodied, func(s *server, c call) {
		c.body = `{"a":`
		s.send(c).fails(400, 1100)
	})
	each("a field that nobody knows", bodied, func(s *server, c call) {
		c.body = `{"nonsense":1,` + strings.TrimPrefix(c.body, "{")
		c.body = strings.Replace(c.body, ",}", "}", 1)
		require.Contains(s.t, s.send(c).fails(400, 1100), "nonsense")
	})
	each("a field twice", bodied, func(s *server, c call) {
		c.body = `{"idempotencyKey":"a","idempotencyKey":"a"}`
		s.send(c).fails(400, 1100)
	})
	each("two values", bodied, func(s *server, c call) {
		c.body += "{}"
		s.send(c).fails(400, 1100)
	})
	each("no object", bodied, func(s *server, c call) {
		for _, body := range []string{"[]", "null", `"text"`, "7", "true", "\xff\xfe"} {
			c.body = body
			s.send(c).fails(400, 1100)
		}
	})
	each("wrong types", bodied, func(s *server, c call) {
		schema := c.op.RequestBody.Value.Content["application/json"].Schema.Value
		for name := range schema.Properties {
			c.body = jsonOf(s.t, map[string]any{name: map[string]any{"no": "such"}})
			a := s.send(c)
			require.Contains(s.t, []int{400, 404}, a.status, "%s: %s", c.body, a.body) // an amount comes after what it is of
		}
	})
	each("what must be there", func(c *call) bool {
		return c.body != "" && len(c.op.RequestBody.Value.Content["application/json"].Schema.Value.Required) > 0
	}, func(s *server, c call) {
		c.body = "{}"
		s.send(c).fails(400, 1101)
		c.body = ""
		s.send(c, header("Content-Type", "application/json")).fails(400, 1101)
	})
	each("another media type", bodied, func(s *server, c call) {
		for _, media := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json; charset=utf-16", "nonsense"} {
			s.send(c, header("Content-Type", media)).fails(400, 1100)
		}
		s.send(c, header("Content-Encoding", "gzip")).fails(400, 1100)
	})
	each("a body where none is taken", func(c *call) bool { return c.writes() && c.body == "" }, func(s *server, c call) {
		c.body = "{}"
		s.send(c).fails(400, 1100)
	})
	each("a body that is too large", func(c *call) bool { return c.writes() }, func(s *server, c call) {
		c.body = `{"a":"` + strings.Repeat("a", 1<<20) + `"}`
		s.send(c).fails(413, 1111)
	})
	each("a key that is none", func(c *call) bool { return c.keyed }, func(s *server, c call) {
		s.send(c, key("two words")).fails(400, 1100)
		s.send(c, key(strings.Repeat("k", 256))).fails(400, 1110)
		s.send(c, header("Idempotency-Key", "one", "two")).fails(400, 1100)
	})
	each("no key where one must be", func(c *call) bool { return c.op.Extensions["x-idempotency"] == "required" }, func(s *server, c call) {
		s.as(c.user(), c.method, c.url(), c.body).fails(400, 1101)
	})
	each("a key that was used with another body", func(c *call) bool { return c.keyed && c.body != "" }, func(s *server, c call) {
		require.NoError(s.t, api.Used(s.t.Context(), s.store, "test", c.method, c.path, "used"))
		s.send(c, key("used")).fails(422, 1601)
	})
	each("a key whose first request still runs", func(c *call) bool { return c.keyed && c.op.OperationID != "unsealSeal" }, func(s *server, c call) {
		held := s.room.hold()
		defer held.release()
		first := make(chan struct{})
		go func() {
			defer close(first)
			req := s.request(c.user(), c.method, c.url(), c.body, key("twice"))
			if resp, err := s.client.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}()
		select {
		case <-held.asked:
		case <-first:
			s.t.Fatal("the first request was refused before it ran")
		case <-time.After(patience):
			s.t.Fatal("the first request does not run")
		}
		a := s.send(c, key("twice"))
		held.release()
		soon(s.t, first, "the first request is not answered")
		a.fails(409, 1602)
		require.NotEmpty(s.t, a.header.Get("Retry-After"))
	})
}

// TestEveryRouteWaitsForTheLedger: nothing is answered from a ledger that is not
// followed.
func TestEveryRouteWaitsForTheLedger(t *testing.T) {
	h := sharedHouse(t)
	h.serve().userWith("compliance-1", "compliance_officer")
	s := h.serve(func(d *api.Deps) {
		r, err := registry.New(registry.Deps{
			Store: h.store, Seal: h.room, Chains: h.chains, Charter1: h.charter1, Tenant: "test", Log: storetest.Logger(t), Registerer: prometheus.NewRegistry(),
		})
		require.NoError(t, err)
		d.Registry = r
	})
	for _, c := range s.calls() {
		if !c.open() {
			t.Run(c.op.OperationID, func(t *testing.T) { s.in(t).send(c).fails(503, 1606) })
		}
	}
}

// TestEveryRouteIsLimited: a caller without a place in his bucket is told when to
// come back, whatever he asks.
func TestEveryRouteIsLimited(t *testing.T) {
	s := sharedHouse(t).serve(func(d *api.Deps) { d.Limits.PerSecond, d.Limits.Burst = 1, 1 })
	for _, c := range s.calls() {
		if c.user() == "compliance-1" {
			s.keys["compliance-1"] = s.keys["viewer"] // the rate is looked at first
		}
		t.Run(c.op.OperationID, func(t *testing.T) {
			s := s.in(t)
			a := s.send(c)
			for a.status != 429 { // the one that it may, or one a second later
				a = s.send(c)
			}
			a.fails(429, 1604)
			require.NotEmpty(t, a.header.Get("Retry-After"))
		})
	}
}

// TestEveryRouteSurvivesAFault: a fault of ours in the middle of any request is
// answered as one, with nothing of it but the request's id.
func TestEveryRouteSurvivesAFault(t *testing.T) {
	h := newHouse(t)
	s := h.serve()
	s.userWith("compliance-1", "compliance_officer")
	handler, err := api.New(h.deps())
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(s.cert.Certificate[0])
	require.NoError(t, err)
	send := func(s *server, c call, breaks int) (a answer, survived bool) {
		req := s.request(c.user(), c.method, c.url(), c.body, key("fault"))
		req.TLS, req.RemoteAddr = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}, "127.0.0.1:1"
		rec := httptest.NewRecorder()
		defer func() { recover() }()
		handler.ServeHTTP(&faulty{ResponseWriter: rec, left: breaks}, req)
		a = answer{t: s.t, status: rec.Code, header: rec.Header(), body: rec.Body.Bytes()}
		s.conforms(req, a)
		return a, true
	}
	for _, c := range s.calls() {
		t.Run(c.op.OperationID, func(t *testing.T) {
			s := s.in(t)
			for breaks := range 40 {
				a, survived := send(s, c, breaks)
				if survived && a.status == 500 {
					require.NotContains(t, a.fails(500, 1600), "secret")
					return
				}
			}
			t.Fatal("no fault got through to the answer")
		})
	}
	t.Run("no certificate", func(t *testing.T) {
		s := s.in(t)
		req := s.request("", "GET", "/v1/openapi.json", "")
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		a := answer{t: t, status: rec.Code, header: rec.Header(), body: rec.Body.Bytes()}
		a.fails(401, 1000)
		s.conforms(req, a)
	})
}

// faulty breaks once, when it is used for the left-th time.
type faulty struct {
	http.ResponseWriter
	left int
}

func (f *faulty) Header() http.Header {
	f.left--
	if f.left == -1 {
		panic("a secret of ours")
	}
	return f.ResponseWriter.Header()
}

// narrow is a new key of admin's with one permission.
func (s *server) narrow(permission string) string {
	s.t.Helper()
	c := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", fmt.Sprintf(`{"userId":%q,"label":"narrow","permissions":[%q]}`, s.users["admin"], permission)), 201)
	return *c.Key
}

// request is a request as as sends it.
func (s *server) request(user, method, path, body string, changes ...with) *http.Request {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader([]byte(body)))
	require.NoError(s.t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if user != "" {
		req.Header.Set("Authorization", "Bearer "+s.keys[user])
	}
	for _, f := range changes {
		f(req)
	}
	return req
}
