package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// treeDir is where the audit log's tree stands in audit.dir.
const treeDir = "tlog"

// treeTries is how often the tree's edge is read until nobody saved the tree meanwhile: that takes some
// milliseconds, a save comes every few seconds.
const treeTries = 50

// entriesDir is where entries stand that left the store, in files of which the newest grows; all other files of
// audit.dir but the tree's edge are written once.
const entriesDir = "entries"

// auditDir is audit.dir while a backup of it is taken. One goroutine uses it.
type auditDir struct {
	root   *os.Root        // nil where there is none
	copied map[string]bool // files that are in the backup
	newest string          // the entries' file that may grow; empty: there is none
	size   int64           // how much it held when it was last looked at: what is appended behind that changes nothing before
}

// openAudit opens the directory, if it is there. It is the service's user's, who may put links there for root to follow.
func openAudit(dir string) (*auditDir, error) {
	d := &auditDir{copied: map[string]bool{}}
	if dir == "" {
		return d, nil
	}
	var err error
	if d.root, err = os.OpenRoot(dir); errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	return d, err
}

func (d *auditDir) close() {
	if d.root != nil {
		_ = d.root.Close() // it was read alone
	}
}

// auditFiles adds audit.dir to a backup while the appliance goes on, but the file of entries that grows. The tree's edge
// (state, checkpoint and anchor, tiles that are not full) is replaced at each save; it is taken as one save left it, and first: full tiles stay, so that those taken later are all that it needs.
func (w *writer) auditFiles(d *auditDir) error {
	if d.root == nil {
		return nil
	}
	edge, err := treeEdge(d.root)
	if err != nil {
		return err
	}
	for _, e := range edge {
		if err := w.file("audit", e.name, int64(len(e.content)), bytes.NewReader(e.content)); err != nil {
			return err
		}
	}
	return w.more(d)
}

// more adds files that came since, and looks how long the one that grows is.
func (w *writer) more(d *auditDir) error {
	if d.root == nil {
		return nil
	}
	last := ""
	err := each(d.root, entriesDir, func(name string) error {
		last = max(last, name)
		return nil
	})
	if err != nil {
		return err
	}
	err = each(d.root, ".", func(name string) error {
		if rest, ok := strings.CutPrefix(name, treeDir+"/"); ok && ofEdge(rest) || name == last || d.copied[name] {
			return nil
		}
		f, err := d.root.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		d.copied[name] = true
		return w.file("audit", name, info.Size(), f)
	})
	if err != nil || last == "" {
		return err
	}
	info, err := d.root.Stat(last)
	if err != nil {
		return err
	}
	d.newest, d.size = last, info.Size()
	return nil
}

// growing adds the file that grows, as far as it was last looked at: a line that was being written then is torn, as by a
// crash, and is cut off by whoever opens it.
func (w *writer) growing(d *auditDir) error {
	if d.newest == "" {
		return nil
	}
	f, err := d.root.Open(d.newest)
	if err != nil {
		return err
	}
	return errors.Join(w.file("audit", d.newest, d.size, f), f.Close())
}

// each calls f for the regular files of a directory below root (by their names below root) that are not a lock, nor
// what a write in course leaves. A directory that is not there has none.
func each(root *os.Root, dir string, f func(name string) error) error {
	return fs.WalkDir(root.FS(), dir, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // dir itself, or the partial tiles of one that became full
		}
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() || d.Name() == "lock" || strings.HasSuffix(d.Name(), ".new") {
			return nil
		}
		return f(name)
	})
}

func ofEdge(name string) bool {
	return name == "state" || name == "checkpoint" || name == "anchor" || strings.Contains(name, ".p/")
}

type edgeFile struct {
	name    string
	content []byte
}

// treeEdge is the tree's edge as one save left it: at most some 255 partial tiles a level, of a few KiB.
func treeEdge(root *os.Root) ([]edgeFile, error) {
	state := func() ([]byte, error) {
		b, err := root.ReadFile(treeDir + "/state")
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return b, err
	}
	for range treeTries {
		before, err := state()
		if err != nil {
			return nil, err
		}
		var edge []edgeFile
		err = each(root, treeDir, func(name string) error {
			if !ofEdge(strings.TrimPrefix(name, treeDir+"/")) {
				return nil
			}
			content, err := root.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // then the state is another one by now
			}
			edge = append(edge, edgeFile{name, content})
			return err
		})
		if err != nil {
			return nil, err
		}
		if after, err := state(); err != nil {
			return nil, err
		} else if bytes.Equal(before, after) {
			return edge, nil
		}
	}
	return nil, fmt.Errorf("backup: %s is saved again and again; try once more", filepath.Join(root.Name(), treeDir))
}
