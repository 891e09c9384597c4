package api

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// connections is who is connected, kept within a number. Where there is one too
// many, one makes room that costs its client least: the oldest that has not
// shown a request yet, then the longest idle. One that a request runs on is
// never cut. An address that has half of all makes room out of its own, so that
// one host's idle connections push nobody else out.
type connections struct {
	max     int
	metrics *metrics

	mu  sync.Mutex
	all map[net.Conn]*connection
	by  map[netip.Addr]int
}

type connection struct {
	from  netip.Addr
	state http.ConnState
	since time.Time // of the state
}

func newConnections(max int, m *metrics) *connections {
	return &connections{max: max, metrics: m, all: map[net.Conn]*connection{}, by: map[netip.Addr]int{}}
}

// state hears of every connection from net/http, in order for each.
func (c *connections) state(conn net.Conn, to http.ConnState) {
	var gone net.Conn
	c.mu.Lock()
	switch to {
	case http.StateNew:
		gone = c.opened(conn)
	case http.StateActive, http.StateIdle:
		if k := c.all[conn]; k != nil && k.state != to {
			k.state, k.since = to, time.Now()
		}
	case http.StateClosed, http.StateHijacked:
		c.forget(conn)
	}
	c.mu.Unlock()
	if gone != nil {
		c.metrics.shed(shedConnections)
		cut(gone)
	}
}

// opened takes a connection in and answers the one that makes room for it, if
// one must.
func (c *connections) opened(conn net.Conn) net.Conn {
	from := addressOf(conn.RemoteAddr())
	c.all[conn] = &connection{from: from, state: http.StateNew, since: time.Now()}
	c.by[from]++
	var gone net.Conn
	switch {
	case c.by[from] > (c.max+1)/2:
		gone = c.cheapest(conn, func(k *connection) bool { return k.from == from })
	case len(c.all) > c.max:
		gone = c.cheapest(conn, func(*connection) bool { return true })
	default:
		return nil
	}
	c.forget(gone)
	return gone
}

// cheapest is the connection, of those that may go, whose end costs least;
// newcomer itself where all others are at work.
func (c *connections) cheapest(newcomer net.Conn, may func(*connection) bool) net.Conn {
	best := newcomer
	var found *connection
	for conn, k := range c.all {
		if conn == newcomer || k.state == http.StateActive || !may(k) {
			continue
		}
		if found == nil || k.state == http.StateNew && found.state != http.StateNew || k.state == found.state && k.since.Before(found.since) {
			best, found = conn, k
		}
	}
	return best
}

func (c *connections) forget(conn net.Conn) {
	k := c.all[conn]
	if k == nil {
		return
	}
	delete(c.all, conn)
	if c.by[k.from]--; c.by[k.from] == 0 {
		delete(c.by, k.from)
	}
}

// count is how many connections are in each state.
func (c *connections) count() map[http.ConnState]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := map[http.ConnState]int{}
	for _, k := range c.all {
		n[k.state]++
	}
	return n
}

// cut ends a connection at once: TLS's own goodbye would wait for a peer that
// does not read.
func cut(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	_ = conn.Close() // it is gone either way
}

func addressOf(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
