package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/disk"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/policy"
)

// Things leave the store for the disk one after the other, all the time that a backup is taken. It comes to an end, and
// each of them is in it: on the disk or in the store.
func TestABackupUnderSteadyArchiving(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t)
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "things"), 0o700))
	const all = 4000
	for from := 0; from < all; from += store.MaxTxOps {
		tx := s.Tx()
		for n := range store.MaxTxOps {
			tx.Put(fmt.Sprintf("/mw/thing/%05d", from+n), []byte("thing"))
		}
		_, err := tx.Commit(t.Context())
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var archiving sync.WaitGroup
	moved := make(chan struct{})
	archiving.Go(func() {
		for n := 0; n < all && ctx.Err() == nil; n++ {
			name := fmt.Sprintf("things/%05d", n)
			if err := disk.Write(dir, map[string][]byte{name: []byte("thing")}); err != nil {
				t.Error(err)
				return
			}
			tx := s.Tx()
			tx.Delete(fmt.Sprintf("/mw/thing/%05d", n))
			tx.Put(archives+"thing/done", fmt.Append(nil, n))
			if _, err := tx.Commit(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
			if n == 10 {
				close(moved)
			}
		}
	})
	defer archiving.Wait()
	defer cancel()
	<-moved
	out, err := os.Create(filepath.Join(t.TempDir(), "backup"))
	require.NoError(t, err)
	defer func() { _ = out.Close() }()
	w := newWriter(out, time.Now())
	d, err := openAudit(dir)
	require.NoError(t, err)
	defer d.close()
	require.NoError(t, w.auditFiles(d))
	a, m := &Appliance{Store: s}, &Manifest{Format: policy.Format}
	tries := 0
	for {
		_, err := a.rows(t.Context(), w, d, m)
		if tries++; errors.Is(err, errMoved) && tries < takeTries {
			continue
		}
		require.ErrorContains(t, err, "no ledger", "after %d tries", tries) // it came to the end of the rows
		break
	}
	require.NoError(t, w.end(m))
	t.Logf("%d tries", tries)
	b, err := Open(out.Name())
	require.NoError(t, err)
	defer func() { _ = b.Close() }()
	found := map[string]bool{}
	_, _ = b.walk(visit{ // its manifest says nothing, and is refused in the end
		file: func(_, name string, _ int64, _ io.Reader) error {
			require.False(t, found["disk "+name], "%s stands twice in it", name)
			found["disk "+name] = true
			return nil
		},
		row: func(_, key string, _ []byte) error {
			found["store "+strings.TrimPrefix(key, "/mw/thing/")] = true
			return nil
		}})
	for n := range all {
		if id := fmt.Sprintf("%05d", n); !found["disk things/"+id] && !found["store "+id] {
			t.Errorf("%s is neither in the store nor on the disk", id)
		}
	}
}

// The file of entries that grows is taken as far as it was when the store was last looked at, once, and what came before
// it whole.
func TestABackupOfEntriesThatGrow(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t)
	dir := t.TempDir()
	put := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, entriesDir), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, entriesDir, name), []byte(text), 0o600))
	}
	put("1.jsonl", "1\n")
	out, err := os.Create(filepath.Join(t.TempDir(), "backup"))
	require.NoError(t, err)
	defer func() { _ = out.Close() }()
	w := newWriter(out, time.Now())
	d, err := openAudit(dir)
	require.NoError(t, err)
	defer d.close()
	require.NoError(t, w.auditFiles(d))
	put("1.jsonl", "1\n2\n")
	put("3.jsonl", "3\n")
	tx := s.Tx()
	tx.Put("/mw/some", nil)
	_, err = tx.Commit(t.Context())
	require.NoError(t, err)
	m := &Manifest{Format: policy.Format}
	_, err = (&Appliance{Store: s}).rows(t.Context(), w, d, m)
	require.ErrorContains(t, err, "no ledger")
	require.NoError(t, w.end(m))
	b, err := Open(out.Name())
	require.NoError(t, err)
	defer func() { _ = b.Close() }()
	got := map[string]string{}
	_, _ = b.walk(visit{file: func(_, name string, _ int64, r io.Reader) error {
		text, err := io.ReadAll(r)
		got[name] += string(text)
		return err
	}})
	require.Equal(t, map[string]string{"entries/1.jsonl": "1\n2\n", "entries/3.jsonl": "3\n"}, got)
}
