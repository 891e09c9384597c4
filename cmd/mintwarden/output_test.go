package main

import (
	"encoding/json/v2"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

func TestWrapped(t *testing.T) {
	words := "Mint 1,000 EIT to 0xfD8C662cf3D2bd13Ea3CCd21Ad34834e4a2645c3 on a – net"
	require.Equal(t, words, wrapped(words, 0))
	require.Equal(t, "Mint 1,000 EIT to\n0xfD8C662cf3D2bd13Ea3CCd21Ad34834e4a2645c3\non a – net", wrapped(words, 20))
	require.Equal(t, words, wrapped(words, 72))
	require.Equal(t, "", wrapped("", 10))
}

// TestSayEscapes: whatever type a text has that came from elsewhere.
func TestSayEscapes(t *testing.T) {
	type status string
	var b []byte
	c := &cli{out: &printer{w: writer(func(p []byte) (int, error) { b = append(b, p...); return len(p), nil })}}
	c.say("%s is %s, %d", "a\x1b[2J", status("b\u202e"), 7)
	require.Equal(t, "a\\x1b[2J is b\\u202e, 7\n", string(b))
}

// TestAttack_ANameThatTheTerminalObeysInJSON: whoever answers for the appliance names things so that a person who asked
// for JSON at a terminal is shown another one. It is the same JSON, without anything that a terminal obeys.
func TestAttack_ANameThatTheTerminalObeysInJSON(t *testing.T) {
	name := "a\u009b2J\u009b1;1H\u202eb\u2066\u200bc\u007f\u0085\U000E0041\ufffdü – 😀\x1b[2J"
	var b []byte
	w := &printer{w: writer(func(p []byte) (int, error) { b = append(b, p...); return len(p), nil })}
	c := &cli{out: w, err: w, json: true}
	read := map[string]func() error{
		"a resource": func() error { return c.showJSON(map[string]string{"name": name}) },
		"a line":     func() error { return c.lineJSON(map[string]string{"name": name}) },
		"an error":   func() error { c.complainJSON(errors.New(name + "\xff\x9b2J")); return nil },
	}
	for what, show := range read {
		b = nil
		require.NoError(t, show(), what)
		require.Negative(t, strings.IndexFunc(string(b), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }), "%s: %q", what, b)
		var v struct {
			Name  string
			Error struct{ Message string }
		}
		require.NoError(t, json.Unmarshal(b, &v, json.MatchCaseInsensitiveNames(true)), what)
		require.Contains(t, v.Name+v.Error.Message, name, what)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
