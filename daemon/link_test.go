package daemon

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/json/v2"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/pki"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// voice is a seal that records what it is asked; another appliance may be the
// author.
type voice struct {
	seal.Refusing
	mu     sync.Mutex
	author string // empty: this one
	once   bool   // it says so once, then it is the author itself
	sealed bool
	asked  []string

	came, goes chan struct{} // a cancel whose reason is "held" says that it came, and ends when goes is closed
}

func (v *voice) hear(what string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sealed {
		return seal.Errorf(seal.KindSealed, "sealed")
	}
	if author := v.author; author != "" {
		if v.once {
			v.author = ""
		}
		return &seal.Error{Kind: seal.KindNotAuthor, Message: "another writes", Appliance: author}
	}
	v.asked = append(v.asked, what)
	return nil
}

func (v *voice) heard() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string(nil), v.asked...)
}

func (v *voice) Status(context.Context) (*seal.Status, error) {
	return &seal.Status{ApplianceID: "x"}, v.hear("status")
}

func (v *voice) Cancel(_ context.Context, q seal.CancelRequest) (*seal.Recorded, error) {
	if q.Reason == "refuse" {
		return nil, seal.Errorf(seal.KindConflict, "it is authorized")
	}
	if err := v.hear("cancel " + q.OperationID); err != nil {
		return nil, err
	}
	if q.Reason == "held" {
		close(v.came)
		<-v.goes
	}
	return &seal.Recorded{Sequence: 7}, nil
}

func (v *voice) Decide(_ context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	return &seal.Recorded{Sequence: 8}, v.hear("decide " + string(e.Payload))
}

// box is one appliance's end of the link: its seal's socket, its door, and its
// listener.
type box struct {
	id   string
	seal *voice
	door *door
	ends *ends
	url  string
	reg  *prometheus.Registry

	link  *link
	files config.Link // its pair and its roots
	log   *slog.Logger
}

// town is the appliances of one charter.
type town struct {
	t    *testing.T
	ca   *pki.CA
	fold *ledger.Fold
	key  ed25519.PrivateKey
	sign *policy.Signer
}

func newTown(t *testing.T, appliances ...string) *town {
	ca, err := pki.NewCA("appliances", pki.MLDSA65)
	require.NoError(t, err)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	_, pem, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := policy.NewSigner(pem)
	require.NoError(t, err)
	w := &town{t: t, ca: ca, key: key, sign: signer}
	c := &policy.Charter{Format: 1, Instance: "test-1", Version: 1, Environment: policy.Dev, TenantID: "test",
		Networks:   []policy.Network{{Name: "devnet", Kind: "quantum", ChainID: 2080377, Scheme: "dilithium3", Currency: "QC", DefaultMaxFee: policy.AmountOf(1), DailyFee: policy.AmountOf(1)}},
		Custodians: policy.Custodians{Threshold: 1, Members: []policy.Custodian{{Name: "custodian-1", Keys: []policy.PublicKey{signer.Public()}}}},
		Groups:     map[string][]string{},
	}
	for i, id := range appliances {
		public := key.Public()
		if i > 0 {
			public, _, err = ed25519.GenerateKey(rand.Reader)
			require.NoError(t, err)
		}
		ledgerKey, err := policy.NewPublicKey(public)
		require.NoError(t, err)
		c.Appliances = append(c.Appliances, policy.Appliance{ID: id, LedgerKey: ledgerKey, UnsealKey: []byte{byte(i + 1)},
			Token: policy.SecurityToken{Serial: fmt.Sprint(i), CheckValues: map[string]string{"canary": "00"}}})
	}
	doc, err := c.Encode()
	require.NoError(t, err)
	w.fold = ledger.NewFold(policy.DigestOf(doc))
	w.record(ledger.Record{Charter: w.envelope(policy.DocCharter, doc)})
	return w
}

func (w *town) envelope(document string, payload []byte) *policy.Envelope {
	e, err := policy.Sign(policy.PayloadType(document), payload, w.sign)
	require.NoError(w.t, err)
	return e
}

func (w *town) record(r ledger.Record) {
	head, previous := w.fold.Head()
	if head == 0 {
		previous = ledger.NoDigest
	}
	b := &ledger.Batch{Format: ledger.Format, Instance: "test-1", Epoch: ledger.FirstEpoch, Term: 1, Sequence: head + 1, Previous: previous,
		Author: "appliance-1", Time: time.Now().UTC().Truncate(time.Second), Records: []ledger.Record{r}}
	input, err := b.SigningInput()
	require.NoError(w.t, err)
	b.Signature = ed25519.Sign(w.key, input)
	value, err := b.Encode()
	require.NoError(w.t, err)
	_, err = w.fold.Apply(value)
	require.NoError(w.t, err)
}

func (w *town) suspend(appliance string) {
	doc, err := (&policy.Freeze{Format: 1, Instance: "test-1", Subject: policy.Subject{ApplianceID: appliance}, Frozen: true, CreatedAt: time.Now().UTC().Truncate(time.Second)}).Encode()
	require.NoError(w.t, err)
	w.record(ledger.Record{Freeze: w.envelope(policy.DocFreeze, doc)})
}

// pair writes a certificate of a name and gives the config that names it.
func (w *town) pair(ca *pki.CA, name string) config.Link {
	dir := w.t.TempDir()
	p, err := ca.IssueServer(name, []string{"127.0.0.1"}, pki.MLDSA65)
	require.NoError(w.t, err)
	c := config.Link{Cert: filepath.Join(dir, "crt"), Key: filepath.Join(dir, "key"), CA: filepath.Join(dir, "ca"), Listen: "127.0.0.1:0"}
	for path, text := range map[string][]byte{c.Cert: p.Certificate, c.Key: p.Key, c.CA: w.ca.Pair().Certificate} {
		require.NoError(w.t, os.WriteFile(path, text, 0o600))
	}
	return c
}

// box opens an appliance; its peers' addresses come later.
func (w *town) box(id string) *box {
	b := &box{id: id, seal: &voice{}, reg: prometheus.NewRegistry()}
	dir, err := os.MkdirTemp("", "link") // a socket's path is short
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "seal.sock")
	l, err := net.Listen("unix", socket)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = seal.Serve(ctx, l, b.seal, seal.Options{Log: slog.New(slog.DiscardHandler)})
	}()
	w.t.Cleanup(func() { cancel(); <-served })
	client, err := seal.Dial(ctx, socket)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = client.Close() })
	c := w.pair(w.ca, appliancePrefix+id)
	b.ends, err = openEnds(c, id, nil)
	require.NoError(w.t, err)
	m, err := newLinkMetrics(b.reg)
	require.NoError(w.t, err)
	log, law := slog.New(slog.DiscardHandler), func() *ledger.Fold { return w.fold }
	lk := &link{listener: c.Listen, door: newDoor(client, id, map[string]string{}, b.ends, law, log, m)}
	lk.ends.Store(b.ends)
	lk.handler = &linkHandler{id: id, seal: client, law: law, log: log, metrics: m, ends: lk.ends.Load}
	b.link, b.files, b.log = lk, c, log
	s, closing, err := lk.listen(log)
	require.NoError(w.t, err)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.serve() }()
	w.t.Cleanup(func() { _ = s.Close(); closing(); <-done })
	b.url = "https://" + s.listener.Addr().String()
	b.door = lk.door
	return b
}

// knows tells boxes of each other.
func (b *box) knows(others ...*box) {
	peers := map[string]string{}
	for _, o := range others {
		peers[o.id] = o.url
	}
	b.door = newDoor(b.door.Client, b.id, peers, b.ends, b.door.law, b.door.log, b.door.metrics)
	if b.link != nil {
		b.link.door = b.door
	}
}

func (b *box) follows(author string) {
	b.seal.mu.Lock()
	defer b.seal.mu.Unlock()
	b.seal.author = author
}

func TestTheAuthorIsAskedAndItsAnswerComesBack(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2")
	one, two := w.box("appliance-1"), w.box("appliance-2")
	one.knows(two)
	two.knows(one)
	two.follows("appliance-1")
	r, err := two.door.Cancel(t.Context(), "op_1", "why")
	require.NoError(t, err)
	require.EqualValues(t, 7, r.Sequence)
	e := w.envelope(policy.DocDecision, []byte(`{"a":1}`))
	r, err = two.door.Decide(t.Context(), e)
	require.NoError(t, err)
	require.EqualValues(t, 8, r.Sequence)
	require.Equal(t, []string{"cancel op_1", `decide {"a":1}`}, one.seal.heard())
	require.Empty(t, two.seal.heard())
	_, err = two.door.Cancel(t.Context(), "op_1", "refuse")
	kind, _ := seal.KindOf(err)
	require.Equal(t, seal.KindConflict, kind, "the author's refusal is the answer")
	_, err = two.door.Settle(t.Context(), seal.SettleRequest{})
	kind, _ = seal.KindOf(err)
	require.Equal(t, seal.KindInvalid, kind)
	st, err := two.door.Status(t.Context())
	require.Error(t, err, "how our own seal is, is asked of it alone: %v", st)
	require.NotContains(t, one.seal.heard(), "status")
	// Who is the author himself asks nobody.
	_, err = one.door.Cancel(t.Context(), "op_2", "why")
	require.NoError(t, err)
	require.Empty(t, two.seal.heard())
}

// A seal that is away or sealed does not stop what its appliance is in the
// middle of: a peer's seal, which has the same authority, is asked.
func TestWhileOurOwnSealIsAwayAPeerIsAsked(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2")
	one, two := w.box("appliance-1"), w.box("appliance-2")
	two.knows(one)
	gone, err := seal.Dial(t.Context(), filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	socket := two.door.Client
	two.door.Client = gone
	_, err = two.door.Cancel(t.Context(), "op_1", "why")
	require.NoError(t, err)
	two.door.Client = socket
	two.seal.sealed = true
	_, err = two.door.Cancel(t.Context(), "op_2", "why")
	require.NoError(t, err)
	require.Equal(t, []string{"cancel op_1", "cancel op_2"}, one.seal.heard())
	one.seal.sealed = true
	_, err = two.door.Cancel(t.Context(), "op_3", "why")
	require.Equal(t, seal.KindSealed, kindOf(err), "nobody can")
}

func TestNobodyPassesOnTwice(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2", "appliance-3")
	one, two, three := w.box("appliance-1"), w.box("appliance-2"), w.box("appliance-3")
	for _, b := range []*box{one, two, three} {
		b.knows(one, two, three)
	}
	two.follows("appliance-1")
	one.follows("appliance-3") // it took over, and appliance-2 does not know yet
	_, err := two.door.Cancel(t.Context(), "op_1", "why")
	var told *seal.Error
	require.ErrorAs(t, err, &told)
	require.Equal(t, seal.KindNotAuthor, told.Kind)
	require.Equal(t, "appliance-3", told.Appliance)
	require.Empty(t, three.seal.heard(), "what came over the link is not passed on")
	// Between two turns our own seal took over.
	one.follows("appliance-2")
	two.follows("appliance-1")
	two.seal.once = true
	_, err = two.door.Cancel(t.Context(), "op_3", "why")
	require.NoError(t, err)
	require.Equal(t, []string{"cancel op_3"}, two.seal.heard())
}

// Whoever is not an appliance of the charter, or was suspended, is heard by
// nobody and asked by nobody.
func TestASuspendedOrUnknownApplianceIsRefused(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2")
	one, two := w.box("appliance-1"), w.box("appliance-2")
	stranger := w.box("appliance-9")
	for _, b := range []*box{one, two, stranger} {
		b.knows(one, two, stranger)
	}
	stranger.follows("appliance-1")
	_, err := stranger.door.Cancel(t.Context(), "op_1", "why")
	require.ErrorIs(t, err, seal.ErrUnreachable)
	require.ErrorContains(t, err, "no appliance of the charter")
	two.follows("appliance-9")
	_, err = two.door.Cancel(t.Context(), "op_1", "why")
	require.Equal(t, seal.KindNotAuthor, kindOf(err))
	require.Empty(t, stranger.seal.heard())

	two.follows("appliance-1")
	_, err = two.door.Cancel(t.Context(), "op_2", "why")
	require.NoError(t, err)
	w.suspend("appliance-2")
	_, err = two.door.Cancel(t.Context(), "op_3", "why")
	require.ErrorIs(t, err, seal.ErrUnreachable)
	require.ErrorContains(t, err, "suspended")
	one.follows("appliance-2")
	_, err = one.door.Cancel(t.Context(), "op_4", "why")
	require.Equal(t, seal.KindNotAuthor, kindOf(err))
	require.Equal(t, []string{"cancel op_2"}, one.seal.heard())
	require.Empty(t, two.seal.heard())
}

func kindOf(err error) seal.Kind {
	k, _ := seal.KindOf(err)
	return k
}

// A peer's certificate is one of the appliances' root, names an appliance, and
// names the one that was meant.
func TestWhoAnswersOnTheLinkIsWhoWasMeant(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2", "appliance-3")
	one, two, three := w.box("appliance-1"), w.box("appliance-2"), w.box("appliance-3")
	two.knows(&box{id: "appliance-1", url: three.url})
	two.follows("appliance-1")
	_, err := two.door.Cancel(t.Context(), "op_1", "why")
	require.ErrorIs(t, err, seal.ErrUnreachable)
	require.ErrorContains(t, err, "appliance:appliance-3")
	require.Empty(t, three.seal.heard())

	foreign, err := pki.NewCA("somebody", pki.MLDSA65)
	require.NoError(t, err)
	body, err := newMessage(seal.OpCancel, seal.CancelRequest{OperationID: "op_1", Reason: "why"})
	require.NoError(t, err)
	post := func(t *testing.T, conf *tls.Config, path string, body []byte) (int, error) {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: conf}}
		defer c.CloseIdleConnections()
		resp, err := c.Post(one.url+path, linkType, bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	client := func(t *testing.T, ca *pki.CA, name string) *tls.Config {
		p, err := ca.IssueServer(name, []string{"127.0.0.1"}, pki.MLDSA65)
		require.NoError(t, err)
		pair, err := tls.X509KeyPair(p.Certificate, p.Key)
		require.NoError(t, err)
		return &tls.Config{RootCAs: two.ends.roots, Certificates: []tls.Certificate{pair}}
	}
	for name, c := range map[string]struct {
		conf *tls.Config
		want int // 0: no connection
	}{
		"a peer":                   {client(t, w.ca, "appliance:appliance-2"), 200},
		"no certificate":           {&tls.Config{RootCAs: two.ends.roots}, 0},
		"of another root":          {client(t, foreign, "appliance:appliance-2"), 0},
		"not an appliance's":       {client(t, w.ca, "appliance-2"), 403},
		"a person's":               {client(t, w.ca, "custodian-1"), 403},
		"our own":                  {client(t, w.ca, "appliance:appliance-1"), 403},
		"of nobody of the charter": {client(t, w.ca, "appliance:appliance-8"), 403},
	} {
		t.Run(name, func(t *testing.T) {
			status, err := post(t, c.conf, linkPath, body)
			require.Equal(t, c.want, status, "%v", err)
			require.Equal(t, c.want == 0, err != nil)
		})
	}
	t.Run("TLS 1.2", func(t *testing.T) {
		conf := client(t, w.ca, "appliance:appliance-2")
		conf.MaxVersion = tls.VersionTLS12
		_, err := post(t, conf, linkPath, body)
		require.Error(t, err)
	})
	peer := client(t, w.ca, "appliance:appliance-2")
	for name, c := range map[string]struct {
		path string
		body []byte
		want int
	}{
		"another path":   {"/v1/charter", body, 404},
		"too long":       {linkPath, bytes.Repeat([]byte(" "), maxLinkMessage+1), 413},
		"not JSON":       {linkPath, []byte("{"), 400},
		"two values":     {linkPath, append(bytes.Clone(body), body...), 400},
		"unknown member": {linkPath, []byte(strings.Replace(string(body), `{"format"`, `{"as":"root","format"`, 1)), 400},
		"no nonce":       {linkPath, []byte(`{"format":1,"nonce":"","op":"cancel","params":{"operationId":"op_1","reason":""}}`), 400},
		"unseal":         {linkPath, []byte(strings.Replace(string(body), `"cancel"`, `"unseal"`, 1)), 400},
		"init":           {linkPath, []byte(strings.Replace(string(body), `"cancel"`, `"init"`, 1)), 400},
		"status":         {linkPath, []byte(strings.Replace(string(body), `"cancel"`, `"status"`, 1)), 400},
		"other params":   {linkPath, []byte(strings.Replace(string(body), `"cancel"`, `"settle"`, 1)), 400},
	} {
		t.Run(name, func(t *testing.T) {
			status, err := post(t, peer, c.path, c.body)
			require.NoError(t, err)
			require.Equal(t, c.want, status)
		})
	}
	require.Equal(t, []string{"cancel op_1"}, one.seal.heard())
}

// An answer to another request, a replayed one included, is no answer.
func TestAnAnswerFitsOneRequestAlone(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2")
	two := w.box("appliance-2")
	two.follows("appliance-1")
	c := w.pair(w.ca, appliancePrefix+"appliance-1")
	impostor, err := openEnds(c, "appliance-1", nil)
	require.NoError(t, err)
	var recorded []byte
	for name, answer := range map[string]func(body []byte) []byte{
		"of an earlier request": func(body []byte) []byte {
			if recorded == nil {
				recorded = []byte(fmt.Sprintf(`{"format":1,"request":%q,"result":{"sequence":7}}`, policy.DigestOf(body)))
				return []byte(`{"format":1}`)
			}
			return recorded
		},
		"without a request": func([]byte) []byte { return []byte(`{"format":1,"request":"","result":{"sequence":7}}`) },
		"both": func(b []byte) []byte {
			return []byte(fmt.Sprintf(`{"format":1,"request":%q,"result":{},"error":{"kind":"busy","message":""}}`, policy.DigestOf(b)))
		},
		"neither": func(b []byte) []byte { return []byte(fmt.Sprintf(`{"format":1,"request":%q}`, policy.DigestOf(b))) },
		"an unknown kind": func(b []byte) []byte {
			return []byte(fmt.Sprintf(`{"format":1,"request":%q,"error":{"kind":"fine","message":""}}`, policy.DigestOf(b)))
		},
		"another result": func(b []byte) []byte {
			return []byte(fmt.Sprintf(`{"format":1,"request":%q,"result":{"rawTx":"AA=="}}`, policy.DigestOf(b)))
		},
		"longer than any answer": func([]byte) []byte { return bytes.Repeat([]byte(" "), seal.MaxFrame+1) },
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				var body bytes.Buffer
				_, _ = body.ReadFrom(r.Body)
				_, _ = rw.Write(answer(body.Bytes()))
			}))
			s.TLS = impostor.server()
			s.StartTLS()
			defer s.Close()
			two.knows(&box{id: "appliance-1", url: s.URL})
			for range 2 {
				_, err := two.door.Cancel(t.Context(), "op_1", "why")
				require.True(t, errors.Is(err, seal.ErrUnreachable) || errors.Is(err, seal.ErrProtocol), "%v", err)
			}
			two.door.closeIdle()
		})
	}
}

func TestAPairThatIsAnothersIsRefused(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2")
	_, err := openEnds(w.pair(w.ca, appliancePrefix+"appliance-2"), "appliance-1", nil)
	require.ErrorContains(t, err, "appliance:appliance-2")
	c := w.pair(w.ca, appliancePrefix+"appliance-1")
	people, err := pki.NewCA("people", pki.ECDSAP256)
	require.NoError(t, err)
	clients := filepath.Join(t.TempDir(), "clients")
	require.NoError(t, os.WriteFile(clients, people.Pair().Certificate, 0o600))
	_, err = openEnds(c, "appliance-1", []string{clients})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(clients, append(people.Pair().Certificate, w.ca.Pair().Certificate...), 0o600))
	_, err = openEnds(c, "appliance-1", []string{clients})
	require.ErrorContains(t, err, "a root of their own", "who issues to people issues to appliances")
	require.NoError(t, os.WriteFile(c.CA, []byte("no certificate"), 0o600))
	_, err = openEnds(c, "appliance-1", nil)
	require.ErrorContains(t, err, "link.ca")
	c.Cert = filepath.Join(t.TempDir(), "absent")
	_, err = openEnds(c, "appliance-1", nil)
	require.ErrorContains(t, err, "link.cert")
}

func FuzzLinkMessage(f *testing.F) {
	for op, params := range map[seal.Op]any{
		seal.OpCancel: seal.CancelRequest{OperationID: "op_1", Reason: "x"}, seal.OpBump: seal.BumpRequest{OperationID: "op_1"},
		seal.OpDecide: seal.EnvelopeRequest{Envelope: &policy.Envelope{PayloadType: "a", Payload: []byte("b"), Signatures: []policy.Signature{}}},
		seal.OpStatus: seal.Nothing{},
	} {
		b, err := newMessage(op, params)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		op, ask, err := parseMessage(b)
		if err != nil {
			return
		}
		require.NotNil(t, ask)
		require.NotNil(t, linkOps[op], "only what is listed")
	})
}

func FuzzLinkAnswer(f *testing.F) {
	request := policy.DigestOf([]byte("request"))
	f.Add([]byte(fmt.Sprintf(`{"format":1,"request":%q,"result":{"sequence":1}}`, request)))
	f.Add([]byte(fmt.Sprintf(`{"format":1,"request":%q,"error":{"kind":"busy","message":"m"}}`, request)))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAnswer(b, request)
		if err != nil {
			return
		}
		require.Equal(t, request, a.Request)
		require.NotEqual(t, a.Error == nil, a.Result == nil)
		_, err = json.Marshal(a)
		require.NoError(t, err)
	})
}
