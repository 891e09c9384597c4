package dev_test

import (
	"encoding/json/v2"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
)

// sink is who webhooks tell. It can be told to refuse, and to be slow.
type sink struct {
	t      *testing.T
	server *httptest.Server

	mu      sync.Mutex
	secret  string
	refuses bool
	slow    time.Duration
	seen    map[string]bool     // events, by id
	told    map[string][]string // types of an operation's events, in the order in which each came first
	others  []string            // types of events that are of no operation
	again   int                 // events that came more than once
	forged  []string            // what did not verify
}

func newSink(t *testing.T) *sink {
	s := &sink{t: t, seen: map[string]bool{}, told: map[string][]string{}}
	s.server = httptest.NewServer(http.HandlerFunc(s.take))
	t.Cleanup(s.server.Close)
	return s
}

// know gives it the endpoint's secret.
func (s *sink) know(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secret = secret
}

func (s *sink) set(refuses bool, slow time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses, s.slow = refuses, slow
}

func (s *sink) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the connection broke
	}
	s.mu.Lock()
	refuses, slow := s.refuses, s.slow
	s.mu.Unlock()
	time.Sleep(slow) // the fault itself: an endpoint that takes its time
	if refuses {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := client.VerifyWebhook(s.secret, r.Header, body, time.Now())
	if err != nil {
		s.forged = append(s.forged, err.Error())
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if s.seen[e.ID] {
		s.again++
		return
	}
	s.seen[e.ID] = true
	var data struct {
		OperationID string `json:"operationId"`
	}
	if json.Unmarshal(e.Data, &data) != nil || data.OperationID == "" {
		s.others = append(s.others, e.Type)
		return
	}
	s.told[data.OperationID] = append(s.told[data.OperationID], e.Type)
}

// of are an operation's events so far.
func (s *sink) of(id string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.told[id])
}
