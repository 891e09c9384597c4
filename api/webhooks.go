package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/webhook"
)

func (s *Server) webhookForm(e *webhook.Endpoint) Webhook {
	f := Webhook{
		ID: e.ID, TenantID: s.tenant, URL: e.URL, Events: e.Events, Description: e.Description, Status: WebhookStatusACTIVE,
		CreatedAt: second(e.CreatedAt), UpdatedAt: second(e.UpdatedAt),
	}
	if e.Disabled {
		f.Status = WebhookStatusDISABLED
	}
	if !e.PreviousUntil.IsZero() {
		until := second(e.PreviousUntil)
		f.PreviousSecretExpiresAt = &until
	}
	return f
}

func (s *Server) webhookCreatedForm(e *webhook.Endpoint) WebhookCreated {
	f := s.webhookForm(e)
	return WebhookCreated{
		ID: f.ID, TenantID: f.TenantID, URL: f.URL, Events: f.Events, Description: f.Description, Status: WebhookCreatedStatus(f.Status),
		CreatedAt: f.CreatedAt, UpdatedAt: f.UpdatedAt, PreviousSecretExpiresAt: f.PreviousSecretExpiresAt,
	}
}

func deliveryForm(wh string) func(*webhook.Delivery) WebhookDelivery {
	return func(d *webhook.Delivery) WebhookDelivery {
		f := WebhookDelivery{
			ID: d.ID, WebhookID: wh, EventID: d.EventID, EventType: d.EventType, Status: DeliveryStatus(d.Status), CreatedAt: second(d.CreatedAt),
		}
		f.Attempts = forms(d.Attempts, func(a webhook.Attempt) WebhookAttempt {
			t := WebhookAttempt{At: second(a.At), DurationMs: a.Took, Error: maybe(a.Error)}
			if a.Status != 0 {
				status := int64(a.Status)
				t.StatusCode = &status
			}
			return t
		})
		if !d.NextAttemptAt.IsZero() {
			next := second(d.NextAttemptAt)
			f.NextAttemptAt = &next
		}
		return f
	}
}

// webhookTypes are the table's types for what webhooks refuse.
var webhookTypes = map[webhook.Kind]string{
	webhook.InvalidURL: "INVALID_URL", webhook.InvalidEvents: registry.Validation, webhook.InvalidText: registry.Validation,
	webhook.TextTooLong: registry.StringTooLong, webhook.NotFound: registry.NotFound, webhook.TooMany: registry.TxStateConflict,
	webhook.NotConfigured: registry.NotFound, webhook.Full: registry.TxStateConflict, webhook.TooSoon: registry.RateLimited,
	webhook.TooFar: registry.InvalidPagination,
}

// ofWebhook puts what webhooks refuse into the table's words.
func ofWebhook(err error) error {
	var r *webhook.Refusal
	switch {
	case errors.As(err, &r):
		p := fault(webhookTypes[r.Kind], "%s", r.Message)
		if r.Kind == webhook.TooSoon {
			return p.after(comeBack)
		}
		return p
	case errors.Is(err, webhook.ErrCursor):
		return fault(registry.InvalidPagination, "the cursor is not one that this list gave")
	}
	return err
}

// who is the caller as webhooks' audit entries name him.
func (r *request) who() webhook.Who {
	a := r.actor()
	return webhook.Who{Name: a.Name, RequestID: a.RequestID, IP: a.IP, UserAgent: a.UserAgent}
}

// secretly answers with a secret that is in this answer and nowhere else: what the idempotency record keeps,
// and a replay answers, is the webhook without it.
func (s *Server) secretly(c *gin.Context, status int, do func(context.Context, *store.Idempotent) (string, *webhook.Endpoint, error)) {
	r := requestOf(c)
	change(s, c, status, sure(s.webhookCreatedForm), func(ctx context.Context, idem *store.Idempotent) (*webhook.Endpoint, error) {
		secret, e, err := do(ctx, idem)
		if err != nil {
			return nil, ofWebhook(err)
		}
		f := s.webhookCreatedForm(e)
		f.Secret = &secret
		if r.answer, err = encode(f); err != nil {
			return nil, fmt.Errorf("api: webhook %s: %w", e.ID, err)
		}
		r.status = status
		return e, nil
	})
}

// CreateWebhook answers POST /v1/webhooks.
func (s *Server) CreateWebhook(c *gin.Context, _ CreateWebhookParams) {
	r := requestOf(c)
	b, err := bind[WebhookCreate](r.raw)
	if err != nil {
		s.refuse(c, err)
		return
	}
	events := b.Events
	if len(events) == 0 {
		events = []string{"*"}
	}
	spec := webhook.Spec{URL: b.URL, Events: events, Description: of(b.Description)}
	s.secretly(c, http.StatusCreated, func(ctx context.Context, idem *store.Idempotent) (string, *webhook.Endpoint, error) {
		return s.webhooks.Create(ctx, r.who(), spec, idem)
	})
}

// ListWebhooks answers GET /v1/webhooks.
func (s *Server) ListWebhooks(c *gin.Context, params ListWebhooksParams) {
	limit, offset := page(params.Limit, params.Offset)
	all, err := s.webhooks.Endpoints(c.Request.Context())
	if err != nil {
		s.refuse(c, err)
		return
	}
	shown := all[min(offset, len(all)):]
	shown = shown[:min(limit, len(shown))]
	s.answer(c, WebhookList{Data: forms(shown, s.webhookForm), Pagination: Pagination{Total: len(all), Limit: limit, Offset: offset}})
}

// DeleteWebhook answers DELETE /v1/webhooks/{webhookId}.
func (s *Server) DeleteWebhook(c *gin.Context, webhookID WebhookID, _ DeleteWebhookParams) {
	r := requestOf(c)
	change(s, c, http.StatusOK, sure(s.webhookForm), func(ctx context.Context, idem *store.Idempotent) (*webhook.Endpoint, error) {
		e, err := s.webhooks.Delete(ctx, r.who(), webhookID, idem)
		return e, ofWebhook(err)
	})
}

// TestWebhook answers POST /v1/webhooks/{webhookId}/test.
func (s *Server) TestWebhook(c *gin.Context, webhookID WebhookID, _ TestWebhookParams) {
	r := requestOf(c)
	change(s, c, http.StatusAccepted, sure(deliveryForm(webhookID)), func(ctx context.Context, idem *store.Idempotent) (*webhook.Delivery, error) {
		d, err := s.webhooks.Test(ctx, r.who(), webhookID, idem)
		return d, ofWebhook(err)
	})
}

// RotateWebhook answers POST /v1/webhooks/{webhookId}/rotate.
func (s *Server) RotateWebhook(c *gin.Context, webhookID WebhookID, _ RotateWebhookParams) {
	r := requestOf(c)
	grace := webhook.DefaultGrace
	if len(r.raw) > 0 {
		b, err := bind[WebhookRotate](r.raw)
		if err != nil {
			s.refuse(c, err)
			return
		}
		if b.GraceSeconds != nil {
			grace = time.Duration(*b.GraceSeconds) * time.Second
		}
	}
	s.secretly(c, http.StatusOK, func(ctx context.Context, idem *store.Idempotent) (string, *webhook.Endpoint, error) {
		return s.webhooks.Rotate(ctx, r.who(), webhookID, grace, idem)
	})
}

// ListWebhookDeliveries answers GET /v1/webhooks/{webhookId}/deliveries.
func (s *Server) ListWebhookDeliveries(c *gin.Context, webhookID WebhookID, params ListWebhookDeliveriesParams) {
	limit, offset := page(params.Limit, params.Offset)
	all, total, next, err := s.webhooks.Deliveries(c.Request.Context(), webhookID, webhook.Filter{Status: webhook.Status(of(params.Status))}, limit, offset, of(params.Cursor))
	if err != nil {
		s.refuse(c, ofWebhook(err))
		return
	}
	s.answer(c, WebhookDeliveryList{
		Data: forms(all, deliveryForm(webhookID)), Pagination: Pagination{Total: total, Limit: limit, Offset: offset, NextCursor: maybe(next)},
	})
}

// ReplayWebhookDelivery answers POST /v1/webhooks/{webhookId}/replay/{deliveryId}.
func (s *Server) ReplayWebhookDelivery(c *gin.Context, webhookID WebhookID, deliveryID DeliveryID, _ ReplayWebhookDeliveryParams) {
	r := requestOf(c)
	change(s, c, http.StatusAccepted, sure(deliveryForm(webhookID)), func(ctx context.Context, idem *store.Idempotent) (*webhook.Delivery, error) {
		d, err := s.webhooks.Replay(ctx, r.who(), webhookID, deliveryID, idem)
		return d, ofWebhook(err)
	})
}
