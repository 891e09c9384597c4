package link

import (
	"crypto/x509"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/daemon/trace"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// handler answers peers: it puts what they ask to our own seal, and passes
// nothing on to a third.
type handler struct {
	id       string // our own, in the charter
	seal     *seal.Client
	law      func() *ledger.Fold
	log      *slog.Logger
	metrics  *metrics
	tracer   *trace.Tracer
	identity func() *Identity // what is in use now
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	peer, err := h.peer(r)
	if err != nil {
		h.log.Warn("link: a caller is refused", "from", r.RemoteAddr, "error", err)
		h.metrics.requests.WithLabelValues("taken", "unknown", "", "refused").Inc()
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	if r.URL.Path != path || r.Method != http.MethodPost {
		http.Error(w, "this listener answers POST "+path+" alone", http.StatusNotFound)
		return
	}
	began := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
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
	a := answer{Format: format, Request: policy.DigestOf(body)}
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
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(text) // a peer that went away asks again
}

// peer is the appliance whose certificate the caller showed.
func (h *handler) peer(r *http.Request) (string, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return "", errors.New("no client certificate")
	}
	// A connection outlives certificates, its own and the roots.
	if err := h.identity().trusts(r.TLS.PeerCertificates, x509.ExtKeyUsageClientAuth, time.Now()); err != nil {
		return "", err
	}
	name := r.TLS.PeerCertificates[0].Subject.CommonName
	id, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return "", fmt.Errorf("the certificate of %.80q is no appliance's", name)
	}
	if id == h.id {
		return "", fmt.Errorf("the certificate names %s, which is this appliance", name)
	}
	return id, admitted(h.law(), id)
}
