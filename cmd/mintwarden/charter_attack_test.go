package main

import (
	"encoding/json/v2"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
)

// TestAttack_AFirstCharterThatIsNotShownWhole: who writes charter 1 down, be it the one who runs the ceremony, puts in
// what the custodians who sign it on machines of their own do not read: a software token in the HSM's place, a PIN that
// no TPM seals, a clock that may be off by an hour. There is nothing in it that could change unseen.
func TestAttack_AFirstCharterThatIsNotShownWhole(t *testing.T) {
	base := charter()
	base.Limits = policy.Limits{MaxIntentLifetime: 3600, MaxOutstanding: 4, MaxClockSkew: 60, WalletsPerHour: 5, WalletsTotal: 50}
	text, err := json.Marshal(base, json.Deterministic(true))
	require.NoError(t, err)
	shown := func(text []byte) (string, bool) {
		var c policy.Charter
		if json.Unmarshal(text, &c) != nil {
			return "", false // a key that is none, say
		}
		return charterRows(&c, "").render(0), true
	}
	whole, ok := shown(text)
	require.True(t, ok)
	var tree any
	require.NoError(t, json.Unmarshal(text, &tree))
	tried := 0
	otherwise(tree, "", func(place string, now any) {
		other, err := json.Marshal(tree, json.Deterministic(true))
		require.NoError(t, err)
		if text, ok := shown(other); ok && place != "/format" { // of which there is one
			tried++
			require.NotEqual(t, whole, text, "%s may be %v, and nobody sees it", place, now)
		}
	})
	require.Greater(t, tried, 60)
}

// otherwise makes one value of the tree another one after the other, and calls f while it is so.
func otherwise(tree any, place string, f func(place string, now any)) {
	try := func(at string, was any, set func(any)) {
		place := place + "/" + at
		for _, now := range others(was) {
			set(now)
			f(place, now)
		}
		set(was)
		otherwise(was, place, f)
	}
	switch v := tree.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			try(name, v[name], func(now any) { v[name] = now })
		}
	case []any:
		for n := range v {
			try(strconv.Itoa(n), v[n], func(now any) { v[n] = now })
		}
	}
}

// others are values of the same kind.
func others(was any) []any {
	switch v := was.(type) {
	case bool:
		return []any{!v}
	case float64:
		return []any{v + 1}
	case string:
		return []any{v + "x", "1" + v, strings.Map(func(r rune) rune { return r ^ 1 }, v[:min(1, len(v))]) + v[min(1, len(v)):]}
	case []any:
		if len(v) > 0 {
			return []any{v[1:]}
		}
	}
	return nil
}
