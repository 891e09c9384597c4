package client

// Calls about webhooks.

import (
	"context"
	"iter"
	"net/http"
)

// CreateWebhook subscribes an endpoint to events. The answer holds the secret, once.
func (c *Client) CreateWebhook(ctx context.Context, body WebhookCreate, opts ...Option) (*WebhookCreated, error) {
	return call[WebhookCreated](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewCreateWebhookRequest(c.server, nil, body)
	})
}

// ListWebhooks answers one page of the webhooks, newest first.
func (c *Client) ListWebhooks(ctx context.Context, params ListWebhooksParams) (*WebhookList, error) {
	return call[WebhookList](ctx, c, read, nil, func() (*http.Request, error) {
		return NewListWebhooksRequest(c.server, &params)
	})
}

// Webhooks goes through the webhooks, newest first.
func (c *Client) Webhooks(ctx context.Context) iter.Seq2[Webhook, error] {
	return byOffset(func(limit, offset int) ([]Webhook, Pagination, error) {
		l, err := c.ListWebhooks(ctx, ListWebhooksParams{Limit: &limit, Offset: &offset})
		if err != nil {
			return nil, Pagination{}, err
		}
		return l.Data, l.Pagination, nil
	})
}

// DeleteWebhook ends a subscription.
func (c *Client) DeleteWebhook(ctx context.Context, webhookID string, opts ...Option) (*Webhook, error) {
	return call[Webhook](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewDeleteWebhookRequest(c.server, webhookID, nil)
	})
}

// TestWebhook sends an endpoint an event of type webhook.test; the delivery is still to be made.
func (c *Client) TestWebhook(ctx context.Context, webhookID string, opts ...Option) (*WebhookDelivery, error) {
	return call[WebhookDelivery](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewTestWebhookRequest(c.server, webhookID, nil, WebhookTest{})
	})
}

// RotateWebhook gives a webhook a new secret, which the answer holds, once.
func (c *Client) RotateWebhook(ctx context.Context, webhookID string, body WebhookRotate, opts ...Option) (*WebhookCreated, error) {
	return call[WebhookCreated](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewRotateWebhookRequest(c.server, webhookID, nil, body)
	})
}

// ListWebhookDeliveries answers one page of a webhook's deliveries, newest first.
func (c *Client) ListWebhookDeliveries(ctx context.Context, webhookID string, params ListWebhookDeliveriesParams) (*WebhookDeliveryList, error) {
	return call[WebhookDeliveryList](ctx, c, read, nil, func() (*http.Request, error) {
		return NewListWebhookDeliveriesRequest(c.server, webhookID, &params)
	})
}

// WebhookDeliveries goes through a webhook's deliveries that filter admits, newest first; its Limit, Offset
// and Cursor are not used.
func (c *Client) WebhookDeliveries(ctx context.Context, webhookID string, filter ListWebhookDeliveriesParams) iter.Seq2[WebhookDelivery, error] {
	filter.Offset = nil
	return byCursor(func(limit int, cursor *string) ([]WebhookDelivery, Pagination, error) {
		filter.Limit, filter.Cursor = &limit, cursor
		l, err := c.ListWebhookDeliveries(ctx, webhookID, filter)
		if err != nil {
			return nil, Pagination{}, err
		}
		return l.Data, l.Pagination, nil
	})
}

// ReplayWebhookDelivery delivers an event once more, under its own id.
func (c *Client) ReplayWebhookDelivery(ctx context.Context, webhookID, deliveryID string, opts ...Option) (*WebhookDelivery, error) {
	return call[WebhookDelivery](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewReplayWebhookDeliveryRequest(c.server, webhookID, deliveryID, nil, WebhookReplay{})
	})
}
