package dev_test

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/webhook"
)

// killDeliveries has every process die at each of the archive's points while old deliveries leave. No configuration
// lets them leave before an hour: they are planted as a store holds them that was stopped for longer than that.
func (h *houseToKill) killDeliveries(t *testing.T) {
	h.at(t)
	wh, err := h.a.as("admin").CreateWebhook(h.a.context(), client.WebhookCreate{URL: h.a.rpc, Events: []string{"webhook.test"}})
	if err != nil {
		t.Fatal(err)
	}
	var planted []client.WebhookDelivery // the newest first
	for n, point := range archivePoints {
		if !t.Run(point, func(t *testing.T) {
			a := h.at(t)
			died := make(chan struct{})
			a.arm(h.points, killPoint{name: point}, func() { a.strike(); close(died) })
			planted = append(a.plantDeliveries(wh.ID, n), planted...)
			select {
			case <-died:
			case <-a.context().Done():
				t.Fatal("no delivery got to the point")
			}
			a.kill()
			a = h.restart()
			a.deliveriesAre(wh.ID, planted) // wherever they are
			a.nothingIn(a.config().Store, "/mw/webhook/delivery/"+wh.ID, "/mw/webhook/dead/"+wh.ID)
			a.deliveriesAre(wh.ID, planted)
			a.intact()
		}) {
			return // what follows would start from what is broken
		}
	}
}

// plantDeliveries puts finished deliveries of the endpoint into the store, one of them dead, that were made in the
// n-th hour of a day long ago. It returns them as they are listed.
func (a *appliance) plantDeliveries(wh string, n int) (listed []client.WebhookDelivery) {
	a.t.Helper()
	c := a.config()
	s := a.storeOf(c.Store)
	defer func() { _ = s.Close() }()
	tx := s.Tx()
	at := time.Now().UTC().Truncate(24 * time.Hour).Add(-4 * c.Webhooks.Retention).Add(time.Duration(n) * time.Hour)
	for k, status := range []webhook.Status{webhook.Delivered, webhook.Dead, webhook.Delivered} {
		made := at.Add(time.Duration(k) * time.Minute)
		d := webhook.Delivery{ID: store.FirstID("del_", made), EventID: store.FirstID("evt_", made), EventType: "webhook.test", Order: fmt.Sprint("planted-", k),
			Status: status, Tries: 1, CreatedAt: made, FinishedAt: made.Add(time.Second), Body: `{}`,
			Attempts: []webhook.Attempt{{At: made, Status: 204, Took: 3}}}
		text, err := json.Marshal(d)
		if err != nil {
			a.t.Fatal(err)
		}
		place := wh + "/" + store.InvertULID(strings.TrimPrefix(d.ID, "del_"))
		tx.Put("/mw/webhook/delivery/"+place, text)
		if status == webhook.Dead {
			tx.Put("/mw/webhook/dead/"+place, nil)
		}
		listed = append(listed, client.WebhookDelivery{ID: d.ID, WebhookID: wh, EventID: d.EventID, EventType: d.EventType, Status: client.DeliveryStatus(status), CreatedAt: made,
			Attempts: []client.WebhookAttempt{{At: made, StatusCode: new(int64(204)), DurationMs: 3}}})
	}
	// The archive looks whenever something changes in its keys: this appliance says once more what it has.
	have := "/mw/archive/delivery/have/" + c.Appliance
	value, _, ok, err := s.Get(a.context(), have)
	if err != nil {
		a.t.Fatal(err)
	}
	if !ok {
		value = []byte(`{"format":1,"blocks":0,"head":""}`)
	}
	tx.Put(have, value)
	// The point may strike before etcd has answered. Whether they are there is looked at when it is up again.
	if _, err := tx.Commit(a.context()); err != nil && !errors.Is(err, store.ErrUnavailable) {
		a.t.Fatal(err)
	}
	slices.Reverse(listed)
	return listed
}

// deliveriesAre holds each list of an endpoint's deliveries against what was planted.
func (a *appliance) deliveriesAre(wh string, planted []client.WebhookDelivery) {
	a.t.Helper()
	for _, status := range []client.DeliveryStatus{"", "PENDING", "DELIVERED", "DEAD"} {
		var filter client.ListWebhookDeliveriesParams
		want := planted
		if status != "" {
			filter.Status = &status
			want = slices.DeleteFunc(slices.Clone(planted), func(d client.WebhookDelivery) bool { return d.Status != status })
		}
		var got []client.WebhookDelivery
		for d, err := range a.as("viewer").WebhookDeliveries(a.context(), wh, filter) {
			if err != nil {
				a.t.Fatal(err)
			}
			got = append(got, d)
		}
		if g, w := plain(a.t, got), plain(a.t, want); g != w {
			a.t.Errorf("%q are\n%s\nwant\n%s", status, g, w)
		}
		page, err := a.as("viewer").ListWebhookDeliveries(a.context(), wh, filter)
		if err != nil {
			a.t.Fatal(err)
		}
		if page.Pagination.Total != len(want) {
			a.t.Errorf("%q: the total is %d, want %d", status, page.Pagination.Total, len(want))
		}
	}
}

func plain(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
