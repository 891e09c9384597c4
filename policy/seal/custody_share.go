package seal

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"runtime/secret"

	"github.com/awnumar/memguard"
	"github.com/cloudflare/circl/group"

	"github.com/mintwarden/mintwarden/policy"
)

// ErrShare says that something is no share, or not the one that it should be.
var ErrShare = errors.New("share refused")

const (
	// shareSize is a share's, in bytes: its number, 1 to 16, and a scalar of Ristretto255.
	shareSize = 1 + 32
	// sumSize is the checksum's, in bytes: it finds slips of the pen, the digest in custody.json
	// finds the rest.
	sumSize = 4
	// sharePrefix tells what the text is, and that this is how it is read.
	sharePrefix = "mwshare1-"
	// shareGroup is after how many characters a hyphen stands, for those who type it.
	shareGroup = 6
)

// shareText is RFC 4648's base32 in small letters without padding.
var shareText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Share is what one custodian keeps, in locked memory until Destroy. Its text is one line,
// “mwshare1-” and 60 characters in groups of six, with a checksum. The zero value is none.
type Share struct{ b *memguard.LockedBuffer }

// Encode gives the text, without a line's end, in memory that the caller wipes.
func (s Share) Encode() []byte {
	raw := make([]byte, shareSize+sumSize)
	defer clear(raw)
	copy(raw, s.b.Bytes())
	copy(raw[shareSize:], shareSum(s.b.Bytes()))
	plain := make([]byte, shareText.EncodedLen(len(raw)))
	defer clear(plain)
	shareText.Encode(plain, raw)
	text := make([]byte, 0, shareLength)
	text = append(text, sharePrefix...)
	for i := 0; i < len(plain); i += shareGroup {
		if i > 0 {
			text = append(text, '-')
		}
		text = append(text, plain[i:min(i+shareGroup, len(plain))]...)
	}
	return text
}

// shareLength is the text's, in bytes.
const shareLength = len(sharePrefix) + 60 + 60/shareGroup - 1

func shareSum(raw []byte) []byte {
	h := sha256.New()
	h.Write([]byte(sharePrefix))
	h.Write(raw)
	return h.Sum(nil)[:sumSize]
}

// ParseShare takes what Encode gives, with or without white space around it. Errors wrap ErrShare and
// hold none of the text. The caller wipes text, and destroys the share.
func ParseShare(text []byte) (Share, error) {
	text = bytes.TrimSpace(text)
	if !bytes.HasPrefix(text, []byte(sharePrefix)) {
		return Share{}, fmt.Errorf("%w: it does not begin with %s", ErrShare, sharePrefix)
	}
	if len(text) != shareLength {
		return Share{}, fmt.Errorf("%w: %d characters, want %d", ErrShare, len(text), shareLength)
	}
	plain := make([]byte, 0, shareLength)
	defer func() { clear(plain[:cap(plain)]) }()
	for i, b := range text[len(sharePrefix):] {
		if i%(shareGroup+1) == shareGroup {
			if b != '-' {
				return Share{}, fmt.Errorf("%w: want a hyphen after every %d characters", ErrShare, shareGroup)
			}
			continue
		}
		plain = append(plain, b)
	}
	raw := make([]byte, shareText.DecodedLen(len(plain)))
	defer clear(raw)
	if _, err := shareText.Decode(raw, plain); err != nil {
		return Share{}, fmt.Errorf("%w: a character is none of a to z and 2 to 7", ErrShare)
	}
	again := make([]byte, len(plain))
	defer clear(again)
	shareText.Encode(again, raw) // the last character has bits to spare
	if subtle.ConstantTimeCompare(again, plain) != 1 || subtle.ConstantTimeCompare(raw[shareSize:], shareSum(raw[:shareSize])) != 1 {
		return Share{}, fmt.Errorf("%w: its checksum does not hold; a character is wrong", ErrShare)
	}
	return shareOf(raw[:shareSize])
}

// shareOf takes a share's bytes, which stay the caller's.
func shareOf(raw []byte) (Share, error) {
	if len(raw) != shareSize {
		return Share{}, fmt.Errorf("%w: %d bytes, want %d", ErrShare, len(raw), shareSize)
	}
	if raw[0] == 0 || int(raw[0]) > policy.MaxSignatures {
		return Share{}, fmt.Errorf("%w: its number is not 1 to %d", ErrShare, policy.MaxSignatures)
	}
	var failed error
	secret.Do(func() { failed = group.Ristretto255.NewScalar().UnmarshalBinary(raw[1:]) })
	if failed != nil {
		return Share{}, fmt.Errorf("%w: its value is none of the group", ErrShare)
	}
	b := memguard.NewBuffer(shareSize)
	b.Copy(raw)
	return Share{b}, nil
}

// Digest is the SHA-256 of the text: it tells shares apart and nothing of what they hold, for that
// is 252 random bits.
func (s Share) Digest() policy.Digest {
	text := s.Encode()
	defer clear(text)
	return policy.DigestOf(text)
}

// IsZero is true of the zero value, and of a share that was destroyed.
func (s Share) IsZero() bool { return s.b == nil || !s.b.IsAlive() }

// Destroy wipes the share.
func (s Share) Destroy() {
	if s.b != nil {
		s.b.Destroy()
	}
}

// String never shows the share.
func (s Share) String() string { return "share (secret)" }
