package api

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// problem is an error on its way to the caller. It is an error itself, so that
// checks can return it.
type problem struct {
	code
	message    string
	details    map[string]any
	retryAfter time.Duration // 0: none
	shed       shed          // why the request was turned away, if it was
}

func (p *problem) Error() string { return p.name + ": " + p.message }

// fault makes a problem of a type in the table.
func fault(kind, format string, args ...any) *problem {
	c, ok := byType[kind]
	if !ok {
		c = byType[internalFault]
	}
	return &problem{code: c, message: fmt.Sprintf(format, args...)}
}

func (p *problem) after(d time.Duration) *problem { p.retryAfter = d; return p }

// A caller who is asked to come back is asked to wait this long: a restart of
// the seal's worker or a change of etcd's leader is mostly over by then.
const comeBack = time.Second

// problemOf says what a caller is told of err. What is not a refusal that
// somebody wrote for callers is INTERNAL, and its words stay in the log.
func (s *Server) problemOf(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var r *registry.Refusal
	if errors.As(err, &r) {
		return refused(r)
	}
	var told *seal.Error
	switch {
	case errors.As(err, &told):
		return ofSeal(told)
	case s.nodeDown(err):
		return fault(registry.NodeUnavailable, "no node of the token's network answers; try again").after(comeBack)
	case errors.Is(err, seal.ErrUnreachable), errors.Is(err, seal.ErrClosed):
		return fault(hsmUnavailable, "the seal does not answer; try again with the same idempotency key").after(comeBack)
	case errors.Is(err, store.ErrFull):
		return fault(storeUnavailable, "the store is full and takes no writes; once its operator has compacted and defragmented etcd and disarmed its alarm (NOSPACE), try again with the same idempotency key").after(shortWait)
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrFenceLost):
		return fault(storeUnavailable, "the store does not answer; try again with the same idempotency key").after(comeBack)
	case errors.Is(err, store.ErrConflict):
		return fault(registry.TxStateConflict, "the resource was changed by others at the same time; try again").after(comeBack)
	case errors.Is(err, context.Canceled):
		// The caller went away; nobody reads this, and it is no fault of ours.
		return fault(storeUnavailable, "the caller went away")
	case errors.Is(err, context.DeadlineExceeded):
		return fault(storeUnavailable, "the request took too long and may or may not have had its effect; try again with the same idempotency key").after(comeBack)
	}
	return fault(internalFault, "internal error")
}

func refused(r *registry.Refusal) *problem {
	c, ok := byType[r.Type]
	if !ok {
		return fault(internalFault, "internal error")
	}
	p := &problem{code: c, message: r.Message, details: r.Details}
	if c.status == http.StatusServiceUnavailable || c.status == http.StatusTooManyRequests {
		p.retryAfter = comeBack
	}
	if r.Type == registry.RateLimited {
		p.shed = shedPending // what a service limits is what waits for people
	}
	// Two types have two statuses. Which one is decided by what the refusal is
	// about: whom a role is to be taken from, and what a source holds.
	switch {
	case r.Type == registry.RoleRequired && marked(r, "subject"):
		p.status, p.details = http.StatusConflict, without(r.Details, "subject")
	case r.Type == registry.InvalidTokenAmount && marked(r, "balance"):
		p.status, p.details = http.StatusUnprocessableEntity, without(r.Details, "balance")
	}
	return p
}

// marked tells whether a refusal's details say yes to mark, which is a note from
// the service to this package and not for callers.
func marked(r *registry.Refusal, mark string) bool {
	yes, _ := r.Details[mark].(bool)
	return yes
}

func without(m map[string]any, key string) map[string]any {
	out := maps.Clone(m)
	delete(out, key)
	return out
}

// ofSeal maps what the seal says where no service has put it into words of its
// own.
func ofSeal(e *seal.Error) *problem {
	switch e.Kind {
	case seal.KindSealed:
		return fault(sealedType, "the seal is sealed; custodians unseal it")
	case seal.KindHSM:
		return fault(hsmUnavailable, "the HSM does not answer: %s", e.Message).after(comeBack)
	case seal.KindClock:
		return fault(hsmUnavailable, "the seal does not sign while its clock is in doubt: %s", e.Message).after(comeBack)
	case seal.KindStore, seal.KindNotAuthor:
		return fault(storeUnavailable, "the ledger cannot be written now: %s", e.Message).after(comeBack)
	case seal.KindBusy:
		return busy(shedSeal, "the seal has more under way than it takes")
	case seal.KindInvalid:
		return fault(registry.Validation, "the seal refuses: %s", e.Message)
	case seal.KindDenied:
		return fault(registry.PolicyDenied, "the seal refuses: %s", e.Message)
	case seal.KindWait:
		return fault(registry.ApprovalRequired, "the seal waits: %s", e.Message)
	case seal.KindConflict, seal.KindQueued:
		return fault(registry.TxStateConflict, "the seal refuses: %s", e.Message)
	case seal.KindDuplicate:
		return fault(registry.ApprovalDuplicate, "the seal refuses: %s", e.Message)
	}
	return fault(internalFault, "internal error")
}

// refuse answers err and ends the request.
func (s *Server) refuse(c *gin.Context, err error) {
	p := s.problemOf(err)
	r := requestOf(c)
	if p.number == byType[internalFault].number {
		s.log.Error("api: internal error", "request_id", r.id, "route", r.template(), "error", err)
		p = &problem{code: p.code, message: "internal error; its request id is " + r.id, details: p.details}
	}
	r.problem = p
	if !r.taken {
		s.bodyUnread(c)
	}
	if p.shed != "" {
		s.metrics.shed(p.shed)
	}
	if p.retryAfter > 0 {
		c.Header("Retry-After", strconv.Itoa(max(1, int(p.retryAfter.Round(time.Second)/time.Second))))
	}
	details := p.details
	if details == nil {
		details = map[string]any{}
	}
	body, err := json.Marshal(ErrorEnvelope{Error: ErrorBody{
		Code: p.number, Type: p.name, Message: clip(p.message), RequestID: r.id, Details: details,
	}}, json.Deterministic(true))
	if err != nil {
		// Details are made by our own services; one that cannot be written must
		// not take the refusal with it.
		s.log.Error("api: details of an error", "request_id", r.id, "type", p.name, "error", err)
		body, _ = json.Marshal(ErrorEnvelope{Error: ErrorBody{Code: p.number, Type: p.name, Message: clip(p.message), RequestID: r.id}})
	}
	c.Abort()
	c.Data(p.status, contentType, body)
}

const contentType = "application/json"

// maxMessage bounds a message: callers' own values are quoted in it.
const maxMessage = 2048 // characters, as in the document

func clip(s string) string {
	n := 0
	for i := range s {
		if n == maxMessage-1 {
			return s[:i] + "…"
		}
		n++
	}
	return s
}
