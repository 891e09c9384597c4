package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
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
// their clients. One that shakes hands yet is held by its handshake.
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

// certified refuses a request on a connection whose client certificate ended
// since the handshake.
func (s *Server) certified(r *http.Request) error {
	if s.tls == nil || r.TLS == nil {
		return nil
	}
	if err := s.tls.now.Load().refusal(r.TLS.PeerCertificates, time.Now()); err != nil {
		return fault(registry.Unauthorized, "%v", err)
	}
	return nil
}
