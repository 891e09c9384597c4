package store_test

import (
	"context"
	"errors"
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

// Many who read at once share requests, and each is told what stood there after he asked: what he wrote himself just
// before, and nothing of others.
func TestReadsTogetherAreEachTheirOwn(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	s, err := store.Open(t.Context(), storetest.Start(t).InProcess(store.UserServe), storetest.Logger(t), reg)
	require.NoError(t, err)
	defer func() { _ = s.Close() }()
	const lookers, rounds = 192, 4 // more than one request takes
	before := reads(t, reg)
	for round := range rounds {
		var all sync.WaitGroup
		for n := range lookers {
			all.Go(func() {
				key, value := fmt.Sprintf("/mw/token/%d-%d", round, n), fmt.Sprint(n)
				if v, rev, there, err := s.Get(t.Context(), key); v != nil || rev != 0 || there || err != nil {
					t.Errorf("%s is there before it was written: %q at %d, %t, %v", key, v, rev, there, err)
				}
				tx := s.Tx()
				tx.PutIfAbsent(key, []byte(value))
				at, err := tx.Commit(t.Context())
				if err != nil {
					t.Error(err)
				}
				if v, rev, there, err := s.Get(t.Context(), key); err != nil || !there || string(v) != value || rev != at {
					t.Errorf("%s: %q at %d, %t, %v; want %q at %d", key, v, rev, there, err, value, at)
				}
			})
		}
		all.Wait()
	}
	require.Less(t, reads(t, reg)-before, uint64(2*lookers*rounds), "as many requests as there were questions")
}

// Who gives up, or may not read what he asks for, takes nobody along.
func TestAReadThatEndsBadlySpoilsNoOther(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t)
	var all sync.WaitGroup
	for n := range 128 {
		all.Go(func() {
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			key := fmt.Sprintf("/mw/token/%d", n)
			switch n % 4 {
			case 0:
				leave()
			case 1:
				key = "/not/serve's/to/read"
			}
			_, _, there, err := s.Get(ctx, key)
			if there || (err != nil) != (n%4 < 2) {
				t.Errorf("%d: %t, %v", n, there, err)
			}
			if n%4 == 1 && (errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.Canceled)) {
				t.Errorf("a refusal is told as %v", err)
			}
		})
	}
	all.Wait()
}
