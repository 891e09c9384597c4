package auditlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/disk"
)

// epochFile says in the tree's directory of which epoch of the ledger its tree is; it is not there in the first.
const epochFile = "epoch"

// firstEpoch is what a ledger has until a recover raises it.
const firstEpoch = 1

// epochEvery is how often one looks whether a recover raised the epoch.
const epochEvery = time.Second

// errEpoch is why the follower begins anew after a recover.
var errEpoch = errors.New("auditlog: a recover raised the ledger's epoch")

// rolledBack says that the disk is of a later epoch than the ledger.
type rolledBack struct{ disk, ledger uint64 }

func (e *rolledBack) Error() string {
	return fmt.Sprintf("the tree on the disk is of epoch %d, the ledger is in epoch %d (a restored or wrong store)", e.disk, e.ledger)
}

// epochOf is the epoch of the tree in a directory; there is none where that is not there.
func epochOf(dir string) (epoch uint64, there bool, err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	text, err := os.ReadFile(filepath.Join(dir, epochFile))
	if errors.Is(err, fs.ErrNotExist) {
		return firstEpoch, true, nil
	}
	if err != nil {
		return 0, false, err
	}
	epoch, err = strconv.ParseUint(string(text), 10, 64)
	if err != nil || epoch <= firstEpoch || strconv.FormatUint(epoch, 10) != string(text) {
		return 0, false, fmt.Errorf("%w: %s: %.40q is no epoch", errTree, epochFile, text)
	}
	return epoch, true, nil
}

// ofEpoch makes the directory the one of an epoch's tree. What a recover gave up was signed and published, and stays:
// that tree is put beside it, as <dir>.epoch-<n>, and the new one, which has another name, is grown from the store's
// order. It may be called again after a crash anywhere.
func ofEpoch(dir string, epoch uint64) (aside string, err error) {
	held, there, err := epochOf(dir)
	switch {
	case err != nil:
		return "", err
	case there && held == epoch:
		return "", nil
	case there && held > epoch:
		return "", &rolledBack{held, epoch}
	case there:
		aside = fmt.Sprintf("%s.epoch-%d", dir, held)
		for n := 2; ; n++ {
			if _, err := os.Lstat(aside); err != nil {
				break
			}
			aside = fmt.Sprintf("%s.epoch-%d-%d", dir, held, n)
		}
		if err := os.Rename(dir, aside); err != nil {
			return "", err
		}
		if err := disk.Sync(filepath.Dir(dir)); err != nil {
			return aside, err
		}
	}
	if epoch == firstEpoch {
		return aside, nil
	}
	return aside, disk.Write(filepath.Dir(dir), map[string][]byte{filepath.Base(dir) + "/" + epochFile: []byte(strconv.FormatUint(epoch, 10))})
}

// inEpoch opens the directory of the epoch that the ledger is in.
func (f *following) inEpoch(dir string) error {
	aside, err := ofEpoch(dir, f.epoch)
	if aside != "" {
		f.log.Warn("audit log: a recover raised the ledger's epoch; the tree of before was put aside, its receipts stay good", "aside", aside, "epoch", f.epoch)
		f.signed.Store(nil)
		f.witnessed.Store(nil)
	}
	return err
}

// inherit begins an empty tree with the leaves that the store's order does not hold any more, as a tree has them that a
// recover put aside: it is older than what the recover gave up, or the seal's proof of consistency fails.
func (f *following) inherit(until uint64) bool {
	all, err := filepath.Glob(filepath.Join(f.opts.Dir, tlogDir) + ".epoch-*")
	if err != nil {
		return false
	}
	for _, dir := range slices.Backward(all) {
		old, err := openTree(dir)
		if err != nil || old.now().Size < until {
			continue
		}
		if err = f.copy(old, until); err == nil {
			return true
		}
		f.stop("damaged", fmt.Errorf("%s, with which the tree of epoch %d begins: %w", dir, f.epoch, err))
		return false
	}
	return false
}

// copy appends the first leaves of another tree to an empty one.
func (f *following) copy(old *tree, until uint64) error {
	for at := uint64(0); at < until; {
		bundle, err := old.bundleAt(at >> tileHeight)
		if err != nil {
			return err
		}
		var leaves []audit.Leaf
		var encoded [][]byte
		for end := min(until, at+tileWidth); at < end; at++ {
			var b []byte
			if b, bundle, err = audit.CutBundle(bundle); err != nil {
				return err
			}
			leaf, err := audit.ParseLeaf(b)
			if err != nil {
				return err
			}
			leaves, encoded = append(leaves, leaf), append(encoded, b)
		}
		if err := f.tree.append(leaves, encoded); err != nil {
			return err
		}
		if now := f.tree.now(); now.Size-f.tree.onDisk().Size >= treeUnsaved && !f.save(now, nil) {
			return errDisk
		}
	}
	root, err := tlog.TreeHash(int64(until), old.reader())
	if err == nil && rootText(root) != f.tree.now().Root {
		err = fmt.Errorf("%w: its leaves are not those of its tiles", errTree)
	}
	return err
}

// watchEpoch calls raised once the ledger is in another epoch than the tree.
func (f *following) watchEpoch(ctx context.Context, raised func()) {
	tick := time.NewTicker(epochEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if now, err := f.opts.Ledger.Epoch(ctx); err == nil && now != f.epoch {
			raised()
			return
		}
	}
}
