package client

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Config says where the appliance is and who calls it.
type Config struct {
	// URL is the appliance's address, such as https://127.0.0.1:8443.
	URL string
	// CAFile holds the PEM certificates of the roots that the appliance's own
	// certificate must descend from.
	CAFile string
	// CertFile and KeyFile are the caller's certificate and its private key in
	// PEM: ECDSA, Ed25519 or ML-DSA.
	CertFile, KeyFile string
	// APIKeyFile holds the bearer key and nothing else but white space.
	APIKeyFile string
	// UserAgent names the calling program in the appliance's audit log;
	// empty means "mintwarden-client".
	UserAgent string
	// Patience is how long one call goes on trying while the appliance does not
	// answer or asks to be tried again; 0 means 30 s, a negative one no retry.
	Patience time.Duration
	// Poll is how often a waiting call reads its operation; 0 means 250 ms.
	Poll time.Duration
}

// The variables that [FromEnv] reads, as `mintwardend dev` writes them.
const (
	EnvURL        = "MINTWARDEN_URL"
	EnvCA         = "MINTWARDEN_CA"
	EnvCert       = "MINTWARDEN_CERT"
	EnvKey        = "MINTWARDEN_KEY"
	EnvAPIKeyFile = "MINTWARDEN_API_KEY_FILE"
)

// ConfigFromEnv reads a Config from the environment. Every variable must be
// set; the error names those that are not.
func ConfigFromEnv() (Config, error) {
	var c Config
	var missing []string
	for _, v := range []struct {
		name string
		to   *string
	}{{EnvURL, &c.URL}, {EnvCA, &c.CAFile}, {EnvCert, &c.CertFile}, {EnvKey, &c.KeyFile}, {EnvAPIKeyFile, &c.APIKeyFile}} {
		if *v.to = os.Getenv(v.name); *v.to == "" {
			missing = append(missing, v.name)
		}
	}
	if len(missing) > 0 {
		return c, fmt.Errorf("client: not set in the environment: %s", strings.Join(missing, ", "))
	}
	return c, nil
}

// FromEnv is New with the Config of the environment.
func FromEnv() (*Client, error) {
	c, err := ConfigFromEnv()
	if err != nil {
		return nil, err
	}
	return New(c)
}

// Client calls one appliance as one user. Safe for concurrent use.
type Client struct {
	server    string
	bearer    string
	userAgent string
	patience  time.Duration
	poll      time.Duration
	http      *http.Client
}

// A request that takes longer than this is given up and tried again; the
// slowest route, reading the whole audit log, has to fit in it.
const requestTimeout = 2 * time.Minute

// New reads the files that c names and makes a client. It does not connect.
func New(c Config) (*Client, error) {
	if strings.Contains(c.URL, "@") { // every error would tell it
		return nil, errors.New("client: the URL holds a user or a password; certificate and API key say who calls")
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("client: URL %q: %w", c.URL, err)
	}
	if u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("client: URL %q is not https://host[:port]", c.URL)
	}
	conf, err := TLSConfig(c)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(c.APIKeyFile)
	if err != nil {
		return nil, fmt.Errorf("client: API key: %w", err)
	}
	bearer := string(bytes.TrimSpace(key))
	if bearer == "" || strings.ContainsFunc(bearer, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("client: %s does not hold one API key", c.APIKeyFile)
	}
	k := &Client{
		server: strings.TrimSuffix(c.URL, "/"), bearer: bearer, userAgent: c.UserAgent, patience: c.Patience, poll: c.Poll,
		http: &http.Client{
			Transport: &http.Transport{
				TLSClientConfig:     conf,
				ForceAttemptHTTP2:   true,
				MaxIdleConnsPerHost: 64, // a program that mints in parallel keeps its connections
				IdleConnTimeout:     90 * time.Second,
				TLSHandshakeTimeout: 10 * time.Second,
			},
			Timeout: requestTimeout,
			// The API never redirects. Following one would hand the bearer key on.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if k.userAgent == "" {
		k.userAgent = "mintwarden-client"
	}
	if k.patience == 0 {
		k.patience = 30 * time.Second
	}
	if k.poll == 0 {
		k.poll = 250 * time.Millisecond
	}
	return k, nil
}

// TLSConfig is the TLS side of c: version 1.3, the roots of CAFile only, and
// the caller's certificate. The hybrid X25519MLKEM768 key exchange is Go's
// first choice and stays so.
func TLSConfig(c Config) (*tls.Config, error) {
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("client: roots: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("client: %s holds no certificate", c.CAFile)
	}
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("client: certificate %s with key %s: %w", c.CertFile, c.KeyFile, err)
	}
	if pair.Leaf == nil {
		return nil, errors.New("client: the client certificate was not parsed")
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{pair}}, nil
}

// Close closes idle connections. The client may still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }
