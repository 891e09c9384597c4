package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/pki"
)

// appliance is a TLS server that answers as it is told, one answer a request;
// the API itself is tested with this client in package api.
type appliance struct {
	*httptest.Server
	config client.Config

	mu      sync.Mutex
	answers []http.HandlerFunc
	seen    []*http.Request
}

func newAppliance(t *testing.T, alg pki.Algorithm) *appliance {
	t.Helper()
	ca, err := pki.NewCA("test", alg)
	require.NoError(t, err)
	server, err := ca.IssueServer("mintwarden", []string{"127.0.0.1"}, alg)
	require.NoError(t, err)
	mine, err := ca.IssueClient("test", alg)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Pair().Certificate)
	pair, err := tls.X509KeyPair(server.Certificate, server.Key)
	require.NoError(t, err)
	a := &appliance{}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	a.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}
	a.EnableHTTP2 = true
	a.StartTLS()
	t.Cleanup(a.Close)
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, b, 0o600))
		return path
	}
	a.config = client.Config{
		URL: a.URL, CAFile: file("ca.crt", ca.Pair().Certificate), CertFile: file("client.crt", mine.Certificate), KeyFile: file("client.key", mine.Key),
		APIKeyFile: file("apikey", []byte("qcs_test_key\n")), Patience: 5 * time.Second, Poll: time.Millisecond,
	}
	return a
}

func (a *appliance) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.seen = append(a.seen, r)
	answer := refuse(500, 1600, "INTERNAL", "no answer is left")
	if len(a.answers) > 0 {
		answer, a.answers = a.answers[0], a.answers[1:]
	}
	a.mu.Unlock()
	answer(w, r)
}

func (a *appliance) client(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.New(a.config)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func say(status int, v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.MarshalWrite(w, v)
	}
}

func refuse(status, code int, kind, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if status == 429 || code == 1602 {
			w.Header().Set("Retry-After", "1")
		}
		say(status, client.ErrorEnvelope{Error: client.ErrorBody{Code: code, Type: kind, Message: message, RequestID: "req_1", Details: map[string]any{"a": "b"}}})(w, r)
	}
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestRetriesCarryTheSameKey(t *testing.T) {
	for _, alg := range []pki.Algorithm{pki.ECDSAP256, pki.MLDSA65} {
		t.Run(alg.String(), func(t *testing.T) {
			a := newAppliance(t, alg)
			a.answers = []http.HandlerFunc{
				hangUp, refuse(503, 1606, "STORE_UNAVAILABLE", "no quorum"), refuse(429, 1604, "RATE_LIMITED", "slow down"),
				refuse(409, 1602, "IDEMPOTENCY_IN_PROGRESS", "running"), say(202, client.MintAccepted{OperationID: "op_1"}),
			}
			op, err := a.client(t).MintToken(t.Context(), "token_1", client.MintRequest{Amount: "1"})
			require.NoError(t, err)
			require.Equal(t, "op_1", op.OperationID)
			keys := map[string]bool{}
			for _, r := range a.seen {
				keys[r.Header.Get("Idempotency-Key")] = true
				require.Equal(t, "Bearer qcs_test_key", r.Header.Get("Authorization"))
				require.Equal(t, "/v1/tokens/token_1/mint", r.URL.Path)
			}
			require.Len(t, a.seen, 5)
			require.Len(t, keys, 1)
			require.NotContains(t, keys, "")
		})
	}
}

func TestOwnKeyAndReplay(t *testing.T) {
	a := newAppliance(t, pki.ECDSAP256)
	a.answers = []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Idempotency-Replayed", "true")
		say(201, client.VaultAccount{ID: "vault_1"})(w, r)
	}}
	replayed := false
	_, err := a.client(t).CreateVaultAccount(t.Context(), client.VaultAccountCreate{Name: "treasury"}, client.WithIdempotencyKey("mine"), client.WithReplayed(&replayed))
	require.NoError(t, err)
	require.True(t, replayed)
	require.Equal(t, "mine", a.seen[0].Header.Get("Idempotency-Key"))
}

func TestRefusalsAreNotRetried(t *testing.T) {
	for _, c := range []struct {
		status, code int
		kind         string
	}{{422, 1200, "POLICY_DENIED"}, {409, 1703, "TOKEN_NOT_DEPLOYED"}, {503, 1603, "SEALED"}, {401, 1000, "UNAUTHORIZED"}, {500, 1600, "INTERNAL"}} {
		a := newAppliance(t, pki.ECDSAP256)
		a.answers = []http.HandlerFunc{refuse(c.status, c.code, c.kind, "no")}
		_, err := a.client(t).GetToken(t.Context(), "token_1")
		var e *client.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, &client.Error{Code: c.code, Type: c.kind, Message: "no", RequestID: "req_1", HTTPStatus: c.status, Details: map[string]any{"a": "b"}}, e)
		require.Contains(t, err.Error(), "req_1")
		require.Len(t, a.seen, 1)
	}
}

func TestUnreachable(t *testing.T) {
	a := newAppliance(t, pki.ECDSAP256)
	a.config.Patience = -1
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	a.config.URL = "https://" + l.Addr().String()
	_, err = a.client(t).GetSeal(t.Context())
	var u *client.UnreachableError
	require.ErrorAs(t, err, &u)
	require.ErrorContains(t, err, "is it running?")
	require.Equal(t, a.config.URL, u.URL)

	t.Run("a foreign appliance is not asked again", func(t *testing.T) {
		other := newAppliance(t, pki.ECDSAP256)
		other.config.CAFile = a.config.CAFile
		other.config.Patience = time.Hour
		_, err := other.client(t).GetSeal(t.Context())
		require.ErrorAs(t, err, &u)
		require.Empty(t, other.seen)
	})
	t.Run("something else answers", func(t *testing.T) {
		other := newAppliance(t, pki.ECDSAP256)
		other.answers = []http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }}
		_, err := other.client(t).GetSeal(t.Context())
		var e *client.AnswerError
		require.ErrorAs(t, err, &e)
	})
	t.Run("a redirect is not followed", func(t *testing.T) {
		other := newAppliance(t, pki.ECDSAP256)
		other.answers = []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }}
		_, err := other.client(t).GetSeal(t.Context())
		require.Error(t, err)
		require.Len(t, other.seen, 1)
	})
}

func TestWaitOperation(t *testing.T) {
	op := func(s client.OperationStatus, confirmations int64) http.HandlerFunc {
		return say(200, client.Operation{OperationID: "op_1", Status: s, Confirmations: confirmations})
	}
	a := newAppliance(t, pki.ECDSAP256)
	a.answers = []http.HandlerFunc{
		op("PENDING_AUTHORIZATION", 0), op("PENDING_AUTHORIZATION", 0), op("APPROVED", 0), hangUp, op("CONFIRMING", 1), op("CONFIRMING", 2), op("COMPLETED", 2),
	}
	var told []string
	last, err := a.client(t).WaitOperation(t.Context(), "op_1", client.Done, func(o *client.Operation) { told = append(told, fmt.Sprint(o.Status, o.Confirmations)) })
	require.NoError(t, err)
	require.Equal(t, client.OperationStatusCOMPLETED, last.Status)
	require.Equal(t, []string{"PENDING_AUTHORIZATION0", "APPROVED0", "CONFIRMING1", "CONFIRMING2", "COMPLETED2"}, told)

	t.Run("another end", func(t *testing.T) {
		a.answers = []http.HandlerFunc{op("REJECTED", 0)}
		last, err := a.client(t).WaitOperation(t.Context(), "op_1", func(*client.Operation) bool { return false }, nil)
		require.NoError(t, err)
		require.Equal(t, client.OperationStatusREJECTED, last.Status)
	})
	t.Run("no end", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		a.answers = []http.HandlerFunc{op("APPROVED", 0), func(w http.ResponseWriter, r *http.Request) { cancel(); op("APPROVED", 0)(w, r) }}
		last, err := a.client(t).WaitOperation(ctx, "op_1", client.Done, nil)
		require.Error(t, err)
		require.Equal(t, client.OperationStatusAPPROVED, last.Status)
	})
}

func TestIterators(t *testing.T) {
	a := newAppliance(t, pki.ECDSAP256)
	c := a.client(t)
	next := "op_2"
	a.answers = []http.HandlerFunc{
		say(200, client.OperationList{Data: []client.OperationSummary{{OperationID: "op_3"}, {OperationID: "op_2"}}, Pagination: client.Pagination{Total: 3, Limit: 200, NextCursor: &next}}),
		say(200, client.OperationList{Data: []client.OperationSummary{{OperationID: "op_1"}}, Pagination: client.Pagination{Total: 3, Limit: 200}}),
	}
	var ids []string
	for op, err := range c.Operations(t.Context(), client.ListTokenOperationsParams{}) {
		require.NoError(t, err)
		ids = append(ids, op.OperationID)
	}
	require.Equal(t, []string{"op_3", "op_2", "op_1"}, ids)
	require.Equal(t, "op_2", a.seen[1].URL.Query().Get("cursor"))
	require.Empty(t, a.seen[0].URL.Query().Get("offset"))

	a.answers = []http.HandlerFunc{
		say(200, client.TokenList{Data: []client.Token{{ID: "token_2"}}, Pagination: client.Pagination{Total: 2, Limit: 200}}),
		refuse(403, 1001, "FORBIDDEN", "no"),
	}
	var end error
	n := 0
	for _, err := range c.Tokens(t.Context(), client.ListTokensParams{}) {
		if end = err; err == nil {
			n++
		}
	}
	require.Equal(t, 1, n)
	var e *client.Error
	require.True(t, errors.As(end, &e))

	a.answers = []http.HandlerFunc{
		say(200, client.LedgerPage{Data: [][]byte{[]byte("one"), []byte("two")}, Head: client.LedgerHead{Sequence: 3}}),
		say(200, client.LedgerPage{Data: [][]byte{[]byte("three")}, Head: client.LedgerHead{Sequence: 3}}),
	}
	var batches []string
	for b, err := range c.Batches(t.Context(), 1) {
		require.NoError(t, err)
		batches = append(batches, string(b))
	}
	require.Equal(t, []string{"one", "two", "three"}, batches)
}

func TestConfig(t *testing.T) {
	a := newAppliance(t, pki.ECDSAP256)
	for name, v := range map[string]string{
		client.EnvURL: a.config.URL, client.EnvCA: a.config.CAFile, client.EnvCert: a.config.CertFile, client.EnvKey: a.config.KeyFile, client.EnvAPIKeyFile: a.config.APIKeyFile,
	} {
		t.Setenv(name, v)
	}
	_, err := client.FromEnv()
	require.NoError(t, err)
	t.Setenv(client.EnvCA, "")
	_, err = client.FromEnv()
	require.ErrorContains(t, err, client.EnvCA)

	for name, change := range map[string]func(*client.Config){
		"URL without TLS": func(c *client.Config) { c.URL = "http://127.0.0.1:1" },
		"no URL":          func(c *client.Config) { c.URL = "" },
		"URL with a user": func(c *client.Config) { c.URL = strings.Replace(c.URL, "https://", "https://warden:qcs_test_key@", 1) },
		"and no URL":      func(c *client.Config) { c.URL = "https://warden:qcs_test_key@[" },
		"no roots":        func(c *client.Config) { c.CAFile = c.APIKeyFile },
		"no certificate":  func(c *client.Config) { c.CertFile = c.APIKeyFile },
		"key for another": func(c *client.Config) { c.KeyFile = c.CAFile },
		"no API key":      func(c *client.Config) { c.APIKeyFile = filepath.Join(t.TempDir(), "none") },
		"two API keys":    func(c *client.Config) { c.APIKeyFile = c.CAFile },
	} {
		c := a.config
		change(&c)
		_, err := client.New(c)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "qcs_test_key")
	}
}

// TestHopeless: what does not pass by itself is told at once, in words, however
// patient the caller is.
func TestHopeless(t *testing.T) {
	a, other := newAppliance(t, pki.ECDSAP256), newAppliance(t, pki.MLDSA65)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for _, tt := range []struct {
		name   string
		change func(*client.Config)
		says   string
	}{
		{"another authority", func(c *client.Config) { c.CAFile = other.config.CAFile }, "the appliance's certificate does not verify"},
		{"another name", func(c *client.Config) { c.URL = "https://localhost" + c.URL[strings.LastIndexByte(c.URL, ':'):] }, "the appliance's certificate does not verify"},
		{"our certificate is refused", func(c *client.Config) { c.CertFile, c.KeyFile = other.config.CertFile, other.config.KeyFile }, "remote error: tls"},
		{"no TLS there", func(c *client.Config) { c.URL = "https" + strings.TrimPrefix(plain.URL, "http") }, "no answer from"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conf := a.config
			conf.Patience = time.Hour // a retry would outlive the test
			tt.change(&conf)
			c, err := client.New(conf)
			require.NoError(t, err)
			t.Cleanup(c.Close)
			_, err = c.GetSeal(t.Context())
			var u *client.UnreachableError
			require.ErrorAs(t, err, &u)
			require.ErrorContains(t, err, tt.says)
			require.NotContains(t, err.Error(), "/v1/")
		})
	}
}
