package api_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// gate is a seal at which every write waits until it opens.
type gate struct {
	*room
	open    chan struct{}
	waiting chan struct{} // one for each that came
}

func (g *gate) Status(ctx context.Context) (*seal.Status, error) {
	g.waiting <- struct{}{}
	select {
	case <-g.open:
		return g.room.Status(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// slowLog is a log whose writer stands still until open is closed, so that a request whose caller left, which is
// noted, goes on.
type slowLog struct {
	slog.Handler
	open chan struct{}
}

func (l *slowLog) Handle(ctx context.Context, r slog.Record) error {
	<-l.open
	return l.Handler.Handle(ctx, r)
}

// turnedAway is how many were shed for a reason.
func (s *server) turnedAway(reason string) float64 {
	s.t.Helper()
	families, err := s.metrics.Gather()
	require.NoError(s.t, err)
	for _, f := range families {
		if f.GetName() != "mintwarden_api_shed_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	s.t.Fatalf("no such reason: %s", reason)
	return 0
}

// Reads are answered while writes are shed; what was shed left nothing behind,
// not even its idempotency key; and no caller has more than half.
func TestReadsAreAnsweredWhileWritesAreShed(t *testing.T) {
	h := newHouse(t)
	g := &gate{room: h.room, open: make(chan struct{}), waiting: make(chan struct{}, 16)}
	s := h.serve(func(d *api.Deps) { d.Seal, d.Limits = g, api.Limits{Writes: 4} })
	var held sync.WaitGroup
	hold := func(s *server, user, name string) {
		held.Go(func() {
			a := s.as(user, "POST", "/v1/vault/accounts", fmt.Sprintf(`{"name":%q}`, name))
			require.Equal(t, 201, a.status, "%s", a.body)
		})
		soon(t, g.waiting, "a write does not come to the seal")
	}
	hold(s, "operator", "a")
	hold(s, "operator", "b")
	a := s.as("operator", "POST", "/v1/vault/accounts", `{"name":"c"}`, key("shed"))
	require.Contains(t, a.fails(429, 1604), "one caller")
	require.Equal(t, "1", a.header.Get("Retry-After"))
	other := s.elsewhere("program")
	hold(other, "admin", "d")
	hold(other, "admin", "e")
	a = s.elsewhere("third").as("root", "POST", "/v1/vault/accounts", `{"name":"f"}`, key("shed-too"))
	require.Contains(t, a.fails(429, 1604), "nothing was stored")
	require.Equal(t, "1", a.header.Get("Retry-After"))

	for range 50 {
		is[api.TokenList](s.as("operator", "GET", "/v1/tokens", ""), 200)
		is[api.VaultAccountList](s.as("root", "GET", "/v1/vault/accounts", ""), 200)
	}
	require.Equal(t, []float64{1, 1, 0}, []float64{s.turnedAway("share"), s.turnedAway("writes"), s.turnedAway("reads")})
	require.NoError(t, testutil.GatherAndCompare(s.metrics, strings.NewReader(`
# HELP mintwarden_api_in_flight Requests under way, by budget.
# TYPE mintwarden_api_in_flight gauge
mintwarden_api_in_flight{budget="ledger"} 0
mintwarden_api_in_flight{budget="long"} 0
mintwarden_api_in_flight{budget="reads"} 0
mintwarden_api_in_flight{budget="receipts"} 0
mintwarden_api_in_flight{budget="stops"} 0
mintwarden_api_in_flight{budget="writes"} 4
`), "mintwarden_api_in_flight"))
	close(g.open)
	held.Wait()
	a = s.as("operator", "POST", "/v1/vault/accounts", `{"name":"c"}`, key("shed"))
	require.Equal(t, 201, a.status)
	require.Empty(t, a.header.Get("Idempotency-Replayed"), "what was shed did not burn its key")
	require.Len(t, is[api.VaultAccountList](s.as("viewer", "GET", "/v1/vault/accounts", ""), 200).Data, 5)
}

func TestEveryReasonIsASeriesFromTheStart(t *testing.T) {
	s := sharedHouse(t).serve()
	n, err := testutil.GatherAndCount(s.metrics, "mintwarden_api_shed_total")
	require.NoError(t, err)
	require.Equal(t, 17, n)
	problems, err := testutil.GatherAndLint(s.metrics, "mintwarden_api_shed_total", "mintwarden_api_in_flight", "mintwarden_api_in_flight_limit", "mintwarden_api_connections")
	require.NoError(t, err)
	// The one that people read as it is counts in days.
	problems = slices.DeleteFunc(problems, func(p promlint.Problem) bool { return p.Metric == "mintwarden_certificate_days" })
	require.Empty(t, problems)
}

// from dials the server from an address of loopback, so that one machine can be
// two hosts.
func (s *server) from(address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: waitLimit}
	return d.DialContext(s.t.Context(), "tcp", strings.TrimPrefix(s.url, "https://"))
}

const waitLimit = patience

// tls11 is a TLS connection with the client's certificate that speaks HTTP/1.1.
func (s *server) tls11(address string) (*tls.Conn, error) {
	c, err := s.from(address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(c, &tls.Config{RootCAs: s.pki.roots, Certificates: []tls.Certificate{s.cert}, ServerName: "127.0.0.1", NextProtos: []string{"http/1.1"}})
	return conn, conn.HandshakeContext(s.t.Context())
}

// once sends a request on a connection of its own.
func (s *server) once(user, path string) answer {
	s.t.Helper()
	c := *s
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pki.roots, Certificates: []tls.Certificate{s.cert}}, DisableKeepAlives: true}
	c.client = &http.Client{Transport: tr, Timeout: waitLimit}
	return c.as(user, "GET", path, "")
}

// Slowloris, and its kin: connections that never shake hands, that shake hands
// and dribble a header, that asked once and stay. From another host they push
// nobody out; from the same one they make room themselves.
func TestSlowlorisDoesNotStopOthers(t *testing.T) {
	const most = 32
	s := sharedHouse(t).serve(func(d *api.Deps) { d.Limits = api.Limits{Connections: most} })
	kept := s.clientWith(&tls.Config{RootCAs: s.pki.roots, Certificates: []tls.Certificate{s.cert}})
	s.client = kept
	is[api.TokenList](s.as("viewer", "GET", "/v1/tokens", ""), 200) // a connection that stays

	for _, host := range []string{"127.0.0.2", "127.0.0.1"} {
		t.Run("from "+host, func(t *testing.T) {
			s := s.in(t)
			for i := range 4 * most {
				switch i % 4 {
				case 0: // silent from the first byte on
					c, err := s.from(host)
					require.NoError(t, err)
					defer c.Close()
				default:
					c, err := s.tls11(host)
					if err != nil {
						continue // cut off to make room
					}
					defer c.Close()
					text := "GET /v1/tokens HTTP/1.1\r\nHost: x\r\nX-Slow: "
					if i%4 == 3 {
						text = "GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
					}
					_, _ = io.WriteString(c, text) // fails where it was cut off
				}
				if i%8 == 0 {
					is[api.TokenList](s.once("operator", "/v1/tokens"), 200)
				}
			}
			is[api.TokenList](s.once("operator", "/v1/tokens"), 200)
			is[api.TokenList](s.as("viewer", "GET", "/v1/tokens", ""), 200)
			require.Positive(t, s.turnedAway("connections"))
			n, err := testutil.GatherAndCount(s.metrics, "mintwarden_api_connections")
			require.NoError(t, err)
			require.Equal(t, 3, n)
			require.LessOrEqual(t, s.sum("mintwarden_api_connections"), float64(most))
		})
	}
}

// sum is that of a metric's series.
func (s *server) sum(name string) (sum float64) {
	s.t.Helper()
	families, err := s.metrics.Gather()
	require.NoError(s.t, err)
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// A body that does not come holds its sender's places only, and those for its
// time only.
func TestASlowBodyIsCutOff(t *testing.T) {
	for _, proto := range []string{"h2", "http/1.1"} {
		t.Run(proto, func(t *testing.T) {
			s := sharedHouse(t).serve(func(d *api.Deps) { d.Limits = api.Limits{Writes: 4, BodyTimeout: 300 * time.Millisecond} })
			before := s.count("/v1/vault/accounts")
			conf := &tls.Config{RootCAs: s.pki.roots, Certificates: []tls.Certificate{s.cert}, NextProtos: []string{proto}}
			slow := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: proto == "h2"}, Timeout: waitLimit}
			defer slow.CloseIdleConnections()
			var held sync.WaitGroup
			for range 8 {
				body, w := io.Pipe()
				defer w.Close()
				req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+"/v1/vault/accounts", body)
				require.NoError(t, err)
				req.Header.Set("Authorization", "Bearer "+s.keys["operator"])
				req.ContentLength = 100
				held.Go(func() {
					resp, err := slow.Do(req)
					if err == nil { // or the connection was cut, which a writer may see first
						defer resp.Body.Close()
						require.Contains(t, []int{400, 429}, resp.StatusCode)
					}
				})
				held.Go(func() { _, _ = io.WriteString(w, `{"name":`) })
			}
			is[api.VaultAccount](s.elsewhere("program").as("admin", "POST", "/v1/vault/accounts", `{"name":"treasury"}`), 201)
			held.Wait()
			require.Eventually(t, func() bool { return s.turnedAway("slow_body") > 0 && s.sum("mintwarden_api_in_flight") == 0 }, waitLimit, 5*time.Millisecond)
			require.Equal(t, before+1, s.count("/v1/vault/accounts"))
		})
	}
}

// wire is an HTTP/2 connection whose frames the test writes itself.
type wire struct {
	*http2.Framer
	t      testing.TB
	conn   net.Conn
	header bytes.Buffer
	pack   *hpack.Encoder
	server string
	next   uint32
}

func (s *server) wire(settings ...http2.Setting) *wire {
	s.t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), &tls.Config{RootCAs: s.pki.roots, Certificates: []tls.Certificate{s.cert}, NextProtos: []string{"h2"}})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { conn.Close() })
	_, err = io.WriteString(conn, http2.ClientPreface)
	require.NoError(s.t, err)
	w := &wire{Framer: http2.NewFramer(conn, conn), t: s.t, conn: conn, server: s.url, next: 1}
	w.pack = hpack.NewEncoder(&w.header)
	require.NoError(s.t, w.WriteSettings(settings...))
	return w
}

// get opens a stream that asks for a path.
func (w *wire) get(path, key string) (uint32, error) {
	w.header.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "mintwarden"}, {":path", path}, {"authorization", "Bearer " + key}} {
		require.NoError(w.t, w.pack.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	id := w.next
	w.next += 2
	return id, w.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: w.header.Bytes(), EndStream: true, EndHeaders: true})
}

// An answer that nobody takes holds no place, and is cut off; what it holds is
// bounded in bytes (TestAttack_AnswersThatNobodyTakesAreBounded).
func TestASlowReaderHoldsNoPlace(t *testing.T) {
	s := sharedHouse(t).serve(func(d *api.Deps) { d.Limits = api.Limits{Reads: 4, WriteTimeout: 300 * time.Millisecond} })
	w := s.wire(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	for range 20 {
		_, err := w.get("/v1/openapi.json", "")
		require.NoError(t, err)
	}
	for range 20 { // from the same certificate, too
		a := s.as("", "GET", "/v1/openapi.json", "")
		require.Contains(t, []int{200, 429}, a.status)
		is[api.TokenList](s.as("viewer", "GET", "/v1/tokens", ""), 200)
	}
	require.Eventually(t, func() bool { return s.turnedAway("slow_reader") > 0 && s.sum("mintwarden_api_in_flight") == 0 }, waitLimit, 5*time.Millisecond)
}

// Rapid reset (CVE-2023-44487): streams that are opened and cancelled as fast as
// they can be written. The connection ends, the others do not notice.
func TestRapidResetDoesNotStopOthers(t *testing.T) {
	h := newHouse(t)
	g := &gate{room: h.room, open: make(chan struct{}), waiting: make(chan struct{}, 1<<16)}
	open := sync.OnceFunc(func() { close(g.open) })
	defer open()
	log := slog.New(&slowLog{slog.NewTextHandler(io.Discard, nil), g.open})
	s := h.serve(func(d *api.Deps) { d.Seal, d.Log, d.Limits = g, log, api.Limits{Streams: 4} })
	w := s.wire()
	ended := make(chan error, 1)
	go func() {
		for {
			f, err := w.ReadFrame()
			if err != nil {
				ended <- err
				return
			}
			if f, ok := f.(*http2.GoAwayFrame); ok && f.ErrCode == http2.ErrCodeEnhanceYourCalm {
				ended <- nil
				return
			}
		}
	}()
	var others sync.WaitGroup
	others.Go(func() {
		for range 50 {
			is[api.TokenList](s.as("viewer", "GET", "/v1/tokens", ""), 200)
		}
	})
	var err error
	for range 100_000 {
		var id uint32
		if id, err = w.get("/v1/seal", s.keys["viewer"]); err != nil {
			break
		}
		if err = w.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
			break
		}
	}
	others.Wait()
	soon(t, ended, "neither told to calm down nor cut off")
	require.Error(t, err, "the connection took a hundred thousand resets")
	require.Equal(t, 1.0, s.turnedAway("streams"))
	open()
	require.Eventually(t, func() bool { return s.sum("mintwarden_api_in_flight") == 0 }, waitLimit, 5*time.Millisecond)
}

// Its kin (CVE-2025-8671): the server is made to reset streams itself, each of
// which is one less that the client has open, while their handlers go on. No more
// of them run than the connection may have streams.
func TestAttack_ResetsByTheServersOwnHand(t *testing.T) {
	const streams = 4
	h := newHouse(t)
	g := &gate{room: h.room, open: make(chan struct{}), waiting: make(chan struct{}, 1<<16)}
	open := sync.OnceFunc(func() { close(g.open) })
	defer open()
	log := slog.New(&slowLog{slog.NewTextHandler(io.Discard, nil), g.open})
	s := h.serve(func(d *api.Deps) { d.Seal, d.Log, d.Limits = g, log, api.Limits{Streams: streams} })
	w := s.wire()
	w.AllowIllegalWrites = true
	go func() {
		for {
			if _, err := w.ReadFrame(); err != nil {
				return
			}
		}
	}()
	cut := false
	for n := range 20_000 {
		id, err := w.get("/v1/seal", s.keys["viewer"])
		if err == nil {
			err = w.WriteWindowUpdate(id, 0) // a window grows by one at least
		}
		if err != nil {
			cut = true
			break
		}
		if n%1000 == 0 {
			is[api.TokenList](s.as("viewer", "GET", "/v1/tokens", ""), 200)
			require.LessOrEqual(t, s.sum("mintwarden_api_in_flight"), float64(streams))
		}
	}
	require.True(t, cut, "the connection took twenty thousand of them")
	require.Positive(t, s.turnedAway("streams"))
	w.conn.Close()
	open()
	require.Eventually(t, func() bool { return s.sum("mintwarden_api_in_flight") == 0 }, waitLimit, 5*time.Millisecond)
}

// A header that goes on and on in frames of its own (CVE-2023-45288), each packed
// to a fraction of what it says: the connection ends, nothing is kept of it, and
// the others do not notice.
func TestAttack_AHeaderWithoutEnd(t *testing.T) {
	s := sharedHouse(t).serve()
	w := s.wire()
	go func() { // what the server says to it
		for {
			if _, err := w.ReadFrame(); err != nil {
				return
			}
		}
	}()
	w.header.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "mintwarden"}, {":path", "/v1/tokens"}} {
		require.NoError(t, w.pack.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	require.NoError(t, w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: w.header.Bytes(), EndStream: true}))
	const frames = 1 << 16 // of 16 KiB: a GiB of header
	written := 0
	for range frames {
		w.header.Reset()
		for w.header.Len() < 12<<10 { // an entry of 4 KiB is in the table after the first, a byte from then on
			require.NoError(t, w.pack.WriteField(hpack.HeaderField{Name: "x-flood", Value: strings.Repeat("x", 3<<10)}))
		}
		if err := w.WriteContinuation(1, false, w.header.Bytes()); err != nil {
			break
		}
		written++
	}
	require.Less(t, written, frames, "the connection took a gigabyte of header")
	is[api.TokenList](s.as("viewer", "GET", "/v1/tokens", ""), 200)
}

// More streams than a connection may have are refused one by one; the server's
// work is bounded all the while.
func TestAFloodOfStreamsIsRefused(t *testing.T) {
	s := sharedHouse(t).serve(func(d *api.Deps) { d.Limits = api.Limits{Streams: 8, Reads: 8} })
	w := s.wire(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	go func() {
		for range 1000 {
			if _, err := w.get("/v1/openapi.json", ""); err != nil {
				return
			}
		}
	}()
	refused := 0
	for refused == 0 {
		f, err := w.ReadFrame()
		if err != nil {
			break // it was ended for it
		}
		if r, ok := f.(*http2.RSTStreamFrame); ok && (r.ErrCode == http2.ErrCodeRefusedStream || r.ErrCode == http2.ErrCodeProtocol) {
			refused++
		}
	}
	is[api.TokenList](s.as("viewer", "GET", "/v1/tokens", ""), 200)
	require.Positive(t, s.turnedAway("streams"))
}

// Guesses are slowed down by the certificate that makes them; the key that
// belongs there goes on, though it is guessed at by its own id.
func TestAThousandBadKeysDoNotLockOutAGoodOne(t *testing.T) {
	s := sharedHouse(t).serve(func(d *api.Deps) { d.Limits = api.Limits{PerSecond: 1, Burst: 20} })
	seen := map[int]int{}
	for i := range 1000 {
		guess := flipLast(s.keys["viewer"]) // of a credential that exists
		if i%2 == 0 {
			guess = fmt.Sprintf("qcs_test_%026d_%043d", i, i)
		}
		seen[s.as("", "GET", "/v1/tokens", "", header("Authorization", "Bearer "+guess)).status]++
	}
	require.Equal(t, 1000, seen[401]+seen[429])
	require.Positive(t, seen[429])
	require.Equal(t, float64(seen[429]), s.turnedAway("guesses"))
	a := s.as("viewer", "GET", "/v1/tokens", "")
	is[api.TokenList](a, 200)
	require.Contains(t, a.header.Get("RateLimit"), "r=19;", "the guesses spent nothing of it")
}

// burst asks for the deployment of so many new tokens at once, of each of the
// servers in turn, and tells how many were taken; the others were refused for
// those that wait.
func burst(vault string, asked int, servers ...*server) (taken int) {
	s := servers[0]
	tokens := make([]string, asked)
	for i := range tokens {
		tokens[i] = s.token(vault)
	}
	answers := make([]answer, asked)
	var all sync.WaitGroup
	for i, token := range tokens {
		all.Go(func() {
			answers[i] = servers[i%len(servers)].patiently("operator", "POST", "/v1/tokens/"+token+"/deploy", "", key("of-"+token))
		})
	}
	all.Wait()
	for _, a := range answers {
		if a.status == 202 {
			taken++
			continue
		}
		require.Contains(s.t, a.fails(429, 1604), "wait for approval")
		require.NotEmpty(s.t, a.header.Get("Retry-After"))
	}
	return taken
}

// A burst finds no more room than there is, though each of it looked before any
// of it was stored; and no less.
func TestABurstDoesNotPassMaxPending(t *testing.T) {
	const asked = operation.MaxPending + 16
	s := newHouse(t).serve()
	vault, _ := s.vault("treasury")
	require.Equal(t, operation.MaxPending, burst(vault, asked, s))
	require.Equal(t, operation.MaxPending, is[api.OperationList](s.as("viewer", "GET", "/v1/token-operations?status=PENDING_AUTHORIZATION", ""), 200).Pagination.Total)
	require.Equal(t, float64(asked-operation.MaxPending), s.turnedAway("pending"))
}

// Two appliances on one store take as many of one key's together as one would:
// neither knows yet what the other is storing. What waits no more, on whichever,
// makes room on both.
func TestABurstAcrossAppliancesDoesNotPassMaxPending(t *testing.T) {
	h := newHouse(t)
	here, there := h.serve(), h.second()
	vault, _ := here.vault("treasury")
	waiting := func() int {
		return is[api.OperationList](there.patiently("viewer", "GET", "/v1/token-operations?status=PENDING_AUTHORIZATION", ""), 200).Pagination.Total
	}
	require.Eventually(t, func() bool { return there.as("viewer", "GET", "/v1/vault/accounts/"+vault, "").status == 200 }, waitLimit, time.Millisecond)
	require.Equal(t, operation.MaxPending, burst(vault, operation.MaxPending+16, here, there))
	require.Eventually(t, func() bool { return waiting() == operation.MaxPending }, waitLimit, time.Millisecond)

	const freed = 5
	for i, o := range is[api.OperationList](here.patiently("viewer", "GET", "/v1/token-operations?limit=5", ""), 200).Data {
		one := []*server{here, there}[i%2]
		require.Equal(t, api.OperationStatusCANCELLED, is[api.Operation](one.patiently("operator", "POST", "/v1/token-operations/"+o.OperationID+"/cancel", "{}", key("end-"+o.OperationID)), 200).Status)
	}
	require.Eventually(t, func() bool { return waiting() == operation.MaxPending-freed }, waitLimit, time.Millisecond)
	require.Equal(t, freed, burst(vault, freed+8, there, here))
	places, err := h.store.Count(t.Context(), "/mw/pending/")
	require.NoError(t, err)
	require.EqualValues(t, operation.MaxPending, places)
}

// registerer keeps a second server's metrics apart.
func registerer() prometheus.Registerer { return prometheus.NewRegistry() }
