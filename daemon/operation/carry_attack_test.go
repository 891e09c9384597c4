package operation

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/archive"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// archiving is a service that has nothing but a store and an archive.
func archiving(t *testing.T, dir string) *Service {
	t.Helper()
	st := storetest.Open(t)
	s := &Service{store: st, log: storetest.Logger(t), now: time.Now, index: newIndex(st, storetest.Logger(t))}
	require.NoError(t, s.openArchive(Archive{Dir: dir, Appliance: "one", Retention: time.Hour}, nil))
	return s
}

// unheard is a batch with a record of an operation that there never was, as any single approver can have one made.
func (s *Service) unheard(ctx context.Context) error {
	return s.carryRecord(ctx, store.NewID(IDPrefix), carried{record: &ledger.Record{}, batch: &ledger.Batch{Sequence: 7}, index: 1})
}

// One approver has a decision recorded on an operation that there never was, and the appliance starts again: whether
// the archive has it is found out while the ledger is carried, not after.
func TestAttack_ADecisionOnNothingAndAStart(t *testing.T) {
	t.Parallel()
	s := archiving(t, t.TempDir())
	require.ErrorIs(t, s.unheard(t.Context()), store.ErrUnavailable, "nobody knows yet")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.KeepArchive(ctx) }()
	require.NoError(t, s.archive.Ready(t.Context()))
	require.NoError(t, s.unheard(t.Context()))
	stop()
	require.NoError(t, <-done)
}

// The same where the archive's disk is damaged, or lost what it had: freezes and charters are seen all the same.
func TestAttack_ADecisionOnNothingAndADamagedArchive(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		harm func(t *testing.T, s *store.Store, dir string)
		want error
	}{
		{"damaged", func(t *testing.T, _ *store.Store, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "00000000000000000001.jsonl.gz"), []byte("zeroes"), 0o600))
		}, archive.ErrDamaged},
		{"lost", func(t *testing.T, s *store.Store, _ string) {
			tx := s.Tx()
			tx.Put("/mw/archive/operation/have/one", []byte(`{"format":1,"blocks":3,"head":"sha256:00"}`))
			_, err := tx.Commit(t.Context())
			require.NoError(t, err)
		}, archive.ErrIncomplete},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			first := archiving(t, dir)
			first.archive.Close()
			c.harm(t, first.store, dir)
			s := &Service{store: first.store, log: first.log, now: time.Now, index: first.index}
			require.NoError(t, s.openArchive(Archive{Dir: dir, Appliance: "one", Retention: time.Hour}, nil))
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.KeepArchive(ctx) }()
			require.NoError(t, s.archive.Ready(t.Context()))
			require.ErrorIs(t, s.archive.Whole(), c.want)
			require.NoError(t, s.unheard(t.Context()))
			stop()
			require.NoError(t, <-done)
		})
	}
}
