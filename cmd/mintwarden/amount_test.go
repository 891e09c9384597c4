package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBaseUnits(t *testing.T) {
	most := "115792089237316195423570985008687907853269984665640564039457584007913129639935"
	for _, tt := range []struct {
		typed    string
		decimals int
		raw      bool
		want     string // empty: refused
	}{
		{"1000", 18, false, "1000000000000000000000"},
		{"0.5", 18, false, "500000000000000000"},
		{"0.000000000000000001", 18, false, "1"},
		{"0.1", 1, false, "1"},
		{"1.50", 1, false, "15"},
		{"7", 0, false, "7"},
		{"7.0", 0, false, "7"},
		{"0", 18, false, "0"},
		{"0.0", 18, false, "0"},
		{"0.1", 18, false, "100000000000000000"},
		{"9007199254740993.000000000000000001", 18, false, "9007199254740993000000000000000001"}, // no float holds it
		{most, 0, false, most},
		{most[:60] + "." + most[60:], 18, false, most},
		{most, 0, true, most},
		{"12", 18, true, "12"},

		{"", 18, false, ""},
		{".5", 18, false, ""},
		{"5.", 18, false, ""},
		{".", 18, false, ""},
		{"1.2.3", 18, false, ""},
		{"-1", 18, false, ""},
		{"+1", 18, false, ""},
		{"1e3", 18, false, ""},
		{"0x10", 18, false, ""},
		{"1,000", 18, false, ""},
		{"1 000", 18, false, ""},
		{"1_000", 18, false, ""},
		{"٣", 18, false, ""},
		{"01", 18, false, ""},
		{"00.5", 18, false, ""},
		{"0.0000000000000000001", 18, false, ""},
		{"1.01", 1, false, ""},
		{"115792089237316195423570985008687907853269984665640564039457584007913129639936", 0, false, ""},
		{most, 1, false, ""},
		{strings.Repeat("9", 1000), 18, false, ""},
		{"1.5", 18, true, ""},
		{"007", 18, true, ""},
		{"-7", 18, true, ""},
		{"", 18, true, ""},
	} {
		got, err := baseUnits("amount", tt.typed, tt.decimals, tt.raw)
		if tt.want == "" {
			require.Error(t, err, "%q", tt.typed)
			require.Equal(t, exitUsage, exitCode(err))
			require.ErrorContains(t, err, "--amount")
			continue
		}
		require.NoError(t, err, "%q", tt.typed)
		require.Equal(t, tt.want, got.String(), "%q with %d decimals", tt.typed, tt.decimals)
	}
}

// FuzzBaseUnits holds parsing to its inverse: what is taken shows as the same
// number again.
func FuzzBaseUnits(f *testing.F) {
	for _, s := range []string{"1000", "0.5", "1.50", "007", "1e3", ".", "99999999999999999999.000000000000000001"} {
		f.Add(s, uint8(18))
	}
	f.Fuzz(func(t *testing.T, typed string, decimals uint8) {
		d := int(decimals % 78)
		a, err := baseUnits("amount", typed, d, false)
		if err != nil {
			return
		}
		shown := strings.ReplaceAll(tokens(a.String(), d), ",", "")
		want := typed
		if strings.Contains(want, ".") {
			want = strings.TrimSuffix(strings.TrimRight(want, "0"), ".")
		}
		require.Equal(t, want, shown)
	})
}
