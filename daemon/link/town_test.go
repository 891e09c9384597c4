package link

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

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
	link *Link
	door *Door
	url  string
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

// pair is one of a name that ca issued.
func (w *town) pair(ca *pki.CA, name string) tls.Certificate {
	p, err := ca.IssueServer(name, []string{"127.0.0.1"}, pki.MLDSA65)
	require.NoError(w.t, err)
	pair, err := tls.X509KeyPair(p.Certificate, p.Key)
	require.NoError(w.t, err)
	return pair
}

// root is the certificate of a root.
func (w *town) root(ca *pki.CA) *x509.Certificate {
	pair, err := tls.X509KeyPair(ca.Pair().Certificate, ca.Pair().Key)
	require.NoError(w.t, err)
	return pair.Leaf
}

// identity is of an appliance whose pair ca issued, and who believes those roots.
func (w *town) identity(id string, ca *pki.CA, believed ...*pki.CA) *Identity {
	var roots []*x509.Certificate
	for _, r := range believed {
		roots = append(roots, w.root(r))
	}
	i, err := NewIdentity(id, w.pair(ca, prefix+id), roots, nil)
	require.NoError(w.t, err)
	return i
}

// box opens an appliance; its peers' addresses come later.
func (w *town) box(id string) *box {
	b := &box{id: id, seal: &voice{}}
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
	b.link, err = Open(Config{Appliance: id, Seal: client, Law: func() *ledger.Fold { return w.fold },
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}, w.identity(id, w.ca, w.ca))
	require.NoError(w.t, err)
	b.door = b.link.Door()
	end, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	s := &http.Server{Handler: b.link.Handler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(tls.NewListener(end, b.link.TLS())) }()
	w.t.Cleanup(func() { _ = s.Close(); b.link.Close(); <-done })
	b.url = "https://" + end.Addr().String()
	return b
}

// knows tells boxes of each other.
func (b *box) knows(others ...*box) {
	peers := map[string]string{}
	for _, o := range others {
		peers[o.id] = o.url
	}
	d := b.door
	b.door = newDoor(Config{Appliance: b.id, Peers: peers, Seal: d.Client, Law: d.law, Log: d.log}, b.link.Identity(), d.metrics)
	b.link.door = b.door
}

func (b *box) follows(author string) {
	b.seal.mu.Lock()
	defer b.seal.mu.Unlock()
	b.seal.author = author
}
