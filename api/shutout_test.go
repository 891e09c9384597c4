package api_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/daemon/pki"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// elsewhere is the server for a caller with a certificate of his own.
func (s *server) elsewhere(name string) *server {
	s.t.Helper()
	p, err := s.pki.ecdsa.IssueClient(name, pki.ECDSAP256)
	c := *s
	c.cert = keyPair(s.t, p, err)
	c.client = s.clientWith(&tls.Config{RootCAs: s.pki.roots, Certificates: []tls.Certificate{c.cert}})
	return &c
}

// stalled sends a request whose body never comes, and gives its answer's status.
func (s *server) stalled(key, method, path string) <-chan int {
	s.t.Helper()
	body, w := io.Pipe()
	s.t.Cleanup(func() { w.Close() })
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, body)
	require.NoError(s.t, err)
	req.Header.Set("Authorization", "Bearer "+key)
	req.ContentLength = 100
	status := make(chan int, 1)
	go func() {
		resp, err := s.client.Do(req)
		if err != nil {
			status <- 0 // the connection ended with the test
			return
		}
		resp.Body.Close()
		status <- resp.StatusCode
	}()
	return status
}

// Whoever may not ask holds no place, whatever he sends and however slowly: not
// a viewer, not a guess, and not the two together.
func TestAttack_AViewerAndItsCertificateDoNotShutOutWrites(t *testing.T) {
	s := sharedHouse(t).serve(func(d *api.Deps) { d.Limits = api.Limits{Writes: 2, Stops: 2} })
	attacker := s.elsewhere("attacker")
	for _, path := range []string{"/v1/vault/accounts", "/v1/seal/seal", "/v1/seal/freeze", "/v1/credentials/rotate"} {
		var statuses []<-chan int
		for range 4 {
			statuses = append(statuses, attacker.stalled(s.keys["viewer"], "POST", path), attacker.stalled(flipLast(s.keys["viewer"]), "POST", path))
		}
		for _, one := range statuses { // answered at once, though no body came
			require.Contains(t, []int{401, 403}, soon(t, one, "a body is waited for"), path)
		}
	}
	require.Zero(t, s.sum("mintwarden_api_in_flight"))
	is[api.VaultAccount](s.as("operator", "POST", "/v1/vault/accounts", `{"name":"treasury"}`), 201)
	require.Zero(t, s.turnedAway("share")+s.turnedAway("writes")+s.turnedAway("stops"))
}

// Bodies that never come are paid for like those that do.
func TestAttack_BodiesThatNeverComeAreRated(t *testing.T) {
	s := sharedHouse(t).serve(func(d *api.Deps) { d.Limits = api.Limits{PerSecond: 1, Burst: 3, BodyTimeout: 100 * time.Millisecond} })
	seen := map[int]int{}
	var all []*server
	for range 20 {
		all = append(all, s.elsewhere("slow"))
	}
	var statuses []<-chan int
	for _, one := range all { // at once: a busy machine may take a second for each, in which one more is allowed
		statuses = append(statuses, one.stalled(s.keys["operator"], "POST", "/v1/vault/accounts"))
	}
	for _, status := range statuses {
		seen[soon(t, status, "a body is waited for")]++
	}
	require.Positive(t, seen[429], "%v", seen)
	require.Equal(t, float64(seen[429]), s.turnedAway("rate"))
}

// Bodies that say that they are too large, and then do not come, wait by the few, whoever sends them.
func TestAttack_LargeBodiesThatNeverComeAreFew(t *testing.T) {
	s := sharedHouse(t).serve(func(d *api.Deps) { d.Limits = api.Limits{BodyTimeout: time.Hour} })
	attacker := s.elsewhere("attacker")
	attacker.client.Timeout = 0
	const sent, wait = 100, 64
	refused := make(chan int, sent)
	for range sent {
		body, w := io.Pipe()
		defer w.Close()
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+"/v1/tokens", body)
		require.NoError(t, err)
		req.ContentLength = 2 << 20
		go func() {
			if resp, err := attacker.client.Do(req); err == nil {
				resp.Body.Close()
				refused <- resp.StatusCode
			}
		}()
	}
	for range sent - wait {
		require.Equal(t, 413, soon(t, refused, "more wait than may"))
	}
}

// Whoever has a certificate and no key holds no connection from which others would have to be kept: bodies that nobody
// reads are not waited for, from however many addresses they do not come.
func TestAttack_BodiesThatNobodyReadsHoldNoConnection(t *testing.T) {
	for _, what := range []string{"POST /v1/nowhere", "POST /v1/tokens", "PUT /v1/tokens", "GET /v1/openapi.json", "GET /v1/tokens"} {
		t.Run(what, func(t *testing.T) {
			const most = 8
			s := sharedHouse(t).serve(func(d *api.Deps) { d.Limits = api.Limits{Connections: most, BodyTimeout: time.Hour} })
			for i := range most {
				conn, err := s.tls11(fmt.Sprintf("127.0.0.%d", 2+i%2))
				require.NoError(t, err)
				defer conn.Close()
				_, err = io.WriteString(conn, what+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer guess\r\nContent-Length: 10\r\n\r\n")
				require.NoError(t, err)
			}
			require.Eventually(t, func() bool { return s.sum("mintwarden_api_requests_total") >= most }, waitLimit, 5*time.Millisecond)
			conf := &tls.Config{RootCAs: s.pki.roots, Certificates: []tls.Certificate{s.cert}}
			newcomer := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}, Timeout: waitLimit}
			require.Eventually(t, func() bool {
				resp, err := newcomer.Do(s.request("viewer", "GET", "/v1/tokens", ""))
				if err != nil {
					return false // cut off to make room
				}
				defer resp.Body.Close()
				return resp.StatusCode == 200
			}, waitLimit, 5*time.Millisecond)
		})
	}
}

// A second key of a user is no second share, and neither is a second user behind
// one certificate.
func TestAttack_ASecondNameIsNoSecondShare(t *testing.T) {
	s := sharedHouse(t).serve(func(d *api.Deps) { d.Limits = api.Limits{Writes: 4} })
	second := *is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", fmt.Sprintf(`{"userId":%q}`, s.users["operator"])), 201).Key
	one := s.elsewhere("one")
	for range 2 {
		one.stalled(s.keys["operator"], "POST", "/v1/vault/accounts")
	}
	require.Eventually(t, func() bool { return s.sum("mintwarden_api_in_flight") == 2 }, waitLimit, 5*time.Millisecond)
	require.Contains(t, s.elsewhere("two").as("", "POST", "/v1/vault/accounts", `{"name":"a"}`, bearer(second)).fails(429, 1604), "one caller")
	require.Contains(t, one.as("admin", "POST", "/v1/vault/accounts", `{"name":"a"}`).fails(429, 1604), "one certificate")
	is[api.VaultAccount](s.elsewhere("three").as("admin", "POST", "/v1/vault/accounts", `{"name":"a"}`), 201)
}

// While every place for writes is taken, people still stop what goes wrong.
func TestAttack_AFloodOfWritesDoesNotStopWhatStops(t *testing.T) {
	s := newHouse(t).serve(func(d *api.Deps) { d.Limits = api.Limits{Writes: 2, Stops: 2} })
	stolen := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", fmt.Sprintf(`{"userId":%q}`, s.users["viewer"])), 201)
	s.elsewhere("one").stalled(s.keys["operator"], "POST", "/v1/vault/accounts")
	s.elsewhere("two").stalled(s.keys["admin"], "POST", "/v1/vault/accounts")
	require.Eventually(t, func() bool { return s.sum("mintwarden_api_in_flight") == 2 }, waitLimit, 5*time.Millisecond)
	s.as("root", "POST", "/v1/vault/accounts", `{"name":"a"}`).fails(429, 1604)

	is[api.Credential](s.as("root", "DELETE", "/v1/credentials/"+stolen.ID, ""), 200)
	is[api.User](s.as("root", "PATCH", "/v1/users/"+s.users["operator"], `{"status":"SUSPENDED"}`), 200)
	for user, path := range map[string]string{
		"custodian-1": "/v1/seal/seal", "custodian-2": "/v1/seal/freeze", "custodian-3": "/v1/seal/unseal",
		"approver-1": "/v1/token-operations/op_x/reject", "approver-2": "/v1/transactions/txreq_x/reject",
	} {
		require.NotEqual(t, 429, s.as(user, "POST", path, "{}").status, path)
	}
	// Nor does one who may stop things shut the others out.
	s.elsewhere("three").stalled(s.keys["approver-3"], "POST", "/v1/token-operations/op_x/reject")
	s.elsewhere("four").stalled(s.keys["approver-3"], "POST", "/v1/token-operations/op_x/reject")
	require.Eventually(t, func() bool { return s.sum("mintwarden_api_in_flight") == 3 && s.turnedAway("share") == 1 }, waitLimit, 5*time.Millisecond)
	is[api.User](s.as("root", "PATCH", "/v1/users/"+s.users["operator"], `{"status":"ACTIVE"}`), 200)
}

// Answers that are asked for and not taken hold memory up to a bound; the one who
// asks for them is told to take them, and the others are answered.
func TestAttack_AnswersThatNobodyTakesAreBounded(t *testing.T) {
	h := sharedHouse(t)
	size := len(h.serve().as("", "GET", "/v1/openapi.json", "").body)
	s := h.serve(func(d *api.Deps) { d.Limits = api.Limits{AnswerBytes: 16 * size} })
	attacker := s.elsewhere("attacker")
	w := attacker.wire(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	for range 40 {
		_, err := w.get("/v1/openapi.json", "")
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return s.turnedAway("answers") == 36 }, waitLimit, 5*time.Millisecond)
	require.Less(t, s.sum("mintwarden_api_answer_bytes"), float64(5*size))
	require.Contains(t, attacker.as("", "GET", "/v1/openapi.json", "").fails(429, 1604), "take them faster")
	for range 10 {
		require.Len(t, s.as("", "GET", "/v1/openapi.json", "").body, size)
		is[api.TokenList](s.as("viewer", "GET", "/v1/tokens", ""), 200)
	}
	w.conn.Close()
	require.Eventually(t, func() bool { return s.sum("mintwarden_api_answer_bytes") == 0 }, waitLimit, 5*time.Millisecond)
	require.Len(t, attacker.as("", "GET", "/v1/openapi.json", "").body, size)
}

// Receipts that wait take no place of the other reads.
func TestAttack_ReceiptsThatWaitDoNotStopReads(t *testing.T) {
	s := sharedHouse(t).serve(func(d *api.Deps) { d.Limits = api.Limits{Reads: 2, Receipts: 2} })
	var asked sync.WaitGroup
	for _, user := range []string{"operator", "viewer"} {
		attacker := s.elsewhere(user)
		for range 16 { // of entries that could have been written just now
			asked.Go(func() {
				a := attacker.patiently(user, "GET", "/v1/audit/"+store.NewID("aud_")+"/receipt", "")
				require.Contains(t, []int{403, 404, 429}, a.status, "%s", a.body)
			})
		}
	}
	for range 50 {
		is[api.TokenList](s.patiently("admin", "GET", "/v1/tokens", ""), 200)
	}
	asked.Wait()
	require.Positive(t, s.turnedAway("share")+s.turnedAway("receipts"))
	require.Zero(t, s.turnedAway("reads"))
}
