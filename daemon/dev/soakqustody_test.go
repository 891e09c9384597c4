package dev_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/callback/callbacktest"
	"github.com/mintwarden/mintwarden/daemon/config"
)

// qustodyName is in whose name Qustody's transactions are asked for; nobody else's are.
const qustodyName = "qustody"

// soakQustody is a Qustody that has mints signed by a wallet of ours which does nothing else. The line to it is in the
// hands of the nemesis; it reaches the chain past every fault.
type soakQustody struct {
	*callbacktest.Qustody
	h        *soakHouse
	wallet   client.Wallet
	contract tx.Address
	line     *wire

	mu   sync.Mutex
	asks []qustodyAsk
}

// qustodyAsk is one transaction of Qustody's.
type qustodyAsk struct {
	ref    string
	amount string // no other has it, so that its operation is known by it
}

// mostOfQustody is below every MAX_AMOUNT that custodians write.
const mostOfQustody = 50

func (h *soakHouse) newQustody(w client.Wallet, token soakToken) *soakQustody {
	h.t.Helper()
	n := h.boxes[0].charter().Networks[0]
	q := &soakQustody{h: h, wallet: w, Qustody: callbacktest.New(h.t, callbacktest.Network{Kind: n.Kind, Scheme: n.Scheme, ChainID: n.ChainID, RPC: "http://" + h.rpc})}
	var err error
	if q.contract, err = tx.ParseAddress(token.contract); err != nil {
		h.t.Fatal(err)
	}
	at, err := url.Parse(q.URL)
	if err != nil {
		h.t.Fatal(err)
	}
	q.line = newWire(h.t, "line to Qustody", at.Host)
	h.write(q.file("apikey"), callbacktest.Key)
	h.write(q.file("crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: q.Certificate})))
	return q
}

func (q *soakQustody) file(ending string) string {
	return filepath.Join(q.h.dir, "box", "qustody."+ending)
}

// config is what both appliances are told of it.
func (q *soakQustody) config() config.Callback {
	return config.Callback{URL: "https://" + q.line.address() + "/v1", KeyFile: q.file("apikey"), CA: q.file("crt"), Requester: qustodyName, PollText: "300ms",
		Wallets: []config.CallbackWallet{{Wallet: q.wallet.ID, VaultAccount: "vault-at-qustody", Asset: "asset-at-qustody"}}}
}

// registered is nil once the wallet is: before that no signature of it is taken.
func (q *soakQustody) registered() error {
	if q.Registered() != 1 {
		return errors.New("the wallet is not registered at Qustody")
	}
	return nil
}

// qustody has one mint after another signed until it is told to stop. A transaction that becomes no operation, or one
// that ends unsigned, is given up, and its nonce is the next one's; what was signed is sent again until it is mined.
func (c *crowd) qustody(seed uint64, stop <-chan struct{}) {
	q, r := c.h.qustody, rand.New(rand.NewPCG(seed, 1<<37))
	ctx, cancel := context.WithCancel(c.h.t.Context())
	go q.resend(ctx)
	c.h.t.Cleanup(cancel)
	address, err := tx.ParseAddress(q.wallet.Address)
	if err != nil {
		c.fault("%v", err)
		return
	}
	for number := 1; number <= mostOfQustody; number++ {
		whom, err := tx.ParseAddress(c.h.wallets[r.IntN(len(c.h.wallets))].Address)
		if err != nil {
			c.fault("%v", err)
			return
		}
		a := qustodyAsk{amount: fmt.Sprint(number)}
		a.ref = q.Create(c.h.t, address, q.contract, qrc20.Call{Method: qrc20.Mint, Amount: big.NewInt(int64(number)), Account: qrc20.Address(whom)})
		q.mu.Lock()
		q.asks = append(q.asks, a)
		q.mu.Unlock()
		id, going := c.becomes(a, stop)
		if id != "" {
			words := c.opinions(r)
			c.mu.Lock()
			c.words[id] = words
			c.mu.Unlock()
			for _, w := range words { // at once: what the clients asked for does not come first
				c.say(ctx, r, id, w)
			}
			going = c.signs(a, id, stop)
		}
		if id == "" || going {
			q.giveUp(a.ref)
		}
		if !going {
			return
		}
	}
}

// unanswered is how long Qustody waits for a transaction to become an operation: what was refused is not looked at again
// for minutes.
const unanswered = 10 * time.Second

// becomes waits until a transaction is an operation. going is false once it is told to stop.
func (c *crowd) becomes(a qustodyAsk, stop <-chan struct{}) (id string, going bool) {
	for began := time.Now(); time.Since(began) < unanswered; {
		for _, op := range c.ofQustody() {
			if *op.Amount == a.amount {
				return op.OperationID, true
			}
		}
		if !waits(stop) {
			return "", false
		}
	}
	return "", true
}

// signs waits until Qustody has a signature, or the operation ended without one.
func (c *crowd) signs(a qustodyAsk, id string, stop <-chan struct{}) (going bool) {
	for c.h.qustody.At(a.ref).Status == pendingAtQustody {
		for _, op := range c.ofQustody() {
			if op.OperationID == id && op.Status.Terminal() {
				return true
			}
		}
		if !waits(stop) {
			return false
		}
	}
	return true
}

// waits is a pause, and false once it is told to stop.
func waits(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return false
	case <-time.After(300 * time.Millisecond): // how often Qustody looks
		return true
	}
}

// ofQustody are the operations that Qustody's transactions became, as far as an appliance tells.
func (c *crowd) ofQustody() (ops []client.OperationSummary) {
	who := qustodyName
	ctx, cancel := context.WithTimeout(c.h.t.Context(), 5*time.Second)
	defer cancel()
	for n := range applianceIDs {
		ops = nil
		var failed error
		for op, err := range c.h.callers[n]["viewer"].Operations(ctx, client.ListTokenOperationsParams{RequestedBy: &who}) {
			if failed = err; err == nil {
				ops = append(ops, op)
			}
		}
		if failed == nil {
			break
		}
	}
	return ops
}

const pendingAtQustody = "PENDING_SIGNATURE"

// giveUp gives a transaction up that is not signed; its nonce is free for the next one.
func (q *soakQustody) giveUp(ref string) {
	q.Change(ref, func(t *callbacktest.Transaction) {
		if t.Status == pendingAtQustody {
			t.Status = "CANCELLED"
			q.h.note("          Qustody gives %s up, with nonce %d", ref, t.Unsigned.Nonce)
		}
	})
	if t := q.At(ref); t.Status == "CANCELLED" {
		q.Next(t.Unsigned.Nonce)
	}
}

// resend has Qustody send again what it sent, until the test ends.
func (q *soakQustody) resend(ctx context.Context) {
	for ctx.Err() == nil {
		q.Resend(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second): // as often as there is a block, about
		}
	}
}

// unwell is how it answers whatever it is asked, now and then.
func unwell(_, _ string, w http.ResponseWriter, _ *http.Request) bool {
	w.WriteHeader(http.StatusServiceUnavailable)
	return true
}

// qustodyHolds: each transaction of Qustody's is one operation at most; what it has a signature of was carried out, or
// failed on the chain, as that operation's transaction; and of nothing else is there a signature.
func (h *soakHouse) qustodyHolds(ops map[string]client.Operation) {
	q := h.qustody
	byAmount, ends := map[string]client.Operation{}, map[string]int{}
	for id, op := range ops {
		if op.RequestedBy != qustodyName {
			continue
		}
		if other, twice := byAmount[*op.Amount]; twice {
			h.t.Errorf("%s and %s are one transaction of Qustody's", id, other.OperationID)
		}
		byAmount[*op.Amount] = op
	}
	signed := 0
	for _, a := range q.asks {
		t := q.At(a.ref)
		op, became := byAmount[a.amount]
		ends[fmt.Sprintf("%s at Qustody, %s here", t.Status, op.Status)]++
		delete(byAmount, a.amount)
		switch {
		case t.Status == pendingAtQustody || t.Status == "CANCELLED":
			if op.BlockchainTransactionHash != nil {
				h.t.Errorf("%s is %s at Qustody, and %s is signed as %s", a.ref, t.Status, op.OperationID, *op.BlockchainTransactionHash)
			}
			continue
		case t.Status != "BROADCASTING":
			h.t.Errorf("%s is %s at Qustody", a.ref, t.Status)
		case !became:
			h.t.Errorf("%s has a signature, and is no operation", a.ref)
		case op.BlockchainTransactionHash == nil || *op.BlockchainTransactionHash != t.Hash:
			h.t.Errorf("%s is %s at Qustody, %s is %v", a.ref, t.Hash, op.OperationID, op.BlockchainTransactionHash)
		case !op.Status.Terminal():
			h.t.Errorf("%s has a signature, and %s is %s", a.ref, op.OperationID, op.Status)
		}
		signed++
	}
	for _, op := range byAmount {
		h.t.Errorf("%s is asked for by Qustody, which asked for nothing of that amount", op.OperationID)
	}
	if q.Distinct() != signed || q.Registered() != 1 {
		h.t.Errorf("Qustody has %d signatures of %d transactions, and %d wallets", q.Distinct(), signed, q.Registered())
	}
	h.t.Logf("Qustody asked for %d transactions: %v", len(q.asks), ends)
}
