package hsm

import (
	"crypto/mldsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
)

// Scheme names a post-quantum signature scheme whose seeds can be wrapped.
type Scheme string

const (
	Dilithium3 Scheme = "dilithium3" // CRYSTALS-Dilithium mode 3, round 3
	MLDSA65    Scheme = "ml-dsa-65"  // FIPS 204, empty context
	MLDSA44    Scheme = "ml-dsa-44"  // FIPS 204, empty context; for cosignatures (C2SP tlog-cosignature), not for wallets
)

const (
	seedSize       = 32
	gcmIVSize      = 12
	gcmTagSize     = 16
	secretSize     = seedSize + gcmTagSize // SoftHSM2 wants room for the tag when it decrypts
	publicKeySize  = 1952                  // of Dilithium3 and MLDSA65
	envelopeFormat = 1
)

// wrapped is true of the schemes whose seeds can be wrapped.
func (s Scheme) wrapped() bool { return s == Dilithium3 || s == MLDSA65 || s == MLDSA44 }

func (s Scheme) publicKeySize() int {
	if s == MLDSA44 {
		return mldsa.MLDSA44PublicKeySize
	}
	return publicKeySize
}

// envelope is a wrapped seed as it stands in the token.
type envelope struct {
	Format      int    `json:"format"`
	ID          string `json:"id"`
	Scheme      Scheme `json:"scheme"`
	WrappingKey string `json:"wrappingKey"` // id of the AES key
	PublicKey   []byte `json:"publicKey"`
	IV          []byte `json:"iv"`
	Ciphertext  []byte `json:"ciphertext"` // the seed and the GCM tag

	aad       []byte // associated(), which hashes the public key
	authentic bool   // it decrypted in this process; behind Token.cacheMu
}

// associated is what the GCM tag covers beside the seed: an envelope moved to
// another id, scheme or public key does not decrypt.
func (e *envelope) associated() []byte {
	pub := sha256.Sum256(e.PublicKey)
	out := []byte("mintwarden/seed/v1\x00")
	out = binary.BigEndian.AppendUint32(out, uint32(e.Format))
	for _, field := range []string{e.ID, string(e.Scheme)} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(field)))
		out = append(out, field...)
	}
	return append(out, pub[:]...)
}

func (e *envelope) check() error {
	switch {
	case e.Format != envelopeFormat:
		return fmt.Errorf("hsm: envelope format %d, want %d", e.Format, envelopeFormat)
	case !e.Scheme.wrapped():
		return fmt.Errorf("hsm: unknown scheme %q", e.Scheme)
	case checkID(e.ID) != nil:
		return checkID(e.ID)
	case checkID(e.WrappingKey) != nil:
		return checkID(e.WrappingKey)
	case len(e.PublicKey) != e.Scheme.publicKeySize():
		return fmt.Errorf("hsm: public key of %d bytes, want %d", len(e.PublicKey), e.Scheme.publicKeySize())
	case len(e.IV) != gcmIVSize:
		return fmt.Errorf("hsm: IV of %d bytes, want %d", len(e.IV), gcmIVSize)
	case len(e.Ciphertext) != seedSize+gcmTagSize:
		return fmt.Errorf("hsm: ciphertext of %d bytes, want %d", len(e.Ciphertext), seedSize+gcmTagSize)
	}
	return nil
}

func (e *envelope) encode() ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	v := jsontext.Value(b)
	if err := v.Canonicalize(); err != nil {
		return nil, err
	}
	return v, nil
}

// parseEnvelope decodes strictly and checks every field.
func parseEnvelope(b []byte) (*envelope, error) {
	if len(b) > maxObjectSize {
		return nil, fmt.Errorf("hsm: envelope of %d bytes, want at most %d", len(b), maxObjectSize)
	}
	var e envelope
	if err := json.Unmarshal(b, &e, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("hsm: envelope: %w", err)
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	e.aad = e.associated()
	return &e, nil
}
