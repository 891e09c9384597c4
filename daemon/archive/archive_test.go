package archive_test

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/archive"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

const things = "/mw/thing/"

// shelf is a source: things are numbers with a state that says whether they are over, and a text beside it.
type shelf struct {
	t     testing.TB
	store *store.Store

	mu       sync.Mutex
	archived map[string]string // summaries by id
}

type state struct {
	Over time.Time `json:"over,omitzero"`
	N    int       `json:"n"`
}

func id(n int) string { return fmt.Sprintf("thing_%04d", n) }

func name(n int) string { return "number " + strconv.Itoa(n) }

// write makes a thing that was over at a moment, or is not if that is zero.
func (s *shelf) write(n int, over time.Time) {
	s.t.Helper()
	b, err := json.Marshal(state{over, n})
	require.NoError(s.t, err)
	tx := s.store.Tx()
	tx.Put(things+id(n)+"/state", b)
	tx.Put(things+id(n)+"/text", fmt.Appendf(nil, "%d is a number; %s", n, strings.Repeat("etc. ", 50)))
	tx.Put("/mw/thingname/"+name(n), []byte(id(n)))
	_, err = tx.Commit(s.t.Context())
	require.NoError(s.t, err)
}

func (s *shelf) Due(ctx context.Context, before time.Time, n int) (due []archive.Due, err error) {
	for kv, err := range s.store.All(ctx, things, nil) {
		if err != nil {
			return nil, err
		}
		key, ok := strings.CutSuffix(strings.TrimPrefix(kv.Key, things), "/state")
		var v state
		if !ok {
			continue
		}
		if err := json.Unmarshal(kv.Value, &v); err != nil {
			return nil, err
		}
		if !v.Over.IsZero() && v.Over.Before(before) && len(due) < n {
			due = append(due, archive.Due{ID: key, Over: v.Over})
		}
	}
	return due, nil
}

func (s *shelf) Read(ctx context.Context, id string) (*archive.Item, error) {
	p, err := s.store.List(ctx, things+id+"/", store.ListOptions{})
	if err != nil {
		return nil, err
	}
	if len(p.KVs) == 0 {
		return nil, archive.ErrGone
	}
	var v state
	if err := json.Unmarshal(p.KVs[0].Value, &v); err != nil {
		return nil, err
	}
	if v.Over.IsZero() {
		return nil, nil
	}
	return &archive.Item{ID: id, Summary: jsontext.Value(strconv.Itoa(v.N)), Names: []string{name(v.N)}, Guard: p.KVs[0].Key,
		Revision: p.KVs[0].ModRevision, Keys: p.KVs, Derived: []string{"/mw/thingname/" + name(v.N)}}, nil
}

func (s *shelf) Archived(id string, summary jsontext.Value) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.archived[id] = string(summary)
	return nil
}

// appliance is an archive, and the shelf it is of.
type appliance struct {
	*archive.Archive
	shelf *shelf
	dir   string
}

func open(t testing.TB, s *store.Store, dir string, all ...string) (*appliance, error) {
	t.Helper()
	if len(all) == 0 {
		all = []string{filepath.Base(dir)}
	}
	h := &shelf{t: t, store: s, archived: map[string]string{}}
	a, err := archive.Open(s, archive.Options{Name: "thing", Dir: dir, Appliance: filepath.Base(dir), Appliances: func() []string { return all },
		Retention: time.Second, Source: h}, storetest.Logger(t), nil)
	return &appliance{a, h, dir}, err
}

func mustOpen(t testing.TB, s *store.Store, dir string, all ...string) *appliance {
	t.Helper()
	a, err := open(t, s, dir, all...)
	require.NoError(t, err)
	return a
}

// get looks as everybody does: into the store, then into the archive.
func (a *appliance) get(n int) (where string) {
	t := a.shelf.t
	t.Helper()
	var found []string
	p, err := a.shelf.store.List(t.Context(), things+id(n)+"/", store.ListOptions{})
	require.NoError(t, err)
	kvs := p.KVs
	if len(kvs) > 0 {
		found = append(found, "store")
	}
	archived, ok, err := a.Get(id(n))
	require.NoError(t, err)
	if ok {
		found = append(found, "archive")
		if len(kvs) == 0 {
			kvs = archived
		}
	}
	require.Len(t, kvs, 2, "thing %d is whole nowhere", n)
	require.Contains(t, string(kvs[1].Value), fmt.Sprintf("%d is a number", n))
	return strings.Join(found, "+")
}

func fence(t testing.TB, s *store.Store) *store.Fence {
	t.Helper()
	f, err := s.Fence(soon(t), "archivist/thing")
	require.NoError(t, err)
	return f
}

// alone is the one appliance of a new store, with the right to archive.
func alone(t testing.TB) (s *store.Store, dir string, a *appliance, f *store.Fence) {
	t.Helper()
	s, dir = storetest.Open(t), filepath.Join(t.TempDir(), "one")
	return s, dir, mustOpen(t, s, dir), fence(t, s)
}

// round is all that becomes of one block.
func (a *appliance) round(f *store.Fence) {
	t := a.shelf.t
	t.Helper()
	require.NoError(t, a.Order(t.Context(), f))
	require.NoError(t, a.Collect(t.Context()))
	require.NoError(t, a.Remove(t.Context(), f))
}

func run(t testing.TB, a *appliance) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done; a.Close() }) }
	t.Cleanup(stop)
	return stop
}

func left(t testing.TB, s *store.Store, prefix string) int64 {
	t.Helper()
	n, err := s.Count(t.Context(), prefix)
	require.NoError(t, err)
	return n
}

// patience is how long a test waits for what a busy machine may take its time for.
const patience = 3 * time.Minute

// soon ends what a test waits for, well before the test's own end.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func until(t testing.TB, f func() bool) {
	t.Helper()
	require.Eventually(t, f, patience, 20*time.Millisecond)
}

// What is over leaves the store once both appliances have it, and both find it, by id and by name, also after a
// start; what is not over stays.
func TestWhatIsOverMovesToEveryDisk(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	all := []string{"one", "two"}
	one := mustOpen(t, s, filepath.Join(t.TempDir(), "one"), all...)
	const want = 230
	long := time.Now().Add(-time.Hour)
	for n := range want {
		one.shelf.write(n, long)
	}
	one.shelf.write(want, time.Time{})
	stop := run(t, one)
	until(t, func() bool { _, ok, err := one.Get(id(99)); return ok && err == nil })
	require.EqualValues(t, 2*(want+1), left(t, s, things), "one of two appliances has no copy")
	two := mustOpen(t, srv.Open(store.UserServe), filepath.Join(t.TempDir(), "two"), all...)
	run(t, two)
	until(t, func() bool { return left(t, s, things) == 2 })
	require.EqualValues(t, 1, left(t, s, "/mw/thingname/"))
	until(t, func() bool { return left(t, s, "/mw/archive/thing/block/") == 1 }) // the newest one says where the order is
	stop()
	one = mustOpen(t, s, one.dir, all...)
	t.Cleanup(one.Close)
	require.NoError(t, one.Check(t.Context()))
	for _, a := range []*appliance{one, two} {
		a.shelf.t = t
		for n := range want {
			require.Equal(t, "archive", a.get(n))
		}
		require.Equal(t, "store", a.get(want))
		is, ok, err := a.Named(name(7))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, id(7), is)
		a.shelf.mu.Lock()
		require.Len(t, a.shelf.archived, want)
		require.Equal(t, "41", a.shelf.archived[id(41)])
		a.shelf.mu.Unlock()
	}
	// Both disks hold the same.
	files, err := filepath.Glob(filepath.Join(one.dir, "*.gz"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	for _, f := range files {
		a, err := os.ReadFile(f)
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(two.dir, filepath.Base(f)))
		require.NoError(t, err)
		require.Equal(t, a, b)
	}
	p, err := s.List(t.Context(), store.AuditPending, store.ListOptions{})
	require.NoError(t, err)
	require.Len(t, p.KVs, 3, "each block stands in the audit log")
}

// The process dies after each step: whoever comes next goes on, and at each moment everything is found.
func TestDiesAfterEachStep(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t)
	dir := filepath.Join(t.TempDir(), "one")
	a := mustOpen(t, s, dir)
	defer func() { a.Close() }()
	long := time.Now().Add(-time.Hour)
	for n := range 5 {
		a.shelf.write(n, long)
	}
	f := fence(t, s)
	again := func() { // a new process on the same disk and store
		t.Helper()
		a.Close()
		a = mustOpen(t, s, dir)
		require.NoError(t, a.Check(t.Context()))
	}
	is := func(where string) {
		t.Helper()
		for n := range 5 {
			require.Equal(t, where, a.get(n))
		}
	}
	began := func() bool {
		t.Helper()
		began, err := archive.Began(t.Context(), s, "thing")
		require.NoError(t, err)
		return began
	}
	require.False(t, began())
	require.NoError(t, a.Order(t.Context(), f))
	again()
	is("store")
	require.NoError(t, a.Remove(t.Context(), f))
	is("store") // nobody has it yet
	// The block is on the disk, and the store was not told: that is how a death in between leaves it.
	require.NoError(t, a.Collect(t.Context()))
	tx := s.Tx()
	tx.Delete("/mw/archive/thing/have/one")
	_, err := tx.Commit(t.Context())
	require.NoError(t, err)
	again()
	is("store+archive")
	require.NoError(t, a.Remove(t.Context(), f))
	is("store+archive")
	require.NoError(t, a.Collect(t.Context())) // tells it
	// What changes now stays in the store, newer than what is archived.
	a.shelf.write(2, time.Time{})
	require.NoError(t, a.Remove(t.Context(), f))
	// Things have left, and nobody noted so: whoever starts without the directory is told all the same.
	tx = s.Tx()
	tx.Delete("/mw/archive/thing/done")
	_, err = tx.Commit(t.Context())
	require.NoError(t, err)
	again()
	require.Equal(t, "store+archive", a.get(2))
	require.Equal(t, "archive", a.get(3))
	require.True(t, began())
	require.NoError(t, a.Remove(t.Context(), f))
	// It is over again, and its later block counts; a file that was being written is none.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "00000000000000000002.jsonl.gz.new"), []byte("half"), 0o600))
	a.shelf.write(2, long)
	require.NoError(t, a.Order(t.Context(), f))
	again()
	require.NoError(t, a.Collect(t.Context()))
	require.NoError(t, a.Remove(t.Context(), f))
	again()
	is("archive")
	require.EqualValues(t, 1, left(t, s, "/mw/archive/thing/block/"))
}

// Two appliances die at any moment, again and again, while everything leaves: whatever each was about, the next life
// finds everything, and goes on until nothing is left in the store.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	all := []string{"one", "two"}
	dirs := []string{filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")}
	const want = 330
	writer := &shelf{t: t, store: s}
	long := time.Now().Add(-time.Hour)
	for n := range want {
		writer.write(n, long)
	}
	f := fence(t, s) // the right to archive outlives the deaths: nobody waits for its lease
	open := func(dir string) *appliance {
		t.Helper()
		a := mustOpen(t, s, dir, all...)
		require.NoError(t, a.Check(t.Context()))
		return a
	}
	moment := time.Millisecond
	for life := 0; left(t, s, things) > 0; life++ {
		require.Less(t, life, 300)
		for _, dir := range dirs {
			a := open(dir)
			ctx, die := context.WithTimeout(t.Context(), rand.N(moment))
			for ctx.Err() == nil && a.Collect(ctx) == nil && a.Remove(ctx, f) == nil && a.Order(ctx, f) == nil && left(t, s, things) > 0 {
			}
			die()
			a.Close()
			a = open(dir)
			for range 10 {
				a.get(rand.N(want))
			}
			a.Close()
		}
		moment += moment/8 + time.Millisecond // one life gets further than another
	}
	for _, dir := range dirs {
		a := open(dir)
		for n := range want {
			require.Equal(t, "archive", a.get(n))
		}
		a.Close()
	}
}

// The disk is damaged between the word that a block is on it and the removal: this appliance removes nothing by that
// word, and starts all the same.
func TestADamagedDiskLetsNothingLeaveTheStore(t *testing.T) {
	t.Parallel()
	s, dir, a, f := alone(t)
	a.shelf.write(1, time.Now().Add(-time.Hour))
	require.NoError(t, a.Order(t.Context(), f))
	require.NoError(t, f.Release(t.Context()))
	require.NoError(t, a.Collect(t.Context()))
	_, told, _, err := s.Get(t.Context(), "/mw/archive/thing/have/one")
	require.NoError(t, err)
	a.Close()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "00000000000000000001.jsonl.gz"), []byte("zeroes"), 0o600))
	changes := s.Watch(soon(t), f.Key(), told+1)
	b := mustOpen(t, s, dir)
	run(t, b)
	require.NoError(t, b.Ready(soon(t)))
	require.ErrorIs(t, b.Whole(), archive.ErrDamaged)
	for given := false; !given; { // it had the right to archive, and gave it back
		c, open := <-changes
		require.True(t, open, "the right to archive is not given back")
		require.NoError(t, c.Err)
		given = slices.ContainsFunc(c.Events, func(e store.Event) bool { return e.Deleted })
	}
	require.EqualValues(t, 2, left(t, s, things))
	_, _, err = b.Get(id(1))
	require.ErrorIs(t, err, archive.ErrDamaged)
}

// Whoever changes a file, takes one away or brings another is found out.
func TestAttack_ATamperedArchive(t *testing.T) {
	t.Parallel()
	s, dir, a, f := alone(t)
	for block := range 2 {
		a.shelf.write(block, time.Now().Add(-time.Hour))
		require.NoError(t, a.Order(t.Context(), f))
		require.NoError(t, a.Collect(t.Context()))
		require.NoError(t, a.Remove(t.Context(), f))
	}
	a.Close()
	path := filepath.Join(dir, "00000000000000000002.jsonl.gz")
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	for at := range good {
		bad := slices.Clone(good)
		bad[at] ^= 0x10
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		b := mustOpen(t, s, dir) // whoever is damaged starts all the same, and says so
		if err := b.Check(t.Context()); err != nil {
			require.ErrorIs(t, err, archive.ErrDamaged)
			require.ErrorIs(t, b.Whole(), archive.ErrDamaged)
		}
		if kvs, ok, err := b.Get(id(1)); err == nil {
			require.True(t, ok)
			require.Contains(t, string(kvs[1].Value), "1 is a number", "a changed byte %d changed an answer", at)
		} else {
			require.ErrorIs(t, err, archive.ErrDamaged)
		}
		b.Close()
	}
	// The newest file is gone: what is not found may have been in it.
	require.NoError(t, os.Remove(path))
	b := mustOpen(t, s, dir)
	run(t, b)
	require.NoError(t, b.Ready(soon(t)))
	require.ErrorIs(t, b.Whole(), archive.ErrIncomplete)
	_, _, err = b.Get(id(1))
	require.ErrorIs(t, err, archive.ErrIncomplete)
}
