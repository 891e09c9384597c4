package daemon

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// appliancePrefix begins the common name of an appliance's certificate.
const appliancePrefix = "appliance:"

// ends is what both ends of the link know each other by.
type ends struct {
	pair  tls.Certificate
	roots *x509.CertPool
}

// openEnds reads our own pair and the root of all, and refuses a pair that is
// another appliance's, and a root that is one of callers' too: whoever issues
// certificates to people could name one of them appliance:….
func openEnds(c config.Link, id string, callers []string) (*ends, error) {
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("daemon: link.cert %s: %w", c.Cert, err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("daemon: link.cert %s: %w", c.Cert, err)
	}
	if leaf.Subject.CommonName != appliancePrefix+id {
		return nil, fmt.Errorf("daemon: link.cert %s names %q, this is %s%s", c.Cert, leaf.Subject.CommonName, appliancePrefix, id)
	}
	own, err := certificatesOf(c.CA)
	if err != nil {
		return nil, fmt.Errorf("daemon: link.ca: %w", err)
	}
	roots := x509.NewCertPool()
	for _, root := range own {
		roots.AddCert(root)
	}
	for _, path := range callers {
		others, err := certificatesOf(path)
		if err != nil {
			return nil, fmt.Errorf("daemon: api.client_ca: %w", err)
		}
		for _, other := range others {
			if slices.ContainsFunc(own, func(c *x509.Certificate) bool {
				return bytes.Equal(c.RawSubjectPublicKeyInfo, other.RawSubjectPublicKeyInfo)
			}) {
				return nil, fmt.Errorf("daemon: link.ca %s holds the key of %q, a root of api.client_ca %s; appliances need a root of their own", c.CA, other.Subject.CommonName, path)
			}
		}
	}
	return &ends{pair, roots}, nil
}

// certificatesOf are those of a PEM file, at least one.
func certificatesOf(path string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return out, nil
}

// linkGroups are the link's key exchanges: both ends are ours, so the hybrid
// is the only one.
var linkGroups = []tls.CurveID{tls.X25519MLKEM768}

func (e *ends) server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{e.pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: e.roots,
		NextProtos: []string{"h2", "http/1.1"}, CurvePreferences: linkGroups, SessionTicketsDisabled: true,
	}
}

// client verifies that who answers is the peer that was meant, and not merely
// one of us.
func (e *ends) client(peer string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{e.pair}, RootCAs: e.roots, CurvePreferences: linkGroups,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if name := cs.PeerCertificates[0].Subject.CommonName; name != appliancePrefix+peer {
				return fmt.Errorf("link: who answers for %s is %q", peer, name)
			}
			return nil
		},
	}
}

// linkHandler answers peers: it puts what they ask to our own seal, and passes
// nothing on to a third.
type linkHandler struct {
	id      string
	seal    *seal.Client
	law     func() *ledger.Fold
	log     *slog.Logger
	metrics *linkMetrics
}

// linkServer is our end while it listens.
type linkServer struct {
	*http.Server
	listener net.Listener
}

func (s *linkServer) serve() error { return s.Serve(s.listener) }

// listen opens our end; nothing for an appliance that is alone.
func (l *link) listen(log *slog.Logger) (*linkServer, func(), error) {
	if l == nil {
		return nil, func() {}, nil
	}
	listener, err := net.Listen("tcp", l.listener)
	if err != nil {
		return nil, nil, fmt.Errorf("daemon: link: %w", err)
	}
	s := server(l.handler, log)
	log.Info("link: listening for peers", "address", listener.Addr().String())
	return &linkServer{s, tls.NewListener(listener, l.ends.server())}, func() { _ = listener.Close() }, nil
}

func (h *linkHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	peer, err := h.peer(r)
	if err != nil {
		h.log.Warn("link: a caller is refused", "from", r.RemoteAddr, "error", err)
		h.metrics.requests.WithLabelValues("taken", "unknown", "", "refused").Inc()
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	if r.URL.Path != linkPath || r.Method != http.MethodPost {
		http.Error(w, "this listener answers POST "+linkPath+" alone", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLinkMessage))
	if err != nil {
		http.Error(w, "the request cannot be read, or is too long", http.StatusRequestEntityTooLarge)
		return
	}
	op, ask, err := parseMessage(body)
	if err != nil {
		h.log.Warn("link: a request is refused", "appliance", peer, "error", err)
		h.metrics.requests.WithLabelValues("taken", peer, "", "refused").Inc()
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	result, err := ask(r.Context(), h.seal)
	h.metrics.taken(op, peer, err)
	a := linkAnswer{Format: linkFormat, Request: policy.DigestOf(body)}
	if err == nil {
		a.Result, err = json.Marshal(result)
	} else if errors.As(err, &a.Error) {
		err = nil
	}
	var text []byte
	if err == nil {
		text, err = json.Marshal(a, jsontext.EscapeForHTML(false))
	}
	if err != nil {
		h.log.Warn("link: our own seal did not answer a peer", "appliance", peer, "op", op, "error", err)
		http.Error(w, "the seal does not answer", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", linkType)
	_, _ = w.Write(text) // a peer that went away asks again
}

// peer is the appliance whose certificate the caller showed.
func (h *linkHandler) peer(r *http.Request) (string, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return "", errors.New("no client certificate")
	}
	name := r.TLS.PeerCertificates[0].Subject.CommonName
	id, ok := strings.CutPrefix(name, appliancePrefix)
	if !ok {
		return "", fmt.Errorf("the certificate of %.80q is no appliance's", name)
	}
	if id == h.id {
		return "", fmt.Errorf("the certificate names %s, which is this appliance", name)
	}
	return id, admitted(h.law(), id)
}
