package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// maxAnswer bounds what is read of an answer: a page of 200 full ledger batches
// in base64 is below it.
const maxAnswer = 384 << 20

// Option changes one call.
type Option func(*options)

type options struct {
	key      string
	replayed *bool
}

// WithIdempotencyKey gives the call's idempotency key, 1 to 255 visible ASCII
// characters. A program that may be started again before it knows the answer
// draws the key first, keeps it, and gives it here.
func WithIdempotencyKey(key string) Option { return func(o *options) { o.key = key } }

// WithReplayed has *to tell whether the answer is that of an earlier call with
// the same key.
func WithReplayed(to *bool) Option { return func(o *options) { o.replayed = to } }

// effect says what a request may do. Both kinds may be sent twice.
type effect int

const (
	read  effect = iota + 1 // changes nothing
	keyed                   // a write, which carries an idempotency key
)

// call sends the request that build makes until it is answered, and decodes the
// answer into a T.
func call[T any](ctx context.Context, c *Client, e effect, opts []Option, build func() (*http.Request, error)) (*T, error) {
	var o options
	for _, f := range opts {
		f(&o)
	}
	if e == keyed && o.key == "" {
		o.key = rand.Text()
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 100 * time.Millisecond
	pause.MaxInterval = 5 * time.Second
	give := time.Now().Add(c.patience)
	for {
		answer, err := c.once(ctx, o, build)
		if err == nil {
			return decode[T](answer)
		}
		wait, again := retry(err)
		if !again {
			return nil, err
		}
		wait = max(wait, pause.NextBackOff())
		if ctx.Err() != nil || time.Now().Add(wait).After(give) {
			return nil, err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, err
		}
	}
}

// retry tells whether a request that failed with err is worth sending again,
// and after how long at least.
func retry(err error) (time.Duration, bool) {
	if refused, ok := errors.AsType[*Error](err); ok {
		return refused.RetryAfter, refused.Temporary()
	}
	if _, ok := errors.AsType[*UnreachableError](err); !ok {
		return 0, false
	}
	return 0, !hopeless(err)
}

// hopeless tells whether a connection failed for a reason that does not pass.
func hopeless(err error) bool {
	// The appliance refused our certificate or our version with an alert, whose
	// type crypto/tls keeps to itself, or what listens there does not speak TLS.
	op, ok := errors.AsType[*net.OpError](err)
	alert := ok && (op.Op == "remote error" || op.Op == "local error")
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	return alert || plain || errors.Is(err, http.ErrSchemeMismatch) || forged(err)
}

// forged tells whether the appliance's certificate did not verify.
func forged(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, hostname := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	return verification || authority || hostname || invalid
}

type answer struct {
	status int
	body   []byte
}

func (c *Client) once(ctx context.Context, o options, build func() (*http.Request, error)) (answer, error) {
	req, err := build()
	if err != nil {
		return answer{}, fmt.Errorf("client: making the request: %w", err)
	}
	req = req.WithContext(ctx)
	req.Header.Set("Authorization", "Bearer "+c.bearer)
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("Accept", "application/json")
	if o.key != "" {
		req.Header.Set("Idempotency-Key", o.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, &UnreachableError{URL: c.server, Err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, &UnreachableError{URL: c.server, Err: err}
	}
	if len(body) > maxAnswer {
		return answer{}, &AnswerError{resp.StatusCode, fmt.Errorf("it is longer than %d bytes", maxAnswer)}
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		if o.replayed != nil {
			*o.replayed = resp.Header.Get("Idempotency-Replayed") == "true"
		}
		return answer{resp.StatusCode, body}, nil
	}
	return answer{}, refusal(resp, body)
}

func refusal(resp *http.Response, body []byte) error {
	var env ErrorEnvelope
	if err := json.Unmarshal(body, &env); err != nil {
		return &AnswerError{resp.StatusCode, err}
	}
	if env.Error.Code == 0 {
		return &AnswerError{resp.StatusCode, errors.New("it holds no error code")}
	}
	e := &Error{
		Code: env.Error.Code, Type: env.Error.Type, Message: env.Error.Message, RequestID: env.Error.RequestID,
		HTTPStatus: resp.StatusCode, Details: env.Error.Details,
	}
	if e.Details == nil {
		e.Details = map[string]any{}
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

// decode reads an answer. Members that this version does not know are passed
// over, so that an older client goes on with a newer appliance.
func decode[T any](a answer) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(a.body, v); err != nil {
		return nil, &AnswerError{a.status, err}
	}
	return v, nil
}
