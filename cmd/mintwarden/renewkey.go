package main

import (
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/secret"

	"github.com/awnumar/memguard"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// A receive key (HPKE, ML-KEM-768 + X25519) lives as long as a renewal: its custodian's
// new share comes encrypted to it. Its file holds one line of base64.

// maxReceiveKey bounds the file in bytes; a private key has 32 to 96.
const maxReceiveKey = 512

// makeReceiveKey makes a key in a new file that only its owner reads, and gives its
// public half.
func makeReceiveKey(path string) (public []byte, err error) {
	public, text, err := seal.NewKey(func(raw []byte) ([]byte, error) {
		return append(base64.StdEncoding.AppendEncode(nil, raw), '\n'), nil
	})
	if err != nil {
		return nil, err
	}
	defer clear(text)
	if err = writeNew(path, text); errors.Is(err, fs.ErrExist) {
		err = usagef("--receive: %w; keep it if you gave already, for 'renew take' needs it; else name another file", err)
	}
	return public, err
}

// openParcel decrypts a new share with the key in the file; the caller destroys it.
func openParcel(path string, b seal.Binding, parcel []byte) (share seal.Share, err error) {
	defer runtime.GC()
	f, err := os.Open(path)
	if err != nil {
		return share, usagef("--receive: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return share, err
	}
	if err := unreadable("receive key", path, info, 0o077); err != nil {
		return share, err
	}
	text := memguard.NewBuffer(maxReceiveKey)
	defer text.Destroy()
	n, err := io.ReadFull(f, text.Bytes())
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		return share, usagef("receive key %s: want one line of base64", path)
	}
	raw := memguard.NewBuffer(maxReceiveKey)
	defer raw.Destroy()
	secret.Do(func() {
		line := text.Bytes()[:n]
		if line[n-1] == '\n' {
			line = line[:n-1]
		}
		var size int
		if size, err = base64.StdEncoding.Strict().Decode(raw.Bytes(), line); err != nil {
			err = usagef("receive key %s: want one line of base64", path)
			return
		}
		var key hpke.PrivateKey
		if key, err = hpke.MLKEM768X25519().NewPrivateKey(raw.Bytes()[:size]); err != nil {
			err = usagef("receive key %s: it is none", path)
			return
		}
		share, err = seal.OpenShare(key, b, parcel)
	})
	return share, err
}

// keepShare writes a share to a new file that only its owner reads. The same share there
// is one that an earlier run left.
func keepShare(path string, s seal.Share) error {
	text := append(s.Encode(), '\n')
	defer clear(text)
	err := writeNew(path, text)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	had, readErr := readShare(path)
	if readErr == nil {
		defer had.Destroy()
		if had.Digest() == s.Digest() {
			return nil
		}
	}
	return usagef("--keep: %w, and is not this share; name another file", err)
}

// writeNew writes a file that must not be there, for its owner alone, and durably.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return usage(err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(path) // the next run would take it for somebody's
		return fmt.Errorf("%s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}
