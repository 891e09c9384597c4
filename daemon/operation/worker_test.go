package operation_test

import (
	"encoding/json/v2"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// TestLimitHoldsAgainstMany: a limit that fits ten, and many approved mints at once.
func TestLimitHoldsAgainstMany(t *testing.T) {
	t.Parallel()
	const many, fit = 40, 10
	h := newHouse(t, options{rules: []policy.Rule{approvals(1), amountRule(policy.RuleDailyLimit, fmt.Sprint(fit*7))}})
	token := h.deployed("0")
	var ops []*operation.Operation
	for range many {
		ops = append(ops, h.mint(token, "7"))
	}
	var wg sync.WaitGroup
	for _, o := range ops {
		wg.Go(func() { h.decide(o, "approver-1", policy.Approve) })
	}
	wg.Wait()
	completed := 0
	for _, o := range ops {
		var last *operation.Operation
		h.until("ends", func() bool {
			var err error
			last, err = h.operations.Get(t.Context(), o.ID)
			return err == nil && last.Status.Terminal()
		})
		switch last.Status {
		case operation.Completed:
			completed++
		case operation.Rejected:
			require.Contains(t, last.FailureReason, "DAILY_LIMIT")
		default:
			t.Errorf("%s is %s: %s", o.ID, last.Status, last.FailureReason)
		}
	}
	require.Equal(t, fit, completed)
	require.Equal(t, fmt.Sprint(fit*7), h.supply(token))
	// A batch that comes again finds everything done.
	before := h.dump()
	h.stopDaemon()
	h.forgetCarried()
	h.startDaemon()
	require.Equal(t, before, h.dump())
}

// dump is everything of operations, tokens and audit in the store.
func (h *house) dump() map[string]string {
	h.t.Helper()
	h.until("everything is settled", func() bool {
		for kv, err := range h.store.All(h.t.Context(), store.OperationIndex, nil) {
			require.NoError(h.t, err)
			var s struct {
				Closed bool `json:"closed"`
			}
			require.NoError(h.t, json.Unmarshal(kv.Value, &s))
			if !s.Closed {
				return false
			}
		}
		return true
	})
	out := map[string]string{}
	for _, prefix := range []string{"/mw/op/", "/mw/idx/", "/mw/token/", "/mw/wallet/", "/mw/audit/"} {
		for kv, err := range h.store.All(h.t.Context(), prefix, nil) {
			require.NoError(h.t, err)
			out[kv.Key] = string(kv.Value)
		}
	}
	return out
}

// forgetCarried makes the next start carry the whole ledger again.
func (h *house) forgetCarried() {
	h.t.Helper()
	s := h.etcd.Open(store.UserServe)
	t := s.Tx()
	t.Delete(store.LedgerCarried)
	_, err := t.Commit(h.t.Context())
	require.NoError(h.t, err)
}

func TestQueue(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{maxOutstanding: 2, period: devnet.Manual})
	stop := h.mineAlways()
	token := h.deployed("0")
	stop() // nothing is confirmed while they queue up
	var ops []*operation.Operation
	for range 6 {
		ops = append(ops, h.mint(token, "1"))
	}
	for _, o := range ops {
		h.approve(o)
	}
	h.until("four of them wait for a place", func() bool {
		queued := 0
		for _, o := range ops {
			now, err := h.operations.Get(t.Context(), o.ID)
			require.NoError(t, err)
			if now.Status == operation.Queued {
				queued++
			}
		}
		return queued == 4
	})
	defer h.mineAlways()()
	for _, o := range ops {
		h.ends(o, operation.Completed)
	}
	require.Equal(t, "6", h.supply(token))
}

// TestRestartAtEveryState stops the daemon as soon as an operation reaches a state, and starts it again.
func TestRestartAtEveryState(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	token := h.deployed("0")
	amount := 0
	for _, at := range []operation.Status{operation.PendingAuthorization, operation.Approved, operation.PendingSignature,
		operation.Signed, operation.Broadcasting, operation.Confirming} {
		t.Run(string(at), func(t *testing.T) {
			o := h.mint(token, "1")
			amount++
			changes := h.store.Watch(h.patient(), store.OpState(o.ID), 0)
			if at == operation.PendingAuthorization {
				h.restart()
			}
			h.approve(o)
			if at != operation.PendingAuthorization {
				seen := false
				for c := range changes {
					require.NoError(t, c.Err)
					for _, e := range c.Events {
						if seen {
							break // what is over is packed, and comes behind its end
						}
						var s struct {
							Status operation.Status `json:"status"`
						}
						require.NoError(t, json.Unmarshal(e.Value, &s))
						seen = s.Status == at || s.Status.Terminal()
					}
					if seen {
						break
					}
				}
				require.True(t, seen)
				h.restart()
			}
			done := h.ends(o, operation.Completed)
			require.Equal(t, fmt.Sprint(amount), h.supply(token), statuses(done))
		})
	}
}

// TestStoreRestart: etcd goes away while operations are on their way, and comes back.
func TestStoreRestart(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	token := h.deployed("0")
	var ops []*operation.Operation
	for range 4 {
		o := h.mint(token, "1")
		h.approve(o)
		ops = append(ops, o)
	}
	h.etcd.Close()
	_, err := h.operations.Get(t.Context(), ops[0].ID)
	require.ErrorIs(t, err, store.ErrUnavailable)
	h.etcd.Restart()
	for _, o := range ops {
		h.until("the store answers", func() bool { _, err := h.operations.Get(t.Context(), o.ID); return err == nil })
		h.ends(o, operation.Completed)
	}
	require.Equal(t, "4", h.supply(token))
}
