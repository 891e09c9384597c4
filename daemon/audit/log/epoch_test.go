package auditlog_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// A store is restored from a backup, and the custodians accept it: the tree of the new epoch, which has another name,
// finds its own place on the disk by itself, while the appliance runs. What was signed before stays beside it, byte for
// byte, and the new one begins with what the store let go of by then; nothing of the new tree is in it, and the other way round.
func TestAfterARecoverTheNewTreeFindsItsOwnPlace(t *testing.T) {
	t.Parallel()
	_, s, n, dir := grow(t)
	ctx := t.Context()
	var backup []store.KV
	for kv, err := range s.Whole(ctx, func(int64) {}) {
		require.NoError(t, err)
		backup = append(backup, kv)
	}
	last, sequence, head := *n.last, n.sequence, n.head
	l, stop := run(t, s, n.options(dir))
	require.NoError(t, write(ctx, s, "lost", 3))
	n.receipt(t, l, "token", "lost")
	stop()
	published, err := os.ReadFile(filepath.Join(dir, "tlog", "checkpoint"))
	require.NoError(t, err)

	server := storetest.Start(t)
	restored, ledger := server.Open(store.UserServe), server.Open(store.UserSeal)
	shortened, orders := 0, 0
	for _, kv := range backup {
		if strings.HasPrefix(kv.Key, store.AuditOrder) {
			orders++ // one value or more, as they were put together so far
		}
	}
	for _, kv := range backup {
		into := restored
		if strings.HasPrefix(kv.Key, store.AuditOrder) && shortened < orders/2 {
			shortened++ // it left the store by its retention, before the backup
			continue
		}
		if strings.HasPrefix(kv.Key, store.SealRoot) {
			into = ledger
		}
		tx := into.Tx()
		tx.Put(kv.Key, kv.Value)
		_, err := tx.Commit(ctx)
		require.NoError(t, err)
	}
	require.Positive(t, shortened)
	n.ledger, n.last, n.sequence, n.head = ledger, &last, sequence, head
	var epoch atomic.Uint64
	epoch.Store(1)
	o := n.options(dir)
	o.Ledger.Epoch = func(context.Context) (uint64, error) { return epoch.Load(), nil }
	l, stop = run(t, restored, o)
	noReceipt(t, l, "t0")

	n.write(`"type":"recover"`)
	n.mu.Lock()
	second := *n.keys
	second.Epoch, n.keys = 2, &second
	n.mu.Unlock()
	epoch.Store(2)
	require.NoError(t, write(ctx, restored, "new", 3))
	require.Eventually(t, func() bool {
		_, err := l.ReceiptOf(ctx, "token", "new", "token.step9")
		return err == nil
	}, time.Minute, 20*time.Millisecond)
	n.receipt(t, l, "token", "t0") // of before the backup, in the new tree
	stop()
	require.NoError(t, n.accepted(t, dir))
	aside := filepath.Join(dir, "tlog.epoch-1")
	kept, err := os.ReadFile(filepath.Join(aside, "checkpoint"))
	require.NoError(t, err)
	require.Equal(t, published, kept)
	now, err := os.ReadFile(filepath.Join(dir, "tlog", "checkpoint"))
	require.NoError(t, err)
	require.Contains(t, string(now), second.Origin()+"\n")

	// The next start goes on with it, and one that died between putting aside and beginning anew.
	l, stop = run(t, restored, o)
	n.receipt(t, l, "token", "new")
	stop()
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "tlog")))
	l, stop = run(t, restored, o)
	n.receipt(t, l, "token", "new")
	stop()
	all, err := filepath.Glob(filepath.Join(dir, "tlog*"))
	require.NoError(t, err)
	require.ElementsMatch(t, []string{filepath.Join(dir, "tlog"), aside}, all)

	// A store of before the recover, under a disk of after it.
	epoch.Store(1)
	l, _ = run(t, restored, o)
	noReceipt(t, l, "t0")
}
