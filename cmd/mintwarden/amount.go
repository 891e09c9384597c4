package main

import (
	"fmt"
	"strings"

	"github.com/mintwarden/mintwarden/policy"
)

// baseUnits reads an amount that a person typed: whole tokens with at most
// decimals digits after the point, such as 1000 or 0.5, or base units where raw
// says so. It is exact: no float, no rounding, no separators, at most 2^256-1
// base units.
func baseUnits(flag, typed string, decimals int, raw bool) (policy.Amount, error) {
	if raw {
		a, err := policy.ParseAmount(typed)
		if err != nil {
			return policy.Amount{}, usagef("--%s %q: want base units as decimal digits without a leading zero, at most 2^256-1", flag, typed)
		}
		return a, nil
	}
	wrong := func(why string) (policy.Amount, error) {
		return policy.Amount{}, usagef("--%s %q: %s; want tokens such as 1000 or 0.5", flag, typed, why)
	}
	whole, fraction, point := strings.Cut(typed, ".")
	switch {
	case whole == "" || point && fraction == "":
		return wrong("a digit is missing")
	case !digits(whole) || !digits(fraction):
		return wrong("only digits and one point are taken")
	case len(whole) > 1 && whole[0] == '0':
		return wrong("it begins with 0")
	}
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > decimals {
		return wrong(fmt.Sprintf("the token has %d decimals, this has %d", decimals, len(fraction)))
	}
	base := strings.TrimLeft(whole+fraction+strings.Repeat("0", decimals-len(fraction)), "0")
	if base == "" {
		base = "0"
	}
	a, err := policy.ParseAmount(base)
	if err != nil {
		return wrong("it is more than 2^256-1 base units")
	}
	return a, nil
}

func digits(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// tokens shows base units in whole tokens, as policy.Units does.
func tokens(base string, decimals int) string {
	a, err := policy.ParseAmount(base)
	if err != nil || decimals < 0 || decimals > 77 {
		return base
	}
	return policy.Units(a, uint8(decimals))
}
