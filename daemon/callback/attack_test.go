package callback_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/callback/callbacktest"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/policy"
)

// Each is a transaction of a Qustody that lies in one thing. None becomes an operation, nothing is signed, no
// nonce is spent, and the honest one behind it goes its way.
func TestHostileQustody(t *testing.T) { overKinds(t, hostileQustody) }

func hostileQustody(t *testing.T, kind tx.Kind) {
	limit := policy.AmountOf(1_000_000)
	h := newHouse(t, kind, policy.Rule{Type: policy.RuleMaxAmount, Amount: &limit, Operations: []policy.OperationType{policy.OpMint}})
	q := h.qustody
	before := h.nextNonce()
	shown := func(k string, v any) func(*callbacktest.Transaction) {
		return func(x *callbacktest.Transaction) { x.Shown[k] = v }
	}
	raw := func(f func([]byte) []byte) func(*callbacktest.Transaction) {
		return func(x *callbacktest.Transaction) { x.Raw = f(x.Raw) }
	}
	keep := func(*tx.Unsigned) {} // the nonce stays the next one's
	data := func(b []byte) func(*tx.Unsigned) { return func(u *tx.Unsigned) { u.Data = b } }
	for name, c := range map[string]struct {
		call   qrc20.Call
		change func(*tx.Unsigned)
		lie    func(*callbacktest.Transaction)
		reason string
		says   string
	}{
		"a hash alone":                  {lie: shown("unsignedTransaction", ""), reason: "blind"},
		"another transaction's hash":    {lie: shown("signingHash", "0x"+strings.Repeat("ab", 32)), reason: "shown", says: "signingHash"},
		"no hash":                       {lie: shown("signingHash", ""), reason: "shown"},
		"a smaller amount is shown":     {lie: shown("amount", "1"), reason: "shown", says: "amount"},
		"another recipient is shown":    {lie: shown("destinationAddress", "0x00000000000000000000000000000000000000aa"), reason: "shown", says: "destinationAddress"},
		"another transaction's payload": {lie: shown("transactionId", "3c90c3cc-0d44-4b50-8888-999999999999"), reason: "shown"},
		"another wallet of ours":        {lie: func(x *callbacktest.Transaction) { x.Source = h.other.Address.String() }, reason: "stranger"},
		"a stranger's wallet":           {lie: func(x *callbacktest.Transaction) { x.Source = "0x00000000000000000000000000000000000000aa" }, reason: "stranger"},
		"no sender":                     {lie: func(x *callbacktest.Transaction) { x.Source = "" }, reason: "stranger"},
		"another chain id":              {change: func(u *tx.Unsigned) { u.ChainID = 1 }, reason: "operation", says: "chain id 1"},
		"the mainnet's chain id":        {change: func(u *tx.Unsigned) { u.ChainID = 20803 }, reason: "operation", says: "chain id"},
		"coins":                         {change: func(u *tx.Unsigned) { u.Value = big.NewInt(1) }, reason: "call", says: "coin"},
		"coins alone":                   {change: func(u *tx.Unsigned) { u.Value, u.Data = big.NewInt(1), nil }, reason: "call"},
		"a creation":                    {change: func(u *tx.Unsigned) { u.To = nil }, reason: "call", says: "creates"},
		"a contract that is not ours":   {change: func(u *tx.Unsigned) { u.To = &tx.Address{9} }, reason: "operation", says: "no token of ours"},
		"a call that no template has":   {change: data([]byte{1, 2, 3, 4}), reason: "call"},
		"an approval for a thief":       {change: data(append([]byte{0x09, 0x5e, 0xa7, 0xb3}, make([]byte, 64)...)), reason: "call"},
		"bytes behind the call":         {change: func(u *tx.Unsigned) { u.Data = append(u.Data, 0) }, reason: "call"},
		"a nonce that was used":         {change: func(u *tx.Unsigned) { u.Nonce = 0 }, reason: "operation", says: "nonce 0"},
		"fees beyond what policy lets":  {change: func(u *tx.Unsigned) { u.MaxFee = new(big.Int).Lsh(big.NewInt(1), 80) }, reason: "operation", says: "MAX_FEE"},
		"fees beyond any number":        {change: func(u *tx.Unsigned) { u.MaxFee = new(big.Int).Lsh(big.NewInt(1), 255) }, reason: "operation"},
		"a tip above the fee":           {change: func(u *tx.Unsigned) { u.Tip = new(big.Int).Add(u.MaxFee, big.NewInt(1)) }, reason: "operation"},
		"gas without end":               {change: func(u *tx.Unsigned) { u.Gas = 29_000_000 }, reason: "operation"},
		"more than policy lets":         {call: mint(1_000_001), reason: "operation", says: "MAX_AMOUNT"},
		"the contract as recipient":     {call: qrc20.Call{Method: qrc20.Mint, Amount: big.NewInt(1), Account: qrc20.Address(*h.token.ContractAddress)}, reason: "operation"},
		"nobody as recipient":           {call: qrc20.Call{Method: qrc20.Mint, Amount: big.NewInt(1)}, reason: "operation"},
		"its own admin revoked":         {call: qrc20.Call{Method: qrc20.RevokeRole, Role: qrc20.Admin, Account: qrc20.Address(h.wallet.Address)}, reason: "operation"},
		"more than there is":            {call: qrc20.Call{Method: qrc20.Burn, Amount: big.NewInt(5)}, reason: "operation"},
		"another encoding of the same":  {lie: raw(func(b []byte) []byte { return append(b, 0) }), reason: "call"},
		"half of it":                    {lie: raw(func(b []byte) []byte { return b[:len(b)/2] }), reason: "call"},
		"a legacy transaction":          {lie: raw(func([]byte) []byte { return legacy(t) }), reason: "call"},
		"a message in its place":        {lie: raw(func([]byte) []byte { return []byte("qustody:register:0x") }), reason: "call"},
		"no hex":                        {lie: shown("unsignedTransaction", "0xzz"), reason: "malformed"},
		"more than a transaction":       {lie: shown("unsignedTransaction", "0x"+strings.Repeat("00", tx.MaxSize+1)), reason: "malformed"},
		"a number for a string":         {lie: shown("unsignedTransaction", 7), reason: "malformed"},
		"an answer without end":         {lie: shown("note", strings.Repeat("x", 1<<20)), reason: "malformed", says: "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			h.t = t
			if c.call.Method == "" {
				c.call = mint(1000)
			}
			change := keep
			if c.change != nil {
				change = c.change
			}
			// It is changed before it is listed, or the honest one could be taken first.
			q.Lie(func(what, _ string, w http.ResponseWriter, _ *http.Request) bool {
				if what == "list" {
					callbacktest.Reply(w, 200, map[string]any{"data": []any{}})
				}
				return what == "list"
			})
			ref := h.create(c.call, change)
			if c.lie != nil {
				q.Change(ref, c.lie)
			}
			q.Lie(nil)
			reason, message := h.refused(ref)
			require.Equal(t, c.reason, reason, message)
			require.Contains(t, message, c.says)
			_, known, err := h.operations.OfForeign(t.Context(), ref)
			require.NoError(t, err)
			require.False(t, known)
			require.Zero(t, q.Posted(ref))
			require.Equal(t, before, h.nextNonce())
		})
	}
	h.t = t
	o := h.taken(h.create(mint(1000)))
	h.approve(o)
	h.ends(o.ID, operation.Completed)
	require.Equal(t, "1000", h.supply())
	require.Equal(t, 1, q.Distinct())
}

func legacy(t *testing.T) []byte {
	b, err := rlp.EncodeToBytes([]any{uint64(1), big.NewInt(1), uint64(90_000), &tx.Address{1}, new(big.Int), []byte{}, uint64(5), uint(0), uint(0)})
	require.NoError(t, err)
	return b
}

func TestQustodyThatIsNotQustody(t *testing.T) {
	h := newHouse(t, tx.KindQuantum)
	q := h.qustody
	var elsewhere atomic.Int32
	thief := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer thief.Close()
	q.Roots.AddCert(thief.Certificate())
	answer := func(code int, body []byte) func(string, string, http.ResponseWriter, *http.Request) bool {
		return func(_, _ string, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(code)
			_, _ = w.Write(body)
			return true
		}
	}
	ref := h.create(mint(7))
	o := h.taken(ref)
	noise := make([]byte, 4096)
	_, err := rand.Read(noise)
	require.NoError(t, err)
	for name, lie := range map[string]func(string, string, http.ResponseWriter, *http.Request) bool{
		"redirects": func(_, _ string, w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, thief.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		},
		"HTML":                answer(200, []byte("<html><body>maintenance</body></html>")),
		"noise":               answer(200, noise),
		"errors":              answer(503, nil),
		"too many requests":   answer(429, nil),
		"ids that are paths":  answer(200, []byte(`{"data":[{"id":"../../wallets","status":"PENDING_SIGNATURE"}]}`)),
		"pages without end":   answer(200, []byte(`{"data":[`+strings.Repeat(`{"id":"a","status":"PENDING_SIGNATURE"},`, 5000)+`{"id":"a"}]}`)),
		"an answer of 64 MiB": answer(200, bytes.Repeat([]byte(" "), 64<<20)),
		"one name twice":      answer(200, []byte(`{"data":[],"data":[{"id":"a"}]}`)),
		"connections cut": func(_, _ string, w http.ResponseWriter, _ *http.Request) bool {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = c.Close()
			}
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			h.t = t
			q.Lie(lie)
			defer q.Lie(nil)
			rounds := q.Count("list")
			h.restart() // with no pause from the one before
			h.until("a round was lied to", func() bool { return q.Count("list") > rounds })
			_, known, err := h.operations.OfForeign(t.Context(), "a")
			require.NoError(t, err)
			require.False(t, known)
		})
	}
	h.t = t
	require.Zero(t, elsewhere.Load(), "neither key nor signature goes where a redirect says")
	h.restart()
	h.approve(o)
	h.ends(o.ID, operation.Completed)
	require.Equal(t, "7", h.supply())
}

// What people approved and what Qustody shows when it is to be signed differ: by the bytes, by the hash, by
// fees that only cost more.
func TestTransactionThatChangesAfterApprovalIsNotSigned(t *testing.T) {
	overKinds(t, transactionThatChangesAfterApprovalIsNotSigned)
}

func transactionThatChangesAfterApprovalIsNotSigned(t *testing.T, kind tx.Kind) {
	h := newHouse(t, kind)
	q := h.qustody
	for name, change := range map[string]func(*callbacktest.Transaction){
		"another amount": func(x *callbacktest.Transaction) {
			x.Raw = encode(t, x, func(u *tx.Unsigned) { u.Data[len(u.Data)-1]++ })
		},
		"other fees": func(x *callbacktest.Transaction) {
			x.Raw = encode(t, x, func(u *tx.Unsigned) { u.MaxFee.Add(u.MaxFee, big.NewInt(1)) })
		},
		"another nonce":  func(x *callbacktest.Transaction) { x.Raw = encode(t, x, func(u *tx.Unsigned) { u.Nonce++ }) },
		"a hash alone":   func(x *callbacktest.Transaction) { x.Shown["unsignedTransaction"] = "" },
		"another's hash": func(x *callbacktest.Transaction) { x.Shown["signingHash"] = "0x" + strings.Repeat("ab", 32) },
	} {
		t.Run(name, func(t *testing.T) {
			h.t = t
			before := h.nextNonce()
			ref := h.create(mint(1000), func(*tx.Unsigned) {})
			o := h.taken(ref)
			h.decide(o, "approver-1", policy.Approve)
			q.Change(ref, change)
			h.decide(o, "approver-2", policy.Approve)
			failed := h.ends(o.ID, operation.Failed)
			require.Contains(t, failed.FailureReason, "changed after it was taken")
			require.Zero(t, q.Posted(ref))
			require.Equal(t, before, h.nextNonce(), "no nonce is spent")
			q.Change(ref, func(x *callbacktest.Transaction) { x.Status = "CANCELLED" })
		})
	}
	h.t = t
	require.Zero(t, q.Distinct())
	require.Equal(t, "0", h.supply())
}

func encode(t *testing.T, x *callbacktest.Transaction, change func(*tx.Unsigned)) []byte {
	u, err := tx.DecodeUnsigned(x.Unsigned.Kind, x.Raw)
	require.NoError(t, err)
	change(u)
	b, err := u.EncodeUnsigned()
	require.NoError(t, err)
	return b
}

func TestTransactionThatQustodyGaveUpIsNotSigned(t *testing.T) {
	h := newHouse(t, tx.KindQuantum)
	q := h.qustody
	for _, status := range []string{"CANCELLED", "BLOCKED", "SIGNED"} {
		ref := h.create(mint(1), func(*tx.Unsigned) {})
		o := h.taken(ref)
		q.Change(ref, func(x *callbacktest.Transaction) { x.Status = status })
		h.approve(o)
		require.Contains(t, h.ends(o.ID, operation.Cancelled).FailureReason, status)
		require.Zero(t, q.Posted(ref))
	}
	require.Equal(t, uint64(1), h.nextNonce())
}

// What was signed is shown again, under its own id and under another, with its bytes and with others.
func TestReplayIsNotSignedTwice(t *testing.T) { overKinds(t, replayIsNotSignedTwice) }

func replayIsNotSignedTwice(t *testing.T, kind tx.Kind) {
	h := newHouse(t, kind)
	q := h.qustody
	ref := h.create(mint(1000))
	twin := h.create(mint(1000), func(u *tx.Unsigned) { u.Nonce-- }) // the same bytes, under another id
	require.Equal(t, q.At(ref).Raw, q.At(twin).Raw)
	a, b := h.taken(ref), h.taken(twin)
	require.NotEqual(t, a.ID, b.ID)
	h.approve(a)
	h.ends(a.ID, operation.Completed)
	h.approve(b)
	require.Contains(t, h.ends(b.ID, operation.Failed).FailureReason, "belongs to another operation")
	require.Zero(t, q.Posted(twin))

	later := h.create(mint(1000), func(u *tx.Unsigned) { u.Nonce = 1 })
	reason, message := h.refused(later)
	require.Equal(t, "operation", reason)
	require.Contains(t, message, "nonce 1")

	for _, change := range []func(*callbacktest.Transaction){
		func(x *callbacktest.Transaction) { x.Status = "PENDING_SIGNATURE" },
		func(x *callbacktest.Transaction) { x.Raw = encode(t, x, func(u *tx.Unsigned) { u.Nonce = 2 }) },
	} {
		q.Change(ref, change)
		h.restart()
		rounds := q.Count("list")
		h.until("rounds go on", func() bool { return q.Count("list") > rounds+1 })
		o := h.taken(ref)
		require.Equal(t, a.ID, o.ID)
		require.Equal(t, operation.Completed, o.Status)
		require.Equal(t, 1, q.Posted(ref))
	}
	require.Equal(t, "1000", h.supply())
	require.Equal(t, 1, q.Distinct())
}

// Qustody refuses what it asked for, or takes it and sends nothing: the operation says so to people, and posts are not
// repeated all the time.
func TestQustodyThatTakesNoSignature(t *testing.T) {
	h := newHouse(t, tx.KindQuantum)
	q := h.qustody
	q.Lie(func(what, _ string, w http.ResponseWriter, _ *http.Request) bool {
		if what == "signature" {
			w.WriteHeader(http.StatusBadRequest)
		}
		return what == "signature"
	})
	ref := h.create(mint(3))
	o := h.taken(ref)
	h.approve(o)
	h.until("its attention says so", func() bool {
		now, err := h.operations.Get(t.Context(), o.ID)
		return err == nil && strings.HasPrefix(now.Attention, "CALLBACK: Qustody refuses the signature")
	})
	rounds := q.Count("list")
	h.until("rounds go on", func() bool { return q.Count("list") > rounds+20 })
	require.Equal(t, 1, q.Count("signature"))
	require.Equal(t, "0", h.supply())

	// It takes the signature, and sends nothing.
	q.Lie(func(what, ref string, w http.ResponseWriter, _ *http.Request) bool {
		if what != "signature" {
			return false
		}
		q.Change(ref, func(x *callbacktest.Transaction) { x.Status = "SIGNED" })
		callbacktest.Reply(w, 200, map[string]any{})
		return true
	})
	h.restart()
	h.until("its attention says what it waits for", func() bool {
		now, err := h.operations.Get(t.Context(), o.ID)
		return err == nil && strings.Contains(now.Attention, "no block has the transaction")
	})
	require.Equal(t, "0", h.supply())

	// An operator who has the bytes sent by our own nodes: once Qustody has the signature, and only then.
	h.broadcast = true
	h.restart()
	h.ends(o.ID, operation.Completed)
	require.Equal(t, "3", h.supply())
}

// The key of the API, and what Qustody says in its place, is in no log and no entry of the store.
func TestAttackQustodyAnswersWithTheKey(t *testing.T) {
	h := newHouse(t, tx.KindQuantum)
	h.qustody.Lie(func(_, _ string, w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte(r.Header.Get("Authorization")))
		return true
	})
	h.restart()
	h.until("a round failed", func() bool { return strings.Contains(h.logs.String(), "a round failed") })
	h.qustody.Lie(func(_, _ string, w http.ResponseWriter, r *http.Request) bool {
		callbacktest.Reply(w, 200, map[string]any{"data": []any{map[string]any{"id": r.Header.Get("Authorization")}}})
		return true
	})
	h.restart()
	h.until("what is not an id is refused", func() bool { return strings.Contains(h.logs.String(), "repeats the API key") })
	ref := h.create(mint(1))
	h.qustody.Change(ref, func(x *callbacktest.Transaction) {
		for _, name := range []string{"transactionId", "signingHash", "sourceAddress", "destinationAddress", "amount", "unsignedTransaction"} {
			x.Shown[name] = callbacktest.Key[1:] // as much of it as tells it
		}
		x.Source = h.wallet.Address.String()
		x.Shown["sourceAddress"], x.Shown["unsignedTransaction"] = x.Source, "0x"+hex.EncodeToString(x.Raw)
	})
	h.qustody.Lie(nil)
	h.restart()
	reason, _ := h.refused(ref)
	require.Equal(t, "shown", reason)
	secret := strings.TrimPrefix(callbacktest.Key, "key-id:")
	require.False(t, strings.Contains(h.logs.String(), secret))
	for kv, err := range h.store.All(t.Context(), "/mw/", nil) {
		require.NoError(t, err)
		require.False(t, strings.Contains(string(kv.Value), secret), "%s", kv.Key)
	}
}

// What fails at the head of the list does not keep what is behind it from being taken.
func TestTransactionsThatFailHoldUpNoOther(t *testing.T) {
	h := newHouse(t, tx.KindQuantum)
	q := h.qustody
	failing := map[string]bool{}
	for n := range 7 { // what is made is listed at once
		failing[callbacktest.Ref(n)] = true
	}
	q.Lie(func(what, ref string, w http.ResponseWriter, _ *http.Request) bool {
		if what == "payload" && failing[ref] {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		return false
	})
	for n := range 7 {
		require.Equal(t, callbacktest.Ref(n), h.create(mint(1), func(*tx.Unsigned) {}))
	}
	o := h.taken(h.create(mint(9)))
	h.approve(o)
	h.ends(o.ID, operation.Completed)
	require.Equal(t, "9", h.supply())
}

// However much stands in Qustody's list that is refused, or that nothing can be had of, what is behind it is taken: it may
// be others' affair altogether, or be there for this alone.
func TestAttack_WhatIsNotTakenHidesNothing(t *testing.T) {
	h := newHouse(t, tx.KindQuantum)
	lie := func(silent string) {
		h.qustody.Lie(func(what, ref string, w http.ResponseWriter, _ *http.Request) bool {
			lies := what == silent || what == "payload" && ref > callbacktest.Ref(24) && ref < callbacktest.Ref(520)
			if lies {
				w.WriteHeader(http.StatusConflict)
			}
			return lies
		})
	}
	lie("list")
	for n := range 520 { // more than a round reads
		ref := h.create(mint(1), func(*tx.Unsigned) {})
		if n < 25 { // more than a round refuses
			h.qustody.Change(ref, func(t *callbacktest.Transaction) { t.Source = h.other.Address.String() })
		}
	}
	behind := h.create(mint(9))
	lie("")
	o := h.taken(behind)
	h.approve(o)
	h.ends(o.ID, operation.Completed)
	require.Equal(t, "9", h.supply())
}
