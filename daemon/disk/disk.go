// Package disk writes files that a crash cannot tear, and makes a directory one process's alone.
//
// It promises that what Write returned nil for is there after a crash, each file whole; that a crash before
// leaves each file as it was or as it was to be, and beside it at most one with the suffix .new, which the next
// Write replaces. It knows nothing of what is in the files.
package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// lockPatience is how long an earlier life of this process may take to end.
	lockPatience = 10 * time.Second
	lockEvery    = 50 * time.Millisecond
)

// Lock makes a directory this process's alone, until unlock or the process's end; it is made if it is not there.
func Lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for waited := time.Duration(0); ; waited += lockEvery {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || waited >= lockPatience {
			return nil, errors.Join(fmt.Errorf("disk: %s is kept by another process: %w", dir, err), f.Close())
		}
		time.Sleep(lockEvery)
	}
}

// Write brings files (by path under dir) to the disk, each whole or not at all: write to a new name,
// fsync, rename; then every directory that got a name is synced, so that after it returned nil a crash
// takes none of them away.
func Write(dir string, files map[string][]byte) error {
	changed := map[string]bool{}
	for path, content := range files {
		full := filepath.Join(dir, filepath.FromSlash(path))
		for parent := filepath.Dir(full); !changed[parent]; parent = filepath.Dir(parent) {
			changed[parent] = true
			if parent == filepath.Clean(dir) || parent == filepath.Dir(parent) {
				break
			}
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			return err
		}
		if err := write(full, content); err != nil {
			return err
		}
	}
	for parent := range changed {
		if err := Sync(parent); err != nil {
			return err
		}
	}
	return nil
}

func write(path string, content []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Sync brings the names in a directory to the disk.
func Sync(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
