package qrc20

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/crypto"
)

// ErrCode says that a contract's code is not what a template's deployment leaves.
var ErrCode = errors.New("not the template's code")

// HashCode is Keccak-256 of deployed code with the template's immutables zeroed, to be compared
// with BytecodeHash. Code of another length has another hash in any case; it is hashed as it is.
func (t *Template) HashCode(code []byte) [32]byte {
	if len(code) != len(t.runtime) {
		return crypto.Keccak256Hash(code)
	}
	zeroed := bytes.Clone(code)
	for _, places := range t.immutables {
		for _, at := range places {
			clear(zeroed[at : at+32])
		}
	}
	return crypto.Keccak256Hash(zeroed)
}

// CheckCode is nil exactly if code is what a deployment with these arguments leaves on the chain:
// the template's code with each immutable at its intended value. An error wraps ErrCode and names
// what differs.
//
// The code alone proves nothing of who holds which role: another constructor can leave the same.
func (t *Template) CheckCode(code []byte, a DeployArgs) error {
	if err := a.check(); err != nil {
		return err
	}
	if len(code) == 0 {
		return fmt.Errorf("%w: there is none", ErrCode)
	}
	if got := t.HashCode(code); got != t.BytecodeHash {
		return fmt.Errorf("%w: hash 0x%x, %s has 0x%x", ErrCode, got, t.ID, t.BytecodeHash)
	}
	want := immutables(&a)
	for _, name := range slices.Sorted(maps.Keys(t.immutables)) {
		word := want[name]
		for _, at := range t.immutables[name] {
			if got := code[at : at+32]; !bytes.Equal(got, word[:]) {
				return fmt.Errorf("%w: %s is %v, want %v", ErrCode, name, new(big.Int).SetBytes(got), new(big.Int).SetBytes(word[:]))
			}
		}
	}
	return nil
}

// immutables are the words that the constructor writes into the code, by the names of the artifact.
func immutables(a *DeployArgs) map[string][32]byte {
	word := func(n *big.Int) (w [32]byte) {
		n.FillBytes(w[:])
		return w
	}
	flag := func(b bool) [32]byte {
		if b {
			return word(big.NewInt(1))
		}
		return word(new(big.Int))
	}
	return map[string][32]byte{
		"cap":      word(a.cap()),
		"decimals": word(big.NewInt(int64(a.Decimals))),
		"mintable": flag(a.Mintable),
		"burnable": flag(a.Burnable),
	}
}
