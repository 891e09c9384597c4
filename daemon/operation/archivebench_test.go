package operation_test

import (
	"crypto/rand"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// copies makes n operations of one that is over, each with an id and a transaction of its own, and says how many bytes
// of keys and values one is in the store.
func (h *house) copies(o *operation.Operation, n int) (ids []string, size int) {
	h.t.Helper()
	p, err := h.store.List(h.t.Context(), strings.TrimSuffix(store.OpState(o.ID), "state"), store.ListOptions{})
	require.NoError(h.t, err)
	row, _, _, err := h.store.Get(h.t.Context(), store.OpIndexKey(o.ID))
	require.NoError(h.t, err)
	kvs := append(p.KVs, store.KV{Key: store.OpIndexKey(o.ID), Value: row}, store.KV{Key: store.TxOperation(*o.TransactionHash), Value: []byte(o.ID)})
	for i, kv := range kvs {
		size += len(kv.Key) + len(kv.Value)
		if rest, is := strings.CutPrefix(kv.Key, strings.TrimSuffix(store.OpState(o.ID), "state")); is {
			kvs[i].Value, err = operation.Unpacked(rest, kv.Value) // the id stands in it; what is written so is read as well
			require.NoError(h.t, err)
		}
	}
	for range n {
		id := store.NewID(operation.IDPrefix)
		signed, hash := h.ownTx(o, kvs)
		own := strings.NewReplacer(store.OpIndexKey(o.ID), store.OpIndexKey(id), o.ID, id, o.TransactionHash.String(), hash.String())
		t := h.store.Tx()
		for _, kv := range kvs {
			value := []byte(own.Replace(string(kv.Value)))
			if strings.HasPrefix(kv.Key, store.OpTxs(o.ID)) {
				value = signed
			}
			t.Put(own.Replace(kv.Key), value)
		}
		_, err := t.Commit(h.t.Context())
		require.NoError(h.t, err)
		ids = append(ids, id)
	}
	return ids, size
}

// ownTx is the signed transaction among an operation's keys with a signature that is nobody's, and its hash: the bytes of
// a signature are like random ones, and no archive makes them fewer.
func (h *house) ownTx(o *operation.Operation, kvs []store.KV) (value []byte, hash tx.Hash) {
	h.t.Helper()
	const signature = 3293 // of Dilithium3, in bytes; it comes last
	for _, kv := range kvs {
		if strings.HasSuffix(kv.Key, "/tx/1") {
			value = slices.Clone(kv.Value)
		}
	}
	_, _ = rand.Read(value[len(value)-signature:]) // it never fails
	w, err := h.registry.Wallet(h.t.Context(), o.WalletID)
	require.NoError(h.t, err)
	at, rest := binary.BigEndian.Uint32(value[1+len(hash)+8:]), value[1+len(hash)+8+4:] // the public key is left out
	hash = tx.HashOf(slices.Concat(rest[:at], w.PublicKey, rest[at:]))
	copy(value[1:], hash[:])
	return value, hash
}

// BenchmarkArchive archives 10,000 mints: the bytes of one in the store and on the disk, how many leave a second, and how
// long it takes from a start until lists are answered, and one of them is, with none of them in the store.
func BenchmarkArchive(b *testing.B) {
	for n := 0; b.Loop(); n++ {
		if n > 0 {
			continue // it takes longer than a second
		}
		count := 10_000
		if testing.Short() {
			count = 300
		}
		h := newHouse(b, options{})
		token := h.deployed("0")
		o := h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("5"), Recipient: h.own()})
		h.settled(o.ID)
		ids, hot := h.copies(h.now(o.ID), count)
		h.archives()
		began := time.Now()
		h.restart()
		h.until("all are archived", func() bool {
			left, err := h.store.Count(b.Context(), store.OperationPrefix)
			require.NoError(b, err)
			return left == 0
		})
		took := time.Since(began)
		cold := 0
		files, err := filepath.Glob(filepath.Join(h.archive.Dir, "*.gz"))
		require.NoError(b, err)
		for _, f := range files {
			info, err := os.Stat(f)
			require.NoError(b, err)
			cold += int(info.Size())
		}
		h.stopDaemon()
		began = time.Now()
		h.startDaemon()
		_, total, _, err := h.operations.List(b.Context(), operation.Filter{}, 50, 0, "")
		require.NoError(b, err)
		require.Equal(b, count+2, total)
		one, err := h.operations.Get(b.Context(), ids[count/2])
		require.NoError(b, err)
		start := time.Since(began)
		require.Equal(b, ids[count/2], one.ID)
		b.ReportMetric(float64(hot), "bytes-in-store/operation")
		b.ReportMetric(float64(cold)/float64(count+2), "bytes-archived/operation(aim≤8192)")
		b.ReportMetric(float64(count)/took.Seconds(), "archived/s")
		b.ReportMetric(float64(start.Milliseconds()), "ms-start")
	}
	b.ReportMetric(0, "ns/op")
}
