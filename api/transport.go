package api

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// HTTPServer serves the API within its limits: what a slow, idle or flooding
// client may hold is bounded, and is taken from that client first.
//
// Header, body, answer and idleness each have a time of their own. The server's
// own ReadTimeout is not set: it would end a handler that works longer than a
// body may take.
func (s *Server) HTTPServer() *http.Server {
	l := s.limits
	h := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: l.HeaderTimeout, // and of the TLS handshake
		WriteTimeout:      l.AuditTimeout + l.WriteTimeout,
		IdleTimeout:       l.IdleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnState:         s.connections.state,
		ConnContext:       connected,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: l.Streams,
			// A peer that neither sends nor answers is gone.
			SendPingTimeout: l.IdleTimeout / 2, PingTimeout: l.HeaderTimeout,
			WriteByteTimeout: l.WriteTimeout,
			CountError:       s.streamError,
		},
	}
	if s.tls != nil {
		h.TLSConfig = s.tls.Config()
	}
	return h
}

// maxHeader bounds a request's header, in bytes.
const maxHeader = 64 << 10

// streamError counts the streams, and the connections, that net/http ends because
// too many are opened.
func (s *Server) streamError(kind string) {
	// Such as conn_ENHANCE_YOUR_CALM_too_many_early_resets: the names are net/http's.
	for _, flood := range []string{"_too_many_early_resets", "_over_max_streams", "_over_max_streams_race"} {
		if strings.HasSuffix(kind, flood) {
			s.metrics.shed(shedStreams)
		}
	}
}

// unreadTimeout is how long net/http may wait for a body that nobody reads, of
// which it takes what is left before it answers or takes the next request: the
// connection makes no room for others until then.
const unreadTimeout = time.Second

// limitBody gives the request's body its time.
func (s *Server) limitBody(c *gin.Context) { s.bodyUntil(c, time.Now().Add(s.limits.BodyTimeout)) }

// bodyUnread gives a body that nobody reads the little time that it has.
func (s *Server) bodyUnread(c *gin.Context) {
	s.bodyUntil(c, time.Now().Add(min(s.limits.BodyTimeout, unreadTimeout)))
}

// bodyRead ends what limitBody began; else the deadline would end the handler.
func (s *Server) bodyRead(c *gin.Context) { s.bodyUntil(c, time.Time{}) }

func (s *Server) bodyUntil(c *gin.Context, at time.Time) {
	if hasBody(c.Request) {
		setDeadline(http.NewResponseController(c.Writer).SetReadDeadline, at)
	}
}

// hasBody tells whether something follows the header, be it empty.
func hasBody(r *http.Request) bool { return r.Body != nil && r.Body != http.NoBody }

// setDeadline sets one where the transport has any; a recorder in a test has
// none, and there is nobody slow behind it.
func setDeadline(set func(time.Time) error, at time.Time) { _ = set(at) }

// answering is a response that gives the request's place in the budget back
// with its first byte, since what follows is the client's pace and not our work,
// counts what the client has not taken, and gives each further piece its own
// time: an answer that is taken, however long, is not cut off, and one that is
// not taken is.
type answering struct {
	gin.ResponseWriter
	s *Server
	c *gin.Context
	// keep says that the answer is made while it is written; must, that it is to
	// be written whatever waits: it tells what was done, or why nothing was.
	keep, must bool
	free       func()
	until      time.Time // of the piece that is being written
}

func (a *answering) Write(b []byte) (int, error) {
	taken, full := a.before(len(b))
	if full != nil {
		a.must = true
		a.s.refuse(a.c, full) // in its stead; nothing of it was sent
		return len(b), nil
	}
	defer taken()
	n, err := a.ResponseWriter.Write(b)
	a.after(err)
	return n, err
}

func (a *answering) WriteString(t string) (int, error) { return a.Write([]byte(t)) }

func (a *answering) before(n int) (taken func(), full *problem) {
	// What is made while it is written holds its place; its pieces are small.
	must := a.must || a.keep || a.Written() || a.Status() >= http.StatusBadRequest
	if taken, full = a.s.answers.hold(n, must, requestOf(a.c).callers()); full != nil {
		return nil, full
	}
	if !a.keep {
		a.free()
	}
	a.until = time.Now().Add(a.s.limits.WriteTimeout)
	setDeadline(http.NewResponseController(a.ResponseWriter).SetWriteDeadline, a.until)
	return taken, nil
}

// after counts a client that let a piece's time pass: HTTP/1.1 says so by its
// error, HTTP/2 only that the stream is gone.
func (a *answering) after(err error) {
	if err != nil && !time.Now().Before(a.until) {
		a.s.metrics.shed(shedReader)
	}
}

// Unwrap is for http.ResponseController.
func (a *answering) Unwrap() http.ResponseWriter { return a.ResponseWriter }
