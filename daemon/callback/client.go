package callback

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// askTimeout bounds one question, its answer read to the end.
	askTimeout = 15 * time.Second
	// maxKey bounds an API key, in bytes.
	maxKey = 512
	// pageSize is how many transactions are asked for at once.
	pageSize = 50
)

// client asks Qustody. It follows no redirects, uses no proxy and reads no more than it must. Safe for
// concurrent use.
type client struct {
	base string // without a slash at the end
	key  string
	http *http.Client
}

// refusedError is an answer that is no success. Its text is never Qustody's.
type refusedError struct {
	Method, Path string
	Status       int
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("callback: Qustody answers %s %s with %d", e.Method, e.Path, e.Status)
}

// newClient checks what it is given. roots is nil for the system's.
func newClient(base, key string, roots *x509.CertPool) (*client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("callback: the URL is not https with a host, without user and query") // it may hold a secret
	}
	key = strings.TrimSpace(key)
	if key == "" || len(key) > maxKey {
		return nil, fmt.Errorf("callback: the API key has %d bytes, want 1 to %d", len(key), maxKey)
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return nil, errors.New("callback: the API key has a character that is not visible ASCII")
		}
	}
	transport := &http.Transport{
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        time.Minute,
		TLSHandshakeTimeout:    askTimeout,
		ResponseHeaderTimeout:  askTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // what is read is what is counted
	}
	return &client{base: strings.TrimSuffix(base, "/"), key: key, http: &http.Client{Transport: transport,
		// An answer that sends us elsewhere would have the key, or the signature, sent there too.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// ask sends one request and reads at most limit bytes of a successful answer. A longer one, and one without
// success, are errors.
func (c *client) ask(ctx context.Context, method, path, idempotency string, body any, limit int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.key)
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if idempotency != "" {
		r.Header.Set("Idempotency-Key", idempotency)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("callback: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return nil, &refusedError{method, path, answer.StatusCode}
	}
	b, err := io.ReadAll(io.LimitReader(answer.Body, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("callback: the answer to %s %s: %w", method, path, err)
	}
	if len(b) > limit {
		return nil, fmt.Errorf("%w to %s %s has more than %d bytes", errAnswer, method, path, limit)
	}
	if bytes.Contains(b, []byte(c.key)) {
		return nil, fmt.Errorf("%w to %s %s repeats the API key", errAnswer, method, path)
	}
	return b, nil
}

// pending is one page of what waits for a signature.
func (c *client) pending(ctx context.Context, offset int) ([]transaction, error) {
	q := url.Values{"status": {string(stagePending)}, "limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(offset)}}
	b, err := c.ask(ctx, http.MethodGet, "/transactions?"+q.Encode(), "", nil, maxList)
	if err != nil {
		return nil, err
	}
	return parseList(b)
}

func (c *client) payload(ctx context.Context, ref string) (*payload, error) {
	b, err := c.ask(ctx, http.MethodGet, "/transactions/"+url.PathEscape(ref)+"/signing_payload", "", nil, maxPayload)
	if err != nil {
		return nil, err
	}
	return parsePayload(b)
}

func (c *client) transaction(ctx context.Context, ref string) (*transaction, error) {
	b, err := c.ask(ctx, http.MethodGet, "/transactions/"+url.PathEscape(ref), "", nil, maxSmall)
	if err != nil {
		return nil, err
	}
	t, err := parse[transaction](b, maxSmall)
	if err == nil && t.ID != ref {
		return nil, fmt.Errorf("%w about transaction %s is about another one", errAnswer, ref)
	}
	return t, err
}

// sign posts a signature. What a success says is not looked at.
func (c *client) sign(ctx context.Context, ref, idempotency string, s signature) error {
	_, err := c.ask(ctx, http.MethodPost, "/transactions/"+url.PathEscape(ref)+"/signature", idempotency, s, maxSmall)
	return err
}

func (c *client) register(ctx context.Context, vault, idempotency string, r registration) (*registered, error) {
	b, err := c.ask(ctx, http.MethodPost, "/vault/accounts/"+url.PathEscape(vault)+"/wallets", idempotency, r, maxSmall)
	if err != nil {
		return nil, err
	}
	return parse[registered](b, maxSmall)
}

func (c *client) registered(ctx context.Context, vault string, offset int) ([]registered, error) {
	q := url.Values{"limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(offset)}}
	b, err := c.ask(ctx, http.MethodGet, "/vault/accounts/"+url.PathEscape(vault)+"/wallets?"+q.Encode(), "", nil, maxList)
	if err != nil {
		return nil, err
	}
	l, err := parse[registeredList](b, maxList)
	if err != nil {
		return nil, err
	}
	return l.Data, nil
}
