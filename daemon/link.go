package daemon

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	auditlog "github.com/mintwarden/mintwarden/daemon/audit/log"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/trace"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// sealer is what the rooms ask of the seal.
type sealer interface {
	registry.Sealer
	operation.Sealer
	auditlog.Sealer
}

// link is both directions of the way between appliances.
type link struct {
	listener string // host:port of our end
	ends     atomic.Pointer[ends]
	door     *door
	handler  *linkHandler
}

// openLink makes what the rooms ask instead of our own seal; that is our own
// seal where the config names no peer.
func (p *parts) openLink() (sealer, error) {
	c := p.cfg.Link
	if !c.Configured() {
		return p.seal, nil
	}
	e, err := openEnds(c, p.cfg.Appliance, p.cfg.API.ClientCA)
	if err != nil {
		return nil, err
	}
	m, err := newLinkMetrics(p.reg)
	if err != nil {
		return nil, fmt.Errorf("daemon: metrics: %w", err)
	}
	law := func() *ledger.Fold { return p.registry.Fold() }
	p.link = &link{listener: c.Listen, door: newDoor(p.seal, p.cfg.Appliance, c.Peers, e, law, p.log, m)}
	p.link.handler = &linkHandler{id: p.cfg.Appliance, seal: p.seal, law: law, log: p.log, metrics: m, tracer: p.tracer, ends: p.link.ends.Load}
	p.link.ends.Store(e)
	if err := p.reg.Register(linkDays{p.link}); err != nil {
		return nil, fmt.Errorf("daemon: metrics: %w", err)
	}
	p.closers = append(p.closers, p.link.door.closeIdle)
	return p.link.door, nil
}

// door is this appliance's seal, and behind it the ledger's author wherever
// that is: what our own seal may not record, because another appliance writes
// the ledger, is asked of that appliance's serve, and its answer comes back
// unchanged. How our own seal is, is unsealed and sealed, it answers itself.
// Safe for concurrent use.
type door struct {
	*seal.Client
	log     *slog.Logger
	id      string            // our own, in the charter
	peers   map[string]string // URL by appliance
	dialing atomic.Pointer[dialing]
	law     func() *ledger.Fold // who the appliances are
	metrics *linkMetrics
}

// dialing is how peers are asked while one pair and its roots are in use.
type dialing struct {
	ends    *ends
	clients map[string]*http.Client // by appliance
}

// turns is how often a request is passed on before it is given up: while one
// author takes over from another each of the two may name the other.
const turns = 3

// turnPause lets a take-over come to its end before the next turn.
const turnPause = 200 * time.Millisecond

// newDoor makes a door that passes on, with our own pair and root.
func newDoor(c *seal.Client, id string, peers map[string]string, e *ends, law func() *ledger.Fold, log *slog.Logger, m *linkMetrics) *door {
	d := &door{Client: c, log: log, id: id, peers: peers, law: law, metrics: m}
	d.take(e)
	return d
}

// take passes on with that pair and those roots from the next request on. What
// is under way ends on the connections it has, which serve nothing after it.
func (d *door) take(e *ends) {
	next := &dialing{ends: e, clients: map[string]*http.Client{}}
	for peer := range d.peers {
		transport := &http.Transport{
			TLSClientConfig: e.client(peer), ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: 10 * time.Second,
			HTTP2:               &http.HTTP2Config{PingTimeout: 5 * time.Second, SendPingTimeout: 10 * time.Second},
		}
		next.clients[peer] = &http.Client{Transport: transport, Timeout: seal.CallTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("a peer does not redirect") }}
	}
	if before := d.dialing.Swap(next); before != nil {
		before.closeIdle()
	}
}

func (d *door) closeIdle() { d.dialing.Load().closeIdle() }

func (d *dialing) closeIdle() {
	for _, c := range d.clients {
		c.CloseIdleConnections()
	}
}

// through asks our own seal, and the author if that is another appliance. While
// our own seal is away or sealed a peer is asked instead: the lanes that this
// process holds go on, and authority is the peer's seal's all the same.
func through[P, R any](ctx context.Context, d *door, op seal.Op, params P, here func(context.Context) (*R, error)) (*R, error) {
	for turn := 1; ; turn++ {
		r, err := here(ctx)
		author, ok := elsewhere(err)
		if !ok && away(err) {
			author, ok = d.standIn(turn)
		}
		if !ok {
			return r, err
		}
		if refused := d.mayAsk(author); refused != nil {
			d.log.Warn("link: a request is not passed on", "op", op, "author", author, "error", refused)
			return nil, err
		}
		r, passErr := forward[P, R](ctx, d, author, op, params)
		d.metrics.passed(op, author, passErr)
		if _, again := elsewhere(passErr); !again || turn == turns {
			if away(err) && away(passErr) {
				return nil, err // nobody could; what our own seal says is nearer
			}
			return r, passErr
		}
		select {
		case <-time.After(turnPause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// away is true where a seal cannot be asked now, whoever the author is.
func away(err error) bool {
	kind, told := seal.KindOf(err)
	return errors.Is(err, seal.ErrUnreachable) || told && kind == seal.KindSealed
}

// standIn is whom to ask while our own seal is away: each peer in its turn.
func (d *door) standIn(turn int) (string, bool) {
	names := slices.Sorted(maps.Keys(d.peers))
	if len(names) == 0 {
		return "", false
	}
	return names[(turn-1)%len(names)], true
}

// elsewhere is the appliance that writes the ledger, if that is why a seal
// refused.
func elsewhere(err error) (author string, ok bool) {
	var told *seal.Error
	if !errors.As(err, &told) || told.Kind != seal.KindNotAuthor || told.Appliance == "" {
		return "", false
	}
	return told.Appliance, true
}

// mayAsk is nil if that appliance is one of ours that may be asked.
func (d *door) mayAsk(author string) error {
	if author == d.id {
		return errors.New("our own seal names us as the author and refuses as if it were not")
	}
	if _, ok := d.peers[author]; !ok {
		return fmt.Errorf("link.peers does not name %s", author)
	}
	return admitted(d.law(), author)
}

// admitted is nil if the charter in force knows the appliance and nobody
// suspended it.
func admitted(fold *ledger.Fold, appliance string) error {
	c, _ := fold.Charter()
	if c == nil {
		return errors.New("the ledger is not carried in yet")
	}
	if _, ok := c.Appliance(appliance); !ok {
		return fmt.Errorf("%q is no appliance of the charter", appliance)
	}
	if fold.Frozen(policy.Subject{ApplianceID: appliance}) {
		return fmt.Errorf("appliance %s is suspended", appliance)
	}
	return nil
}

// forward asks the author's serve. What the author's seal says comes back as if
// ours had said it; a peer that does not answer, or not to this request, is
// [seal.ErrUnreachable], for then the outcome is unknown.
func forward[P, R any](ctx context.Context, d *door, author string, op seal.Op, params P) (*R, error) {
	body, err := newMessage(op, params)
	if err != nil {
		return nil, fmt.Errorf("link: %s: %w", op, err)
	}
	ctx, span := trace.Call(ctx, "link."+string(op))
	span.Set(trace.Appliance, author)
	a, err := d.post(ctx, author, body)
	span.End(err)
	if err != nil {
		return nil, fmt.Errorf("%w: appliance %s, the ledger's author: %w", seal.ErrUnreachable, author, err)
	}
	if a.Error != nil {
		return nil, a.Error
	}
	r := new(R)
	if err := json.Unmarshal(a.Result, r, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: appliance %s: result of %s: %w", seal.ErrProtocol, author, op, err)
	}
	return r, nil
}

func (d *door) post(ctx context.Context, peer string, body []byte) (*linkAnswer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(d.peers[peer], "/")+linkPath, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", linkType)
	trace.Inject(ctx, req.Header)
	now := d.dialing.Load()
	resp, err := now.clients[peer].Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	// A connection outlives the certificate that it was made with.
	if err := now.ends.trusts(resp.TLS.PeerCertificates, x509.ExtKeyUsageServerAuth, time.Now()); err != nil {
		now.closeIdle()
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, seal.MaxFrame+1))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %d: %.200q", resp.StatusCode, text)
	}
	return parseAnswer(text, policy.DigestOf(body))
}

// Decide records a decision or a request, wherever the ledger is written.
func (d *door) Decide(ctx context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	return d.envelope(ctx, seal.OpDecide, e, d.Client.Decide)
}

// CharterApply records a charter, wherever the ledger is written.
func (d *door) CharterApply(ctx context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	return d.envelope(ctx, seal.OpCharterApply, e, d.Client.CharterApply)
}

// PolicyApply records a policy, wherever the ledger is written.
func (d *door) PolicyApply(ctx context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	return d.envelope(ctx, seal.OpPolicyApply, e, d.Client.PolicyApply)
}

// BindingApply records what a token id is, wherever the ledger is written.
func (d *door) BindingApply(ctx context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	return d.envelope(ctx, seal.OpBindingApply, e, d.Client.BindingApply)
}

func (d *door) envelope(ctx context.Context, op seal.Op, e *policy.Envelope, here func(context.Context, *policy.Envelope) (*seal.Recorded, error)) (*seal.Recorded, error) {
	return through(ctx, d, op, seal.EnvelopeRequest{Envelope: e}, func(ctx context.Context) (*seal.Recorded, error) { return here(ctx, e) })
}

// Checkpoint has a tree head recorded and signed, wherever the ledger is written.
func (d *door) Checkpoint(ctx context.Context, q seal.CheckpointRequest) (*seal.CheckpointResult, error) {
	return through(ctx, d, seal.OpCheckpoint, q, func(ctx context.Context) (*seal.CheckpointResult, error) { return d.Client.Checkpoint(ctx, q) })
}

// Freeze stops somebody or something, or lets go, wherever the ledger is written.
func (d *door) Freeze(ctx context.Context, q seal.FreezeRequest) (*seal.Recorded, error) {
	return passed(ctx, d, seal.OpFreeze, q, d.Client.Freeze)
}

// Cancel ends an operation, wherever the ledger is written.
func (d *door) Cancel(ctx context.Context, operationID, reason string) (*seal.Recorded, error) {
	return through(ctx, d, seal.OpCancel, seal.CancelRequest{OperationID: operationID, Reason: reason},
		func(ctx context.Context) (*seal.Recorded, error) { return d.Client.Cancel(ctx, operationID, reason) })
}

// Authorize asks for a signed transaction, wherever the ledger is written.
func (d *door) Authorize(ctx context.Context, q seal.AuthorizeRequest) (*seal.AuthorizeResult, error) {
	return passed(ctx, d, seal.OpAuthorize, q, d.Client.Authorize)
}

// Bump asks for a transaction with higher fees, wherever the ledger is written.
func (d *door) Bump(ctx context.Context, q seal.BumpRequest) (*seal.BumpResult, error) {
	return passed(ctx, d, seal.OpBump, q, d.Client.Bump)
}

// Settle says that an operation is final, wherever the ledger is written.
func (d *door) Settle(ctx context.Context, q seal.SettleRequest) (*seal.Recorded, error) {
	return passed(ctx, d, seal.OpSettle, q, d.Client.Settle)
}

// WalletCreate makes a wallet, wherever the ledger is written: appliances that
// share a store reach the same wallet keys.
func (d *door) WalletCreate(ctx context.Context, q seal.WalletCreateRequest) (*seal.WalletResult, error) {
	return passed(ctx, d, seal.OpWalletCreate, q, d.Client.WalletCreate)
}

func passed[P, R any](ctx context.Context, d *door, op seal.Op, q P, here func(context.Context, P) (*R, error)) (*R, error) {
	return through(ctx, d, op, q, func(ctx context.Context) (*R, error) { return here(ctx, q) })
}

// linkMetrics count what is passed on and what is taken.
type linkMetrics struct {
	requests *prometheus.CounterVec
}

func newLinkMetrics(reg prometheus.Registerer) (*linkMetrics, error) {
	m := &linkMetrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mintwarden_link_requests_total",
		Help: "Requests between appliances: passed to the ledger's author, or taken from a peer, by operation and outcome.",
	}, []string{"direction", "appliance", "op", "outcome"})}
	return m, reg.Register(m.requests)
}

func (m *linkMetrics) passed(op seal.Op, peer string, err error) {
	m.requests.WithLabelValues("passed", peer, string(op), outcomeOf(err)).Inc()
}

func (m *linkMetrics) taken(op seal.Op, peer string, err error) {
	m.requests.WithLabelValues("taken", peer, string(op), outcomeOf(err)).Inc()
}

// outcomeOf is a word for an error: the seal's kind of it, if it is the seal's.
func outcomeOf(err error) string {
	if err == nil {
		return "ok"
	}
	if kind, ok := seal.KindOf(err); ok {
		return string(kind)
	}
	return "unreachable"
}
