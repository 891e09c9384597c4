package webhook

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

const (
	// KeySize is the length of the key that encrypts secrets, in bytes.
	KeySize = 32
	// maxMaterial bounds the file that the key is made from, in bytes.
	maxMaterial = 4096
	// secretSize is the length of a secret, in bytes; Standard Webhooks asks for 24 to 64.
	secretSize = 32
	// secretPrefix begins every secret, in both dialects.
	secretPrefix = "whsec_"
	// keyIDSize is how much of a key's hash stands before what it encrypted, in bytes: which key it was.
	keyIDSize = 8
)

// DeriveKey makes the key of Deps from the random bytes of a file, at least KeySize of them.
func DeriveKey(material []byte) ([]byte, error) {
	if len(material) < KeySize || len(material) > maxMaterial {
		return nil, fmt.Errorf("webhook: %d bytes, want %d to %d random ones, as from 'head -c 32 /dev/urandom'", len(material), KeySize, maxMaterial)
	}
	return hkdf.Key(sha256.New, material, nil, "mintwarden/webhook/secret/v1", KeySize)
}

// ErrSecret says that a stored secret does not open: encrypted with another key, or not for this endpoint.
var ErrSecret = errors.New("webhook: the secret cannot be opened with this appliance's key; rotate it")

// newSecret draws a secret: whsec_ and base64, as the Standard Webhooks libraries read it.
func newSecret() string {
	raw := make([]byte, secretSize)
	rand.Read(raw) // never fails: crypto/rand ends the program instead
	return secretPrefix + base64.StdEncoding.EncodeToString(raw)
}

// vault encrypts secrets for the store. Safe for concurrent use.
type vault struct {
	aead cipher.AEAD
	id   [keyIDSize]byte
}

// newVault takes a key of KeySize bytes.
func newVault(key []byte) (*vault, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("webhook: the key has %d bytes, want %d", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	v := &vault{aead: aead}
	sum := sha256.Sum256(append([]byte("mintwarden/webhook/key/v1\x00"), key...))
	copy(v.id[:], sum[:])
	return v, nil
}

// binding is what a secret belongs to: moved to another endpoint, or left in place while the URL is changed
// behind our back, it does not open, so that nobody who can write the store is sent what he can pass on.
func binding(tenant, id, url string) []byte {
	return []byte(strings.Join([]string{"mintwarden/webhook/secret/v1", tenant, id, url}, "\x00"))
}

func (v *vault) seal(secret string, bound []byte) []byte {
	return v.aead.Seal(v.id[:keyIDSize:keyIDSize], nil, []byte(secret), append(v.id[:keyIDSize:keyIDSize], bound...))
}

func (v *vault) open(sealed, bound []byte) (string, error) {
	if len(sealed) < keyIDSize || string(sealed[:keyIDSize]) != string(v.id[:]) {
		return "", ErrSecret
	}
	secret, err := v.aead.Open(nil, nil, sealed[keyIDSize:], append(v.id[:keyIDSize:keyIDSize], bound...))
	if err != nil {
		return "", ErrSecret
	}
	return string(secret), nil
}
