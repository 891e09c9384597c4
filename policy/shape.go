package policy

import (
	"errors"
	"fmt"
	"regexp"
	"unicode"
	"unicode/utf8"
)

// ErrShape says that an id, a name or a text does not have the form that it must have.
var ErrShape = errors.New("malformed")

var (
	idShape       = regexp.MustCompile(`^([a-z]+)_[0-9A-HJKMNP-TV-Z]{26}$`)
	nameShape     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)
	templateShape = regexp.MustCompile(`^tpl_[a-z0-9]+(_[a-z0-9]+)*$`)
)

// CheckID is nil if id is prefix, an underscore and a 26-character ULID. Errors wrap ErrShape.
func CheckID(prefix, id string) error {
	if m := idShape.FindStringSubmatch(id); m == nil || m[1] != prefix {
		return fmt.Errorf("%w id %.64q: want %s_ and a ULID", ErrShape, id, prefix)
	}
	return nil
}

// CheckName is nil if s may name a person, a group, an appliance, a network, an instance or a
// tenant: 1 to 64 of A-Z a-z 0-9 . _ @ - and the first of them a letter or digit. Errors wrap
// ErrShape.
func CheckName(s string) error {
	if !nameShape.MatchString(s) {
		return fmt.Errorf("%w name %.80q: want 1 to 64 of A-Z a-z 0-9 . _ @ - beginning with a letter or digit", ErrShape, s)
	}
	return nil
}

// CheckText is nil if s is valid UTF-8 of at most max bytes without control characters, line
// separators, bidirectional controls and noncharacters, so that it shows as what it is. Errors
// wrap ErrShape.
func CheckText(s string, max int) error {
	if len(s) > max {
		return fmt.Errorf("%w text of %d bytes: at most %d", ErrShape, len(s), max)
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
