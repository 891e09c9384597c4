package callback_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// qustody is a small server that does what Qustody publishes: it registers wallets by their proof of ownership,
// makes unsigned transactions, shows what is to be signed, takes signatures, verifies them, puts the signed
// transaction together and sends it. A test may have it lie, or be there when we die.
type qustody struct {
	t           *testing.T
	url         string
	roots       *x509.CertPool
	rpc         string
	certificate []byte // its own, DER

	mu         sync.Mutex
	nonce      uint64 // of the next transaction
	wallets    map[string]map[string]string
	txs        map[string]*theirs
	order      []string
	posts      map[string]int // signatures posted, by transaction
	asked      map[string]int // requests, by method and what they are for
	signatures map[string]bool
	kill       context.CancelFunc
	// lie, if it answers true, has answered.
	lie func(what, ref string, w http.ResponseWriter, r *http.Request) bool
	// death is at which request we die: what it is for, and whether before or after it was worked on.
	death *death
}

type death struct {
	what  string
	after bool
	over  chan struct{} // closes when it was
}

// theirs is a transaction at Qustody.
type theirs struct {
	unsigned *tx.Unsigned
	raw      []byte
	source   string
	status   string
	hash     string
	shown    map[string]any // in place of what is true
}

func newQustody(t *testing.T, url string) *qustody {
	q := &qustody{t: t, rpc: url, wallets: map[string]map[string]string{}, txs: map[string]*theirs{}, posts: map[string]int{}, asked: map[string]int{},
		signatures: map[string]bool{}}
	s := httptest.NewTLSServer(q)
	t.Cleanup(s.Close)
	q.url, q.roots = s.URL+"/v1", x509.NewCertPool()
	q.roots.AddCert(s.Certificate())
	q.certificate = s.Certificate().Raw
	return q
}

func (q *qustody) dying(kill context.CancelFunc) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.kill = kill
}

// dies has the appliance die at the next request of that sort; what is closed when it has.
func (q *qustody) dies(what string, after bool) <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.death = &death{what, after, make(chan struct{})}
	return q.death.over
}

func (q *qustody) lies(f func(what, ref string, w http.ResponseWriter, r *http.Request) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lie = f
}

// create makes a transaction of the wallet's that calls the contract.
func (q *qustody) create(h *house, call qrc20.Call, changes ...func(*tx.Unsigned)) string {
	q.t.Helper()
	data, err := call.Pack()
	require.NoError(q.t, err)
	_, gas := qrc20.GasBounds(call.Method)
	to := *h.token.ContractAddress
	q.mu.Lock()
	defer q.mu.Unlock()
	u := &tx.Unsigned{Kind: tx.KindQuantum, ChainID: h.chain.Network().ChainID, Nonce: q.nonce, Tip: big.NewInt(1_000_000_000), MaxFee: big.NewInt(20_000_000_000),
		Gas: gas, To: &to, Value: new(big.Int), Data: data}
	if len(changes) == 0 {
		q.nonce++
	}
	for _, change := range changes {
		change(u)
	}
	raw, err := u.EncodeUnsigned()
	require.NoError(q.t, err)
	ref := refOf(len(q.order))
	q.txs[ref] = &theirs{unsigned: u, raw: raw, source: h.wallet.Address.String(), status: "PENDING_SIGNATURE", shown: map[string]any{}}
	q.order = append(q.order, ref)
	return ref
}

// refOf is the id of the transaction that was made n-th.
func refOf(n int) string { return fmt.Sprintf("3c90c3cc-0d44-4b50-8888-%012d", n) }

// change works on a transaction as whoever runs Qustody can.
func (q *qustody) change(ref string, f func(*theirs)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f(q.txs[ref])
}

func (q *qustody) at(ref string) theirs {
	q.mu.Lock()
	defer q.mu.Unlock()
	return *q.txs[ref]
}

func (q *qustody) count(what string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.asked[what]
}

func (q *qustody) posted(ref string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.posts[ref]
}

// distinct is how many different transactions were signed in all.
func (q *qustody) distinct() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.signatures)
}

// what a request is for, and about which transaction.
func what(r *http.Request) (sort, ref string) {
	parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/v1/"), "/")
	switch {
	case parts[0] == "vault" && r.Method == http.MethodPost:
		return "register", ""
	case parts[0] == "vault":
		return "wallets", ""
	case len(parts) == 1:
		return "list", ""
	case len(parts) == 2:
		return "transaction", parts[1]
	case parts[2] == "signing_payload":
		return "payload", parts[1]
	}
	return parts[2], parts[1]
}

func (q *qustody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sort, ref := what(r)
	body, err := io.ReadAll(r.Body) // or the end of the connection would not be seen
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	q.mu.Lock()
	q.asked[sort]++
	lie, kill := q.lie, q.kill
	d := q.death
	if d != nil && d.what == sort {
		q.death = nil
	} else {
		d = nil
	}
	q.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+apiKey {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if d != nil && !d.after {
		kill()
		<-r.Context().Done()
		close(d.over)
		return
	}
	if lie != nil && lie(sort, ref, w, r) {
		return
	}
	answer := httptest.NewRecorder()
	q.answer(sort, ref, answer, r, body)
	if d != nil {
		kill()
		<-r.Context().Done()
		close(d.over)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// answer does what is published.
func (q *qustody) answer(sort, ref string, w http.ResponseWriter, r *http.Request, body []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.txs[ref]
	if ref != "" && t == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	switch sort {
	case "list":
		data := []any{}
		for _, id := range q.order {
			if q.txs[id].status == r.URL.Query().Get("status") {
				data = append(data, map[string]any{"id": id, "status": q.txs[id].status})
			}
		}
		var offset, limit int
		_, _ = fmt.Sscan(r.URL.Query().Get("offset"), &offset)
		_, _ = fmt.Sscan(r.URL.Query().Get("limit"), &limit)
		total := len(data)
		data = data[min(offset, total):min(offset+limit, total)]
		reply(w, 200, map[string]any{"data": data, "pagination": map[string]any{"total": total, "limit": limit, "offset": offset}})
	case "transaction":
		reply(w, 200, map[string]any{"id": ref, "status": t.status, "transactionHash": t.hash})
	case "payload":
		if t.status != "PENDING_SIGNATURE" {
			reply(w, 409, map[string]any{"error": "not in PENDING_SIGNATURE"})
			return
		}
		p := map[string]any{"transactionId": ref, "signingHash": tx.HashOf(t.raw).String(), "status": t.status, "sourceAddress": t.source,
			"assetId": "asset-at-qustody", "unsignedTransaction": "0x" + hex.EncodeToString(t.raw)}
		for k, v := range t.shown {
			p[k] = v
		}
		reply(w, 200, p)
	case "signature":
		q.sign(ref, t, w, r, body)
	case "register":
		q.register(w, r, body)
	case "wallets":
		data := []any{}
		for _, have := range q.wallets {
			data = append(data, have)
		}
		reply(w, 200, map[string]any{"data": data})
	}
}

// sign is POST /transactions/{id}/signature.
func (q *qustody) sign(ref string, t *theirs, w http.ResponseWriter, r *http.Request, body []byte) {
	q.posts[ref]++
	if t.status != "PENDING_SIGNATURE" {
		reply(w, 409, map[string]any{"error": "transaction not in PENDING_SIGNATURE"})
		return
	}
	var s struct {
		Signature string `json:"signature"`
		PublicKey string `json:"publicKey"`
	}
	have := q.wallets[strings.ToLower(t.source)]
	if json.Unmarshal(body, &s) != nil || r.Header.Get("Idempotency-Key") == "" || have == nil || s.PublicKey != have["publicKey"] {
		reply(w, 400, map[string]any{"error": "public key mismatch"})
		return
	}
	signature, _ := hex.DecodeString(s.Signature)
	public, _ := hex.DecodeString(s.PublicKey)
	digest, err := t.unsigned.SigningHash()
	if err != nil || !tx.VerifySignature(tx.Dilithium3, public, digest, signature) {
		reply(w, 400, map[string]any{"error": "signature verification failed"})
		return
	}
	raw, err := t.unsigned.Encode(public, signature)
	if err != nil {
		reply(w, 400, map[string]any{"error": err.Error()})
		return
	}
	q.signatures[digest.String()] = true
	node, err := rpc.Dial(q.rpc)
	if err == nil {
		defer node.Close()
		err = node.Call(nil, "eth_sendRawTransaction", hexutil.Encode(raw))
	}
	t.hash, t.status = tx.HashOf(raw).String(), "BROADCASTING"
	if err != nil && !strings.Contains(err.Error(), "already known") {
		t.status = "FAILED"
	}
	reply(w, 200, map[string]any{"id": ref, "status": t.status, "transactionHash": t.hash})
}

// register is POST /vault/accounts/{id}/wallets.
func (q *qustody) register(w http.ResponseWriter, r *http.Request, body []byte) {
	var s struct {
		AssetID   string `json:"assetId"`
		Address   string `json:"address"`
		PublicKey string `json:"publicKey"`
		Label     string `json:"label"`
		Signature string `json:"signature"`
	}
	if json.Unmarshal(body, &s, json.RejectUnknownMembers(true)) != nil || s.AssetID == "" || len(s.PublicKey) != 3904 || r.Header.Get("Idempotency-Key") == "" {
		reply(w, 400, map[string]any{"error": "not as published"})
		return
	}
	public, _ := hex.DecodeString(s.PublicKey)
	signature, _ := hex.DecodeString(s.Signature)
	address, err := tx.Sender(tx.KindQuantum, public)
	challenge := tx.HashOf([]byte("qustody:register:" + strings.ToLower(s.Address)))
	if err != nil || !strings.EqualFold(address.String(), s.Address) || !tx.VerifySignature(tx.Dilithium3, public, challenge, signature) {
		reply(w, 400, map[string]any{"error": "no proof of ownership"})
		return
	}
	key := strings.ToLower(s.Address)
	if q.wallets[key] != nil {
		reply(w, 409, map[string]any{"error": "registered"})
		return
	}
	q.wallets[key] = map[string]string{"id": "wallet-at-qustody", "vaultId": "vault-at-qustody", "address": s.Address, "publicKey": s.PublicKey, "status": "ACTIVE"}
	reply(w, 201, q.wallets[key])
}

func reply(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.WriteHeader(code)
	_, _ = w.Write(b)
}
