package sealed

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// endlessKV is an etcd that promises more and gives nothing.
type endlessKV struct{ clientv3.KV }

func (k endlessKV) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	r, err := k.KV.Get(ctx, key, opts...)
	if err == nil {
		r.Kvs, r.More = nil, true
	}
	return r, err
}

// A hostile etcd that always promises more does not keep the seal reading.
func TestALogThatNeverEnds(t *testing.T) {
	s := openLog(t, house.store)
	s.c.KV = endlessKV{s.c.KV}
	err := s.after(t.Context(), 7, func([]byte) error { return nil })
	require.ErrorContains(t, err, "gives nothing of it")

	r := newTestRoom(t, policy.DigestOf([]byte("charter 1")), roomOptions{store: s})
	t.Cleanup(func() { _ = r.journal.close() })
	require.NoError(t, r.follow(t.Context()))
	require.ErrorContains(t, r.known().doubt, "gives nothing of it")
}

// pagesKV notes how large what it gave at once was.
type pagesKV struct {
	clientv3.KV
	values []int
	bytes  []int
}

func (k *pagesKV) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	r, err := k.KV.Get(ctx, key, opts...)
	if err == nil {
		size := 0
		for _, kv := range r.Kvs {
			size += len(kv.Value)
		}
		k.values, k.bytes = append(k.values, len(r.Kvs)), append(k.bytes, size)
	}
	return r, err
}

// However large the batches of a log are, it is read by about a MiB, and a log of
// small ones in as few pages as it may be.
func TestALogIsReadInPagesOfOneSize(t *testing.T) {
	emptyLog(t)
	s := openLog(t, house.store)
	const small, large = 100, 8
	for n := range small + large {
		size := 100
		if n >= small {
			size = 300 << 10
		}
		_, err := s.c.Put(t.Context(), ledger.Key(uint64(n+1)), strings.Repeat("x", size))
		require.NoError(t, err)
	}
	kv := &pagesKV{KV: s.c.KV}
	s.c.KV = kv
	read := 0
	require.NoError(t, s.after(t.Context(), 0, func([]byte) error { read++; return nil }))
	require.Equal(t, small+large, read, "batches")
	require.Equal(t, []int{2, 32, 32, 32}, kv.values[:4])
	kv.bytes, kv.values = nil, nil
	require.NoError(t, s.after(t.Context(), small, func([]byte) error { return nil }))
	for n, size := range kv.bytes {
		require.LessOrEqual(t, size, pageBytes, "page %d", n)
	}
	require.Equal(t, 3, kv.values[1])
}
