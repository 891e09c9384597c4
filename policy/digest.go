package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrDigest says that a text is not a digest.
var ErrDigest = errors.New("not a digest (sha256: and 64 lower-case hex digits)")

// Digest names exact bytes: "sha256:" and the lower-case hex of their SHA-256. The zero value is
// invalid and equals no digest of anything.
type Digest string

const digestPrefix = "sha256:"

// NoDigest is sixty-four zeros: what the first batch of a ledger names as its predecessor.
const NoDigest = Digest(digestPrefix + "0000000000000000000000000000000000000000000000000000000000000000")

// DigestOf is the digest of b.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	var text [len(digestPrefix) + 2*sha256.Size]byte
	hex.Encode(text[copy(text[:], digestPrefix):], sum[:])
	return Digest(text[:])
}

// ParseDigest reads the text form. Errors wrap ErrDigest.
func ParseDigest(s string) (Digest, error) {
	if d := Digest(s); d.Valid() {
		return d, nil
	}
	return "", fmt.Errorf("%w: %.80q", ErrDigest, s)
}

// Valid is true of the text form and of nothing else.
func (d Digest) Valid() bool {
	hexes, ok := strings.CutPrefix(string(d), digestPrefix)
	if !ok || len(hexes) != 2*sha256.Size {
		return false
	}
	for i := range len(hexes) {
		if c := hexes[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
