package tx

import (
	"bytes"
	"fmt"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"github.com/mintwarden/mintwarden/chain/tx/evm"
)

// Verifier is a public key made ready to verify many signatures: unpacking a post-quantum key costs
// more than verifying with it. It takes about 40 KiB for those, and is safe for concurrent use.
type Verifier struct {
	scheme    Scheme
	publicKey []byte
	holds     func(digest Hash, signature []byte) bool
}

// NewVerifier refuses an unknown scheme and a key of a wrong length.
func NewVerifier(scheme Scheme, publicKey []byte) (*Verifier, error) {
	if !scheme.Valid() || len(publicKey) != scheme.PublicKeySize() {
		return nil, fmt.Errorf("scheme %q with a public key of %d bytes", string(scheme), len(publicKey))
	}
	v := &Verifier{scheme: scheme, publicKey: bytes.Clone(publicKey)}
	switch scheme {
	case Dilithium3:
		var key mode3.PublicKey
		key.Unpack((*[mode3.PublicKeySize]byte)(publicKey))
		v.holds = func(digest Hash, signature []byte) bool { return mode3.Verify(&key, digest[:], signature) }
	case MLDSA65:
		var key mldsa65.PublicKey
		key.Unpack((*[mldsa65.PublicKeySize]byte)(publicKey))
		v.holds = func(digest Hash, signature []byte) bool { return mldsa65.Verify(&key, digest[:], nil, signature) }
	case Secp256k1:
		v.holds = func(digest Hash, signature []byte) bool { return evm.Verify(v.publicKey, digest, signature) == nil }
	}
	return v, nil
}

// Of is true if the verifier is this scheme's and key's.
func (v *Verifier) Of(scheme Scheme, publicKey []byte) bool {
	return v.scheme == scheme && bytes.Equal(v.publicKey, publicKey)
}

// Verify is true exactly if signature is the scheme's over the 32 bytes of digest by the key. A
// wrong length or, for secp256k1, a high s or a v that recovers another key is false.
func (v *Verifier) Verify(digest Hash, signature []byte) bool {
	return len(signature) == v.scheme.SignatureSize() && v.holds(digest, signature)
}

// VerifySignature is a Verifier's Verify for a key that is used once; what NewVerifier refuses is
// false.
func VerifySignature(scheme Scheme, publicKey []byte, digest Hash, signature []byte) bool {
	v, err := NewVerifier(scheme, publicKey)
	return err == nil && v.Verify(digest, signature)
}
