package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/mintwarden/mintwarden/daemon/registry"
)

// lookEvery is how often those who are connected are held against the trust in
// force: what ended since their handshake is enforced within this, whether they
// ask for something or stay idle. A new trust is enforced at once.
const lookEvery = 15 * time.Second

// Watch cuts off the connections of HTTPServer whose clients' certificates ended
// or are trusted no more, until ctx ends.
func (s *Server) Watch(ctx context.Context) error {
	if s.tls == nil {
		<-ctx.Done()
		return nil
	}
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
			s.look(false)
		case <-s.tls.replaced:
			s.look(true)
		}
	}
}

// look holds every connection against the trust in force; anew says that it was
// replaced, so that the whole chain is verified.
func (s *Server) look(anew bool) {
	t, now := s.tls.now.Load(), time.Now()
	for conn, chain := range s.connections.clients() {
		err := t.refusal(chain, now)
		if anew {
			err = t.verify(chain, now)
		}
		if err != nil {
			s.tls.refused.Inc()
			s.log.Info("api: a connection was cut off", "peer", conn.RemoteAddr().String(), "error", err)
			cut(conn)
		}
	}
}

// clients are the connections that showed a request, with the certificates of
// their clients. One that did not is held by its first (see certified).
func (c *connections) clients() map[net.Conn][]*x509.Certificate {
	c.mu.Lock()
	var settled []*tls.Conn
	for conn, k := range c.all {
		if t, ok := conn.(*tls.Conn); ok && k.state != http.StateNew {
			settled = append(settled, t)
		}
	}
	c.mu.Unlock()
	all := map[net.Conn][]*x509.Certificate{}
	for _, t := range settled {
		all[t] = t.ConnectionState().PeerCertificates
	}
	return all
}

// verifiedBy is the key in a request's context of the trust by which its
// connection's client was verified last.
type verifiedBy struct{}

// connected is the context of a connection's requests.
func connected(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, verifiedBy{}, new(atomic.Pointer[trust]))
}

// certified refuses a request on a connection whose client certificate ended
// since the handshake. The first one under a trust is held to all of it: the
// handshake may have gone by the one before, and nobody looks at a connection
// that shows no request.
func (s *Server) certified(r *http.Request) error {
	if s.tls == nil || r.TLS == nil {
		return nil
	}
	t := s.tls.now.Load()
	by, _ := r.Context().Value(verifiedBy{}).(*atomic.Pointer[trust])
	known := by != nil && by.Load() == t
	holds := t.verify
	if known {
		holds = t.refusal
	}
	if err := holds(r.TLS.PeerCertificates, time.Now()); err != nil {
		return fault(registry.Unauthorized, "%v", err)
	}
	if by != nil && !known {
		by.Store(t)
	}
	return nil
}
