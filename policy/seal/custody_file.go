package seal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// CustodyFile is the name of the custody's file in a seal's state directory.
const CustodyFile = "custody.json"

// ReadCustody reads the file of a state directory. Where there is none the error is fs.ErrNotExist;
// others name the file.
func ReadCustody(dir string) (*Custody, error) {
	path := filepath.Join(dir, CustodyFile)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCustody+1))
	if err != nil {
		return nil, err
	}
	c, err := ParseCustody(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// WriteCustody puts the file into a seal's state directory, durably, readable by the directory's owner
// alone, and whole or not at all: write, fsync, link, fsync of the directory. It never replaces a
// file that is there (fs.ErrExist), for with it the PINs would be gone.
func WriteCustody(dir string, c *Custody) error {
	return placeCustody(dir, c, func(temporary, path string) error {
		if err := os.Link(temporary, path); errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w: the PINs of a token are in it", path, fs.ErrExist)
		} else if err != nil {
			return err
		}
		return os.Remove(temporary)
	})
}

// ReplaceCustody is WriteCustody in place of the file that is there: write, fsync,
// rename, fsync of the directory. Whoever calls knows that what was there is needed no
// more, and is the only one to write it.
func ReplaceCustody(dir string, c *Custody) error { return placeCustody(dir, c, os.Rename) }

func placeCustody(dir string, c *Custody, place func(temporary, path string) error) (err error) {
	text, err := c.Encode()
	if err != nil {
		return err
	}
	home, err := os.Stat(dir)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, CustodyFile+".*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // it is in place, or of no use
		}
	}()
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		return err
	}
	// Init runs as root, the seal does not.
	if owner, ok := home.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := place(f.Name(), filepath.Join(dir, CustodyFile)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
