package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/daemon/trace"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// appliancePrefix begins the common name of an appliance's certificate.
const appliancePrefix = "appliance:"

// linkHandler answers peers: it puts what they ask to our own seal, and passes
// nothing on to a third.
type linkHandler struct {
	id      string
	seal    *seal.Client
	law     func() *ledger.Fold
	log     *slog.Logger
	metrics *linkMetrics
	tracer  *trace.Tracer
	ends    func() *ends // those in use now
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
	following := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return l.ends.Load().server(), nil }}
	return &linkServer{s, tls.NewListener(listener, following)}, func() { _ = listener.Close() }, nil
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
	began := time.Now()
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
	ctx, span := h.tracer.Serve(r.Context(), r.Header, "serve."+string(op), began)
	span.Set(trace.Appliance, peer)
	result, err := ask(ctx, h.seal)
	span.End(err)
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
	// A connection outlives certificates, its own and the roots.
	if err := h.ends().trusts(r.TLS.PeerCertificates, x509.ExtKeyUsageClientAuth, time.Now()); err != nil {
		return "", err
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
