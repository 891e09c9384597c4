package policy

import (
	"bytes"
	"cmp"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// ErrDocument says that a document is malformed.
var ErrDocument = errors.New("document refused")

const (
	// Format is the one format of every document here.
	Format = 1
	// MaxDocument bounds a document's JSON in bytes.
	MaxDocument = 64 << 10
	// maxDepth bounds nesting: a policy's deepest quorum tree needs 12.
	maxDepth = 16
	// maxInteger is the greatest integer of I-JSON (RFC 7493 section 2.2), 2^53-1.
	maxInteger = 1<<53 - 1
)

// texts are buffers for what is encoded to be compared and forgotten; keptText is the largest that is used again, in
// bytes: a decision with its intent has 4 KB.
var texts = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const keptText = 16 << 10

// decodeStrict reads one JSON value of at most max bytes into the struct at v. It is I-JSON
// without fractions, with no repeated or unknown member, and holds exactly what encoding v would
// give again, up to white space and the order of members: so every member is there, spelled the
// one way that it has.
func decodeStrict(b []byte, max int, v any) error {
	if len(b) > max {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrDocument, len(b), max)
	}
	plain := isPlainJSON(b)
	if !plain {
		if err := checkIJSON(b); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(b, v, json.RejectUnknownMembers(true)); err != nil {
		if plain {
			return cmp.Or(checkIJSON(b), misread(err)) // the same words, however it was found
		}
		return misread(err)
	}
	text := texts.Get().(*bytes.Buffer)
	defer func() {
		if text.Cap() <= keptText {
			text.Reset()
			texts.Put(text)
		}
	}()
	if err := json.MarshalWrite(text, v, json.Deterministic(true)); err != nil {
		return fmt.Errorf("%w: %w", ErrDocument, err)
	}
	again := text.Bytes()
	if bytes.Equal(again, b) {
		return nil
	}
	var have, want any
	if err := errors.Join(json.Unmarshal(b, &have), json.Unmarshal(again, &want)); err != nil {
		return fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if where, why := difference("", have, want); why != "" {
		return fmt.Errorf("%w: %s: %s", ErrDocument, where, why)
	}
	return nil
}

// misread says where and why a value was not taken, in words that do not vary from run to run as the
// standard library's do.
func misread(err error) error {
	var s *json.SemanticError
	if !errors.As(err, &s) {
		return fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if s.Err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDocument, s.JSONPointer, s.Err)
	}
	return fmt.Errorf("%w: %s: a JSON %s does not fit here", ErrDocument, s.JSONPointer, s.JSONKind)
}

// encode gives v's JSON, the same bytes for the same value.
func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	return b, nil
}

// checkIJSON walks the tokens once: bounded depth, plain integers within 2^53-1, no text that
// misleads a reader.
func checkIJSON(b []byte) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(b))
	for {
		token, err := d.ReadToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDocument, err)
		}
		if d.StackDepth() > maxDepth {
			return fmt.Errorf("%w: nested deeper than %d", ErrDocument, maxDepth)
		}
		switch token.Kind() {
		case '0':
			n, err := strconv.ParseUint(token.String(), 10, 64)
			if err != nil || n > maxInteger || strconv.FormatUint(n, 10) != token.String() {
				return fmt.Errorf("%w: number %.40s at %s: want an integer from 0 to 2^53-1", ErrDocument, token.String(), d.StackPointer())
			}
		case '"':
			if err := CheckText(token.String(), MaxEnvelope); err != nil {
				return fmt.Errorf("%w: at %s: %w", ErrDocument, d.StackPointer(), err)
			}
		}
	}
}

// isPlainJSON is true of most of what is read: there checkIJSON would find nothing but what is no
// JSON at all, which the decoder finds too. It is printable ASCII without escapes, so that no text
// misleads; not nested too deep; and its numbers are integers of at most 15 digits, below 2^53.
func isPlainJSON(b []byte) bool {
	depth, text, digits := 0, false, 0
	for i, c := range b {
		switch {
		case c < 0x20 || c > 0x7e || c == '\\':
			return false
		case c == '"':
			text = !text
		case text:
		case c >= '0' && c <= '9':
			if digits++; digits > 15 || digits == 2 && b[i-1] == '0' {
				return false
			}
			continue
		case digits > 0 && (c == '.' || c == 'e' || c == 'E') || c == '-':
			return false
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
		digits = 0
	}
	return true
}

// difference finds the first place, in the order of names, where two decoded JSON values differ.
func difference(path string, have, want any) (where, why string) {
	switch w := want.(type) {
	case map[string]any:
		h, ok := have.(map[string]any)
		if !ok {
			return path, "want an object"
		}
		for _, name := range slices.Sorted(maps.Keys(w)) {
			if _, ok := h[name]; !ok {
				return path + "/" + name, "missing"
			}
			if where, why := difference(path+"/"+name, h[name], w[name]); why != "" {
				return where, why
			}
		}
		for _, name := range slices.Sorted(maps.Keys(h)) {
			if _, ok := w[name]; !ok {
				return path + "/" + name, "is 0, empty or false, which is not taken here"
			}
		}
		return "", ""
	case []any:
		h, ok := have.([]any)
		if !ok || len(h) != len(w) {
			return path, "want an array"
		}
		for i := range w {
			if where, why := difference(path+"/"+strconv.Itoa(i), h[i], w[i]); why != "" {
				return where, why
			}
		}
		return "", ""
	}
	if have != want {
		return path, fmt.Sprintf("%.80q is not spelled as it must be, want %.80q", fmt.Sprint(have), fmt.Sprint(want))
	}
	return "", ""
}

// checkFormat is nil for the one format.
func checkFormat(format int) error {
	if format != Format {
		return fmt.Errorf("%w: format %d, want %d", ErrDocument, format, Format)
	}
	return nil
}

// checkTime is nil for whole seconds UTC from 2000 to 9999: RFC 3339 with one spelling.
func checkTime(name string, t time.Time) error {
	if t.Nanosecond() != 0 || t.Location() != time.UTC || t.Year() < 2000 || t.Year() > 9999 {
		return fmt.Errorf("%w: %s %s: want whole seconds UTC", ErrDocument, name, t.Format(time.RFC3339Nano))
	}
	return nil
}

// Seconds is t as documents hold times: UTC, cut to whole seconds, without a monotonic reading.
func Seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second).Round(0) }
