package tx

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/crypto"
)

// Hash is a Keccak-256 digest: of a transaction, a signing input, a block. Its text is 0x and 64
// lower-case hex digits.
type Hash [32]byte

// ErrHash says that a text is not a hash.
var ErrHash = errors.New("not a hash (0x and 64 lower-case hex digits)")

// HashOf is the transaction hash: Keccak-256 of the whole encoding.
func HashOf(raw []byte) Hash { return Hash(crypto.Keccak256Hash(raw)) }

// ParseHash reads the text form; errors wrap ErrHash.
func ParseHash(s string) (Hash, error) {
	var h Hash
	err := h.UnmarshalText([]byte(s))
	return h, err
}

// String is the text form.
func (h Hash) String() string { return "0x" + hex.EncodeToString(h[:]) }

// IsZero is true of the hash that nothing has.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText gives the text form.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText takes the text form exactly; errors wrap ErrHash.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 66 || text[0] != '0' || text[1] != 'x' {
		return fmt.Errorf("%w: %.70q", ErrHash, text)
	}
	var p Hash
	if _, err := hex.Decode(p[:], text[2:]); err != nil || p.String() != string(text) {
		return fmt.Errorf("%w: %q", ErrHash, text)
	}
	*h = p
	return nil
}
