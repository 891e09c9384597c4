package api_test

import (
	"bytes"
	"encoding/json/v2"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
)

// journal keeps what is logged. Safe for concurrent use.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// requestLine is a line of a request.
type requestLine struct {
	Time       time.Time `json:"time"`
	Level      string    `json:"level"`
	Msg        string    `json:"msg"`
	RequestID  string    `json:"request_id"`
	Method     string    `json:"method"`
	Route      string    `json:"route"`
	Status     int       `json:"status"`
	Took       *float64  `json:"took_ms"`
	Code       int       `json:"code"`
	Operation  string    `json:"operation"`
	Token      string    `json:"token"`
	User       string    `json:"user"`
	Credential string    `json:"credential"`
}

// of is the line of an answered request, which may be a moment later than its answer.
func (j *journal) of(t *testing.T, a answer) *requestLine {
	t.Helper()
	var found *requestLine
	require.Eventually(t, func() bool {
		for l := range strings.Lines(j.String()) {
			var got requestLine
			if strings.Contains(l, `"msg":"api: request"`) && strings.HasSuffix(l, "\n") {
				require.NoError(t, json.Unmarshal([]byte(l), &got, json.RejectUnknownMembers(true)), l)
				if got.RequestID == a.header.Get("Request-Id") {
					found = &got
				}
			}
		}
		return found != nil
	}, patience, time.Millisecond)
	return found
}

// Each request is one line with the ids of what it was about; at info are those that changed something. What a caller
// wrote is in none of them, nor what he authenticates with.
func TestEachRequestIsALine(t *testing.T) {
	var all, some journal
	at := func(j *journal, level slog.Level) func(*api.Deps) {
		return func(d *api.Deps) {
			d.Log = slog.New(slog.NewJSONHandler(j, &slog.HandlerOptions{Level: level}))
		}
	}
	h := sharedHouse(t)
	s, terse := h.serve(at(&all, slog.LevelDebug)), h.serve(at(&some, slog.LevelInfo))
	vault, _ := s.vault("vault of the request log")
	expect := func(a answer, level, method, route, operation, token, user string) {
		t.Helper()
		l := all.of(t, a)
		require.Equal(t, []any{level, method, route, a.status, operation, token, user}, []any{l.Level, l.Method, l.Route, l.Status, l.Operation, l.Token, l.User})
		require.NotNil(t, l.Took)
		require.Positive(t, *l.Took)
		require.Equal(t, user != "", strings.HasPrefix(l.Credential, "cred_"), l.Credential)
		require.Equal(t, a.status >= 400, l.Code != 0)
	}
	made := s.as("operator", "POST", "/v1/tokens", s.tokenBody(vault, map[string]any{"name": "unmentioned-name"}))
	token := is[api.Token](made, 201).ID
	expect(made, "INFO", "POST", "/v1/tokens", "", token, "operator")

	path := "/v1/tokens/" + token
	asked := s.as("operator", "POST", path+"/deploy", "{}", key("unmentioned-key"))
	op := is[api.DeployAccepted](asked, 202).OperationID
	expect(asked, "INFO", "POST", "/v1/tokens/{tokenId}/deploy", op, token, "operator")
	again := s.as("operator", "POST", path+"/deploy", "{}", key("unmentioned-key"))
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	expect(again, "DEBUG", "POST", "/v1/tokens/{tokenId}/deploy", "", token, "operator")

	approved := s.as("approver-1", "POST", "/v1/token-operations/"+op+"/approve", s.decision("approver-1", "APPROVE", op))
	require.Equal(t, 200, approved.status, "%s", approved.body)
	expect(approved, "INFO", "POST", "/v1/token-operations/{operationId}/approve", op, token, "approver-1")
	expect(s.as("viewer", "GET", "/v1/token-operations/"+op, ""), "DEBUG", "GET", "/v1/token-operations/{operationId}", op, "", "viewer")

	expect(s.as("viewer", "GET", "/v1/tokens/unmentioned-id?search=unmentioned-query", "", header("User-Agent", "unmentioned-agent")), "DEBUG", "GET", "/v1/tokens/{tokenId}", "", "", "viewer")
	expect(s.as("viewer", "UNMENTIONED", "/v1/tokens", ""), "DEBUG", "other", "unknown", "", "", "")
	expect(s.as("", "POST", "/v1/tokens", s.tokenBody(vault, nil)), "DEBUG", "POST", "/v1/tokens", "", "", "")
	expect(s.as("", "GET", "/v1/tokens", "", header("Authorization", "Bearer unmentioned-bearer")), "DEBUG", "GET", "/v1/tokens", "", "", "")

	terse.as("viewer", "GET", path, "")
	terse.as("viewer", "POST", "/v1/tokens", s.tokenBody(vault, nil)).fails(403, 1001)
	some.of(t, terse.as("operator", "PATCH", path, `{"tags":["unmentioned-tag"]}`))
	require.Equal(t, 1, strings.Count(some.String(), "\n"), "%s", &some)

	for _, text := range []string{all.String(), some.String()} {
		require.NotContains(t, strings.ToLower(text), "unmentioned")
		for user, key := range h.keys {
			require.NotContains(t, text, key, user)
		}
	}
}
