package main

import (
	"testing"

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

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
