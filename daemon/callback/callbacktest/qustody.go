// Package callbacktest gives tests a Qustody: a small server written from the published pages. It is imported by tests
// only.
package callbacktest

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// Key is the API key that is asked for.
const Key = "key-id:the-secret"

// Network is the chain that it makes transactions for.
type Network struct {
	Kind    tx.Kind
	Scheme  tx.Scheme
	ChainID uint64
	RPC     string // the URL of a node
}

// Qustody is a small server that does what Qustody publishes: it registers wallets by their proof of ownership,
// makes unsigned transactions, shows what is to be signed, takes signatures, verifies them, puts the signed
// transaction together and sends it. A test may have it lie, or be there when we die.
type Qustody struct {
	URL         string // up to what stands before /transactions
	Roots       *x509.CertPool
	Certificate []byte // its own, DER

	network Network

	mu         sync.Mutex
	nonce      uint64 // of the next transaction
	wallets    map[string]map[string]string
	txs        map[string]*Transaction
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

// Transaction is one at Qustody.
type Transaction struct {
	Unsigned *tx.Unsigned
	Raw      []byte
	Source   string
	Status   string
	Signed   []byte // once its signature was taken
	Hash     string
	Shown    map[string]any // in place of what is true
}

// New serves until the test ends.
func New(tb testing.TB, n Network) *Qustody {
	q := &Qustody{network: n, wallets: map[string]map[string]string{}, txs: map[string]*Transaction{}, posts: map[string]int{}, asked: map[string]int{},
		signatures: map[string]bool{}}
	s := httptest.NewUnstartedServer(q)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // who asks dies, and lines are cut
	s.StartTLS()
	tb.Cleanup(s.Close)
	q.URL, q.Roots = s.URL+"/v1", x509.NewCertPool()
	q.Roots.AddCert(s.Certificate())
	q.Certificate = s.Certificate().Raw
	return q
}

// OnDeath says what the death is that DieAt speaks of.
func (q *Qustody) OnDeath(kill context.CancelFunc) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.kill = kill
}

// DieAt has the appliance die at the next request of that sort; what is closed when it has.
func (q *Qustody) DieAt(what string, after bool) <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.death = &death{what, after, make(chan struct{})}
	return q.death.over
}

// Lie has f answer in place of what is true; nil: nothing but the truth. It is asked for each request, what it is for
// (list, payload, signature, transaction, register, wallets) and about which transaction, and is true if it answered.
func (q *Qustody) Lie(f func(what, ref string, w http.ResponseWriter, r *http.Request) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lie = f
}

// Next has the next transaction carry that nonce.
func (q *Qustody) Next(nonce uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.nonce = nonce
}

// Create makes a transaction of the wallet's that calls the contract, and gives its id. One that is changed in some way
// takes no nonce away from the next.
func (q *Qustody) Create(tb testing.TB, from, contract tx.Address, call qrc20.Call, changes ...func(*tx.Unsigned)) string {
	tb.Helper()
	data, err := call.Pack()
	require.NoError(tb, err)
	_, gas := qrc20.GasBounds(call.Method)
	q.mu.Lock()
	defer q.mu.Unlock()
	u := &tx.Unsigned{Kind: q.network.Kind, ChainID: q.network.ChainID, Nonce: q.nonce, Tip: big.NewInt(1_000_000_000), MaxFee: big.NewInt(20_000_000_000),
		Gas: gas, To: &contract, Value: new(big.Int), Data: data}
	if len(changes) == 0 {
		q.nonce++
	}
	for _, change := range changes {
		change(u)
	}
	raw, err := u.EncodeUnsigned()
	require.NoError(tb, err)
	ref := Ref(len(q.order))
	q.txs[ref] = &Transaction{Unsigned: u, Raw: raw, Source: from.String(), Status: "PENDING_SIGNATURE", Shown: map[string]any{}}
	q.order = append(q.order, ref)
	return ref
}

// Register has a wallet registered already.
func (q *Qustody) Register(address string, wallet map[string]string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wallets[strings.ToLower(address)] = wallet
}

// Registered is how many wallets are.
func (q *Qustody) Registered() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.wallets)
}

// Ref is the id of the transaction that was made n-th.
func Ref(n int) string { return fmt.Sprintf("3c90c3cc-0d44-4b50-8888-%012d", n) }

// Change works on a transaction as whoever runs Qustody can.
func (q *Qustody) Change(ref string, f func(*Transaction)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f(q.txs[ref])
}

// At is a transaction as it is now.
func (q *Qustody) At(ref string) Transaction {
	q.mu.Lock()
	defer q.mu.Unlock()
	return *q.txs[ref]
}

// Count is how many requests of that sort there were.
func (q *Qustody) Count(what string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.asked[what]
}

// Posted is how many signatures of a transaction were posted.
func (q *Qustody) Posted(ref string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.posts[ref]
}

// Distinct is how many different transactions were signed in all.
func (q *Qustody) Distinct() int {
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

func (q *Qustody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
	if r.Header.Get("Authorization") != "Bearer "+Key {
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
func (q *Qustody) answer(sort, ref string, w http.ResponseWriter, r *http.Request, body []byte) {
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
			if q.txs[id].Status == r.URL.Query().Get("status") {
				data = append(data, map[string]any{"id": id, "status": q.txs[id].Status})
			}
		}
		var offset, limit int
		_, _ = fmt.Sscan(r.URL.Query().Get("offset"), &offset)
		_, _ = fmt.Sscan(r.URL.Query().Get("limit"), &limit)
		total := len(data)
		data = data[min(offset, total):min(offset+limit, total)]
		Reply(w, 200, map[string]any{"data": data, "pagination": map[string]any{"total": total, "limit": limit, "offset": offset}})
	case "transaction":
		Reply(w, 200, map[string]any{"id": ref, "status": t.Status, "transactionHash": t.Hash})
	case "payload":
		if t.Status != "PENDING_SIGNATURE" {
			Reply(w, 409, map[string]any{"error": "not in PENDING_SIGNATURE"})
			return
		}
		p := map[string]any{"transactionId": ref, "signingHash": tx.HashOf(t.Raw).String(), "status": t.Status, "sourceAddress": t.Source,
			"assetId": "asset-at-qustody", "unsignedTransaction": "0x" + hex.EncodeToString(t.Raw)}
		for k, v := range t.Shown {
			p[k] = v
		}
		Reply(w, 200, p)
	case "signature":
		q.sign(ref, t, w, r, body)
	case "register":
		q.register(w, r, body)
	case "wallets":
		data := []any{}
		for _, have := range q.wallets {
			data = append(data, have)
		}
		Reply(w, 200, map[string]any{"data": data})
	}
}

// sign is POST /transactions/{id}/signature.
func (q *Qustody) sign(ref string, t *Transaction, w http.ResponseWriter, r *http.Request, body []byte) {
	q.posts[ref]++
	if t.Status != "PENDING_SIGNATURE" {
		Reply(w, 409, map[string]any{"error": "transaction not in PENDING_SIGNATURE"})
		return
	}
	var s struct {
		Signature string `json:"signature"`
		PublicKey string `json:"publicKey"`
	}
	have := q.wallets[strings.ToLower(t.Source)]
	if json.Unmarshal(body, &s) != nil || r.Header.Get("Idempotency-Key") == "" || have == nil || s.PublicKey != have["publicKey"] {
		Reply(w, 400, map[string]any{"error": "public key mismatch"})
		return
	}
	signature, _ := hex.DecodeString(s.Signature)
	public, _ := hex.DecodeString(s.PublicKey)
	digest, err := t.Unsigned.SigningHash()
	if err != nil || !tx.VerifySignature(q.network.Scheme, public, digest, signature) {
		Reply(w, 400, map[string]any{"error": "signature verification failed"})
		return
	}
	raw, err := t.Unsigned.Encode(public, signature)
	if err != nil {
		Reply(w, 400, map[string]any{"error": err.Error()})
		return
	}
	q.signatures[digest.String()] = true
	t.Signed, t.Hash, t.Status = raw, tx.HashOf(raw).String(), "BROADCASTING"
	if refused, ok := errors.AsType[rpc.Error](q.send(context.WithoutCancel(r.Context()), raw)); ok && !strings.Contains(refused.Error(), "already known") {
		t.Status = "FAILED"
	}
	Reply(w, 200, map[string]any{"id": ref, "status": t.Status, "transactionHash": t.Hash})
}

// sendTimeout is how long the node may take.
const sendTimeout = 10 * time.Second

// send hands a transaction to the node.
func (q *Qustody) send(ctx context.Context, raw []byte) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	node, err := rpc.DialContext(ctx, q.network.RPC)
	if err != nil {
		return err
	}
	defer node.Close()
	return node.CallContext(ctx, nil, "eth_sendRawTransaction", hexutil.Encode(raw))
}

// Resend sends every transaction again that was sent before, or could not be: the node may have been away, or have
// forgotten it.
func (q *Qustody) Resend(ctx context.Context) {
	q.mu.Lock()
	var raws [][]byte
	for _, ref := range q.order {
		if t := q.txs[ref]; t.Status == "BROADCASTING" {
			raws = append(raws, t.Signed)
		}
	}
	q.mu.Unlock()
	for _, raw := range raws {
		_ = q.send(ctx, raw) // it is in a block, perhaps, or the node is away
	}
}

// register is POST /vault/accounts/{id}/wallets.
func (q *Qustody) register(w http.ResponseWriter, r *http.Request, body []byte) {
	var s struct {
		AssetID   string `json:"assetId"`
		Address   string `json:"address"`
		PublicKey string `json:"publicKey"`
		Label     string `json:"label"`
		Signature string `json:"signature"`
	}
	if json.Unmarshal(body, &s, json.RejectUnknownMembers(true)) != nil || s.AssetID == "" || len(s.PublicKey) != 2*q.network.Scheme.PublicKeySize() || r.Header.Get("Idempotency-Key") == "" {
		Reply(w, 400, map[string]any{"error": "not as published"})
		return
	}
	public, _ := hex.DecodeString(s.PublicKey)
	signature, _ := hex.DecodeString(s.Signature)
	address, err := tx.Sender(q.network.Kind, public)
	challenge := tx.HashOf([]byte("qustody:register:" + strings.ToLower(s.Address)))
	if err != nil || !strings.EqualFold(address.String(), s.Address) || !tx.VerifySignature(q.network.Scheme, public, challenge, signature) {
		Reply(w, 400, map[string]any{"error": "no proof of ownership"})
		return
	}
	key := strings.ToLower(s.Address)
	if q.wallets[key] != nil {
		Reply(w, 409, map[string]any{"error": "registered"})
		return
	}
	q.wallets[key] = map[string]string{"id": "wallet-at-qustody", "vaultId": "vault-at-qustody", "address": s.Address, "publicKey": s.PublicKey, "status": "ACTIVE"}
	Reply(w, 201, q.wallets[key])
}

// Reply answers with JSON.
func Reply(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.WriteHeader(code)
	_, _ = w.Write(b)
}
