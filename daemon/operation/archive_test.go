package operation_test

import (
	"encoding/json/v2"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// archives has what is over leave the store at once, from the next start on.
func (h *house) archives() {
	h.archive = operation.Archive{Dir: filepath.Join(h.t.TempDir(), "operations"), Appliance: "appliance-1",
		Appliances: func() []string { return []string{"appliance-1"} }, Retention: time.Millisecond}
}

// gone waits until nothing of operations is in the store.
func (h *house) gone(ids ...string) {
	h.t.Helper()
	h.until("operations are archived", func() bool {
		for _, id := range ids {
			p, err := h.store.List(h.t.Context(), strings.TrimSuffix(store.OpState(id), "state"), store.ListOptions{KeysOnly: true})
			require.NoError(h.t, err)
			if len(p.KVs) > 0 {
				return false
			}
			_, _, ok, err := h.store.Get(h.t.Context(), store.OpIndexKey(id))
			require.NoError(h.t, err)
			require.False(h.t, ok)
		}
		return true
	})
}

// shown is everything that anybody can be told of operations, line by line.
func (h *house) shown(ids []string) []string {
	h.t.Helper()
	ctx := h.t.Context()
	var lines []string
	say := func(what string, v any, err error) {
		h.t.Helper()
		require.NoError(h.t, err, what)
		b, err := json.Marshal(v, json.Deterministic(true))
		require.NoError(h.t, err)
		lines = append(lines, what+" "+string(b))
	}
	var hashes []tx.Hash
	for _, id := range ids {
		o, err := h.operations.Get(ctx, id)
		say(id, o, err)
		say("intent", string(o.Intent), nil)
		say("reason", o.Reason, nil)
		say("decisions", o.Decisions, nil)
		v, err := h.operations.Versions(ctx, o)
		say("versions", v, err)
		if o.TransactionHash != nil {
			hashes = append(hashes, *o.TransactionHash)
		}
	}
	of, err := h.operations.OfTransactions(ctx, append(hashes, tx.Hash{1}))
	say("transactions", of, err)
	states, err := h.operations.States(ctx, append(ids[:len(ids):len(ids)], store.NewID(operation.IDPrefix)))
	say("states", states, err)
	middle := store.IDTime(ids[len(ids)/2])
	for n, f := range []operation.Filter{{}, {Type: policy.OpMint}, {Status: operation.Completed}, {Status: operation.Rejected}, {Type: policy.OpMint, Status: operation.Completed},
		{RequestedBy: operator.Name}, {RequestedBy: "nobody"}, {From: middle}, {To: middle}, {Network: networkName, Type: policy.OpDeployToken}} {
		for _, limit := range []int{2, 200} {
			for cursor := ""; ; {
				ops, total, next, err := h.operations.List(ctx, f, limit, 0, cursor)
				say(fmt.Sprintf("filter %d from %q: %d, then %q", n, cursor, total, next), ops, err)
				if cursor = next; next == "" {
					break
				}
			}
		}
	}
	ops, total, _, err := h.operations.List(ctx, operation.Filter{}, 1, 1, "")
	say(fmt.Sprintf("the second of %d", total), ops, err)
	return lines
}

// What is archived is shown as before, byte for byte: by id, by transaction, in every list and on every page, in this
// life and in the next.
func TestArchivedOperationsAreShownAsBefore(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	token := h.deployed("0")
	amount := "3"
	idem := &store.Idempotent{Hash: "h", BodyHash: "b", Render: func(r any) (int, []byte, error) {
		return 201, []byte(r.(*operation.Operation).ID), nil
	}}
	again := operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: &amount, Recipient: h.own(), Reason: "for the archive"}
	keyed, err := h.operations.Submit(t.Context(), operator, again, idem)
	require.NoError(t, err)
	h.approve(keyed)
	h.ends(keyed, operation.Completed)
	for range 2 {
		h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: &amount, Recipient: h.own()})
	}
	no := h.mint(token, "4")
	h.decide(no, "approver-1", policy.Reject)
	h.ends(no, operation.Rejected)
	var ids []string
	h.until("all are settled", func() bool {
		ids = nil
		for o, err := range h.operations.All(t.Context(), operation.Filter{}) {
			require.NoError(t, err)
			if !o.Settled && o.Authorized {
				return false
			}
			ids = append(ids, o.ID)
		}
		return true
	})
	require.Len(t, ids, 5)
	record, ok, err := h.store.Idempotency(t.Context(), idem.Hash)
	require.NoError(t, err)
	require.True(t, ok)
	before := h.shown(ids)

	h.archives()
	h.restart()
	require.Equal(t, before, h.shown(ids), "while they leave")
	h.gone(ids...)
	require.Equal(t, before, h.shown(ids), "after they left")
	h.restart()
	require.Equal(t, before, h.shown(ids), "in another life")
	n, err := h.store.Count(t.Context(), store.OperationPrefix)
	require.NoError(t, err)
	require.Zero(t, n)

	// A retry is answered as it was, and makes nothing.
	_, err = h.operations.Submit(t.Context(), operator, again, idem)
	require.ErrorIs(t, err, store.ErrIdempotencyLost)
	replayed, ok, err := h.store.Idempotency(t.Context(), idem.Hash)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, record, replayed)

	// What comes too late is refused as before, and brings nothing back.
	_, err = h.operations.Cancel(h.patient(), operator, keyed.ID, "too late", nil)
	require.Error(t, err)
	h.gone(ids...)
	require.Equal(t, before, h.shown(ids))

	// New ones go their way beside those, and leave, too.
	more := h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: &amount, Recipient: h.own()})
	h.gone(more.ID)
	require.Equal(t, "12", h.supply(token))
	_, total, _, err := h.operations.List(t.Context(), operation.Filter{}, 1, 0, "")
	require.NoError(t, err)
	require.Equal(t, 6, total)
}

// A reorg deeper than the confirmations brings archived operations back; they end again and leave again, and lists
// show their end once.
func TestDeepReorgOfArchivedOperations(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{period: manual})
	stop := h.mineAlways()
	token := h.deployed("0")
	h.archives()
	h.restart()
	first := h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("5"), Recipient: h.own()})
	second := h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("7"), Recipient: h.own()})
	h.gone(first.ID, second.ID)
	stop()
	h.restart() // what is watched is found in the archive
	h.reorg(h.head()-first.BlockNumber+1, true)
	h.until("they are taken back", func() bool {
		return h.now(first.ID).Status == operation.Broadcasting && h.now(second.ID).Status == operation.Broadcasting
	})
	require.Equal(t, "0", h.supply(token))
	stop = h.mineAlways()
	defer stop()
	again := h.ends(first, operation.Completed)
	require.Equal(t, *first.TransactionHash, *again.TransactionHash, "the same bytes")
	h.ends(second, operation.Completed)
	require.Equal(t, "12", h.supply(token))
	require.Contains(t, statuses(again), "COMPLETED BROADCASTING")
	h.gone(first.ID, second.ID)
	for range 2 {
		require.Equal(t, statuses(again), statuses(h.now(first.ID)), "its newest end counts")
		_, total, _, err := h.operations.List(t.Context(), operation.Filter{Type: policy.OpMint, Status: operation.Completed}, 10, 0, "")
		require.NoError(t, err)
		require.Equal(t, 2, total)
		h.restart()
	}
}

// Operations left the store, and the configuration does not say any more where they are: the worker ends and says so,
// and nobody is told that they never were.
func TestAnArchiveThatNobodyNames(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	token := h.deployed("0")
	o := h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("5"), Recipient: h.own()})
	h.archives()
	h.restart()
	h.gone(o.ID)
	h.archive.Retention = 0 // what was archived is read, and nothing more goes there
	h.restart()
	require.Equal(t, operation.Completed, h.now(o.ID).Status)
	h.archive = operation.Archive{}
	h.restart()
	require.ErrorContains(t, h.operations.RunWorker(h.patient()), "audit.dir/operations")
}
