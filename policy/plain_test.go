package policy

import (
	"encoding/json/jsontext"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is said to be plain is what the walk over its tokens would take.
func TestPlainJSONIsWhatTheWalkTakes(t *testing.T) {
	for text, plain := range map[string]bool{
		`{"format":1,"amount":"1000000000000000000","list":[true,false,null,0,999999999999999]}`: true,
		strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth):                            true,
		strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1):                        false,
		`"2026-04-27T12:00:00Z -1 1.5 1e9 01"`:                                                   true,
		`1000000000000000`:                                                                       false, // the walk knows
		`[9007199254740993]`:                                                                     false,
		`-1`:                                                                                     false,
		`[1.0]`:                                                                                  false,
		`[1e2]`:                                                                                  false,
		`[1E2]`:                                                                                  false,
		`[01]`:                                                                                   false,
		`[00]`:                                                                                   false,
		`"\u202e"`:                                                                               false,
		"\"\u202e\"":                                                                             false,
		"{\n}":                                                                                   false,
		"\"\x7f\"":                                                                               false,
	} {
		require.Equal(t, plain, isPlainJSON([]byte(text)), text)
		if plain {
			require.NoError(t, checkIJSON([]byte(text)), text)
		}
	}
}

func FuzzPlainJSON(f *testing.F) {
	for _, text := range []string{`{"a":[1,0,"x"],"b":{"c":123456789012345}}`, `[01]`, `[1e5]`, `"-1"`, `[[[[]]]]`, `tru1e`, `{"a":1}{"a":2}`, `[1 2]`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !isPlainJSON(b) || !jsontext.Value(b).IsValid() {
			return
		}
		require.NoError(t, checkIJSON(b))
	})
}
