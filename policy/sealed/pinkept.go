package sealed

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"runtime/secret"

	"github.com/awnumar/memguard"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// A renewal draws a new PIN, and the credential by which an appliance starts unattended
// holds the old one: what encrypts credentials is root's, and the PIN never leaves the
// keeper. So where there is a second credential, a key that no renewal changes, the
// keeper leaves the new PIN encrypted under that in its state directory, and goes by it
// once the first credential is stale. The key is no secret of any custodian's: old
// shares, with old copies of everything, give a PIN that the token takes no more.

// keptPINInfo is the domain of the key that the PIN is kept under.
const keptPINInfo = "mintwarden/pin/v1"

func (k *keeper) keptPIN() string { return k.marker("pin.encrypted") }

// keptUnder is what seals the key: no PIN goes from a TPM's care to less.
func (k *keeper) keptUnder() (pinSource, error) {
	c := k.cfg.PIN
	if c.KeyCredential == "" {
		return "", errors.New("there is no pin.key_credential to keep the new PIN under")
	}
	of, _, err := credentialKind(c.CredentialSource)
	if err != nil {
		return "", err
	}
	under, _, err := credentialKind(c.KeyCredentialSource)
	if err != nil {
		return "", err
	}
	if of == pinTPM && under != pinTPM {
		return "", errors.New("a TPM seals pin.credential, and none pin.key_credential")
	}
	return under, nil
}

// keepPIN leaves the PIN for the next starts, in place of what stood there. Where it
// cannot nothing stands there: what did is stale.
func (k *keeper) keepPIN(pins *seal.PINs) error {
	err := k.encryptPIN(pins)
	if err == nil {
		return nil
	}
	if gone := os.Remove(k.keptPIN()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		return errors.Join(err, gone)
	}
	return err
}

func (k *keeper) encryptPIN(pins *seal.PINs) error {
	if _, err := k.keptUnder(); err != nil {
		return err
	}
	defer runtime.GC() // the key is erased when it is collected
	var text []byte
	var err error
	secret.Do(func() {
		var aead cipher.AEAD
		if aead, err = k.keptCipher(); err != nil {
			return
		}
		nonce := make([]byte, aead.NonceSize())
		if _, err = rand.Read(nonce); err == nil {
			text = aead.Seal(nonce, nonce, pins.User.Bytes(), []byte(k.cfg.Appliance))
		}
	})
	if err != nil {
		return err
	}
	f, err := writeDurably(k.keptPIN(), bytes.Clone(text))
	if err != nil {
		return err
	}
	return f.Close()
}

func (k *keeper) keptCipher() (cipher.AEAD, error) {
	return credentialCipher("pin.key_credential", k.cfg.PIN.KeyCredential, keptPINInfo)
}

// takeKept takes the PIN that a renewal left; false: there is none, or the token refused
// that one, too.
func (k *keeper) takeKept() (bool, error) {
	text, err := os.ReadFile(k.keptPIN())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	sum := sha256.Sum256(text)
	id := "kept " + hex.EncodeToString(sum[:])
	if k.refused(id) {
		return false, nil
	}
	under, err := k.keptUnder()
	if err != nil {
		return false, err
	}
	const nonceBytes, tag = 12, 16 // AES-GCM's
	n := len(text) - nonceBytes - tag
	if n < 1 || n > maxPIN {
		return false, fmt.Errorf("%s holds no PIN", k.keptPIN())
	}
	defer runtime.GC() // the key is erased when it is collected
	pin := memguard.NewBuffer(n)
	secret.Do(func() {
		var aead cipher.AEAD
		if aead, err = k.keptCipher(); err != nil {
			return
		}
		if _, failed := aead.Open(pin.Bytes()[:0], text[:nonceBytes], text[nonceBytes:], []byte(k.cfg.Appliance)); failed != nil {
			err = fmt.Errorf("%s does not decrypt with the credential %s", k.keptPIN(), k.cfg.PIN.KeyCredential)
		}
	})
	if err != nil {
		pin.Destroy()
		return false, err
	}
	k.pin, k.pinID, k.source = pin, id, under
	return true, nil
}
