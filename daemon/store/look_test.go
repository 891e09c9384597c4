package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// reads is how many requests to read a store sent.
func reads(t *testing.T, reg *prometheus.Registry) (n uint64) {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() != "mintwarden_store_request_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == "get" {
				n += m.GetHistogram().GetSampleCount()
			}
		}
	}
	return n
}

// Many who look for their records at once share reads, and each is told what stood there after he asked: what he wrote
// himself just before, and nothing of others.
func TestRecordsLookedForTogetherAreEachTheirOwn(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	s, err := store.Open(t.Context(), storetest.Start(t).InProcess(store.UserServe), storetest.Logger(t), reg)
	require.NoError(t, err)
	defer func() { _ = s.Close() }()
	const lookers, rounds = 192, 4 // more than one read takes
	before := reads(t, reg)
	for round := range rounds {
		var all sync.WaitGroup
		for n := range lookers {
			all.Go(func() {
				hash := fmt.Sprintf("%d-%d", round, n)
				if _, there, err := s.Idempotency(t.Context(), hash); there || err != nil {
					t.Errorf("%s is there before it was written: %v", hash, err)
				}
				tx := s.Tx()
				tx.IdempotentPending(&store.Idempotent{Hash: hash, BodyHash: "body " + hash}, "wallet_1")
				if _, err := tx.Commit(t.Context()); err != nil {
					t.Error(err)
				}
				if r, there, err := s.Idempotency(t.Context(), hash); err != nil || !there || r.BodyHash != "body "+hash {
					t.Errorf("%s: %+v, %t, %v", hash, r, there, err)
				}
			})
		}
		all.Wait()
	}
	require.Less(t, reads(t, reg)-before, uint64(2*lookers*rounds), "as many requests as there were questions")
}

// Who gives up looking takes nobody along.
func TestWhoLeavesALookTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t)
	var all sync.WaitGroup
	for n := range 64 {
		all.Go(func() {
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			if n%2 == 0 {
				leave()
			}
			_, there, err := s.Idempotency(ctx, fmt.Sprint(n))
			if n%2 == 1 && (err != nil || there) {
				t.Errorf("%d: %t, %v", n, there, err)
			}
		})
	}
	all.Wait()
}
