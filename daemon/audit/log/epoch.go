package auditlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

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
