package chain

import (
	"bytes"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// counting stands before a node and counts requests and the questions in them. The first requests wait until
// so many questions were asked that all others gather.
func counting(t *testing.T, url string, refuse func(body []byte) bool) (at string, requests, questions func() int) {
	var mu sync.Mutex
	var nRequests, nQuestions int
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var batch []json.RawMessage
		if json.Unmarshal(body, &batch) != nil {
			batch = batch[:0]
			batch = append(batch, body)
		}
		mu.Lock()
		nRequests, nQuestions = nRequests+1, nQuestions+len(batch)
		mu.Unlock()
		if refuse != nil && refuse(body) {
			http.Error(w, "no batches", http.StatusBadRequest)
			return
		}
		answer, err := http.Post(url, "application/json", bytes.NewReader(body))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		w.Header().Set("Content-Type", "application/json")
		io.Copy(w, answer.Body)
	}))
	t.Cleanup(s.Close)
	read := func(n *int) func() int {
		return func() int { mu.Lock(); defer mu.Unlock(); return *n }
	}
	return s.URL, read(&nRequests), read(&nQuestions)
}

// askAll asks many questions at once, most of them the same, and checks each answer.
func askAll(t *testing.T, c *Client, rich, poor tx.Address, want *big.Int) {
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			who, has := rich, want
			if i%10 == 0 {
				who, has = poor, new(big.Int)
			}
			b, err := c.Balance(t.Context(), who)
			if err != nil || b.Cmp(has) != 0 {
				t.Errorf("question %d: %v, %v; want %v", i, b, err, has)
			}
			if i%20 == 0 {
				// keccak("EnforcedPause()")[:4] at an account that is no contract: an answer of its own.
				if _, err := c.Call(t.Context(), who, poor, []byte{0xd9, 0x3c, 0x06, 0x65}); err != nil {
					t.Errorf("call %d: %v", i, err)
				}
			}
		})
	}
	all.Wait()
}

// patient is a network of one node that is given time for hundreds of questions at once.
func patient(url string) Network {
	n := network(url)
	n.Timeout = 2 * time.Minute
	return n
}

func TestManyQuestionsAreFewRequests(t *testing.T) {
	n := manual(t)
	w := newWallet(t)
	fund(t, n, w)
	full, err := dial(t, network(n.URL())).Balance(t.Context(), w.address)
	require.NoError(t, err)
	url, requests, questions := counting(t, n.URL(), nil)
	askAll(t, dial(t, patient(url)), w.address, tx.Address{7}, full)
	require.Less(t, requests(), 150, "210 questions")
	require.Less(t, questions(), 200, "equal questions that wait are asked once")
}

func TestANodeThatTakesNoBatches(t *testing.T) {
	n := manual(t)
	w := newWallet(t)
	fund(t, n, w)
	full, err := dial(t, network(n.URL())).Balance(t.Context(), w.address)
	require.NoError(t, err)
	refused := 0
	var mu sync.Mutex
	url, _, _ := counting(t, n.URL(), func(body []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		if body[0] == '[' {
			refused++
		}
		return body[0] == '['
	})
	c := dial(t, patient(url))
	askAll(t, c, w.address, tx.Address{7}, full)
	once := refused
	askAll(t, c, w.address, tx.Address{7}, full)
	require.LessOrEqual(t, once, maxAsking)
	require.Equal(t, once, refused, "it is not tried again")
}

// batchesTo is the URL of what stands before a node and answers batches by itself.
func batchesTo(t *testing.T, url string, batch func(http.ResponseWriter, *http.Request, []byte)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		out.Header().Set("Content-Type", "application/json")
		if bytes.HasPrefix(body, []byte("[")) {
			batch(out, r, body)
			return
		}
		answer, err := http.Post(url, "application/json", bytes.NewReader(body))
		if err != nil {
			http.Error(out, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		_, _ = io.Copy(out, answer.Body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestANodeThatRefusesEachOfABatch: some say so to each question of a batch in place of once; then they are asked one
// by one, too.
func TestANodeThatRefusesEachOfABatch(t *testing.T) {
	n := manual(t)
	w := newWallet(t)
	fund(t, n, w)
	full, err := dial(t, network(n.URL())).Balance(t.Context(), w.address)
	require.NoError(t, err)
	s := batchesTo(t, n.URL(), func(out http.ResponseWriter, _ *http.Request, body []byte) {
		var batch []struct {
			ID json.RawMessage `json:"id"`
		}
		if json.Unmarshal(body, &batch) != nil {
			http.Error(out, "no batch", http.StatusBadRequest)
			return
		}
		answers := make([]map[string]any, len(batch))
		for i, q := range batch {
			answers[i] = map[string]any{"jsonrpc": "2.0", "id": q.ID, "error": map[string]any{"code": -32600, "message": "Batch size exceeds 1"}}
		}
		_ = json.NewEncoder(out).Encode(answers)
	})
	askAll(t, dial(t, patient(s)), w.address, tx.Address{7}, full)
}

// TestANodeThatAnswersNoBatch: something before it drops them, and nobody hears of it. Who waited for one waits in
// vain; from then on it is asked one by one.
func TestANodeThatAnswersNoBatch(t *testing.T) {
	n := manual(t)
	s := batchesTo(t, n.URL(), func(_ http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() })
	one := network(s)
	one.Timeout = time.Second
	c := dial(t, one)
	require.Eventually(t, func() bool {
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() { _, _ = c.Balance(t.Context(), tx.Address{byte(i)}) })
		}
		all.Wait()
		return c.nodes[0].asking.single.Load()
	}, 2*time.Minute, time.Millisecond)
	_, err := c.Head(t.Context())
	require.NoError(t, err)
}
