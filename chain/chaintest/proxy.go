// Package chaintest has a node that misbehaves, for tests: a JSON-RPC proxy in front of a real one, which can be
// told to fail in every way in which nodes fail and to lie about what it was asked. What it is not told to do
// it does not do: then an answer passes as the real node gave it.
package chaintest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

// Proxy is one node. Its methods are safe for concurrent use.
type Proxy struct {
	target string
	server *httptest.Server

	mu     sync.Mutex
	faults map[string]string // by name; the value is its argument
	woken  chan struct{}     // closed and replaced when the faults change
	counts map[string]int    // questions by method
	posts  int               // requests, each with one question or many
	many   int               // those that had the form of many
	frozen map[string]json.RawMessage
	given  map[string]json.RawMessage // receipts, by what was asked
}

// Faults are the names that Set takes, and what they do. Arguments that are numbers are decimal.
var Faults = map[string]string{
	"no-batches":    "HTTP 400 to questions that are asked together",
	"no-batch":      "refuses each of questions that are asked together",
	"stall-batches": "answers nothing that is asked together until it is told to behave",
	"stall":         "answers nothing until it is told to behave",
	"reset":         "ends every connection in the middle",
	"upgrade":       "switches to another protocol, and says nothing in it",
	"429":           "HTTP 429",
	"500":           "HTTP 500",
	"html":          "a web page in place of JSON",
	"garbage":       "JSON that is no answer",
	"huge":          "an answer of 64 MiB",
	"empty":         "an answer of no bytes",
	"chain":         "says that its chain id is the argument",
	"genesis":       "says that its chain began with another block",
	"nonce":         "adds the argument to every nonce",
	"hide":          "knows nothing of any transaction, or of the one that is the argument",
	"unindexed":     "finds no transaction and no receipt by its hash",
	"from":          "says of every transaction that the argument sent it",
	"receipts-hide": "knows no receipt",
	"receipts-keep": "gives every receipt again that it gave once, whatever became of its block",
	"failed":        "says of every mined transaction that it failed",
	"otherblock":    "says of every receipt that it is of another block",
	"fork":          "says of every block but the first and the newest that it is another one",
	"head":          "adds the argument to the newest block's number",
	"future":        "adds the argument, in seconds, to the newest block's time",
	"freeze":        "shows the newest block that it showed last",
	"poor":          "says of every account that it has nothing to pay with",
	"cheap":         "divides every base fee by the argument",
	"pruned":        "keeps no state but the newest block's",
	"dear":          "multiplies every base fee by the argument",
	"light":         "divides every estimate of gas by the argument",
	"reverts":       "says of every estimate of gas that the call reverts",
	"swallow":       "says of every transaction that it took it, and forgets it",
	"refuse":        "refuses every transaction with the argument as message",
}

// New starts a proxy in front of the node at url; Close ends it.
func New(url string) *Proxy {
	p := &Proxy{target: url, faults: map[string]string{}, woken: make(chan struct{}), counts: map[string]int{}, frozen: map[string]json.RawMessage{},
		given: map[string]json.RawMessage{}}
	p.server = httptest.NewServer(http.HandlerFunc(p.serve))
	return p
}

// URL is where it answers.
func (p *Proxy) URL() string { return p.server.URL }

// Close ends it.
func (p *Proxy) Close() {
	p.Behave()
	p.server.CloseClientConnections()
	p.server.Close()
}

// Set tells it to misbehave in one more way. It panics on a name that Faults does not have.
func (p *Proxy) Set(fault, argument string) {
	if _, ok := Faults[fault]; !ok {
		panic("chaintest: no fault " + fault)
	}
	p.change(func() { p.faults[fault] = argument })
}

// Behave ends every fault.
func (p *Proxy) Behave() { p.change(func() { clear(p.faults); clear(p.frozen) }) }

func (p *Proxy) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.woken)
	p.woken = make(chan struct{})
}

// Count is how often a method was asked for since the start, also in vain.
func (p *Proxy) Count(method string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[method]
}

// Counts is Count of every method that was asked for.
func (p *Proxy) Counts() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.counts)
}

// Requests is how many HTTP requests came: questions that are asked together come in one.
func (p *Proxy) Requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.posts
}

// Batches is how many of them asked questions together.
func (p *Proxy) Batches() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.many
}

// Asked is Count of all methods together.
func (p *Proxy) Asked() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.counts {
		n += c
	}
	return n
}

func (p *Proxy) fault(name string) (argument string, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	argument, on = p.faults[name]
	return argument, on
}

// stalled returns when the fault is over, or false when the caller is gone.
func (p *Proxy) stalled(r *http.Request, fault string) bool {
	for {
		p.mu.Lock()
		_, on := p.faults[fault]
		woken := p.woken
		p.mu.Unlock()
		if !on {
			return true
		}
		select {
		case <-woken:
		case <-r.Context().Done():
			return false
		}
	}
}

// message is a JSON-RPC question or answer.
type message struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	questions, batch, err := parse(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.posts++
	if batch {
		p.many++
	}
	for _, q := range questions {
		p.counts[q.Method]++
	}
	p.mu.Unlock()
	if !p.stalled(r, "stall") || batch && !p.stalled(r, "stall-batches") {
		panic(http.ErrAbortHandler)
	}
	if _, on := p.fault("no-batches"); on && batch {
		http.Error(w, "no batches", http.StatusBadRequest)
		return
	}
	if p.broken(w) {
		return
	}
	var answers []message
	_, each := p.fault("no-batch")
	for _, q := range questions {
		if each && batch {
			answers = append(answers, message{Version: "2.0", ID: q.ID, Error: json.RawMessage(`{"code":-32600,"message":"Batch size exceeds 1"}`)})
			continue
		}
		a, err := p.answer(r, q)
		if err != nil {
			panic(http.ErrAbortHandler) // the real node is gone
		}
		answers = append(answers, a)
	}
	w.Header().Set("Content-Type", "application/json")
	if batch {
		_ = json.NewEncoder(w).Encode(answers)
		return
	}
	_ = json.NewEncoder(w).Encode(answers[0])
}

func parse(body []byte) (questions []message, batch bool, err error) {
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		err = json.Unmarshal(body, &questions)
		return questions, true, err
	}
	var q message
	err = json.Unmarshal(body, &q)
	return []message{q}, false, err
}

// broken answers in a way that no JSON-RPC server does, if it is told to.
func (p *Proxy) broken(w http.ResponseWriter) bool {
	has := func(name string) bool { _, on := p.fault(name); return on }
	switch {
	case has("reset"):
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = c.Close()
		}
	case has("upgrade"):
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: silence\r\n\r\n")
			_, _ = io.Copy(io.Discard, c) // until whoever asked hangs up
			_ = c.Close()
		}
	case has("429"):
		w.Header().Set("Retry-After", "1")
		http.Error(w, "slow down", http.StatusTooManyRequests)
	case has("500"):
		http.Error(w, "oh", http.StatusInternalServerError)
	case has("html"):
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>Sign in</title><script>alert(1)</script>")
	case has("garbage"):
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":{},"result":[[[`)
	case has("huge"):
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":"0x`)
		page := strings.Repeat("00", 1<<19)
		for range 64 {
			if _, err := io.WriteString(w, page); err != nil {
				return true
			}
		}
	case has("empty"):
	default:
		return false
	}
	return true
}

// answer is the real node's, bent.
func (p *Proxy) answer(r *http.Request, q message) (message, error) {
	if q.Method == "eth_sendRawTransaction" {
		if text, on := p.fault("refuse"); on {
			e, err := json.Marshal(map[string]any{"code": -32000, "message": text})
			return message{Version: "2.0", ID: q.ID, Error: e}, err
		}
		if _, on := p.fault("swallow"); on {
			hash, err := hashOf(q.Params)
			return message{Version: "2.0", ID: q.ID, Result: hash}, err
		}
	}
	if _, on := p.fault("reverts"); on && q.Method == "eth_estimateGas" {
		return message{Version: "2.0", ID: q.ID, Error: json.RawMessage(`{"code":3,"message":"execution reverted","data":"0x"}`)}, nil
	}
	if _, on := p.fault("pruned"); on && q.ofOldState() {
		return message{Version: "2.0", ID: q.ID, Error: json.RawMessage(`{"code":-32000,"message":"missing trie node"}`)}, nil
	}
	body, err := json.Marshal(q)
	if err != nil {
		return message{}, err
	}
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, p.target, bytes.NewReader(body))
	if err != nil {
		return message{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: time.Minute}
	response, err := client.Do(request)
	if err != nil {
		return message{}, err
	}
	defer func() { _ = response.Body.Close() }()
	var a message
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		return message{}, err
	}
	if a.Error == nil {
		a.Result = p.bend(q, a.Result)
	}
	if a.Result == nil && a.Error == nil {
		a.Result = json.RawMessage("null")
	}
	return a, nil
}

// ofOldState is true of a question about the state after a block that it numbers.
func (q message) ofOldState() bool {
	var params []json.RawMessage
	switch q.Method {
	case "eth_getTransactionCount", "eth_getBalance", "eth_getCode", "eth_call":
		return json.Unmarshal(q.Params, &params) == nil && len(params) == 2 && strings.HasPrefix(string(params[1]), `"0x`)
	}
	return false
}

// bend is where it lies.
func (p *Proxy) bend(q message, result json.RawMessage) json.RawMessage {
	if q.Method == "eth_getTransactionReceipt" {
		result = p.again(string(q.Params), result)
	}
	if string(result) == "null" || result == nil {
		return result
	}
	null := json.RawMessage("null")
	what, hide := p.fault("hide")
	hide = hide && strings.Contains(string(q.Params), what)
	if _, on := p.fault("unindexed"); on {
		hide = true
	}
	switch q.Method {
	case "eth_chainId":
		if id, on := p.fault("chain"); on {
			return number(id, 0)
		}
	case "eth_getTransactionCount":
		if n, on := p.fault("nonce"); on {
			return add(result, n)
		}
	case "eth_getBalance":
		if _, on := p.fault("poor"); on {
			return json.RawMessage(`"0x0"`)
		}
	case "eth_getTransactionByHash":
		if hide {
			return null
		}
		if who, on := p.fault("from"); on {
			return with(result, "from", json.RawMessage(strconv.Quote(who)))
		}
	case "eth_getTransactionReceipt":
		if _, on := p.fault("receipts-hide"); on || hide {
			return null
		}
		if _, on := p.fault("failed"); on {
			result = with(result, "status", json.RawMessage(`"0x0"`))
		}
		if _, on := p.fault("otherblock"); on {
			result = with(result, "blockHash", another)
		}
	case "eth_blockNumber":
		if n, on := p.fault("head"); on {
			result = add(result, n)
		}
		result = p.keep(q.Method, result)
	case "eth_feeHistory":
		result = p.price(result, timesEach)
	case "eth_estimateGas":
		if n, on := p.rat("light"); on {
			result = times(result, n.Inv(n))
		}
	case "eth_getBlockByNumber":
		result = p.bendBlock(q, result)
	}
	return result
}

var another = json.RawMessage(`"0x` + strings.Repeat("11", 32) + `"`)

func (p *Proxy) bendBlock(q message, block json.RawMessage) json.RawMessage {
	if strings.Contains(string(q.Params), `"0x0"`) {
		if _, on := p.fault("genesis"); on {
			return with(block, "hash", another)
		}
		return block
	}
	if what, on := p.fault("hide"); on {
		block = without(block, what)
	}
	if !strings.Contains(string(q.Params), `"latest"`) {
		if _, on := p.fault("fork"); on {
			return with(block, "hash", another)
		}
		return block
	}
	if n, on := p.fault("head"); on {
		block = with(block, "number", add(field(block, "number"), n))
	}
	block = p.price(block, times)
	if n, on := p.fault("future"); on {
		block = with(block, "timestamp", add(field(block, "timestamp"), n))
	}
	return p.keep(q.Method, block)
}

// keep is the first answer that was given since the freeze began.
func (p *Proxy) keep(method string, result json.RawMessage) json.RawMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, on := p.faults["freeze"]; !on {
		return result
	}
	if old, ok := p.frozen[method]; ok {
		return old
	}
	p.frozen[method] = result
	return result
}

// again is a receipt, or the one that was given before it was gone.
func (p *Proxy) again(asked string, receipt json.RawMessage) json.RawMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	if receipt != nil && string(receipt) != "null" {
		p.given[asked] = receipt
	} else if _, on := p.faults["receipts-keep"]; on && p.given[asked] != nil {
		return p.given[asked]
	}
	return receipt
}

func field(object json.RawMessage, name string) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil {
		return nil
	}
	return fields[name]
}

func with(object json.RawMessage, name string, value json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil {
		return object
	}
	fields[name] = value
	out, err := json.Marshal(fields)
	if err != nil {
		return object
	}
	return out
}

// without is a block that does not list the transaction what; none, if that is empty.
func without(block json.RawMessage, what string) json.RawMessage {
	var listed []json.RawMessage
	if json.Unmarshal(field(block, "transactions"), &listed) != nil {
		return block
	}
	listed = slices.DeleteFunc(listed, func(t json.RawMessage) bool { return strings.Contains(string(t), what) })
	out, err := json.Marshal(listed)
	if err != nil {
		return block
	}
	return with(block, "transactions", out)
}

// add adds a decimal number to a hexadecimal one, and stops at 0.
func add(quantity json.RawMessage, n string) json.RawMessage {
	var text string
	if json.Unmarshal(quantity, &text) != nil {
		return quantity
	}
	v, err := strconv.ParseInt(strings.TrimPrefix(text, "0x"), 16, 64)
	if err != nil {
		return quantity
	}
	return number(n, v)
}

// price bends the base fee, or base fees, of an object.
func (p *Proxy) price(object json.RawMessage, by func(of json.RawMessage, factor *big.Rat) json.RawMessage) json.RawMessage {
	for fault, factor := range map[string]func(*big.Rat) *big.Rat{"dear": func(n *big.Rat) *big.Rat { return n }, "cheap": new(big.Rat).Inv} {
		if n, on := p.rat(fault); on {
			object = with(object, "baseFeePerGas", by(field(object, "baseFeePerGas"), factor(n)))
		}
	}
	return object
}

// rat is the argument of a fault that is a factor.
func (p *Proxy) rat(fault string) (n *big.Rat, on bool) {
	text, on := p.fault(fault)
	n, ok := new(big.Rat).SetString(text)
	return n, on && ok && n.Sign() > 0
}

func timesEach(quantities json.RawMessage, n *big.Rat) json.RawMessage {
	var list []json.RawMessage
	if json.Unmarshal(quantities, &list) != nil {
		return quantities
	}
	for i := range list {
		list[i] = times(list[i], n)
	}
	out, err := json.Marshal(list)
	if err != nil {
		return quantities
	}
	return out
}

// times multiplies a hexadecimal number, and leaves the fraction out.
func times(quantity json.RawMessage, n *big.Rat) json.RawMessage {
	var v hexutil.Big
	if json.Unmarshal(quantity, &v) != nil {
		return quantity
	}
	product := new(big.Rat).Mul(new(big.Rat).SetInt(v.ToInt()), n)
	out, err := json.Marshal((*hexutil.Big)(new(big.Int).Quo(product.Num(), product.Denom())))
	if err != nil {
		return quantity
	}
	return out
}

func number(n string, to int64) json.RawMessage {
	v, err := strconv.ParseInt(n, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("chaintest: argument %q is no number", n))
	}
	return json.RawMessage(fmt.Sprintf(`"0x%x"`, max(0, v+to)))
}
