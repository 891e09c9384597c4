package main

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/mintwarden/mintwarden/policy"
)

// printable escapes what a terminal would obey or a reader be misled by.
func printable(s string) string { return policy.Printable(s) }

// printer writes for a reader and remembers whether he got it all: what was not
// shown must not be signed, nor a command end as if it had said everything.
type printer struct {
	w   io.Writer
	err error // the first
}

func (p *printer) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	if p.err == nil {
		p.err = err
	}
	return n, err
}

func (p *printer) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(p, format, args...) // Write remembers it
}

// width is of the reader's terminal in columns, 0 where it is none.
func (p *printer) width() int {
	f, ok := p.w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// wrapped breaks a paragraph at spaces only, so that no address is torn where a
// person compares it. A width of 0 leaves it on one line.
func wrapped(paragraph string, width int) string {
	var b strings.Builder
	column := 0
	for n, word := range strings.Split(paragraph, " ") {
		size := utf8.RuneCountInString(word)
		switch {
		case n == 0:
		case width > 0 && column+1+size > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += size
	}
	return b.String()
}

// hanging is a paragraph behind a head, its further lines indented below it.
func hanging(head, paragraph string, width int) string {
	indent := utf8.RuneCountInString(head)
	if width > 0 {
		width = max(width-indent, 1)
	}
	return head + strings.ReplaceAll(wrapped(paragraph, width), "\n", "\n"+strings.Repeat(" ", indent))
}

// show prints v as JSON where --json asks for it, else as people read it.
func (c *cli) show(v any, people func() *rows) error {
	if c.json {
		return c.showJSON(v)
	}
	c.table(people())
	return nil
}

// tell shows what a command did: v for programs, a sentence for people.
func (c *cli) tell(v any, format string, args ...any) error {
	if c.json {
		return c.showJSON(v)
	}
	c.say(format, args...)
	return nil
}

func (c *cli) table(r *rows) { c.out.printf("%s", r.render(c.out.width())) }

func (c *cli) showJSON(v any) error {
	text, err := json.Marshal(v, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s\n", shownJSON(text))
	return err
}

// lineJSON prints v on one line.
func (c *cli) lineJSON(v any) error {
	text, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s\n", shownJSON(text))
	return err
}

// shownJSON is the same JSON for a terminal: JSON itself escapes what is below U+0020
// alone, and a terminal obeys U+009B, which begins a control sequence, as well. All that
// does not show as itself is escaped; it can stand in strings only, but for the newlines
// between.
func shownJSON(text []byte) []byte {
	plain := func(r rune) bool { return r == '\n' || r != utf8.RuneError && unicode.IsPrint(r) }
	if bytes.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	out := make([]byte, 0, len(text)+64)
	for _, r := range string(text) { // a byte that is no UTF-8 comes as U+FFFD
		switch {
		case plain(r):
			out = utf8.AppendRune(out, r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// shower writes text for a terminal as it comes, escaped as shownJSON escapes.
type shower struct {
	w    io.Writer
	rest []byte // of a character that did not come whole yet
}

func (s *shower) Write(b []byte) (int, error) {
	text := append(s.rest, b...)
	whole := len(text)
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if at := len(text) - n; utf8.RuneStart(text[at]) {
			if !utf8.FullRune(text[at:]) || text[at] == '\r' {
				whole = at
			}
			break
		}
	}
	s.rest = bytes.Clone(text[whole:])
	if _, err := s.w.Write(shownJSON(bytes.ReplaceAll(text[:whole], []byte("\r\n"), []byte("\n")))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// listed is a list as --json prints it.
type listed[T any] struct {
	Data []T `json:"data"`
}

// say prints a line for people, every text in it escaped; with --json the
// command's JSON says it all.
func (c *cli) say(format string, args ...any) {
	if c.json {
		return
	}
	for n, a := range args {
		if v := reflect.ValueOf(a); v.Kind() == reflect.String { // of any type: statuses and digests come from the API, too
			args[n] = printable(v.String())
		}
	}
	c.out.printf(format+"\n", args...)
}

// text is a value that may be absent.
func text[T ~string](s *T) string {
	if s == nil || *s == "" {
		return "–"
	}
	return string(*s)
}

// stamp is a moment as tables show it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// list is “a, b and c”.
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// pointer is &v, or nil for a value that was not given.
func pointer[T comparable](v T) *T {
	var none T
	if v == none {
		return nil
	}
	return &v
}

// count is “1 confirmation” or “2 confirmations”.
func count[T int | int64](n T, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
