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

// limitBody gives the request's body its time. What no handler reads net/http
// drains within the same time.
func (s *Server) limitBody(c *gin.Context) {
	if c.Request.Body == nil || c.Request.Body == http.NoBody {
		return
	}
	setDeadline(http.NewResponseController(c.Writer).SetReadDeadline, time.Now().Add(s.limits.BodyTimeout))
}

// bodyRead ends what limitBody began; else the deadline would end the handler.
func (s *Server) bodyRead(c *gin.Context) {
	if c.Request.Body != nil && c.Request.Body != http.NoBody {
		setDeadline(http.NewResponseController(c.Writer).SetReadDeadline, time.Time{})
	}
}

// setDeadline sets one where the transport has any; a recorder in a test has
// none, and there is nobody slow behind it.
func setDeadline(set func(time.Time) error, at time.Time) { _ = set(at) }

// answering is a response that gives the request's place in the budget back
// with its first byte, since what follows is the client's pace and not our work,
// and gives each further piece its own time: an answer that is taken, however
// long, is not cut off, and one that is not taken is.
type answering struct {
	gin.ResponseWriter
	s     *Server
	keep  bool // the answer is made while it is written
	free  func()
	until time.Time // of the piece that is being written
}

func (a *answering) Write(b []byte) (int, error) {
	a.before()
	n, err := a.ResponseWriter.Write(b)
	a.after(err)
	return n, err
}

func (a *answering) WriteString(t string) (int, error) {
	a.before()
	n, err := a.ResponseWriter.WriteString(t)
	a.after(err)
	return n, err
}

func (a *answering) before() {
	if !a.keep {
		a.free()
	}
	a.until = time.Now().Add(a.s.limits.WriteTimeout)
	setDeadline(http.NewResponseController(a.ResponseWriter).SetWriteDeadline, a.until)
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
