package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/mintwarden/mintwarden/daemon/disk"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// ErrNotEmpty says that something is where a backup would be restored to.
var ErrNotEmpty = errors.New("it is not empty, and nothing is overwritten")

// Restore puts a backup, which Verify took before, into an empty store and empty directories. The store is
// written as etcd's root. After it died it is run again, with the same file.
func Restore(ctx context.Context, b *File, a *Appliance) error {
	if b.verified == nil || b.verified.Charter1 != a.Charter1 {
		return errors.New("backup: it was not verified")
	}
	into, err := a.Store.Restoration(ctx, string(b.Digest))
	if err != nil {
		return err
	}
	r := &restoring{a: a, into: into}
	defer r.close()
	if err := r.fits(b.verified); err != nil {
		return err
	}
	if err := into.Begin(ctx); err != nil {
		return err
	}
	if _, err := b.walk(visit{file: r.file, row: func(part, key string, value []byte) error {
		if part == "ledger" {
			return r.batch(key, value)
		}
		return into.Put(ctx, key, value)
	}}); err != nil {
		return err
	}
	if err := r.durable(); err != nil {
		return err
	}
	return into.End(ctx)
}

type restoring struct {
	a       *Appliance
	into    *store.Restoration
	archive *ledger.Archive
	have    func() ([]byte, error, bool) // batches that an earlier run left in the archive
	stop    func()
	synced  map[string]bool // directories that got names
}

// fits makes sure that what the backup has goes somewhere, and that nothing is there but what an earlier run left.
func (r *restoring) fits(m *Manifest) error {
	for _, p := range m.Parts {
		switch {
		case p.Name == "audit" && p.Entries > 0 && r.a.Audit == "":
			return errors.New("the backup holds an audit.dir, and the configuration names none")
		case p.Name == "ledger" && p.Entries > 0 && r.a.State == "":
			return errors.New("the backup holds the beginning of the ledger, which belongs into the seal's state directory: name seal.toml by --seal-config")
		}
	}
	if r.into.Again() {
		return nil
	}
	dirs := []string{r.a.Audit}
	if r.a.State != "" {
		dirs = append(dirs, filepath.Join(r.a.State, archiveDir))
		if _, err := os.Lstat(filepath.Join(r.a.State, custodyFile)); err == nil {
			return fmt.Errorf("%s: %w", filepath.Join(r.a.State, custodyFile), ErrNotEmpty)
		}
	}
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		names, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, n := range names {
			if n.Name() != "lost+found" { // of a disk of its own
				return fmt.Errorf("%s (%s): %w", dir, n.Name(), ErrNotEmpty)
			}
		}
	}
	return nil
}

// file puts a file in its place: temporary file, fsync, rename.
func (r *restoring) file(part, name string, _ int64, from io.Reader) error {
	dir := r.a.Audit
	if part == "seal" {
		if dir = r.a.State; dir == "" {
			return nil // said by whoever asked
		}
		if name != custodyFile {
			return unverified("%s/%s has no place in it", part, name)
		}
	}
	if err := r.directory(dir); err != nil {
		return err
	}
	// The directory is the service's user's, who may have left links there for root to follow.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	return errors.Join(r.within(root, filepath.FromSlash(name), from), root.Close())
}

// within writes a file below root, whatever links are there.
func (r *restoring) within(root *os.Root, name string, from io.Reader) error {
	if parent := filepath.Dir(name); parent != "." {
		if err := r.below(root, parent); err != nil {
			return err
		}
	}
	part := name + ".new"
	if err := root.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if err == nil {
		err = f.Sync()
	}
	uid, gid, give, ownerErr := owner(root.Name())
	if give {
		err = errors.Join(err, f.Chown(uid, gid))
	}
	if err := errors.Join(err, ownerErr, f.Close()); err != nil {
		return err
	}
	return root.Rename(part, name)
}

// below makes a directory below root, and those that it is in.
func (r *restoring) below(root *os.Root, dir string) error {
	full := filepath.Join(root.Name(), dir)
	if r.synced[full] {
		return nil
	}
	if parent := filepath.Dir(dir); parent != "." {
		if err := r.below(root, parent); err != nil {
			return err
		}
	}
	if err := root.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	uid, gid, give, err := owner(root.Name())
	if give {
		err = errors.Join(err, root.Lchown(dir, uid, gid))
	}
	if err != nil {
		return err
	}
	r.synced[full] = true
	return nil
}

// directory makes a directory, and those that it is in, whose names must be there after a crash as well.
func (r *restoring) directory(dir string) error {
	if r.synced == nil {
		r.synced = map[string]bool{}
	}
	if r.synced[dir] {
		return nil
	}
	parent := filepath.Dir(dir)
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := r.directory(parent); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if err := adopt(dir, parent); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	r.synced[dir] = true
	return nil
}

// batch appends to the ledger's archive what an earlier run did not.
func (r *restoring) batch(key string, value []byte) error {
	sequence, ok := ledger.ParseKey(key)
	if !ok {
		return unverified("%q is no batch", key)
	}
	if r.archive == nil {
		dir := filepath.Join(r.a.State, archiveDir)
		if err := r.directory(dir); err != nil {
			return err
		}
		a, err := ledger.OpenArchive(dir)
		if err != nil {
			return err
		}
		r.archive = a
		r.have, r.stop = iter.Pull2(a.Batches())
	}
	if sequence > r.archive.Last() {
		return r.archive.Append(sequence, value)
	}
	if held, err, _ := r.have(); err != nil || !bytes.Equal(held, value) {
		return errors.Join(err, fmt.Errorf("%s has another batch %d: %w", filepath.Join(r.a.State, archiveDir), sequence, ErrNotEmpty))
	}
	return nil
}

// durable brings every name to the disk, and lets those read the files who do in service.
func (r *restoring) durable() error {
	for dir := range r.synced {
		if err := disk.Sync(dir); err != nil {
			return err
		}
	}
	if r.archive == nil {
		return nil
	}
	return AdoptTree(filepath.Join(r.a.State, archiveDir), r.a.State)
}

func (r *restoring) close() {
	if r.stop != nil {
		r.stop()
	}
	if r.archive != nil {
		_ = r.archive.Close() // what was appended is on the disk
	}
}

// adopt gives a file or directory the owner of another one, if we are root: the service has a user of its own.
func adopt(path, like string) error {
	uid, gid, give, err := owner(like)
	if !give {
		return err
	}
	return os.Lchown(path, uid, gid)
}

// owner is whose a file is, and whether what is made beside it is to be given to that user: if we are root.
func owner(of string) (uid, gid int, give bool, err error) {
	var s unix.Stat_t
	if os.Geteuid() != 0 {
		return 0, 0, false, nil
	}
	if err := unix.Stat(of, &s); err != nil {
		return 0, 0, false, err
	}
	return int(s.Uid), int(s.Gid), true, nil
}

// AdoptTree does so with a directory and all that is in it.
func AdoptTree(dir, like string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return adopt(path, like)
	})
}
