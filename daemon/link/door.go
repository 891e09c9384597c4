package link

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

	"github.com/mintwarden/mintwarden/daemon/trace"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Door is this appliance's seal, and behind it the ledger's author wherever
// that is: what our own seal may not record, because another appliance writes
// the ledger, is asked of that appliance's serve, and its answer comes back
// unchanged. How our own seal is, is unsealed and sealed, it answers itself.
// Safe for concurrent use.
type Door struct {
	*seal.Client
	log     *slog.Logger
	id      string            // our own, in the charter
	peers   map[string]string // URL by appliance
	dialing atomic.Pointer[dialing]
	law     func() *ledger.Fold // who the appliances are
	metrics *metrics
}

// dialing is how peers are asked while one identity is in use.
type dialing struct {
	by      *Identity
	clients map[string]*http.Client // by appliance
}

// turns is how often a request is passed on before it is given up: while one
// author takes over from another each of the two may name the other.
const turns = 3

// turnPause lets a take-over come to its end before the next turn.
const turnPause = 200 * time.Millisecond

func newDoor(c Config, by *Identity, m *metrics) *Door {
	d := &Door{Client: c.Seal, log: c.Log, id: c.Appliance, peers: c.Peers, law: c.Law, metrics: m}
	d.take(by)
	return d
}

// take passes on with that identity from the next request on. What is under way
// ends on the connections it has, which serve nothing after it.
func (d *Door) take(by *Identity) {
	next := &dialing{by: by, clients: map[string]*http.Client{}}
	for peer := range d.peers {
		transport := &http.Transport{
			TLSClientConfig: by.client(peer), ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
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

func (d *dialing) closeIdle() {
	for _, c := range d.clients {
		c.CloseIdleConnections()
	}
}

// through asks our own seal, and the author if that is another appliance. While
// our own seal is away or sealed a peer is asked instead: the lanes that this
// process holds go on, and authority is the peer's seal's all the same.
func through[P, R any](ctx context.Context, d *Door, op seal.Op, params P, here func(context.Context) (*R, error)) (*R, error) {
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
func (d *Door) standIn(turn int) (string, bool) {
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
func (d *Door) mayAsk(author string) error {
	if author == d.id {
		return errors.New("our own seal names us as the author and refuses as if it were not")
	}
	if _, ok := d.peers[author]; !ok {
		return fmt.Errorf("link.peers does not name %s", author)
	}
	return admitted(d.law(), author)
}

// forward asks the author's serve. What the author's seal says comes back as if
// ours had said it; a peer that does not answer, or not to this request, is
// [seal.ErrUnreachable], for then the outcome is unknown.
func forward[P, R any](ctx context.Context, d *Door, author string, op seal.Op, params P) (*R, error) {
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

func (d *Door) post(ctx context.Context, peer string, body []byte) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(d.peers[peer], "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	trace.Inject(ctx, req.Header)
	now := d.dialing.Load()
	resp, err := now.clients[peer].Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	// A connection outlives the certificate that it was made with.
	if err := now.by.trusts(resp.TLS.PeerCertificates, x509.ExtKeyUsageServerAuth, time.Now()); err != nil {
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
