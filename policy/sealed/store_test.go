package sealed

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/policy"
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
