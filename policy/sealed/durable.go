package sealed

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// writeDurably puts text at path, whole or not at all, and returns the open
// file at its end: write, fdatasync, rename, fsync of the directory.
func writeDurably(path string, text []byte) (*os.File, error) {
	return writeDurablyBy(path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// writeDurablyBy is writeDurably of what write writes. The file can be read, too.
func writeDurablyBy(path string, write func(io.Writer) error) (*os.File, error) {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := write(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	if err := fdatasync(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	if err := os.Rename(path+".new", path); err != nil {
		_ = f.Close()
		return nil, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func fdatasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// readStrictly is what parse makes of the file at path, which gets one byte more than most if there are as many.
// Where there is no file the error is fs.ErrNotExist; others name it.
func readStrictly[T any](path string, most int64, parse func([]byte) (T, error)) (got T, err error) {
	f, err := os.Open(path)
	if err != nil {
		return got, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return got, err
	}
	if got, err = parse(text); err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return got, err
}
