package api_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/api/client"
)

// hook is an endpoint that believes what verifies and keeps it.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	secret string
	events []client.WebhookEvent
	broken bool
}

func newHook(t *testing.T) *hook {
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		e, verr := client.VerifyWebhook(h.secret, r.Header, body, time.Now())
		if err != nil || verr != nil || h.broken {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		h.events = append(h.events, *e)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) knows(secret string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.secret = secret
}

func (h *hook) types() (out []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		out = append(out, e.Type)
	}
	return out
}

// TestWebhooks: an endpoint is made over the API, hears of a token's operation from its request to its end,
// each event once verified by the secret that was shown, and everything that the API says of it.
func TestWebhooks(t *testing.T) {
	s := newHouse(t).serve()
	h := newHook(t)
	body := `{"url":"` + h.URL + `/hook","events":["token.*","approval.*"],"description":"the ledger"}`
	s.as("operator", "POST", "/v1/webhooks", body).fails(403, 1001)
	made := is[api.WebhookCreated](s.as("admin", "POST", "/v1/webhooks", body, key("one")), 201)
	require.NotNil(t, made.Secret)
	h.knows(*made.Secret)
	again := is[api.WebhookCreated](s.as("admin", "POST", "/v1/webhooks", body, key("one")), 201)
	require.Equal(t, made.ID, again.ID)
	require.Nil(t, again.Secret, "a secret is shown once")

	for _, events := range []string{``, `,"events":[]`} {
		all := is[api.WebhookCreated](s.as("admin", "POST", "/v1/webhooks", `{"url":"`+h.URL+`/all"`+events+`}`), 201)
		require.Equal(t, []string{"*"}, all.Events)
		require.NotEmpty(t, all.TenantID)
		require.Equal(t, 200, s.as("admin", "DELETE", "/v1/webhooks/"+all.ID, "").status)
	}
	list := is[api.WebhookList](s.as("viewer", "GET", "/v1/webhooks", ""), 200)
	require.Equal(t, 1, list.Pagination.Total)
	require.Equal(t, api.WebhookStatusACTIVE, list.Data[0].Status)
	require.Equal(t, "the ledger", list.Data[0].Description)

	vault, _ := s.vault("treasury")
	s.token(vault)
	require.Eventually(t, func() bool { return strings.Join(h.types(), " ") == "token.created" }, patience, 10*time.Millisecond)

	test := is[api.WebhookDelivery](s.as("admin", "POST", "/v1/webhooks/"+made.ID+"/test", ""), 202)
	require.Equal(t, "webhook.test", test.EventType)
	deliveries := func(query string) api.WebhookDeliveryList {
		return is[api.WebhookDeliveryList](s.as("viewer", "GET", "/v1/webhooks/"+made.ID+"/deliveries"+query, ""), 200)
	}
	require.Eventually(t, func() bool {
		l := deliveries("?status=DELIVERED")
		return l.Pagination.Total == 2 && l.Data[0].ID == test.ID
	}, patience, 10*time.Millisecond)
	first := deliveries("?limit=1")
	require.NotNil(t, first.Pagination.NextCursor)
	second := deliveries("?limit=1&cursor=" + *first.Pagination.NextCursor)
	require.Len(t, second.Data, 1)
	require.Nil(t, second.Pagination.NextCursor)
	require.NotEqual(t, first.Data[0].ID, second.Data[0].ID)
	require.EqualValues(t, 200, *second.Data[0].Attempts[0].StatusCode)

	replay := "/v1/webhooks/" + made.ID + "/replay/" + second.Data[0].ID
	require.Equal(t, api.DeliveryStatusPENDING, is[api.WebhookDelivery](s.as("admin", "POST", replay, "{}"), 202).Status)
	require.Eventually(t, func() bool { return strings.Count(strings.Join(h.types(), " "), "token.created") == 2 }, patience, 10*time.Millisecond)

	rotated := is[api.WebhookCreated](s.as("admin", "POST", "/v1/webhooks/"+made.ID+"/rotate", `{"graceSeconds":60}`), 200)
	require.NotNil(t, rotated.PreviousSecretExpiresAt)
	h.knows(*rotated.Secret)
	tested := 0
	var soonAgain answer
	require.Eventually(t, func() bool { // one is taken a second after the one before, and another at once is not, if the machine gets to it
		if soonAgain = s.as("admin", "POST", "/v1/webhooks/"+made.ID+"/test", ""); soonAgain.status == 202 {
			tested++
		}
		return tested > 0 && soonAgain.status != 202
	}, patience, 10*time.Millisecond)
	soonAgain.fails(429, 1604)
	require.Eventually(t, func() bool {
		return strings.HasSuffix(strings.Join(h.types(), " "), "webhook.test token.created"+strings.Repeat(" webhook.test", tested))
	}, patience, 10*time.Millisecond)

	require.Equal(t, made.ID, is[api.Webhook](s.as("admin", "DELETE", "/v1/webhooks/"+made.ID, ""), 200).ID)
	s.as("admin", "DELETE", "/v1/webhooks/"+made.ID, "").fails(404, 1112)
	require.Zero(t, is[api.WebhookList](s.as("viewer", "GET", "/v1/webhooks", ""), 200).Pagination.Total)

	// Neither secret is in the audit log, and who did what is.
	log := s.as("viewer", "GET", "/v1/audit?resource_type=webhook", "")
	require.NotContains(t, string(log.body), "whsec_")
	for _, action := range []string{"webhook.created", "webhook.tested", "webhook.replayed", "webhook.rotated", "webhook.deleted"} {
		require.Contains(t, string(log.body), action)
	}
}

// TestWebhookRefusals: what is wrong, by its code.
func TestWebhookRefusals(t *testing.T) {
	s := newHouse(t).serve()
	unknown := "/v1/webhooks/wh_01JS0Z4M9GQ3V1T7T2B5C8D0EF"
	for name, c := range map[string]struct {
		method, path, body string
		status, code       int
	}{
		"no url":            {"POST", "/v1/webhooks", `{"events":["*"]}`, 400, 1101},
		"events as a text":  {"POST", "/v1/webhooks", `{"url":"https://1.1.1.1/","events":"*"}`, 400, 1100},
		"an ftp url":        {"POST", "/v1/webhooks", `{"url":"ftp://1.1.1.1/","events":["*"]}`, 400, 1107},
		"no url at all":     {"POST", "/v1/webhooks", `{"url":"hook","events":["*"]}`, 400, 1107},
		"into the house":    {"POST", "/v1/webhooks", `{"url":"https://169.254.169.254/","events":["*"]}`, 400, 1107},
		"NAT64":             {"POST", "/v1/webhooks", `{"url":"https://[64:ff9b::a00:1]/","events":["*"]}`, 400, 1107},
		"a name of nobody":  {"POST", "/v1/webhooks", `{"url":"https://nobody.invalid/","events":["*"]}`, 400, 1107},
		"events in caps":    {"POST", "/v1/webhooks", `{"url":"https://1.1.1.1/","events":["TOKEN"]}`, 400, 1100},
		"no such webhook":   {"DELETE", unknown, "", 404, 1112},
		"nothing to test":   {"POST", unknown + "/test", "", 404, 1112},
		"nothing to rotate": {"POST", unknown + "/rotate", `{}`, 404, 1112},
		"too long a grace":  {"POST", unknown + "/rotate", `{"graceSeconds":999999999}`, 400, 1100},
		"no deliveries":     {"GET", unknown + "/deliveries", "", 404, 1112},
		"nothing to replay": {"POST", unknown + "/replay/del_01JS0Z4M9GQ3V1T7T2B5C8D0EF", `{}`, 404, 1112},
		"a path as id":      {"GET", "/v1/webhooks/..%2f..%2fop/deliveries", "", 404, 1112},
	} {
		t.Run(name, func(t *testing.T) { s.in(t).as("admin", c.method, c.path, c.body).fails(c.status, c.code) })
	}
	body := `{"url":"https://1.1.1.1/","events":["*"]}`
	made := is[api.WebhookCreated](s.as("admin", "POST", "/v1/webhooks", body), 201)
	s.as("admin", "GET", "/v1/webhooks/"+made.ID+"/deliveries?cursor=op_1", "").fails(400, 1108)
	s.as("admin", "GET", "/v1/webhooks/"+made.ID+"/deliveries?status=LOST", "").fails(400, 1100)
	for range 19 {
		is[api.WebhookCreated](s.as("admin", "POST", "/v1/webhooks", body), 201)
	}
	s.as("admin", "POST", "/v1/webhooks", body).fails(409, 1301)
	require.Len(t, is[api.WebhookList](s.as("admin", "GET", "/v1/webhooks?limit=5&offset=17", ""), 200).Data, 3)
}
