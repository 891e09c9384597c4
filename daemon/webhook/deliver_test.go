package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/webhook"
)

// plain is Qustody's scheme, as its page has it: hex of HMAC-SHA256 by the secret string of timestamp, a dot
// and the raw body.
func plain(secret string, r received) string {
	m := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(m, "%s.%s", r.header.Get("X-Webhook-Timestamp"), r.body)
	return hex.EncodeToString(m.Sum(nil))
}

func standard(t *testing.T, secret string, r received) error {
	t.Helper()
	v, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	return v.Verify(r.body, r.header)
}

// TestBothDialectsVerify: what comes verifies by the Standard Webhooks library and by Qustody's scheme, with
// the secret that was shown.
func TestBothDialectsVerify(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), newSink(t, nil)
	w.run()
	e, secret := w.endpoint(s, "token.*")
	require.True(t, strings.HasPrefix(secret, "whsec_"))
	w.emit("approval.required", "op_1", 0) // not subscribed to
	w.emit("token.minted", "op_1", 1)
	r := s.await(1)[0]
	require.NoError(t, standard(t, secret, r))
	require.Equal(t, plain(secret, r), r.header.Get("X-Webhook-Signature"))
	require.Equal(t, r.event.ID, r.header.Get("webhook-id"))
	require.Equal(t, r.event.ID, r.header.Get("X-Webhook-ID"))
	require.Equal(t, r.header.Get("webhook-timestamp"), r.header.Get("X-Webhook-Timestamp"))
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	require.Empty(t, r.header.Get("X-Webhook-Signature-Next"))
	require.Equal(t, "token.minted", r.event.Type)
	require.Equal(t, "test", r.event.TenantID)
	require.True(t, strings.HasPrefix(r.event.ID, "evt_"))
	require.Equal(t, map[string]any{"operationId": "op_1", "n": 1.}, r.event.Data)
	require.Error(t, standard(t, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", r))

	w.until("the delivery is noted", func() bool {
		ds := w.deliveries(e.ID)
		return len(ds) == 1 && ds[0].Status == webhook.Delivered && ds[0].Attempts[0].Status == http.StatusOK
	})
	require.Empty(t, w.keys("/mw/outbox/"), "what was handed on is taken out")
	for _, left := range []string{"chain", "due", "pending", "dead"} {
		require.Empty(t, w.keys("/mw/webhook/"+left+"/"))
	}
}

// TestRotation: while a secret is being rotated both sign; afterwards, and where it is rotated at once, the
// new one alone.
func TestRotation(t *testing.T) {
	t.Parallel()
	c := newClock()
	w, s := newWorld(t, c.use), newSink(t, nil)
	w.run()
	e, first := w.endpoint(s)
	second, rotated, err := w.hooks.Rotate(t.Context(), admin, e.ID, time.Hour, nil)
	require.NoError(t, err)
	require.NotEqual(t, first, second)
	require.WithinDuration(t, c.Now().Add(time.Hour), rotated.PreviousUntil, time.Second)
	test := func() received {
		n := len(s.all())
		c.advance(time.Second) // tests come one a second
		_, err := w.hooks.Test(t.Context(), admin, e.ID, nil)
		require.NoError(t, err)
		return s.await(n + 1)[n]
	}
	r := test()
	require.Equal(t, "webhook.test", r.event.Type)
	require.NoError(t, standard(t, first, r))
	require.NoError(t, standard(t, second, r))
	require.Equal(t, plain(first, r), r.header.Get("X-Webhook-Signature"), "who has the old secret goes on")
	require.Equal(t, plain(second, r), r.header.Get("X-Webhook-Signature-Next"))

	c.advance(time.Hour)
	r = test()
	require.Equal(t, plain(second, r), r.header.Get("X-Webhook-Signature"))
	require.Empty(t, r.header.Get("X-Webhook-Signature-Next"))

	third, _, err := w.hooks.Rotate(t.Context(), admin, e.ID, 0, nil)
	require.NoError(t, err)
	r = test()
	require.Equal(t, plain(third, r), r.header.Get("X-Webhook-Signature"))
	require.Len(t, strings.Fields(r.header.Get("webhook-signature")), 1)
}

// TestScheduleAndDeadLetters: attempts at once, after 30 s, 2 min, 10 min, 1 h and 6 h; then it is dead, and
// a replay begins anew, under the same event's id.
func TestScheduleAndDeadLetters(t *testing.T) {
	t.Parallel()
	c := newClock()
	var mended atomic.Bool
	w := newWorld(t, c.use)
	s := newSink(t, func(rw http.ResponseWriter, _ received) {
		if !mended.Load() {
			rw.WriteHeader(http.StatusInternalServerError)
		}
	})
	w.run()
	e, _ := w.endpoint(s)
	w.emit("token.minted", "op_1", 0)
	w.emit("token.burned", "op_1", 1) // waits for the one before
	pauses := []time.Duration{0, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour}
	var d *webhook.Delivery
	attempted := func(n int) {
		w.until(fmt.Sprintf("attempt %d is noted", n), func() bool {
			ds := w.deliveries(e.ID)
			if len(ds) == 0 {
				return false
			}
			d = ds[0]
			c.advance(time.Millisecond) // a lane may have begun to wait a moment ago
			return len(d.Attempts) == n
		})
	}
	for n, pause := range pauses {
		if n > 0 {
			last := d.Attempts[n-1].At
			require.GreaterOrEqual(t, d.NextAttemptAt.Sub(last), pause)
			require.Less(t, d.NextAttemptAt.Sub(last), pause+15*time.Second)
			c.advance(d.NextAttemptAt.Sub(c.Now()) - time.Millisecond)
			require.Len(t, s.all(), n, "tried too early")
			c.advance(time.Millisecond)
		}
		attempted(n + 1)
	}
	require.Equal(t, webhook.Dead, d.Status)
	require.Zero(t, d.NextAttemptAt)
	require.Equal(t, "status 500", d.Attempts[5].Error)
	w.until("it is counted", func() bool { return w.metric("mintwarden_webhook_dead_letters_total") == 1 })
	got := s.await(7) // the second event had its turn once the first was dead
	for _, r := range got[:6] {
		require.Equal(t, got[0].body, r.body, "every attempt sends the same bytes")
	}
	require.Equal(t, "token.burned", got[6].event.Type)

	page, total, next, err := w.hooks.Deliveries(t.Context(), e.ID, webhook.Filter{Status: webhook.Dead}, 10, 0, "")
	require.NoError(t, err)
	require.Len(t, page, 1)
	require.Equal(t, 1, total)
	require.Empty(t, next)

	mended.Store(true)
	again, err := w.hooks.Replay(t.Context(), admin, e.ID, d.ID, nil)
	require.NoError(t, err)
	require.Equal(t, webhook.Pending, again.Status)
	attempted(7)
	require.Equal(t, webhook.Delivered, d.Status)
	require.Equal(t, got[0].event.ID, s.await(8)[7].event.ID)
	_, total, _, err = w.hooks.Deliveries(t.Context(), e.ID, webhook.Filter{Status: webhook.Dead}, 10, 0, "")
	require.NoError(t, err)
	require.Zero(t, total)

	// One that waits for its next attempt is tried at once.
	waiting := w.deliveries(e.ID)[1]
	require.Equal(t, webhook.Pending, waiting.Status)
	_, err = w.hooks.Replay(t.Context(), admin, e.ID, waiting.ID, nil)
	require.NoError(t, err)
	w.until("it was delivered", func() bool { return w.deliveries(e.ID)[1].Status == webhook.Delivered })
}

// TestOrderOfOneOperation: an event waits until the one before it was delivered; other operations go on.
func TestOrderOfOneOperation(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	w := newWorld(t)
	s := newSink(t, func(_ http.ResponseWriter, r received) {
		if r.event.Data["operationId"] == "op_1" && r.event.Data["n"] == 0. {
			<-hold
		}
	})
	e, _ := w.endpoint(s)
	for n := range 5 {
		w.emit("token.minted", "op_1", n)
		w.emit("token.minted", "op_2", n)
		w.emit("token.minted", "op_3", n)
	}
	w.run()
	s.await(1 + 2*5)
	var of [4][]float64
	count := func() {
		of = [4][]float64{}
		for _, r := range s.all() {
			op := slices.Index([]string{"", "op_1", "op_2", "op_3"}, r.event.Data["operationId"].(string))
			of[op] = append(of[op], r.event.Data["n"].(float64))
		}
	}
	count()
	inOrder := []float64{0, 1, 2, 3, 4}
	require.Equal(t, []float64{0}, slices.Compact(of[1])) // where the machine is slow its attempt ends, and another one follows
	require.Equal(t, inOrder, of[2])
	require.Equal(t, inOrder, of[3])
	close(hold)
	w.until("the others follow", func() bool { count(); return slices.Equal(inOrder, slices.Compact(of[1])) })
	w.until("all is noted", func() bool { return len(w.keys("/mw/webhook/pending/"+e.ID+"/")) == 0 })
}

// TestADeadEndpointDelaysNobody: while one endpoint holds every request that it gets, another gets all of
// its events.
func TestADeadEndpointDelaysNobody(t *testing.T) {
	t.Parallel()
	const many = 200
	hold := make(chan struct{})
	w := newWorld(t)
	slow := newSink(t, func(http.ResponseWriter, received) { <-hold })
	quick := newSink(t, nil)
	defer close(hold)
	w.endpoint(slow)
	w.endpoint(quick)
	began := time.Now()
	w.run()
	for n := range many {
		w.emit("token.minted", fmt.Sprintf("op_%d", n), n)
	}
	quick.await(many)
	came := len(slow.all())
	// Each attempt lasts its ten seconds: where the machine is slow, others follow.
	require.LessOrEqual(t, came, 16*(1+int(time.Since(began)/(10*time.Second))), "an endpoint gets so many at once and no more")
}

// TestRestart: what was under way when the process ended is delivered by the next one.
func TestRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mended atomic.Bool
	s := newSink(t, func(rw http.ResponseWriter, _ received) {
		if !mended.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	e, _ := w.endpoint(s)
	w.run()
	w.emit("token.minted", "op_1", 0)
	w.until("the failure is noted", func() bool {
		ds := w.deliveries(e.ID)
		return len(ds) == 1 && len(ds[0].Attempts) == 1
	})
	w.stop()
	mended.Store(true)
	w.emit("token.burned", "op_2", 1)
	w.make()
	w.run()
	got := s.await(2)
	require.Equal(t, "token.burned", got[1].event.Type)
	_, err := w.hooks.Replay(t.Context(), admin, e.ID, w.deliveries(e.ID)[0].ID, nil)
	require.NoError(t, err)
	w.until("the first was delivered, too", func() bool { return w.deliveries(e.ID)[0].Status == webhook.Delivered })
}
