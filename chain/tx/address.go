package tx

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// Address is an account or contract. Its text is EIP-55's: 0x and 40 hex digits whose case is a
// checksum.
type Address [20]byte

// AddressError says why a text is not an address.
type AddressError struct {
	Text   string // the text as it was given, shortened to 64 bytes
	Reason string
}

func (e *AddressError) Error() string { return fmt.Sprintf("address %q: %s", e.Text, e.Reason) }

func addressError(text, reason string) error {
	if len(text) > 64 {
		text = text[:64]
	}
	return &AddressError{text, reason}
}

// ParseAddress reads what people and programs send: 0x and 40 hex digits, all of one case or with
// a right EIP-55 checksum. Errors are *AddressError.
func ParseAddress(s string) (Address, error) {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok || len(digits) != 40 {
		return Address{}, addressError(s, "want 0x and 40 hex digits")
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return Address{}, addressError(s, "want 0x and 40 hex digits")
	}
	a := Address(b)
	if digits == strings.ToLower(digits) || digits == strings.ToUpper(digits) {
		return a, nil
	}
	if s != a.String() {
		return Address{}, addressError(s, "the EIP-55 checksum is wrong")
	}
	return a, nil
}

// String is the EIP-55 text.
func (a Address) String() string { return string(a.spell().text[:]) }

// text is the EIP-55 text: a letter is a capital where the Keccak-256 of all the digits has 8 or
// more in its place. Every document that is signed is read and written with a few of them, so the
// hash's state is not made anew for each, as go-ethereum's does.
func (a Address) text() []byte {
	t := make([]byte, 2+2*len(a))
	t[0], t[1] = '0', 'x'
	digits := t[2:]
	hex.Encode(digits, a[:])
	sum := crypto.Keccak256Hash(digits)
	for i, c := range digits {
		if c > '9' && sum[i/2]>>(4*(1-i%2))&0xf >= 8 {
			digits[i] -= 'a' - 'A'
		}
	}
	return t
}

// IsZero is true of the zero address, which is nobody's and never a recipient.
func (a Address) IsZero() bool { return a == Address{} }

// MarshalText gives the EIP-55 text.
func (a Address) MarshalText() ([]byte, error) { return a.AppendText(nil) }

// AppendText appends the EIP-55 text.
func (a Address) AppendText(b []byte) ([]byte, error) { return append(b, a.spell().text[:]...), nil }

// UnmarshalText takes the EIP-55 text exactly and nothing else, for signed documents have one
// spelling of one address. Errors are *AddressError.
func (a *Address) UnmarshalText(text []byte) error {
	// What is spelled right is hashed once at most; whatever is wrong is looked at below.
	if digits, ok := bytes.CutPrefix(text, []byte("0x")); ok && len(digits) == 2*len(Address{}) {
		var p Address
		if _, err := hex.Decode(p[:], digits); err == nil && bytes.Equal(p.spell().text[:], text) {
			*a = p
			return nil
		}
	}
	p, err := ParseAddress(string(text))
	if err != nil {
		return err
	}
	if p.String() != string(text) {
		return addressError(string(text), "want its EIP-55 spelling "+p.String())
	}
	*a = p
	return nil
}

// Sender is the account of a public key. Kind quantum: the first 20 bytes of Keccak-256 of the
// 1952-byte key; kind evm: the last 20 of Keccak-256 of the 64-byte uncompressed point.
func Sender(kind Kind, publicKey []byte) (Address, error) {
	return kind.address(publicKey)
}

// CreateAddress is where a contract stands that sender creates with nonce: Ethereum's CREATE rule,
// on both kinds.
func CreateAddress(sender Address, nonce uint64) Address {
	return Address(crypto.CreateAddress(common.Address(sender), nonce))
}
