package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	auditlog "github.com/mintwarden/mintwarden/daemon/audit/log"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/reconciliation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/trace"
	"github.com/mintwarden/mintwarden/daemon/webhook"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Deps is what the API stands on.
type Deps struct {
	Registry   *registry.Service
	Operations *operation.Service
	Audit      *auditlog.Log
	Webhooks   *webhook.Service
	Store      *store.Store
	Seal       Sealer
	Log        *slog.Logger
	// Reconciliation tells how chain and operations compare.
	Reconciliation *reconciliation.Service
	// Registerer takes the metrics of requests.
	Registerer prometheus.Registerer
	Limits     Limits
	Tracer     *trace.Tracer // nil: nothing is traced
	// TLS is what HTTPServer serves with; nil where whoever serves has a
	// configuration of his own, and looks after it himself.
	TLS *TLS
	// NodeDown tells whether an error means that no chain node answers. The
	// API does not know the chain's errors itself: it reads the chain through the
	// registry alone.
	NodeDown func(error) bool
}

// Sealer is the part of the seal's socket that the API asks; *seal.Client is
// one. Status MUST answer also while the seal is sealed.
type Sealer interface {
	Status(context.Context) (*seal.Status, error)
}

// Server answers the API. Safe for concurrent use.
type Server struct {
	registry   *registry.Service
	operations *operation.Service
	audit      *auditlog.Log
	webhooks   *webhook.Service
	store      *store.Store
	statuses   statuses
	tenant     string
	log        *slog.Logger
	limits     Limits
	tracer     *trace.Tracer
	nodeDown   func(error) bool

	reconciliation *reconciliation.Service

	document *document
	buckets  *buckets // of requests
	lasts    *buckets // of bytes that stay in the store for good
	running  running
	metrics  *metrics
	work     work
	answers  *answers
	drains   chan struct{} // holds one for each body that is thrown away though nobody may have asked
	// connections that HTTPServer serves, with tls.
	connections *connections
	tls         *TLS
	engine      *gin.Engine
}

var _ ServerInterface = (*Server)(nil)

// New makes the API's handler. It expects to be served over TLS with verified
// client certificates (TLSConfig); what comes without one is refused.
func New(d Deps) (*Server, error) {
	if d.Registry == nil || d.Operations == nil || d.Audit == nil || d.Webhooks == nil || d.Store == nil || d.Seal == nil || d.Log == nil || d.Registerer == nil || d.NodeDown == nil {
		return nil, errors.New("api: registry, operations, audit log, webhooks, store, seal, log, registerer and NodeDown are needed")
	}
	doc, err := readDocument()
	if err != nil {
		return nil, err
	}
	d.Limits.defaults()
	w := newWork(d.Limits)
	taken := newAnswers(d.Limits.AnswerBytes)
	m, err := newMetrics(d.Registerer, w, taken)
	if err != nil {
		return nil, fmt.Errorf("api: metrics: %w", err)
	}
	conns := newConnections(d.Limits.Connections, m)
	if err := m.watch(d.Registerer, conns); err != nil {
		return nil, fmt.Errorf("api: metrics: %w", err)
	}
	s := &Server{
		registry: d.Registry, operations: d.Operations, audit: d.Audit, webhooks: d.Webhooks, store: d.Store, statuses: statuses{seal: d.Seal, limit: d.Limits.Timeout},
		tenant: d.Registry.Tenant(), log: d.Log, limits: d.Limits, tracer: d.Tracer, nodeDown: d.NodeDown, document: doc, metrics: m,
		buckets: newBuckets(rate.Limit(d.Limits.PerSecond), d.Limits.Burst), lasts: newBuckets(rate.Limit(float64(d.Limits.Lasting)/day), d.Limits.Lasting), work: w, answers: taken, drains: make(chan struct{}, maxDrains), connections: conns, tls: d.TLS,
	}
	s.reconciliation = d.Reconciliation
	s.engine = s.routes()
	return s, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	growStack()
	s.engine.ServeHTTP(w, r)
}

func (s *Server) routes() *gin.Engine {
	gin.SetMode(gin.ReleaseMode) // or it prints every route to stdout
	e := gin.New()
	e.HandleMethodNotAllowed = true
	// One resource has one path: nothing is cleaned, redirected or unescaped
	// into another route.
	e.RedirectTrailingSlash, e.RedirectFixedPath, e.RemoveExtraSlash = false, false, false
	e.UseRawPath, e.UnescapePathValues = true, true
	e.ForwardedByClientIP = false
	e.Use(s.begin, s.check)
	e.NoRoute(s.unknownRoute)
	e.NoMethod(s.unknownMethod)
	RegisterHandlersWithOptions(e, s, GinServerOptions{
		// What the document admits was checked before; a wrapper that still
		// refuses found a parameter that the document's checks let through.
		ErrorHandler: func(c *gin.Context, err error, _ int) { s.refuse(c, fault(registry.Validation, "%v", err)) },
	})
	return e
}

// begin gives the request its id, and sees it end: counted, logged, and
// answered even if its handler panics.
func (s *Server) begin(c *gin.Context) {
	r := &request{id: requestID(c.Request.Header), began: time.Now(), route: s.document.routes[c.Request.Method+" "+c.FullPath()]}
	c.Set(requestKey, r)
	c.Header("Request-Id", r.id)
	c.Header("Cache-Control", "no-store")
	c.Header("X-Content-Type-Options", "nosniff")
	s.limitBody(c)
	limit := s.limits.Timeout
	if r.route != nil && r.route.long() {
		limit = s.limits.AuditTimeout
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), limit)
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	defer s.end(c, r)
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v == http.ErrAbortHandler { //nolint:errorlint // what was panicked with, not an error that went through hands
			panic(v) // net/http's own way to drop a connection
		}
		s.log.Error("api: panic", "request_id", r.id, "route", r.template(), "panic", v, "stack", string(debug.Stack()))
		s.metrics.panics.Inc()
		if !c.Writer.Written() {
			s.refuse(c, fault(internalFault, "internal error"))
		}
	}()
	c.Next()
}

func (s *Server) end(c *gin.Context, r *request) {
	took := time.Since(r.began)
	code := "0"
	if r.problem != nil {
		code = strconv.Itoa(r.problem.number)
	}
	s.metrics.request(c.Request.Method, r.template(), c.Writer.Status(), code, took)
	s.tell(c, r, took)
	r.traced(c.Writer.Status())
}

// check holds the request in the order that the document states; what comes
// after is the services' business: does the resource exist, its state, values,
// the chain, the policy.
func (s *Server) check(c *gin.Context) {
	r := requestOf(c)
	if r.route == nil {
		c.Next()
		return
	}
	s.identify(c, r)
	if r.route.writes() && c.Request.ContentLength > maxBody {
		s.refuse(c, s.tooLarge(c, r))
		return
	}
	// Who may not ask holds nothing, and who may pays for the attempt before its
	// body comes: a body that never comes is not for nothing.
	if err := s.admit(c, r); err != nil {
		s.refuse(c, err)
		return
	}
	if !r.route.writes() {
		if err := s.dropBody(c, r); err != nil {
			s.refuse(c, err)
			return
		}
	}
	s.trace(c, r)
	leave, full := s.work.of(r.route).enter(r.callers()...)
	if full != nil {
		s.refuse(c, full)
		return
	}
	defer leave()
	c.Writer = &answering{ResponseWriter: c.Writer, s: s, c: c, keep: r.route.long(), must: r.route.writes(), free: leave}
	var body []byte
	if r.route.writes() {
		var err error
		if body, err = s.readBody(c); err != nil {
			s.refuse(c, err)
			return
		}
		if err := s.still(c, r); err != nil {
			s.refuse(c, err)
			return
		}
	}
	if err := s.ready(r.route); err != nil {
		s.refuse(c, err)
		return
	}
	if err := s.checkShape(c, r, body); err != nil {
		s.refuse(c, err)
		return
	}
	if !r.route.writes() {
		c.Next()
		return
	}
	if err := s.prepare(c, r); err != nil {
		s.refuse(c, err)
		return
	}
	err := s.once(c, r, func() {
		if err := s.room(r.route); err != nil {
			s.refuse(c, err)
			return
		}
		if !r.route.whileSealed() {
			if err := s.unsealed(c.Request.Context()); err != nil {
				s.refuse(c, err)
				return
			}
		}
		s.lasting(c, r, c.Next)
	})
	if err != nil {
		s.refuse(c, err)
	}
	c.Abort() // a replay has answered; the handler must not
}

// identify finds out who asks, from the header alone, so that what he may have
// under way is known before anything else of the request is taken in. What is
// wrong with it is answered when its turn comes.
func (s *Server) identify(c *gin.Context, r *request) {
	r.print = fingerprint(c.Request)
	if r.uncertified = s.certified(c.Request); r.uncertified != nil || r.print == "" || len(r.route.permissions) == 0 {
		return
	}
	r.caller, r.unknown = s.registry.Authenticate(c.Request.Context(), bearer(c.Request.Header))
	if r.unknown != nil {
		return
	}
	from := peer(c.Request)
	r.caller.RequestID, r.caller.IP, r.caller.UserAgent = r.id, from.String(), userAgent(c.Request)
	r.foreign = r.caller.Admits(r.print, from)
}

// still holds certificate, key and permission once more when the body is there: whoever was thrown out while he held
// it back has nothing under way that counts.
func (s *Server) still(c *gin.Context, r *request) error {
	if len(r.route.permissions) == 0 {
		return nil
	}
	s.identify(c, r)
	if wrong := errors.Join(r.uncertified, r.unknown, r.foreign); wrong != nil {
		return wrong
	}
	return r.permitted()
}

// permitted is nil if the caller may ask.
func (r *request) permitted() error {
	if r.caller.AllowsAny(r.route.permissions...) {
		return nil
	}
	return fault(registry.Forbidden, "credential %s of %s lacks the permission %s", r.caller.CredentialID, r.caller.Name, anyOf(r.route.permissions))
}

// admit holds certificate, key, rate and permission.
func (s *Server) admit(c *gin.Context, r *request) error {
	if r.print == "" {
		s.limitHeaders(c, s.buckets.of(certificateBucket(c.Request)))
		return fault(registry.Unauthorized, "no client certificate")
	}
	if r.uncertified != nil {
		s.limitHeaders(c, s.buckets.of(r.charged()))
		c.Header("Connection", "close")
		return r.uncertified
	}
	if len(r.route.permissions) == 0 {
		return s.take(c, r.charged(), shedRate)
	}
	// A key that is not good here spends nothing of its owner's: neither guesses
	// nor a stolen key shown from elsewhere shut him out. They are slowed down by
	// the certificate that shows them.
	if wrong := errors.Join(r.unknown, r.foreign); wrong != nil {
		if limited := s.take(c, r.charged(), shedGuesses); limited != nil {
			return limited
		}
		return wrong
	}
	if err := s.take(c, r.charged(), shedRate); err != nil {
		return err
	}
	s.registry.Used(r.caller.CredentialID)
	return r.permitted()
}

func anyOf(ps []registry.Permission) string {
	names := make([]string, len(ps))
	for i, p := range ps {
		names[i] = string(p)
	}
	return strings.Join(names, " or ")
}

func bearer(h http.Header) string {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, key, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(key, " ")
}

// checkShape holds query, path, headers and body against the document.
func (s *Server) checkShape(c *gin.Context, r *request, body []byte) error {
	if err := s.checkParams(c, r.route); err != nil {
		return err
	}
	if !r.route.writes() {
		return nil
	}
	var tree any
	switch {
	case len(body) > 0 && r.route.body == nil:
		return fault(registry.Validation, "%s %s takes no body", r.route.method, r.route.path)
	case len(body) > 0:
		if err := checkMedia(c.Request.Header); err != nil {
			return err
		}
		var err error
		if r.raw, tree, err = parseBody(body); err != nil {
			return err
		}
		if r.badValue, err = r.route.checkBody(tree); err != nil {
			return err
		}
	case r.route.bodyRequired:
		return fault(registry.MissingField, "the body is missing; %s %s takes one JSON object", r.route.method, r.route.path)
	}
	key, err := r.route.checkKey(c.Request.Header, tree)
	if err != nil {
		return err
	}
	r.key = key
	return nil
}

// ready refuses what would be answered from a ledger that is not carried in
// yet. A ledger that does not verify stops writes; reads still show what was
// true before.
func (s *Server) ready(r *route) error {
	err := s.registry.Ready()
	if err == nil || errors.Is(err, registry.ErrLedger) && (!r.writes() || r.stopsOrUnseals()) || len(r.permissions) == 0 {
		return nil
	}
	return fault(storeUnavailable, "the ledger is not followed now: %v", err).after(comeBack)
}

// sealAway is how long a write waits for a seal that does not answer: its worker
// is started again in about a tenth of that.
const sealAway = time.Second

// unsealed refuses a write while the seal is sealed. Every time it is told what was asked for after it came: sealing
// takes effect at once.
//
// A seal that just sealed itself, or lost its worker, is away for a moment
// until its keeper has a new one up; that moment is waited for, so that the
// caller learns which of the two it was.
func (s *Server) unsealed(ctx context.Context) error {
	st, err := s.statuses.now(ctx)
	for gone := time.Now(); errors.Is(err, seal.ErrUnreachable) && time.Since(gone) < sealAway; st, err = s.statuses.now(ctx) {
		select {
		case <-time.After(sealAway / 50):
		case <-ctx.Done():
			return err
		}
	}
	if err != nil {
		return err
	}
	if st.Sealed {
		return ofSeal(seal.Errorf(seal.KindSealed, "sealed"))
	}
	return nil
}

func (s *Server) unknownRoute(c *gin.Context) {
	s.limitHeaders(c, s.buckets.of(certificateBucket(c.Request)))
	s.refuse(c, fault(registry.NotFound, "there is no route %s; GET /v1/openapi.json lists them", quote(c.Request.URL.Path)))
}

func (s *Server) unknownMethod(c *gin.Context) {
	s.limitHeaders(c, s.buckets.of(certificateBucket(c.Request)))
	p := fault(registry.NotFound, "%s is not a method of %s; it has %s", quote(c.Request.Method), quote(c.Request.URL.Path), c.Writer.Header().Get("Allow"))
	p.status = http.StatusMethodNotAllowed
	s.refuse(c, p)
}
