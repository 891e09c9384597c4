package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mintwarden/mintwarden/daemon/disk"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// Files in the seal's state directory that a backup is made of.
const (
	custodyFile = "custody.json" // PINs under a key that is split among the custodians: ciphertext
	archiveDir  = "archive"      // batches that the store let go of
	// maxCustody is larger than a custody.json, in bytes.
	maxCustody = 1 << 20
)

// takeTries bounds how often what moved from the store to the disk meanwhile is read anew. That takes milliseconds,
// whatever there is on the disk; what moves takes longer.
const takeTries = 50

// ErrExists says that there is something of that name already.
var ErrExists = errors.New("it is there already, and is not overwritten")

var errMoved = errors.New("while it was read, things moved from the store to the disk; run it again")

// Appliance is what is backed up, or restored.
type Appliance struct {
	Name     string        // in the charter
	Charter1 policy.Digest // from which the ledger is verified
	Store    *store.Store
	Audit    string // audit.dir; empty: it has none
	State    string // the seal's state directory; empty: left out
}

// Take writes a backup of a running appliance.
func Take(ctx context.Context, a *Appliance, name string) (*Manifest, error) {
	if _, err := os.Lstat(name); err == nil {
		return nil, fmt.Errorf("%s: %w", name, ErrExists)
	}
	// A name of its own: what is there already, a link too, is somebody else's.
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.new")
	if err != nil {
		return nil, err
	}
	temporary := f.Name()
	defer func() {
		_ = f.Close()            // it was synced where it counts
		_ = os.Remove(temporary) // unless it has its name by now
	}()
	if err := a.write(ctx, f); err != nil {
		return nil, err
	}
	written, err := Open(temporary)
	if err != nil {
		return nil, err
	}
	m, err := written.Verify(a.Charter1)
	if err := errors.Join(err, written.Close()); err != nil {
		return nil, err
	}
	if err := rename(temporary, name); err != nil {
		return nil, err
	}
	return m, disk.Sync(filepath.Dir(name))
}

// rename gives a file a name that nothing has.
func rename(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	switch {
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%s: %w", to, ErrExists)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS): // a file system that cannot promise it
		return os.Rename(from, to)
	}
	return err
}

// write writes the file. The disk is read before the store, so that the tree is not ahead of it; if nothing left the
// store between, what the store lacks is in what was read of the disk. Where something left, it is on the disk by then,
// in files that were not there before, or in the one that grows: those are read, and the store is looked at again, until
// nothing left it meanwhile. What is on the disk is read once.
func (a *Appliance) write(ctx context.Context, f *os.File) error {
	w := newWriter(f, time.Now().UTC().Truncate(time.Second))
	d, err := openAudit(a.Audit)
	if err != nil {
		return err
	}
	defer d.close()
	if err := w.auditFiles(d); err != nil {
		return err
	}
	m := &Manifest{Format: policy.Format, Appliance: a.Name, Charter1: a.Charter1, CreatedAt: w.now}
	for try := 1; ; try++ {
		first, err := a.rows(ctx, w, d, m)
		switch {
		case errors.Is(err, errMoved) && try < takeTries:
			continue
		case err != nil:
			return err
		}
		if err := a.archived(w, first); err != nil {
			return err
		}
		if err := a.custody(w); err != nil {
			return err
		}
		return w.end(m)
	}
}

// rows writes what came to the disk since it was read, and every row of the store; first is the ledger's first batch
// there. errMoved: something left the store between, and no row was written.
func (a *Appliance) rows(ctx context.Context, w *writer, d *auditDir, m *Manifest) (first uint64, err error) {
	before, err := a.left(ctx, 0)
	if err != nil {
		return 0, err
	}
	if err := w.more(d); err != nil {
		return 0, err
	}
	begun := false
	for kv, err := range a.Store.Whole(ctx, func(revision int64) { m.Revision = revision }) {
		if err != nil {
			return 0, err
		}
		if !begun {
			after, err := a.left(ctx, m.Revision)
			if err != nil {
				return 0, err
			}
			if !after.equal(before) {
				return 0, errMoved
			}
			if err := w.growing(d); err != nil {
				return 0, err
			}
			begun = true
		}
		if first, err = a.row(w, m, kv, first); err != nil {
			return 0, err
		}
	}
	if first == 0 {
		return 0, errors.New("the store holds no ledger: there is nothing to back up")
	}
	return first, nil
}

// row writes a row of the store, and says which batch of the ledger came first.
func (a *Appliance) row(w *writer, m *Manifest, kv store.KV, first uint64) (uint64, error) {
	if sequence, ok := ledger.ParseKey(kv.Key); ok {
		if first == 0 {
			first = sequence
		}
		m.Ledger = Point{sequence, policy.DigestOf(kv.Value)}
		if sequence == first {
			b, err := ledger.ParseBatch(kv.Value)
			if err != nil {
				return 0, unverified("the store's ledger: batch %d: %w", sequence, err)
			}
			m.Instance = b.Instance
		}
	}
	return first, w.row("store", kv.Key, kv.Value)
}

// archived adds the batches that come before the store's first one.
func (a *Appliance) archived(w *writer, first uint64) error {
	if first == ledger.FirstSequence {
		return nil
	}
	if a.State == "" {
		return fmt.Errorf("the store's ledger begins with batch %d; what came before is in the seal's state directory: name seal.toml by --seal-config", first)
	}
	batches, err := ledger.ReadArchive(filepath.Join(a.State, archiveDir))
	if err != nil {
		return fmt.Errorf("the ledger's archive: %w", err)
	}
	sequence := uint64(0)
	for value, err := range batches.Batches() {
		if err != nil {
			return unverified("the ledger's archive: %w", err)
		}
		if sequence++; sequence == first {
			break
		}
		if err := w.row("ledger", ledger.Key(sequence), value); err != nil {
			return err
		}
	}
	return w.flush()
}

// custody adds the seal's custody.json, if it has one.
func (a *Appliance) custody(w *writer) error {
	if err := w.flush(); err != nil || a.State == "" {
		return err
	}
	text, err := os.ReadFile(filepath.Join(a.State, custodyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(text) > maxCustody {
		return fmt.Errorf("%s has %d bytes, at most %d", custodyFile, len(text), maxCustody)
	}
	return w.file("seal", custodyFile, int64(len(text)), bytes.NewReader(text))
}

// archives is where the archives of what is over keep in the store how far they are.
const archives = store.Root + "archive/"

// leaving tells what left the store for the disk: the first entry of the audit log and the first block of its
// tree that are there, and how far the archives are.
type leaving struct{ entry, block, archives string }

func (l *leaving) add(kv store.KV) {
	switch {
	case l.entry == "" && strings.HasPrefix(kv.Key, store.AuditLog):
		l.entry = kv.Key
	case l.block == "" && strings.HasPrefix(kv.Key, store.AuditOrder):
		l.block = kv.Key
	case strings.HasPrefix(kv.Key, archives):
		l.archives += fmt.Sprintf("%s@%d\n", kv.Key, kv.ModRevision)
	}
}

// equal is whether nothing left since before. A log that was empty had nothing to lose.
func (l *leaving) equal(before leaving) bool {
	return (before.entry == "" || l.entry == before.entry) && (before.block == "" || l.block == before.block) && l.archives == before.archives
}

// left is that as of a revision; 0: now.
func (a *Appliance) left(ctx context.Context, revision int64) (l leaving, err error) {
	for _, prefix := range []string{store.AuditLog, store.AuditOrder} {
		p, err := a.Store.List(ctx, prefix, store.ListOptions{Limit: 1, Revision: revision})
		if err != nil {
			return l, err
		}
		for _, kv := range p.KVs {
			l.add(kv)
		}
	}
	for kv, err := range a.Store.AllFrom(ctx, archives, "", revision, nil) {
		if err != nil {
			return l, err
		}
		l.add(kv)
	}
	return l, nil
}
