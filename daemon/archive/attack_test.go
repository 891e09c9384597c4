package archive_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/archive"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// Somebody with the disk writes into a block's file that a thing had changed before it was archived, and leaves its
// line out: it left the store long ago, and would be unknown from here on.
func TestAttack_AFileSaysThatAThingNeverCameIntoIt(t *testing.T) {
	t.Parallel()
	s, dir, a, f := alone(t)
	a.shelf.write(1, time.Now().Add(-time.Hour))
	a.round(f)
	require.Equal(t, "archive", a.get(1))
	a.Close()
	path := filepath.Join(dir, "00000000000000000001.jsonl.gz")
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	z, err := gzip.NewReader(bufio.NewReader(bytes.NewReader(file)))
	require.NoError(t, err)
	z.Multistream(false)
	head, err := io.ReadAll(z)
	require.NoError(t, err)
	raw, _, _ := bytes.Cut(head, []byte{'\n'})
	var out bytes.Buffer
	for _, part := range []string{string(raw) + "\n[\"" + id(1) + "\"]\n", ""} {
		w := gzip.NewWriter(&out)
		_, err := w.Write([]byte(part))
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	require.NoError(t, os.WriteFile(path, out.Bytes(), 0o600))
	b := mustOpen(t, s, dir)
	defer b.Close()
	require.ErrorIs(t, b.Check(t.Context()), archive.ErrDamaged)
	_, ok, err := b.Get(id(1))
	require.False(t, !ok && err == nil, "a thing of the archive is answered as one that never was")
}

// The newest file is gone. Until it was held to what the store says, nobody knows whether something is missing.
func TestAttack_AFileIsGoneAndTheFirstQuestionIsAnswered(t *testing.T) {
	t.Parallel()
	s, dir, a, f := alone(t)
	a.shelf.write(1, time.Now().Add(-time.Hour))
	a.round(f)
	a.Close()
	require.NoError(t, os.Remove(filepath.Join(dir, "00000000000000000001.jsonl.gz")))
	b := mustOpen(t, s, dir)
	defer b.Close()
	_, ok, err := b.Get(id(1))
	require.False(t, !ok && err == nil, "a thing of the archive is answered as one that never was")
	require.Error(t, b.Whole())
}

// A key is written beside the guard and not with it, as a courier's receipt is, after the block was ordered: no disk
// has it, and it must not leave the store.
func TestWhatNoDiskHasStaysInTheStore(t *testing.T) {
	t.Parallel()
	s, _, a, f := alone(t)
	defer a.Close()
	a.shelf.write(1, time.Now().Add(-time.Hour))
	require.NoError(t, a.Order(t.Context(), f))
	tx := s.Tx()
	tx.Put(things+id(1)+"/text", []byte("1 is a number, and was delivered"))
	_, err := tx.Commit(t.Context())
	require.NoError(t, err)
	require.NoError(t, a.Collect(t.Context()))
	require.NoError(t, a.Remove(t.Context(), f))
	require.Contains(t, a.get(1), "store", "no disk has what was written last")
}

// A value that is no text, as the bytes of somebody else's transaction are, holds up nobody else.
func TestBytesAreArchivedToo(t *testing.T) {
	t.Parallel()
	s, _, a, f := alone(t)
	defer a.Close()
	a.shelf.write(1, time.Now().Add(-time.Hour))
	a.shelf.write(2, time.Now().Add(-time.Hour))
	tx := s.Tx()
	tx.Put(things+id(1)+"/unsigned", []byte{0x02, 0xf8, 0x6c, 0x80, 0xff})
	_, err := tx.Commit(t.Context())
	require.NoError(t, err)
	require.NoError(t, a.Order(t.Context(), f), "else nothing is ever archived again")
	require.NoError(t, a.Collect(t.Context()))
	require.NoError(t, a.Remove(t.Context(), f))
	require.Equal(t, "archive", a.get(2))
	kvs, ok, err := a.Get(id(1))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, []byte{0x02, 0xf8, 0x6c, 0x80, 0xff}, kvs[2].Value)
}

// Something that no transaction could bring back stays where it is, and holds up nobody else.
func TestWhatDoesNotFitHoldsUpNobody(t *testing.T) {
	t.Parallel()
	s, _, a, f := alone(t)
	defer a.Close()
	a.shelf.write(1, time.Now().Add(-time.Hour))
	a.shelf.write(2, time.Now().Add(-time.Hour))
	for from := 0; from < 100; from += 50 {
		tx := s.Tx()
		for n := range 50 {
			tx.Put(fmt.Sprintf("%s%s/x%03d", things, id(1), from+n), []byte("x"))
		}
		_, err := tx.Commit(t.Context())
		require.NoError(t, err)
	}
	for range 2 {
		require.NoError(t, a.Order(t.Context(), f))
		require.NoError(t, a.Collect(t.Context()))
		require.NoError(t, a.Remove(t.Context(), f))
	}
	require.Equal(t, "archive", a.get(2))
	require.EqualValues(t, 102, left(t, s, things+id(1)+"/"))
}

// older is an appliance that was not upgraded yet: what a newer one wrote it cannot read.
type older struct {
	*shelf
	cannot string
}

func (o older) Read(ctx context.Context, id string) (*archive.Item, error) {
	if id == o.cannot {
		return nil, errors.New("unknown member \"newer\"")
	}
	return o.shelf.Read(ctx, id)
}

// One of two appliances cannot read a thing: what it does not have on its disk does not leave the store.
func TestAttack_WhatOneApplianceCannotReadLeavesTheStore(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	all := []string{"one", "two"}
	one := mustOpen(t, s, filepath.Join(t.TempDir(), "one"), all...)
	defer one.Close()
	h := older{&shelf{t: t, store: s, archived: map[string]string{}}, id(1)}
	two, err := archive.Open(s, archive.Options{Name: "thing", Dir: filepath.Join(t.TempDir(), "two"), Appliance: "two", Appliances: func() []string { return all },
		Retention: time.Second, Source: h}, storetest.Logger(t), nil)
	require.NoError(t, err)
	defer two.Close()
	f := fence(t, s)
	one.shelf.write(1, time.Now().Add(-time.Hour))
	one.shelf.write(2, time.Now().Add(-time.Hour))
	require.NoError(t, one.Order(t.Context(), f))
	require.NoError(t, one.Collect(t.Context()))
	require.ErrorContains(t, two.Collect(t.Context()), id(1))
	require.NoError(t, one.Remove(t.Context(), f))
	_, ok, err := two.Get(id(1))
	require.NoError(t, err)
	require.True(t, ok || left(t, s, things+id(1)+"/") > 0, "it left the store, and appliance two has no copy")
}

// The directory is another instance's, as long as ours was told to be, while a block waits to be taken over: nothing of
// it is answered.
func TestAttack_AnotherInstancesArchive(t *testing.T) {
	t.Parallel()
	ours, theirs := storetest.Start(t).Open(store.UserServe), storetest.Start(t).Open(store.UserServe)
	dirs := map[*store.Store]string{}
	for n, s := range []*store.Store{ours, theirs} {
		dirs[s] = filepath.Join(t.TempDir(), "one")
		a := mustOpen(t, s, dirs[s])
		f := fence(t, s)
		a.shelf.write(1+n, time.Now().Add(-time.Hour))
		require.NoError(t, a.Order(t.Context(), f))
		require.NoError(t, a.Collect(t.Context()))
		require.NoError(t, a.Remove(t.Context(), f))
		if s == ours {
			a.shelf.write(3, time.Now().Add(-time.Hour))
			require.NoError(t, a.Order(t.Context(), f))
		}
		a.Close()
	}
	a := mustOpen(t, ours, dirs[theirs])
	defer a.Close()
	require.ErrorIs(t, a.Check(t.Context()), archive.ErrDamaged)
	_, _, err := a.Get(id(2))
	require.Error(t, err, "a thing of another instance is answered as ours")
}
