package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	// attemptTimeout is how long an endpoint may take to answer.
	attemptTimeout = 10 * time.Second
	// maxAnswer is how much of an answer is read, in bytes, so that its connection can be used again; what it
	// says is not looked at.
	maxAnswer = 16 << 10
	// maxErrorText bounds what is kept of why an attempt failed, in bytes.
	maxErrorText = 200
)

// outcome is how an attempt ended, as metrics name it: a closed set. The zero value is invalid.
type outcome string

const (
	delivered outcome = "delivered" // a status within 200–299
	refused   outcome = "status"    // another one
	redirect  outcome = "redirect"  // one that leads elsewhere, where nothing is sent
	timeout   outcome = "timeout"
	address   outcome = "address" // one that deliveries must not go to
	name      outcome = "dns"
	tlsFailed outcome = "tls"
	broken    outcome = "connection" // refused, reset, or no HTTP
	noSecret  outcome = "secret"     // it cannot be signed
)

var outcomes = []outcome{delivered, refused, redirect, timeout, address, name, tlsFailed, broken, noSecret}

// result is what became of an attempt.
type result struct {
	outcome outcome
	status  int    // HTTP; 0 where there was no answer
	text    string // why it failed
}

// newClient is an HTTP client of one endpoint: connections are shared with no other one.
func newClient(g *guard, roots *x509.CertPool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil, // the environment's proxy would connect for us, to wherever it likes
			DialContext:            g.dial,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout:    attemptTimeout,
			ForceAttemptHTTP2:      true,
			MaxConnsPerHost:        laneTasks,
			MaxIdleConnsPerHost:    laneTasks,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: maxAnswer,
			DisableCompression:     true, // nothing is unpacked
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post makes one attempt. id is the event's, the same for every attempt, so that a receiver can tell that it
// has it already.
func post(ctx context.Context, c *http.Client, url, id string, body []byte, secrets []string, at time.Time) result {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return result{broken, 0, "the URL cannot be requested"}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "mintwarden-webhook/1")
	sign(r.Header, id, at, body, secrets)
	answer, err := c.Do(r)
	if err != nil {
		return failure(err)
	}
	// One that switches protocols hands over its connection, from which a read ends with nothing but its sender.
	if answer.StatusCode != http.StatusSwitchingProtocols {
		_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer) // what it holds changes nothing
	}
	_ = answer.Body.Close()
	switch s := answer.StatusCode; {
	case s >= 200 && s <= 299:
		return result{delivered, s, ""}
	case s >= 300 && s <= 399:
		return result{redirect, s, fmt.Sprintf("status %d: redirects are not followed; give the endpoint's final URL", s)}
	default:
		return result{refused, s, fmt.Sprintf("status %d", s)}
	}
}

// failure says why there was no answer, without the URL, which may hold what is nobody else's business.
func failure(err error) result {
	var away *AddressError
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var op *net.OpError
	var waited net.Error
	switch {
	case errors.As(err, &away):
		return result{address, 0, clip(away.Error())}
	case errors.As(err, &dns):
		if dns.IsTimeout {
			return result{name, 0, "the host's name was not resolved in time"}
		}
		return result{name, 0, clip("the host's name does not resolve: " + dns.Err)}
	case errors.As(err, &certificate):
		return result{tlsFailed, 0, clip("TLS: " + certificate.Err.Error())}
	case errors.As(err, &record):
		return result{tlsFailed, 0, "TLS: the endpoint does not speak TLS"}
	case errors.As(err, &alert):
		return result{tlsFailed, 0, clip("TLS: " + alert.Error())}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &waited) && waited.Timeout():
		return result{timeout, 0, "no answer within 10 s"}
	case errors.As(err, &op):
		return result{broken, 0, clip(op.Op + ": " + op.Err.Error())}
	case strings.Contains(err.Error(), "tls: "):
		return result{tlsFailed, 0, "TLS: the handshake failed"}
	}
	return result{broken, 0, "the connection broke, or the answer was no HTTP"}
}

// clip keeps a text to maxErrorText.
func clip(s string) string {
	if len(s) > maxErrorText {
		s = s[:maxErrorText-len("…")]
		s = strings.ToValidUTF8(s, "") + "…"
	}
	return s
}
