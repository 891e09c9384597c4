package chain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
)

const (
	maxAnswer   = 16 << 20         // bytes of an answer; what we ask for is a hundredth of it
	maxIdle     = 16               // connections that are kept open to a node
	idleTime    = 90 * time.Second // for which they are
	headerBytes = 16 << 10         // of an answer
)

// node is one JSON-RPC server.
type node struct {
	host    string // for people: the URL's host and port alone
	client  *rpc.Client
	asking  *asking
	http    *http.Client
	timeout time.Duration // of one question

	mu      sync.Mutex
	checked time.Time // when it last said the right chain id; zero since it failed
	known   bool      // it said the right first block since it failed
	rested  time.Time // until then others are asked first
	head    Head      // the newest block that it told of
	headAt  time.Time // when it did
	rose    time.Time // when that had a higher number than the one before
	tried   bool      // it was asked for that once, whatever became of it
}

// checkedFor is how long a node is taken to be of the chain that it said it is of: behind its address another
// one may stand at any time.
const checkedFor = 5 * time.Second

// limited bounds the answer's size.
type limited struct{ http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusSwitchingProtocols {
		// It hands over its connection, from which a read ends with nothing but its sender.
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%w: it switches protocols", errAnswer)
	}
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	}
	return resp, err
}

// newNode prepares a connection; nothing is asked yet.
func newNode(ctx context.Context, raw string, timeout time.Duration) (*node, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: an RPC URL does not parse", ErrNetwork)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // a node is where the config says, whatever the environment
	transport.MaxIdleConnsPerHost, transport.IdleConnTimeout = maxIdle, idleTime
	transport.MaxResponseHeaderBytes = headerBytes
	h := &http.Client{
		Transport: limited{transport},
		// A redirect would carry the question to a host that the config does not name.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	client, err := rpc.DialOptions(ctx, raw, rpc.WithHTTPClient(h))
	if err != nil {
		return nil, fmt.Errorf("%w: RPC node %s: %s", ErrNetwork, u.Host, plain(err))
	}
	return &node{host: u.Host, client: client, asking: &asking{client: client, timeout: timeout}, http: h, timeout: timeout}, nil
}

func (n *node) close() {
	n.client.Close()
	n.http.Transport.(limited).RoundTripper.(*http.Transport).CloseIdleConnections()
}

// rest asks others first for a while, and has the chain checked again before the next use:
// another node may stand at this address then.
func (n *node) rest(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.checked, n.known = time.Time{}, false
	n.rested = time.Now().Add(d)
}

// outrun asks others first for a while.
func (n *node) outrun(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rested = time.Now().Add(d)
}

func (n *node) resting() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Now().Before(n.rested)
}

// isChecked reports whether the chain id was asked for lately, and whether the first block is known.
func (n *node) isChecked() (lately, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.known && time.Since(n.checked) < checkedFor, n.known
}

func (n *node) setChecked(asked time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.checked, n.known = asked, true
}

// session is questions to one node that belong together.
type session struct {
	*node
	ctx context.Context
	m   *metrics
}

// ask puts one question and fills result. Errors: *RPCError (or *RevertError for methods that
// execute) if the node refused, else whatever kept it from answering.
func (s session) ask(result any, method string, args ...any) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
	defer cancel()
	start := time.Now()
	err := s.asking.ask(ctx, result, method, args)
	s.m.asked(method, start, err)
	if err == nil {
		return nil
	}
	var refused rpc.Error
	if !errors.As(err, &refused) {
		return err
	}
	e := &RPCError{Method: method, Code: refused.ErrorCode(), Message: printable(refused.Error())}
	if method != "eth_call" && method != "eth_estimateGas" {
		return e
	}
	var data any
	var with rpc.DataError
	if errors.As(err, &with) {
		data = with.ErrorData()
	}
	if r := asRevert(e, data); r != nil {
		return r
	}
	return e
}

// check compares the node's chain with the network's entry and with the other nodes; the chain id again and
// again, the first block once after each failure.
func (c *Client) check(s session) error {
	lately, known := s.isChecked()
	if lately {
		return nil
	}
	asked := time.Now()
	var id hexutil.Uint64
	if err := s.ask(&id, "eth_chainId"); err != nil {
		return err
	}
	if uint64(id) != c.net.ChainID {
		return fmt.Errorf("%w: network %q has chain id %d, node %s says %d", ErrWrongChain, c.net.Name, c.net.ChainID, s.host, uint64(id))
	}
	if known {
		s.setChecked(asked)
		return nil
	}
	var first header
	if err := s.ask(&first, "eth_getBlockByNumber", "0x0", false); err != nil {
		return err
	}
	if first.Hash == nil {
		return fmt.Errorf("%w: no first block", errAnswer)
	}
	hash := first.Hash.String()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.genesis == "" {
		c.genesis = hash
	}
	if c.genesis != hash {
		return fmt.Errorf("%w: network %q begins with block %s, at node %s with %s", ErrWrongChain, c.net.Name, c.genesis, s.host, hash)
	}
	s.setChecked(asked)
	return nil
}
