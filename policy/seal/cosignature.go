package seal

import (
	"crypto/mldsa"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Cosignatures by ML-DSA-44 as C2SP's tlog-cosignature has them: the key's type in key ids, the label
// of what is signed, and the eight bytes of time in front of a signature.
const (
	cosignatureType  = 0x06
	cosignatureLabel = "subtree/v1\n\x00"
	cosignatureTime  = 8
)

// CosignedMessage is what a cosigner signs of a checkpoint at a time (whole seconds): that this is the
// largest tree of the log that it knows, and that it extends all that it signed before.
func CosignedMessage(cosigner string, at time.Time, c Checkpoint) ([]byte, error) {
	root, err := c.Tree.Hash()
	if err != nil || len(cosigner) < 1 || len(cosigner) > 255 || len(c.Origin) < 1 || len(c.Origin) > 255 || at.Unix() < 0 {
		return nil, fmt.Errorf("%w: root %.80q, cosigner %.80q, origin %.80q", ErrCheckpoint, c.Tree.Root, cosigner, c.Origin)
	}
	m := append([]byte(cosignatureLabel), byte(len(cosigner)))
	m = append(m, cosigner...)
	m = binary.BigEndian.AppendUint64(m, uint64(at.Unix()))
	m = append(append(m, byte(len(c.Origin))), c.Origin...)
	m = binary.BigEndian.AppendUint64(m, 0)
	m = binary.BigEndian.AppendUint64(m, c.Tree.Size)
	return append(m, root[:]...), nil
}

// Cosignature is the signature's bytes as a note has them behind the key id: the time, and the
// ML-DSA-44 signature over CosignedMessage.
func Cosignature(at time.Time, signature []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at.Unix())), signature...)
}

// NewCosignatureVerifier verifies one cosigner's lines of a note.
func NewCosignatureVerifier(name string, key *mldsa.PublicKey) note.Verifier {
	return cosignatureVerifier{name, key, CosignatureKeyID(name, key.Bytes())}
}

// CosignatureKeyID is the first four bytes of the SHA-256 over name, newline, type and public key.
func CosignatureKeyID(name string, public []byte) uint32 {
	sum := sha256.Sum256(append(fmt.Appendf(nil, "%s\n%c", name, cosignatureType), public...))
	return binary.BigEndian.Uint32(sum[:])
}

type cosignatureVerifier struct {
	name string
	key  *mldsa.PublicKey
	id   uint32
}

func (v cosignatureVerifier) Name() string    { return v.name }
func (v cosignatureVerifier) KeyHash() uint32 { return v.id }

// Verify takes a checkpoint's text and what Cosignature gives.
func (v cosignatureVerifier) Verify(text, sig []byte) bool {
	if len(sig) != cosignatureTime+mldsa.MLDSA44SignatureSize {
		return false
	}
	seconds := binary.BigEndian.Uint64(sig)
	c, err := ParseCheckpoint(string(text))
	if err != nil || seconds > 1<<62 {
		return false
	}
	m, err := CosignedMessage(v.name, time.Unix(int64(seconds), 0), c)
	return err == nil && mldsa.Verify(v.key, m, sig[cosignatureTime:], nil) == nil
}
