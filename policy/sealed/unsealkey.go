package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/secret"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// privateKey is the private half of the keeper's HPKE key.
type privateKey = hpke.PrivateKey

// unsealKeyInfo is the domain of the key that the unseal key is kept under.
const unsealKeyInfo = "mintwarden/unseal-key/v1"

// minWrap is the least that a credential which encrypts the unseal key must hold,
// in bytes: it is used as a key, not as a password.
const minWrap = 32

// unsealKeyFile is where the keeper's HPKE key (ML-KEM-768 + X25519) is, to which
// custodians encrypt their shares: in the state directory, 0600, encrypted under
// the content of a systemd credential where there is one. It is read whenever a
// share comes and stays in no memory between.
type unsealKeyFile struct {
	state string // directory
	wrap  string // path of the decrypted credential; empty: the key stands there as it is
}

func (u unsealKeyFile) path() string {
	if u.wrap == "" {
		return filepath.Join(u.state, "unseal.key")
	}
	return filepath.Join(u.state, "unseal.key.encrypted")
}

// public returns the public half; a key is made when there is none.
func (u unsealKeyFile) public() ([]byte, error) {
	defer runtime.GC() // the private half is erased when it is collected
	key, err := u.private()
	if errors.Is(err, fs.ErrNotExist) {
		return u.make()
	}
	if err != nil {
		return nil, err
	}
	return key.PublicKey().Bytes(), nil
}

// private reads the key.
func (u unsealKeyFile) private() (key privateKey, err error) {
	path := u.path()
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s must be readable by its owner only", path)
	}
	secret.Do(func() {
		var text []byte
		if text, err = os.ReadFile(path); err != nil {
			return
		}
		defer clear(text)
		if text, err = u.open(text); err != nil {
			return
		}
		defer clear(text)
		if key, err = hpke.MLKEM768X25519().NewPrivateKey(text); err != nil {
			err = fmt.Errorf("%s: not an unseal key", path)
		}
	})
	return key, err
}

func (u unsealKeyFile) make() (public []byte, err error) {
	if other := (unsealKeyFile{state: u.state}).path(); u.wrap != "" {
		if _, err := os.Stat(other); err == nil {
			return nil, fmt.Errorf("%s is there, unencrypted, and charters may name it: to begin anew with an encrypted one, remove it", other)
		}
	}
	public, text, err := seal.NewKey(u.close)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	f, err := writeDurably(u.path(), text)
	if err != nil {
		return nil, err
	}
	return public, f.Close()
}

// cipher is of the key that the credential gives.
func (u unsealKeyFile) cipher() (cipher.AEAD, error) {
	return credentialCipher("unseal key's credential", u.wrap, unsealKeyInfo)
}

// credentialCipher is of the key that a decrypted credential gives for one use.
func credentialCipher(what, path, info string) (cipher.AEAD, error) {
	held, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer clear(held)
	if len(held) < minWrap {
		return nil, fmt.Errorf("%s %s holds %d bytes, want at least %d", what, path, len(held), minWrap)
	}
	key, err := hkdf.Key(sha256.New, held, nil, info, 32)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// open gives the key's bytes of the file's.
func (u unsealKeyFile) open(text []byte) ([]byte, error) {
	if u.wrap == "" {
		return text, nil
	}
	aead, err := u.cipher()
	if err != nil {
		return nil, err
	}
	n := aead.NonceSize()
	if len(text) < n {
		return nil, fmt.Errorf("%s: not an unseal key", u.path())
	}
	raw, err := aead.Open(nil, text[:n], text[n:], nil)
	if err != nil {
		return nil, fmt.Errorf("%s does not decrypt with the credential %s", u.path(), u.wrap)
	}
	return raw, nil
}

// close gives the file's bytes of the key's.
func (u unsealKeyFile) close(raw []byte) ([]byte, error) {
	if u.wrap == "" {
		return append([]byte(nil), raw...), nil
	}
	aead, err := u.cipher()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return aead.Seal(nonce, nonce, raw, nil), nil
}
