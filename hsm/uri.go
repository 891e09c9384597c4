package hsm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// URI names one key in a PKCS#11 token, as RFC 7512 writes it:
//
//	pkcs11:token=ops;object=alice;id=%01?module-path=/usr/lib/x.so&pin-source=file:/run/pin
//
// The zero value of a field is one that the URI does not have.
type URI struct {
	Token, Serial, Manufacturer, Model string // of the token
	Object                             string // CKA_LABEL
	ID                                 []byte // CKA_ID
	ModulePath                         string // absolute
	PINSource                          string // absolute path of a file that holds the PIN
}

// ErrURI: the text is not a pkcs11: URI that names one key. The error never holds
// the value of an attribute.
var ErrURI = errors.New("hsm: not a pkcs11: URI of a key")

const (
	maxURI    = 4096 // bytes
	uriScheme = "pkcs11:"
)

// ParseURI decodes strictly: each attribute once, nothing that it does not know, a
// token (or its serial number), an object or an id, and the module's path, for a
// program cannot know which module the token is behind. A PIN in the URI is
// refused: URIs end up in shell histories, logs and lists of processes.
func ParseURI(text string) (*URI, error) {
	if len(text) > maxURI {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrURI, len(text), maxURI)
	}
	rest, ok := strings.CutPrefix(text, uriScheme)
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrURI, uriScheme)
	}
	path, query, hasQuery := strings.Cut(rest, "?")
	u, typ := &URI{}, ""
	fields := map[string]*string{"token": &u.Token, "serial": &u.Serial, "manufacturer": &u.Manufacturer,
		"model": &u.Model, "object": &u.Object, "type": &typ}
	seen := map[string]bool{}
	attribute := func(text, allowed string, known func(name string) bool) (name, value string, err error) {
		name, raw, ok := strings.Cut(text, "=")
		switch {
		case !ok:
			return "", "", fmt.Errorf("%w: an attribute without =", ErrURI)
		case name == "pin-value":
			return "", "", fmt.Errorf("%w: a PIN does not belong in it; use pin-source", ErrURI)
		case !known(name):
			return "", "", fmt.Errorf("%w: unknown attribute %.32q", ErrURI, name)
		case seen[name]:
			return "", "", fmt.Errorf("%w: %s stands in it twice", ErrURI, name)
		}
		seen[name] = true
		if value, ok = unescape(raw, allowed); !ok || value == "" {
			return "", "", fmt.Errorf("%w: %s is empty or not written as RFC 7512 wants it", ErrURI, name)
		}
		return name, value, nil
	}
	for part := range strings.SplitSeq(path, ";") {
		name, value, err := attribute(part, pathChars, func(n string) bool { return n == "id" || fields[n] != nil })
		if err != nil {
			return nil, err
		}
		if name == "id" {
			u.ID = []byte(value)
			continue
		}
		*fields[name] = value
	}
	if hasQuery {
		for part := range strings.SplitSeq(query, "&") {
			name, value, err := attribute(part, queryChars, func(n string) bool { return n == "module-path" || n == "pin-source" })
			if err != nil {
				return nil, err
			}
			if name == "module-path" {
				u.ModulePath = value
				continue
			}
			if u.PINSource, err = pinFile(value); err != nil {
				return nil, err
			}
		}
	}
	return u, u.check(typ)
}

func (u *URI) check(typ string) error {
	switch {
	case typ != "" && typ != "private":
		return fmt.Errorf("%w: type is to be private", ErrURI)
	case u.Token == "" && u.Serial == "":
		return fmt.Errorf("%w: it has neither token nor serial", ErrURI)
	case u.Object == "" && u.ID == nil:
		return fmt.Errorf("%w: it has neither object nor id", ErrURI)
	case u.ModulePath == "":
		return fmt.Errorf("%w: it has no module-path", ErrURI)
	case !cleanPath(u.ModulePath):
		return fmt.Errorf("%w: module-path is not a clean absolute path", ErrURI)
	}
	return nil
}

// cleanPath reports whether a path is absolute and written in the one shortest way.
func cleanPath(path string) bool {
	return filepath.IsAbs(path) && filepath.Clean(path) == path && !strings.ContainsRune(path, 0)
}

// pinFile takes the one kind of pin-source that is a file of this machine; a
// program ("|…") would be run with the rights of who opens the key.
func pinFile(source string) (string, error) {
	path, ok := strings.CutPrefix(source, "file:")
	if strings.HasPrefix(path, "///") {
		path = path[2:]
	}
	if !ok || !cleanPath(path) {
		return "", fmt.Errorf("%w: pin-source is to be file: and a clean absolute path", ErrURI)
	}
	return path, nil
}

// What may stand unescaped in an attribute's value beside letters, digits and
// "-._~" (RFC 7512, section 2.3).
const (
	pathChars  = ":[]@!$'()*+,=&"
	queryChars = ":[]@!$'()*+,=/?|"
)

func unescape(s, allowed string) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '%':
			if len(s)-i < 3 {
				return "", false
			}
			b, err := hex.DecodeString(s[i+1 : i+3])
			if err != nil {
				return "", false
			}
			out.WriteByte(b[0])
			i += 2
		case unreserved(c) || strings.IndexByte(allowed, c) >= 0:
			out.WriteByte(c)
		default:
			return "", false
		}
	}
	return out.String(), true
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func escape(s, allowed string) string {
	var out strings.Builder
	for i := range len(s) {
		if c := s[i]; unreserved(c) || strings.IndexByte(allowed, c) >= 0 {
			out.WriteByte(c)
		} else {
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	return out.String()
}

// String writes the URI in the one way that ParseURI's callers may compare.
func (u *URI) String() string {
	var path []string
	for _, a := range []struct{ name, value string }{{"token", u.Token}, {"serial", u.Serial},
		{"manufacturer", u.Manufacturer}, {"model", u.Model}, {"object", u.Object}, {"id", string(u.ID)}} {
		if a.value != "" {
			path = append(path, a.name+"="+escape(a.value, pathChars))
		}
	}
	query := "module-path=" + escape(u.ModulePath, queryChars)
	if u.PINSource != "" {
		query += "&pin-source=file:" + escape(u.PINSource, queryChars)
	}
	return uriScheme + strings.Join(path, ";") + "?" + query
}
