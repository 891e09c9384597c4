package webhook_test

import (
	"context"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/webhook"
)

// invalidURL reports whether a URL is refused as 1107.
func (w *world) invalidURL(url string) bool {
	w.t.Helper()
	_, _, err := w.hooks.Create(w.t.Context(), admin, webhook.Spec{URL: url, Events: []string{"*"}}, nil)
	var r *webhook.Refusal
	if errors.As(err, &r) {
		require.Equal(w.t, webhook.InvalidURL, r.Kind, url)
		return true
	}
	require.NoError(w.t, err, url)
	return false
}

// TestURLsIntoTheHouse: no URL leads to the appliance's own networks, however the address is written.
func TestURLsIntoTheHouse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(d *webhook.Deps) { d.Networks = nil })
	for _, host := range []string{
		"127.0.0.1", "127.8.9.10", "localhost", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.100.100.200",
		"169.254.169.254", "168.63.129.16", "192.0.0.192", "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "198.18.0.1", "192.0.2.1",
		"[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:a9fe:a9fe]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::808:808]",
		"[64:ff9b:1::1]", "[fe80::1]", "[fd00:ec2::254]", "[fc00::1]", "[ff02::1]", "[2002:7f00:1::]", "[2001:db8::1]", "[2001::1]", "[100::1]",
		"[fe80::1%25eth0]", "2130706433", "0x7f000001", "017700000001", "127.1",
	} {
		require.True(t, w.invalidURL("https://"+host+"/hook"), host)
		require.True(t, w.invalidURL("https://"+host+":8443/hook"), host)
	}
	for _, url := range []string{
		"", "https://", "http://1.1.1.1/", "ftp://1.1.1.1/", "//1.1.1.1/", "https:1.1.1.1", "https://user:pass@1.1.1.1/", "https://1.1.1.1/#x", "https://1.1.1.1:0/",
		"https://1.1.1.1:99999/", "https://1.1.1.1:/", "https://1.1.1.1\\@127.0.0.1/", "https://1.1.1.1 /", "https://1.1.1.1/\n", "https://ⓛocalhost/",
		"https://1.1.1.1%2f@x/", "HTTPS//1.1.1.1", "https://no-such-name.invalid/", "https://1.1.1.1/" + strings.Repeat("a", webhook.MaxURL),
	} {
		require.True(t, w.invalidURL(url), url)
	}
	for _, url := range []string{"https://1.1.1.1/hook", "https://8.8.8.8:8443/a?b=c", "https://[2606:4700::1111]/", "https://[::ffff:1.1.1.1]/"} {
		require.False(t, w.invalidURL(url), url)
	}
}

// TestNetworksOfTheConfig: what the config allows is let in, and nothing beside it.
func TestNetworksOfTheConfig(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(d *webhook.Deps) {
		d.Networks = []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("fd12::/32")}
	})
	for url, refused := range map[string]bool{"https://10.20.3.4/": false, "https://10.21.0.1/": true, "https://[fd12::1]/": false,
		"https://[::ffff:10.20.0.1]/": false, "https://[fd13::1]/": true, "https://127.0.0.1/": true} {
		require.Equal(t, refused, w.invalidURL(url), url)
	}
}

// nameServer is a real DNS server on loopback that answers each question for an address with the next one of
// a list, and then with the last one.
func nameServer(t *testing.T, answers ...netip.Addr) *net.Resolver {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	var mu sync.Mutex
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				mu.Lock()
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, Type: q.Type},
					Body: &dnsmessage.AResource{A: answers[0].As4()}}}
				if len(answers) > 1 {
					answers = answers[1:]
				}
				mu.Unlock()
			}
			if b, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(b, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// stranded waits for the first attempt to fail and says why it did.
func (w *world) stranded(e *webhook.Endpoint) string {
	w.t.Helper()
	var why string
	w.until("the attempt failed", func() bool {
		ds := w.deliveries(e.ID)
		if len(ds) == 0 || len(ds[0].Attempts) == 0 {
			return false
		}
		why = ds[0].Attempts[0].Error
		return true
	})
	return why
}

// TestRebinding: a name that was public when the endpoint was made, and again when it was looked up for a
// delivery, leads to loopback when the socket connects. Nothing is sent there.
func TestRebinding(t *testing.T) {
	t.Parallel()
	public, inside := netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("127.0.0.1")
	for name, answers := range map[string][]netip.Addr{
		"at the lookup":        {public, inside},
		"after the lookup":     {public, public, inside},
		"and back, and inside": {public, public, inside, public, inside},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSink(t, nil)
			_, port, err := net.SplitHostPort(s.server.Listener.Addr().String())
			require.NoError(t, err)
			w := newWorld(t, func(d *webhook.Deps) { d.Networks, d.Resolver = nil, nameServer(t, answers...) })
			_, e, err := w.hooks.Create(t.Context(), admin, webhook.Spec{URL: "https://rebind.example.com:" + port + "/", Events: []string{"*"}}, nil)
			require.NoError(t, err)
			w.run()
			w.emit("token.minted", "op_1", 0)
			require.Contains(t, w.stranded(e), "127.0.0.1, which is not on the public Internet")
			require.Empty(t, s.all())
			require.Equal(t, 1., w.metric("mintwarden_webhook_attempts_total", "address"))
		})
	}
}

// TestRedirectIntoTheHouse: a redirect is a failure, and nothing is sent to where it leads.
func TestRedirectIntoTheHouse(t *testing.T) {
	t.Parallel()
	w, inside := newWorld(t), newSink(t, nil)
	s := newSink(t, func(rw http.ResponseWriter, _ received) {
		rw.Header().Set("Location", inside.server.URL)
		rw.WriteHeader(http.StatusTemporaryRedirect)
	})
	w.run()
	e, _ := w.endpoint(s)
	w.emit("token.minted", "op_1", 0)
	require.Contains(t, w.stranded(e), "redirects are not followed")
	require.Empty(t, inside.all())
}

// TestProxyOfTheEnvironment: nobody connects for us.
func TestProxyOfTheEnvironment(t *testing.T) {
	var asked atomic.Bool
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	defer proxy.Close()
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	t.Setenv("NO_PROXY", "")
	w, s := newWorld(t), newSink(t, nil)
	w.run()
	w.endpoint(s)
	w.emit("token.minted", "op_1", 0)
	s.await(1)
	require.False(t, asked.Load())
}

// TestEndlessAnswer: an answer without end is not read to its end, and neither are headers.
func TestEndlessAnswer(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	w := newWorld(t)
	s := newSink(t, func(rw http.ResponseWriter, r received) {
		if r.event.Data["n"] == 1. {
			rw.Header().Set("X-Long", strings.Repeat("x", 64<<10))
			return
		}
		for {
			n, err := rw.Write(make([]byte, 4096))
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	})
	w.run()
	e, _ := w.endpoint(s)
	w.emit("token.minted", "op_1", 0)
	w.until("the status counts", func() bool {
		ds := w.deliveries(e.ID)
		return len(ds) == 1 && ds[0].Status == webhook.Delivered
	})
	require.Less(t, sent.Load(), int64(16<<20), "what the kernel holds and little more")
	w.emit("token.burned", "op_2", 1)
	w.until("the headers are too long", func() bool {
		ds := w.deliveries(e.ID)
		return len(ds) == 2 && len(ds[1].Attempts) == 1 && ds[1].Attempts[0].Error != ""
	})
}

// TestCertificateOfSomebodyElse: an endpoint proves who it is.
func TestCertificateOfSomebodyElse(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t, func(d *webhook.Deps) { d.Roots = nil }), newSink(t, nil)
	s.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	w.run()
	e, _ := w.endpoint(s)
	w.emit("token.minted", "op_1", 0)
	require.Contains(t, w.stranded(e), "TLS: ")
	require.Empty(t, s.all())
	require.Equal(t, 1., w.metric("mintwarden_webhook_attempts_total", "tls"))
}

// TestSilence: an endpoint that does not answer within ten seconds has failed.
func TestSilence(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	w, s := newWorld(t), newSink(t, func(http.ResponseWriter, received) { <-hold })
	defer close(hold)
	w.run()
	e, _ := w.endpoint(s)
	w.emit("token.minted", "op_1", 0)
	require.Equal(t, "no answer within 10 s", w.stranded(e))
}

// TestAttack_AnAnswerThatSwitchesProtocols: whoever answers that he goes on in another protocol, and says nothing
// more, holds neither his lane nor the end of all deliveries.
func TestAttack_AnAnswerThatSwitchesProtocols(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	w, s := newWorld(t), newSink(t, func(rw http.ResponseWriter, _ received) {
		conn, _, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		go func() { <-hold; _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: silence\r\n\r\n")
	})
	defer close(hold)
	w.run()
	e, _ := w.endpoint(s)
	w.emit("token.minted", "op_1", 0)
	require.Equal(t, "status 101", w.stranded(e))
	w.stop()
}

// idempotent is an idempotency key whose answer is the endpoint as the API shows it.
func idempotent() *store.Idempotent {
	return &store.Idempotent{Hash: strings.Repeat("ab", 32), BodyHash: "x", Render: func(v any) (int, []byte, error) {
		b, err := json.Marshal(v)
		return http.StatusCreated, b, err
	}}
}

// TestSecretsAreNowhere: after an endpoint was made with an idempotency key, rotated and delivered to, and
// failed, neither the store nor the log nor the disk below the store holds a secret or the key.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var log strings.Builder
	w := newWorld(t, func(d *webhook.Deps) {
		d.Log = slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return log.Write(b)
		}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	s := newSink(t, func(rw http.ResponseWriter, _ received) { rw.WriteHeader(http.StatusBadGateway) })
	w.run()
	first, e, err := w.hooks.Create(t.Context(), admin, webhook.Spec{URL: s.server.URL + "/?token=private", Events: []string{"*"}}, idempotent())
	require.NoError(t, err)
	second, _, err := w.hooks.Rotate(t.Context(), admin, e.ID, webhook.DefaultGrace, nil)
	require.NoError(t, err)
	w.emit("token.minted", "op_1", 0)
	w.stranded(e)
	mu.Lock()
	seen := log.String()
	mu.Unlock()
	require.NotContains(t, seen, "token=private")
	var all strings.Builder
	for kv, err := range w.store.All(t.Context(), "/mw/", nil) {
		require.NoError(t, err)
		all.WriteString(kv.Key + " " + string(kv.Value) + "\n")
		if strings.HasPrefix(kv.Key, "/mw/audit/") {
			require.NotContains(t, string(kv.Value), "token=private")
		}
	}
	require.Contains(t, all.String(), e.ID)
	for _, secret := range []string{first, second} {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		require.NoError(t, err)
		for _, form := range []string{secret, secret[6:], string(raw), fmt.Sprintf("%x", raw), base64.StdEncoding.EncodeToString([]byte(secret))} {
			require.NotContains(t, all.String()+seen, form)
		}
	}
	require.NotContains(t, all.String()+seen, base64.StdEncoding.EncodeToString(w.deps.Key))
}

type writer func([]byte) (int, error)

func (f writer) Write(b []byte) (int, error) { return f(b) }

// tamper changes an endpoint in the store, as whoever may write to etcd can.
func (w *world) tamper(id string, change func(map[string]any)) {
	w.t.Helper()
	key := "/mw/webhook/ctl/endpoint/" + id
	v, rev, _, err := w.store.Get(w.t.Context(), key)
	require.NoError(w.t, err)
	var m map[string]any
	require.NoError(w.t, json.Unmarshal(v, &m))
	change(m)
	b, err := json.Marshal(m)
	require.NoError(w.t, err)
	tx := w.store.Tx()
	tx.PutIf(key, b, rev)
	_, err = tx.Commit(w.t.Context())
	require.NoError(w.t, err)
}

// TestStolenSecret: who may write the store can neither have one endpoint's secret sign for another nor have
// events sent, well signed, to a URL of his own.
func TestStolenSecret(t *testing.T) {
	t.Parallel()
	w, s, thief := newWorld(t), newSink(t, nil), newSink(t, nil)
	e, _ := w.endpoint(s)
	other, _ := w.endpoint(s)
	w.tamper(e.ID, func(m map[string]any) { m["url"] = thief.server.URL })
	var foreign any
	w.tamper(other.ID, func(m map[string]any) { foreign = m["secret"] })
	third, _ := w.endpoint(s)
	w.tamper(third.ID, func(m map[string]any) { m["secret"] = foreign })
	w.run()
	w.emit("token.minted", "op_1", 0)
	for _, e := range []*webhook.Endpoint{e, third} {
		require.Contains(t, w.stranded(e), "cannot be signed")
	}
	require.Empty(t, thief.all())
	require.Len(t, s.await(1), 1)
	all, err := w.hooks.Endpoints(t.Context())
	require.NoError(t, err)
	for _, shown := range all {
		require.Equal(t, shown.ID != other.ID, shown.Disabled)
	}
	// A new secret is bound to what the endpoint is now, by who may do that.
	secret, _, err := w.hooks.Rotate(t.Context(), admin, third.ID, 0, nil)
	require.NoError(t, err)
	_, err = w.hooks.Test(t.Context(), admin, third.ID, nil)
	require.NoError(t, err)
	got := s.await(2)
	require.NoError(t, standard(t, secret, got[1]))
}

// TestAnotherKey: an appliance whose key is another one, or that has none, signs with nothing.
func TestAnotherKey(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), newSink(t, nil)
	e, _ := w.endpoint(s)
	w.deps.Key = make([]byte, webhook.KeySize)
	w.make()
	w.run()
	w.emit("token.minted", "op_1", 0)
	require.Contains(t, w.stranded(e), "rotate it")
	w.stop()
	w.deps.Key = nil
	w.make()
	var r *webhook.Refusal
	_, _, err := w.hooks.Create(t.Context(), admin, webhook.Spec{URL: s.server.URL, Events: []string{"*"}}, nil)
	require.ErrorAs(t, err, &r)
	require.Equal(t, webhook.NotConfigured, r.Kind)
	_, _, err = w.hooks.Rotate(t.Context(), admin, e.ID, 0, nil)
	require.ErrorAs(t, err, &r)
	require.Equal(t, webhook.NotConfigured, r.Kind)
	for _, n := range []int{0, 16, 31, 5000} {
		_, err := webhook.DeriveKey(make([]byte, n))
		require.Error(t, err, n)
	}
}

// TestPlainHTTP is dev's alone, also for an endpoint that dev made.
func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	var asked atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	defer s.Close()
	dev := true
	w := newWorld(t, func(d *webhook.Deps) { d.Plain = func() bool { return dev } })
	_, e, err := w.hooks.Create(t.Context(), admin, webhook.Spec{URL: s.URL, Events: []string{"*"}}, nil)
	require.NoError(t, err)
	dev = false
	require.True(t, w.invalidURL(s.URL))
	w.run()
	w.emit("token.minted", "op_1", 0)
	require.Contains(t, w.stranded(e), "not https")
	require.False(t, asked.Load())
}
