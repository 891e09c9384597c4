package callback_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/policy"
)

// The process dies at every question to Qustody, before Qustody worked on it and after, with the answer lost.
// It is started again, and the transaction ends with one effect, one signed transaction and one nonce.
func TestDeathAtEachQuestion(t *testing.T) { overKinds(t, deathAtEachQuestion) }

func deathAtEachQuestion(t *testing.T, kind tx.Kind) {
	h := newHouse(t, kind)
	q := h.qustody
	minted := 0
	for _, when := range []struct {
		what     string
		approved bool // the question is one that comes after people approved
	}{{"list", false}, {"payload", false}, {"payload", true}, {"signature", true}} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, approved %v, after %v", when.what, when.approved, after), func(t *testing.T) {
				h.t = t
				nonce, signed := h.nextNonce(), q.Distinct()
				var over <-chan struct{}
				if !when.approved {
					over = q.DieAt(when.what, after)
				}
				ref := h.create(mint(10))
				minted += 10
				if !when.approved {
					h.died(over)
					h.restart()
				}
				o := h.taken(ref)
				h.decide(o, "approver-1", policy.Approve)
				if when.approved {
					over = q.DieAt(when.what, after)
					h.lastApproval(o, over)
					h.restart()
				} else {
					h.decide(o, "approver-2", policy.Approve)
				}
				done := h.ends(o.ID, operation.Completed)
				require.Equal(t, q.At(ref).Hash, done.TransactionHash.String())
				require.Equal(t, nonce+1, h.nextNonce())
				require.Equal(t, signed+1, q.Distinct())
				if when.what == "signature" && after {
					// Whether the chain or Qustody's state told first that Qustody has it is nobody's matter.
					require.LessOrEqual(t, len(h.audited("callback.delivered", o.ID)), 1)
				} else {
					h.until("its delivery is written", func() bool { return len(h.audited("callback.delivered", o.ID)) == 1 })
				}
				require.Len(t, h.audited("operation.submitted", o.ID), 1)
				require.Equal(t, fmt.Sprint(minted), h.supply())
			})
		}
	}
}

// lastApproval is the one after which Qustody is asked again, and of which the appliance dies: its caller may get no
// answer any more.
func (h *house) lastApproval(o *operation.Operation, over <-chan struct{}) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	go func() {
		select {
		case <-over:
			cancel()
		case <-ctx.Done():
		}
	}()
	_ = h.tryDecide(ctx, o, "approver-2", policy.Approve)
	h.died(over)
}

// died waits until the appliance has died.
func (h *house) died(over <-chan struct{}) {
	h.t.Helper()
	select {
	case <-over:
	case <-time.After(patience):
		h.t.Fatalf("it did not die within %s", patience)
	}
}

// The answer to a posted signature is lost and so is Qustody's state for a while: posts are repeated, each with
// the same Idempotency-Key, until its state says that it has it.
func TestLostAnswersToASignature(t *testing.T) {
	h := newHouse(t, tx.KindQuantum)
	q := h.qustody
	keys := make(chan string, 100)
	lost := 3
	var mu sync.Mutex
	q.Lie(func(what, ref string, w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case what == "signature":
			keys <- r.Header.Get("Idempotency-Key")
			return false
		case what == "transaction" && lost > 0:
			lost--
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	})
	ref := h.create(mint(4))
	o := h.taken(ref)
	over := q.DieAt("signature", true) // it was worked on, and the answer is lost
	h.decide(o, "approver-1", policy.Approve)
	h.lastApproval(o, over)
	h.restart()
	h.ends(o.ID, operation.Completed)
	// Whether the chain or Qustody's state told first that Qustody has it is nobody's matter.
	require.Equal(t, 1, q.Distinct())
	require.Equal(t, "4", h.supply())
	close(keys)
	for key := range keys {
		require.Equal(t, o.ID, key)
	}
}

// A wallet is registered once, whether the process dies before Qustody worked on it or after.
func TestDeathWhileAWalletIsRegistered(t *testing.T) { overKinds(t, deathWhileAWalletIsRegistered) }

func deathWhileAWalletIsRegistered(t *testing.T, kind tx.Kind) {
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("after %v", after), func(t *testing.T) {
			h := furnishedHouse(t, kind)
			over := h.qustody.DieAt("register", after)
			h.restart()
			h.died(over)
			require.Empty(t, h.registrations())
			h.restart()
			h.until("the wallet is registered", func() bool { return len(h.registrations()) == 1 })
			require.Equal(t, 2, h.qustody.Count("register"))
			require.Equal(t, 1, h.qustody.Registered())
		})
	}
}

// Somebody registered the wallet before us, where the config says or elsewhere.
func TestWalletThatIsRegisteredAlready(t *testing.T) {
	h := furnishedHouse(t, tx.KindQuantum)
	q := h.qustody
	there := map[string]string{"id": "wallet-at-qustody", "address": strings.ToLower(h.wallet.Address.String()), "publicKey": strings.Repeat("ab", h.node.Scheme.PublicKeySize())}
	q.Register(h.wallet.Address.String(), there)
	h.restart()
	h.until("another key is found", func() bool { return strings.Contains(h.logs.String(), "registered another wallet") })
	require.Empty(t, h.registrations())
	there = maps.Clone(there)
	there["address"] = "0x00000000000000000000000000000000000000aa"
	q.Register(h.wallet.Address.String(), there)
	h.restart()
	h.until("it is not found", func() bool { return strings.Contains(h.logs.String(), "name the one that it is in") })
	require.Empty(t, h.registrations())
	there = maps.Clone(there)
	there["address"], there["publicKey"] = h.wallet.Address.String(), hex.EncodeToString(h.wallet.PublicKey)
	q.Register(h.wallet.Address.String(), there)
	h.restart()
	h.until("it is found", func() bool { return len(h.registrations()) == 1 })
	require.Equal(t, "wallet-at-qustody", h.registrations()[0]["qustodyWalletId"])
}
