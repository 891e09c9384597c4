package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrShape says that an id, a name or a text does not have the form that it must have.
var ErrShape = errors.New("malformed")

// ulidSize is a ULID's length in characters of Crockford's base 32.
const ulidSize = 26

// CheckID is nil if id is prefix, an underscore and a 26-character ULID. Errors wrap ErrShape.
func CheckID(prefix, id string) error {
	if !isID(prefix, id) {
		return fmt.Errorf("%w id %.64q: want %s_ and a ULID", ErrShape, id, prefix)
	}
	return nil
}

func isID(prefix, id string) bool {
	ulid, ok := strings.CutPrefix(id, prefix)
	if !ok || prefix == "" || len(ulid) != 1+ulidSize || ulid[0] != '_' {
		return false
	}
	for i := range len(prefix) {
		if prefix[i] < 'a' || prefix[i] > 'z' {
			return false
		}
	}
	for i := 1; i < len(ulid); i++ {
		if c := ulid[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z' || c == 'I' || c == 'L' || c == 'O' || c == 'U') {
			return false
		}
	}
	return true
}

// isTemplate is true of "tpl" and words of a-z 0-9, each behind an underscore.
func isTemplate(id string) bool {
	words, ok := strings.CutPrefix(id, "tpl_")
	if !ok || len(id) > 64 {
		return false
	}
	before := byte('_')
	for i := range len(words) {
		c := words[i]
		if c == '_' && before == '_' || c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
		before = c
	}
	return before != '_'
}

// CheckName is nil if s may name a person, a group, an appliance, a network, an instance or a
// tenant: 1 to 64 of A-Z a-z 0-9 . _ @ - and the first of them a letter or digit. Errors wrap
// ErrShape.
func CheckName(s string) error {
	if !isName(s) {
		return fmt.Errorf("%w name %.80q: want 1 to 64 of A-Z a-z 0-9 . _ @ - beginning with a letter or digit", ErrShape, s)
	}
	return nil
}

func isName(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '@' || c == '-'):
		default:
			return false
		}
	}
	return true
}

// CheckText is nil if s is valid UTF-8 of at most max bytes without control characters, line
// separators, bidirectional controls and noncharacters, so that it shows as what it is. Errors
// wrap ErrShape.
func CheckText(s string, max int) error {
	if len(s) > max {
		return fmt.Errorf("%w text of %d bytes: at most %d", ErrShape, len(s), max)
	}
	if isPlain(s) {
		return nil
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w text: not UTF-8", ErrShape)
	}
	for _, r := range s {
		if unicode.IsControl(r) || misleads(r) {
			return fmt.Errorf("%w text: character %U is not taken", ErrShape, r)
		}
	}
	return nil
}

// isPlain is true of ASCII without control characters: most of what is checked, base64 above all.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// misleads is true of characters that change how the text around them is shown or read.
func misleads(r rune) bool {
	switch {
	case r == 0x2028 || r == 0x2029: // line and paragraph separator
		return true
	case r == 0x061C || r == 0x200E || r == 0x200F, r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069: // bidi
		return true
	case r >= 0xFDD0 && r <= 0xFDEF, r&0xFFFE == 0xFFFE: // noncharacters (I-JSON, RFC 7493 section 2.1)
		return true
	}
	return false
}
