package policy

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/holiman/uint256"
)

// ErrAmount says that a text or number is not an amount.
var ErrAmount = errors.New("not an amount (decimal digits, no leading zero, at most 2^256-1)")

// maxAmountDigits is the length of 2^256-1 in decimal digits.
const maxAmountDigits = 78

// Amount is a quantity of base units (or wei), 0 to 2^256-1. Its JSON form is a decimal string.
// The zero value is 0. Amounts compare with ==.
type Amount struct{ n uint256.Int }

// ParseAmount reads ^(0|[1-9][0-9]{0,77})$, at most 2^256-1. Errors wrap ErrAmount.
func ParseAmount(s string) (Amount, error) {
	if len(s) == 0 || len(s) > maxAmountDigits || (s[0] == '0' && len(s) > 1) {
		return Amount{}, fmt.Errorf("%w: %.80q", ErrAmount, s)
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return Amount{}, fmt.Errorf("%w: %q", ErrAmount, s)
		}
	}
	var a Amount
	if err := a.n.SetFromDecimal(s); err != nil {
		return Amount{}, fmt.Errorf("%w: %q", ErrAmount, s)
	}
	return a, nil
}

// AmountFromBig takes 0 to 2^256-1. Errors wrap ErrAmount.
func AmountFromBig(b *big.Int) (Amount, error) {
	if b == nil || b.Sign() < 0 || b.BitLen() > 256 {
		return Amount{}, fmt.Errorf("%w: %v", ErrAmount, b)
	}
	var a Amount
	a.n.SetFromBig(b)
	return a, nil
}

// AmountOf is n base units.
func AmountOf(n uint64) Amount {
	var a Amount
	a.n.SetUint64(n)
	return a
}

// MaxAmount is 2^256-1.
func MaxAmount() Amount {
	var a Amount
	a.n.SetAllOne()
	return a
}

// Big is a copy as a big integer.
func (a Amount) Big() *big.Int { return a.n.ToBig() }

// Add is a+b; ok is false, and the sum 2^256-1, where it would pass 2^256-1.
func (a Amount) Add(b Amount) (sum Amount, ok bool) {
	if _, overflow := sum.n.AddOverflow(&a.n, &b.n); overflow {
		return MaxAmount(), false
	}
	return sum, true
}

// Mul is a·n; ok is false, and the product 2^256-1, where it would pass 2^256-1.
func (a Amount) Mul(n uint64) (product Amount, ok bool) {
	if _, overflow := product.n.MulOverflow(&a.n, uint256.NewInt(n)); overflow {
		return MaxAmount(), false
	}
	return product, true
}

// Cmp is -1, 0 or 1 as a is below, at or above b.
func (a Amount) Cmp(b Amount) int { return a.n.Cmp(&b.n) }

// Is0 is true of 0. (It is not named IsZero, for an amount of 0 is never omitted from JSON.)
func (a Amount) Is0() bool { return a.n.IsZero() }

// String is the decimal form.
func (a Amount) String() string { return a.n.Dec() }

// MarshalText gives the decimal form.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.n.Dec()), nil }

// UnmarshalText reads what ParseAmount reads.
func (a *Amount) UnmarshalText(text []byte) error {
	p, err := ParseAmount(string(text))
	if err != nil {
		return err
	}
	*a = p
	return nil
}
