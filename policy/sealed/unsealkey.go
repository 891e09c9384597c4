package sealed

import (
	"crypto/hpke"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// loadUnsealKey returns the public half of the keeper's HPKE key (ML-KEM-768 +
// X25519), to which custodians encrypt their shares. It is made when the state
// directory has none; the private half stays in the file, 0600.
func loadUnsealKey(state string) ([]byte, error) {
	path := filepath.Join(state, "unseal.key")
	kem := hpke.MLKEM768X25519()
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key, err := kem.GenerateKey()
		if err != nil {
			return nil, err
		}
		private, err := key.Bytes()
		if err != nil {
			return nil, err
		}
		defer clear(private)
		f, err := writeDurably(path, private)
		if err != nil {
			return nil, err
		}
		return key.PublicKey().Bytes(), f.Close()
	case err != nil:
		return nil, err
	}
	defer clear(text)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s must be readable by its owner only", path)
	}
	key, err := kem.NewPrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: not an unseal key", path)
	}
	return key.PublicKey().Bytes(), nil
}
