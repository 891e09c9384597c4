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

// auditFiles adds audit.dir to a backup while the appliance goes on. Most of what is there only grows, or is
// written once. The tree's edge (state, checkpoint and anchor, tiles that are not full) is replaced at each save; it is
// taken as one save left it, and first: full tiles stay, so that those taken later are all that it needs.
func (w *writer) auditFiles(dir string) error {
	// The directory is the service's user's, who may put links there for root to follow.
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(w.within(root), root.Close())
}

func (w *writer) within(root *os.Root) error {
	edge, err := treeEdge(root)
	if err != nil {
		return err
	}
	for _, e := range edge {
		if err := w.file("audit", e.name, int64(len(e.content)), bytes.NewReader(e.content)); err != nil {
			return err
		}
	}
	return each(root, ".", func(name string) error {
		if rest, ok := strings.CutPrefix(name, treeDir+"/"); ok && ofEdge(rest) {
			return nil
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		return w.file("audit", name, info.Size(), f) // what is appended meanwhile is left to the next backup
	})
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
