package auditlog

import (
	"crypto/sha256"
	"encoding/hex"
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

// lockDir makes a directory this process's alone, until unlock or the process's end: two that write one tree
// would each find the other's tiles.
func lockDir(dir string) (unlock func(), err error) {
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
			return nil, errors.Join(fmt.Errorf("auditlog: %s is kept by another process: %w", dir, err), f.Close())
		}
		time.Sleep(lockEvery)
	}
}

// writeFiles brings files (by path under dir) to the disk, each whole or not at all: write to a new name,
// fsync, rename; then every directory that got a name is synced, so that after it returned nil a crash
// takes none of them away.
func writeFiles(dir string, files map[string][]byte) error {
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
		if err := writeFile(full, content); err != nil {
			return err
		}
	}
	for parent := range changed {
		if err := syncDir(parent); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, content []byte) error {
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

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// digestOf is sha256: and the hex of the SHA-256 of b.
func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
