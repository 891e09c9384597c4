package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// copyDir is where the copy of the tests' instance lies.
func (a *appliance) copyDir() string { return filepath.Join(a.dir, "state", "mintwarden", "dev-1") }

func TestCopyFollows(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	require.Equal(t, exitDone, mintwarden(t, "charter", "show").code)
	for n := range 450 { // more than two pages
		w.commit(w.filler(n))
	}
	a.values = w.values
	got := mintwarden(t, "wallet", "list", "--json")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, wallet(2).Address.String())
	h, err := readHead(a.copyDir())
	require.NoError(t, err)
	require.EqualValues(t, len(w.values), h.Sequence)
	for _, name := range []string{headFile, ledgerFile, lockFile} {
		info, err := os.Stat(filepath.Join(a.copyDir(), name))
		require.NoError(t, err)
		require.EqualValues(t, 0o600, info.Mode().Perm(), name)
	}
	info, err := os.Stat(a.copyDir())
	require.NoError(t, err)
	require.EqualValues(t, 0o700, info.Mode().Perm())
}

// TestCopyRefuses: what is served does not go on from what was seen, or does
// not hold in itself. Nothing of it is stored.
func TestCopyRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		lie  func(*appliance)
		says string
	}{
		{"shorter", func(a *appliance) { a.values = a.w.values[:3] }, "ends at batch 3"},
		{"empty", func(a *appliance) { a.values = nil }, "ends at batch 0"},
		{"forked at the head", func(a *appliance) {
			other := fork(a.w, 3)
			other.commit(other.filler(7))
			a.values = other.values
		}, "another ledger"},
		{"forked and longer", func(a *appliance) {
			other := fork(a.w, 3)
			other.commit(other.filler(7))
			other.commit(other.filler(8))
			a.values = other.values
		}, "another ledger"},
		{"a false digest of the head", func(a *appliance) {
			a.head = &client.LedgerHead{Sequence: 4, Hash: string(policy.NoDigest)}
		}, "another ledger"},
		{"a head that is not served", func(a *appliance) {
			a.head = &client.LedgerHead{Sequence: 9, Hash: string(policy.NoDigest)}
		}, "serves none behind 4"},
		{"a hole", func(a *appliance) {
			a.w.commit(a.w.filler(1))
			a.w.commit(a.w.filler(2))
			a.values = slices.Delete(slices.Clone(a.w.values), 4, 5)
		}, "another ledger"},
		{"a changed byte", func(a *appliance) {
			a.w.commit(a.w.filler(1))
			a.values = slices.Clone(a.w.values)
			a.values[4] = []byte(strings.Replace(string(a.values[4]), "nothing", "notting", 1))
		}, "does not verify"},
		{"a batch that is not canonical", func(a *appliance) {
			a.w.commit(a.w.filler(1))
			a.values = slices.Clone(a.w.values)
			a.values[4] = append([]byte(" "), a.values[4]...)
		}, "does not verify"},
		{"a batch that breaks a rule", func(a *appliance) {
			a.values = append(slices.Clone(a.w.values), a.w.value(ledger.Record{Wallet: wallet(1)}))
		}, "recorded already"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.commit(w.filler(0))
			a := serve(t, w)
			require.Equal(t, exitDone, mintwarden(t, "charter", "show").code)
			before := stored(t, a)
			tt.lie(a)
			got := mintwarden(t, "wallet", "list")
			require.Equal(t, exitUnverified, got.code, got.err)
			require.Contains(t, got.err, tt.says)
			require.Empty(t, got.out)
			require.Equal(t, before, stored(t, a))
		})
	}
}

// fork is another ledger that has the first n batches of w.
func fork(w *world, n int) *world {
	other := &world{t: w.t, root: w.root, now: w.now, fold: ledger.NewFold(w.root), values: slices.Clone(w.values[:n])}
	for _, v := range other.values {
		_, err := other.fold.Apply(v)
		require.NoError(w.t, err)
	}
	return other
}

func stored(t *testing.T, a *appliance) string {
	t.Helper()
	var all string
	for _, name := range []string{headFile, ledgerFile} {
		b, err := os.ReadFile(filepath.Join(a.copyDir(), name))
		require.NoError(t, err)
		all += string(b)
	}
	return all
}

func TestCopyOfAnotherCharter(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	got := mintwarden(t, "charter", "show", "--charter1", string(policy.DigestOf([]byte("another"))))
	require.Equal(t, exitUnverified, got.code, got.err)
	require.Contains(t, got.err, "does not begin with charter 1")

	// Another instance of the same name does not take the place of the first.
	require.Equal(t, exitDone, mintwarden(t, "charter", "show").code)
	other := newWorld(t, func(c *policy.Charter) { c.TenantID = "other" })
	a.values = other.values
	got = mintwarden(t, "charter", "show", "--charter1", string(other.root))
	require.Equal(t, exitUnverified, got.code, got.err)
	require.Contains(t, got.err, "copy of an instance with charter 1 "+string(w.root))
}

// TestCopyOnDisk: what a crash leaves is cut off, what somebody changed is refused.
func TestCopyOnDisk(t *testing.T) {
	for _, tt := range []struct {
		name string
		harm func(t *testing.T, dir string)
		code int
	}{
		{"an append without its head", func(t *testing.T, dir string) {
			f, err := os.OpenFile(filepath.Join(dir, ledgerFile), os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteString(`{"author":"appl`)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}, exitDone},
		{"a head that was not renamed", func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, headFile+".new"), []byte(`{"for`), 0o600))
		}, exitDone},
		{"no head yet", func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, headFile))) }, exitDone},
		{"a changed byte", func(t *testing.T, dir string) {
			rewrite(t, dir, ledgerFile, `"network":"quantum`, `"network":"quantun`)
		}, exitUnverified},
		{"a ledger cut short", func(t *testing.T, dir string) { require.NoError(t, os.Truncate(filepath.Join(dir, ledgerFile), 100)) }, exitUnverified},
		{"another head", func(t *testing.T, dir string) { rewrite(t, dir, headFile, `"sequence":3`, `"sequence":2`) }, exitUnverified},
		{"a head of a later version", func(t *testing.T, dir string) { rewrite(t, dir, headFile, `"format":1`, `"format":2`) }, exitUnverified},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a := serve(t, w)
			require.Equal(t, exitDone, mintwarden(t, "charter", "show").code)
			sound := stored(t, a)
			tt.harm(t, a.copyDir())
			got := mintwarden(t, "charter", "show")
			require.Equal(t, tt.code, got.code, got.err)
			if tt.code == exitDone {
				require.Equal(t, sound, stored(t, a))
			} else {
				require.Contains(t, got.err, "does not verify")
			}
		})
	}
}

func rewrite(t *testing.T, dir, name, old, with string) {
	t.Helper()
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(b), old)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(b), old, with, 1)), 0o600))
}

func TestCopyIsLocked(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	var all sync.WaitGroup
	codes := make([]result, 8)
	for n := range codes {
		all.Go(func() { codes[n] = mintwarden(t, "wallet", "list") })
	}
	all.Wait()
	for _, r := range codes {
		require.Equal(t, exitDone, r.code, r.err)
	}
	h, err := readHead(a.copyDir())
	require.NoError(t, err)
	require.EqualValues(t, len(w.values), h.Sequence)

	// A command that is interrupted does not wait for the lock for ever.
	lock, err := lockIn(t.Context(), a.copyDir())
	require.NoError(t, err)
	defer lock.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = lockIn(ctx, a.copyDir())
	require.ErrorIs(t, err, context.Canceled)
}
