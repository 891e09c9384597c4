package registry

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mintwarden/mintwarden/policy"
)

// Lengths of free text, in characters (the OpenAPI document says the same).
const (
	maxName        = 64
	maxSymbol      = 11
	maxLabel       = 64
	maxTag         = 64
	maxTags        = 32
	maxDescription = 1024
)

// Lengths in bytes of what a signed document will hold (package policy).
const (
	maxNameBytes   = 128
	maxSymbolBytes = 32
)

// checkText refuses a text that is empty where it may not be, too long, or
// holds what a reader would not see as it is (spec: api, "text").
func checkText(field, s string, min, max int) error {
	switch n := utf8.RuneCountInString(s); {
	case n == 0 && min > 0:
		return Refuse(MissingField, "%s is missing", field)
	case n > max:
		return Refuse(StringTooLong, "%s has %d characters; at most %d are allowed", field, n, max)
	}
	if err := policy.CheckText(s, len(s)); err != nil {
		return Refuse(Validation, "%s %+q: %v", field, s, err)
	}
	if s != "" && strings.TrimSpace(s) == "" {
		return Refuse(Validation, "%s %+q is blank", field, s)
	}
	return nil
}

// checkVisible is checkText for a word: neither spaces nor characters without
// a shape of their own, with which two symbols could look the same.
func checkVisible(field, s string, max int) error {
	if err := checkText(field, s, 1, max); err != nil {
		return err
	}
	for i, r := range s {
		if !unicode.IsGraphic(r) || unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) {
			return Refuse(Validation, "%s %+q holds %U at byte %d; only visible characters are allowed", field, s, r, i)
		}
	}
	return nil
}

// checkBytes keeps a text within what a signed document takes.
func checkBytes(field, s string, max int) error {
	if len(s) > max {
		return Refuse(StringTooLong, "%s has %d bytes in UTF-8; at most %d are allowed", field, len(s), max)
	}
	return nil
}
