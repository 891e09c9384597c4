package api

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// running is the keys whose first request is under way in this process. Across
// processes the store decides: the loser of the transaction replays.
type running struct {
	mu   sync.Mutex
	keys map[string]struct{}
}

func (r *running) enter(hash string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, busy := r.keys[hash]; busy {
		return false
	}
	if r.keys == nil {
		r.keys = map[string]struct{}{}
	}
	r.keys[hash] = struct{}{}
	return true
}

func (r *running) leave(hash string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.keys, hash)
}

// scope is the hash that a key stands for: the same key on another path, by
// another method or for another tenant is another one. Lengths go before the
// parts, so that no two lists of parts are written alike.
func scope(tenant, method, path, key string) string {
	h := sha256.New()
	for _, part := range []string{tenant, method, path, key} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// bodyHash is the hash by which two bodies are the same: that of the parsed
// body in RFC 8785 form, without idempotencyKey.
func bodyHash(raw jsontext.Value) (string, error) {
	var members map[string]jsontext.Value
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &members); err != nil {
			return "", fmt.Errorf("api: body: %w", err)
		}
	}
	delete(members, "idempotencyKey")
	b, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		return "", fmt.Errorf("api: body: %w", err)
	}
	v := jsontext.Value(b)
	if err := v.Canonicalize(); err != nil {
		return "", fmt.Errorf("api: body: %w", err)
	}
	sum := sha256.Sum256(v)
	return hex.EncodeToString(sum[:]), nil
}

// prepare makes the record that the service will store with its change. Whoever
// renders it, render is told the resource and gives the answer.
func (s *Server) prepare(c *gin.Context, r *request) error {
	if r.key == "" {
		return nil
	}
	body, err := bodyHash(r.raw)
	if err != nil {
		return err
	}
	r.idem = &store.Idempotent{Hash: scope(s.tenant, c.Request.Method, c.Request.URL.Path, r.key), BodyHash: body}
	return nil
}

// replay answers from the record of r's key, and tells whether there was one.
func (s *Server) replay(c *gin.Context, r *request) (bool, error) {
	rec, ok, err := s.store.Idempotency(c.Request.Context(), r.idem.Hash)
	if err != nil || !ok {
		return false, err
	}
	if rec.BodyHash != r.idem.BodyHash {
		return false, fault(idempotencyConflict, "Idempotency-Key %s was used with another body within the last 24 hours; draw a new key for a new request", quote(r.key))
	}
	if rec.Pending {
		r.idem.Begun = true
		return false, nil // the service goes on with what the first request began
	}
	c.Header("Idempotency-Replayed", "true")
	c.Data(rec.Status, contentType, rec.Body)
	return true, nil
}

// once runs a write under r's key: replayed if it is done, refused if it is
// running, else run.
func (s *Server) once(c *gin.Context, r *request, run func()) error {
	if r.idem == nil {
		run()
		return nil
	}
	if !s.running.enter(r.idem.Hash) {
		return fault(idempotencyInProgress, "the first request with Idempotency-Key %s is still running", quote(r.key)).after(comeBack)
	}
	defer s.running.leave(r.idem.Hash)
	done, err := s.replay(c, r)
	if err != nil || done {
		return err
	}
	run()
	return nil
}

// change makes a change and answers it: T is the resource, M its form in the
// document. The bytes that are answered are those that were stored.
func change[T, M any](s *Server, c *gin.Context, status int, form func(T) (M, error), do func(context.Context, *store.Idempotent) (T, error)) {
	r := requestOf(c)
	render := func(v any) (int, []byte, error) {
		res, ok := v.(T)
		if !ok {
			return 0, nil, fmt.Errorf("api: %s is to be answered with a %T", r.template(), v)
		}
		m, err := form(res)
		if err != nil {
			return 0, nil, err
		}
		body, err := encode(m)
		if err == nil {
			r.status, r.answer = status, body
		}
		return status, body, err
	}
	if r.idem != nil {
		r.idem.Render = render
	}
	res, err := do(c.Request.Context(), r.idem)
	if errors.Is(err, store.ErrIdempotencyLost) {
		s.lost(c, r)
		return
	}
	if err != nil {
		s.refuse(c, err)
		return
	}
	r.about(res)
	if r.answer == nil {
		if _, _, err := render(res); err != nil {
			s.refuse(c, err)
			return
		}
	}
	c.Data(r.status, contentType, r.answer)
}

// lost answers a request whose key another one, elsewhere, took first.
func (s *Server) lost(c *gin.Context, r *request) {
	done, err := s.replay(c, r)
	switch {
	case err != nil:
		s.refuse(c, err)
	case !done:
		s.refuse(c, fault(idempotencyInProgress, "the first request with Idempotency-Key %s is still running elsewhere", quote(r.key)).after(comeBack))
	}
}

// encode is the one way in which answers are written.
func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v, json.Deterministic(true), jsontext.EscapeForHTML(false))
	if err != nil {
		return nil, fmt.Errorf("api: encoding %T: %w", v, err)
	}
	return b, nil
}

// answer writes an answer that changed nothing.
func (s *Server) answer(c *gin.Context, v any) {
	b, err := encode(v)
	if err != nil {
		s.refuse(c, err)
		return
	}
	c.Data(http.StatusOK, contentType, b)
}
