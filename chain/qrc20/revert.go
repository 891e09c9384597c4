package qrc20

import (
	"bytes"
	"fmt"
	"math/big"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
)

// maxReason bounds a reason that comes from a contract, in bytes: it is a stranger's text.
const maxReason = 256

// maxRevert bounds return data that is looked into, in bytes.
const maxRevert = 64 << 10

// words say a custom error to people: %[1]s is its first argument, and so on. An error that is not
// listed is shown as its name and arguments.
var words = map[string]string{
	"AccessControlBadConfirmation":     "a role can be renounced by its holder only",
	"AccessControlUnauthorizedAccount": "%[1]s does not hold the role %[2]s",
	"ERC20ExceededCap":                 "the total supply would be %[1]s, above the cap of %[2]s",
	"ERC20InsufficientAllowance":       "%[1]s has an allowance of %[2]s, and needs %[3]s",
	"ERC20InsufficientBalance":         "%[1]s has a balance of %[2]s, and needs %[3]s",
	"ERC20InvalidApprover":             "%[1]s cannot give an allowance",
	"ERC20InvalidCap":                  "a cap of %[1]s is not possible",
	"ERC20InvalidReceiver":             "%[1]s cannot receive the token",
	"ERC20InvalidSender":               "%[1]s cannot send the token",
	"ERC20InvalidSpender":              "%[1]s cannot have an allowance",
	"EnforcedPause":                    "the token is paused",
	"ExpectedPause":                    "the token is not paused",
	"QRC20AccountFrozen":               "%[1]s is frozen",
	"QRC20AccountNotAllowed":           "%[1]s is not on the token's allowlist",
	"QRC20InvalidAdmin":                "%[1]s cannot be the token's admin",
	"QRC20RoleNotAvailable":            "the token's supply policy has no role %[1]s",
}

// panics are Solidity's codes (its documentation, “Panic via assert and Error via require”).
var panics = map[int64]string{
	0x00: "generic compiler panic",
	0x01: "an assertion failed",
	0x11: "arithmetic overflow or underflow",
	0x12: "division or modulo by zero",
	0x21: "a value that the enum does not have",
	0x22: "badly encoded storage byte array",
	0x31: "pop of an empty array",
	0x32: "array index out of bounds",
	0x41: "out of memory",
	0x51: "call of an uninitialized function",
}

var (
	errorString = mustError("Error", "string")
	panicUint   = mustError("Panic", "uint256")
)

func mustError(name, typ string) abi.Error {
	t, err := abi.NewType(typ, "", nil)
	if err != nil {
		panic("qrc20: " + err.Error())
	}
	return abi.NewError(name, abi.Arguments{{Type: t}})
}

// customErrors are those of all templates, by selector.
var customErrors = sync.OnceValue(func() map[[4]byte]abi.Error {
	all := map[[4]byte]abi.Error{}
	for _, t := range templates() {
		for _, e := range t.parsed.Errors {
			all[[4]byte(e.ID[:4])] = e
		}
	}
	return all
})

// DecodeRevert says in words why a call reverted, given its return data: Error(string), Panic, and
// the custom errors of the templates and of OpenZeppelin beneath them. It never fails: what it does
// not know it shows as hex. Amounts are base units; the result is one printable line.
func DecodeRevert(data []byte) string {
	if len(data) == 0 {
		return "reverted without a reason"
	}
	if len(data) >= 4 && len(data) <= maxRevert {
		sel := [4]byte(data)
		switch sel {
		case [4]byte(errorString.ID[:4]):
			if v, err := errorString.Inputs.Unpack(data[4:]); err == nil {
				return printable(v[0].(string))
			}
		case [4]byte(panicUint.ID[:4]):
			if v, err := panicUint.Inputs.Unpack(data[4:]); err == nil {
				return inPanic(v[0].(*big.Int))
			}
		default:
			if e, ok := customErrors()[sel]; ok {
				if v, err := e.Inputs.Unpack(data[4:]); err == nil {
					return inWords(e, v)
				}
			}
		}
	}
	shown := data[:min(len(data), 36)]
	return fmt.Sprintf("reverted with an unknown reason of %d bytes, 0x%x", len(data), shown)
}

func inPanic(code *big.Int) string {
	if code.IsInt64() {
		if what, ok := panics[code.Int64()]; ok {
			return what
		}
	}
	return fmt.Sprintf("panic 0x%x", code)
}

func inWords(e abi.Error, args []any) string {
	shown := make([]any, len(args))
	plain := make([]string, len(args))
	for i, a := range args {
		plain[i] = argument(a)
		shown[i] = plain[i]
	}
	if format, ok := words[e.Name]; ok {
		if !strings.Contains(format, "%") {
			return format
		}
		return fmt.Sprintf(format, shown...)
	}
	return e.Name + "(" + strings.Join(plain, ", ") + ")"
}

func argument(a any) string {
	switch v := a.(type) {
	case common.Address:
		return v.Hex()
	case [32]byte:
		if r, ok := RoleByID(v); ok {
			return string(r)
		}
		return fmt.Sprintf("0x%x", v)
	}
	return fmt.Sprint(a)
}

// printable quotes a stranger's text: control and direction characters escaped, length bounded.
func printable(s string) string {
	b := bytes.ToValidUTF8([]byte(s[:min(len(s), maxReason)]), []byte("\ufffd"))
	return fmt.Sprintf("%q", b)
}
