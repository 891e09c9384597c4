package qrc20

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/crypto"
)

// ErrCall says that a Call cannot be packed or that calldata is none of ours.
var ErrCall = errors.New("not a token call")

// Address is 20 bytes without a name of their own, so that chain/tx's addresses go in and out as
// they are while this package imports nothing of ours.
type Address = [20]byte

// Method is a contract method that the appliance may call; the zero value is none.
type Method string

// The methods. Freeze to Disallow are of the regulated template only.
const (
	Mint         Method = "mint"
	Burn         Method = "burn"
	BurnFrom     Method = "burnFrom"
	Transfer     Method = "transfer"
	TransferFrom Method = "transferFrom"
	GrantRole    Method = "grantRole"
	RevokeRole   Method = "revokeRole"
	Pause        Method = "pause"
	Unpause      Method = "unpause"
	Freeze       Method = "freeze"
	Unfreeze     Method = "unfreeze"
	Allow        Method = "allow"
	Disallow     Method = "disallow"
)

// Call is one call of a token contract. A field that the method does not use is zero (Amount nil).
type Call struct {
	Method  Method
	Amount  *big.Int // mint, burn, burnFrom, transfer, transferFrom: base units, 0 to 2^256-1
	Account Address  // mint: recipient; burnFrom, transferFrom: source; roles and lists: subject
	To      Address  // transfer, transferFrom: recipient
	Role    Role     // grantRole, revokeRole
}

// word is one 32-byte argument, by the field of Call that it carries.
type word byte

const (
	amountWord word = iota + 1
	accountWord
	toWord
	roleWord
)

type layout struct {
	method    Method
	signature string // canonical, what the selector is the hash of
	words     []word
	selector  [4]byte
}

var layouts = func() []layout {
	all := []layout{
		{method: Mint, signature: "mint(address,uint256)", words: []word{accountWord, amountWord}},
		{method: Burn, signature: "burn(uint256)", words: []word{amountWord}},
		{method: BurnFrom, signature: "burnFrom(address,uint256)", words: []word{accountWord, amountWord}},
		{method: Transfer, signature: "transfer(address,uint256)", words: []word{toWord, amountWord}},
		{method: TransferFrom, signature: "transferFrom(address,address,uint256)", words: []word{accountWord, toWord, amountWord}},
		{method: GrantRole, signature: "grantRole(bytes32,address)", words: []word{roleWord, accountWord}},
		{method: RevokeRole, signature: "revokeRole(bytes32,address)", words: []word{roleWord, accountWord}},
		{method: Pause, signature: "pause()"},
		{method: Unpause, signature: "unpause()"},
		{method: Freeze, signature: "freeze(address)", words: []word{accountWord}},
		{method: Unfreeze, signature: "unfreeze(address)", words: []word{accountWord}},
		{method: Allow, signature: "allow(address)", words: []word{accountWord}},
		{method: Disallow, signature: "disallow(address)", words: []word{accountWord}},
	}
	for i := range all {
		all[i].selector = [4]byte(crypto.Keccak256([]byte(all[i].signature)))
	}
	return all
}()

func (m Method) layout() (*layout, bool) {
	for i := range layouts {
		if layouts[i].method == m {
			return &layouts[i], true
		}
	}
	return nil, false
}

// Valid is true of the methods above.
func (m Method) Valid() bool {
	_, ok := m.layout()
	return ok
}

// Pack gives the calldata. It refuses an unknown method or role, an amount that is missing or no
// uint256, and a field that the method does not use: what a caller meant by it would be lost.
func (c Call) Pack() ([]byte, error) {
	l, ok := c.Method.layout()
	if !ok {
		return nil, fmt.Errorf("%w: method %q", ErrCall, string(c.Method))
	}
	data := append([]byte(nil), l.selector[:]...)
	rest := c
	rest.Method = ""
	for _, w := range l.words {
		var b [32]byte
		switch w {
		case amountWord:
			if c.Amount == nil || c.Amount.Sign() < 0 || c.Amount.BitLen() > 256 {
				return nil, fmt.Errorf("%w: %s: amount %v is not a uint256", ErrCall, c.Method, c.Amount)
			}
			c.Amount.FillBytes(b[:])
			rest.Amount = nil
		case accountWord:
			copy(b[12:], c.Account[:])
			rest.Account = Address{}
		case toWord:
			copy(b[12:], c.To[:])
			rest.To = Address{}
		case roleWord:
			if !c.Role.Valid() {
				return nil, fmt.Errorf("%w: %s: role %q", ErrCall, c.Method, string(c.Role))
			}
			b = RoleID(c.Role)
			rest.Role = ""
		}
		data = append(data, b[:]...)
	}
	if rest != (Call{}) {
		return nil, fmt.Errorf("%w: %s takes no such field: %+v", ErrCall, c.Method, rest)
	}
	return data, nil
}

// Unpack is the strict inverse of Pack: whatever it takes, Pack gives back byte for byte; another
// selector, a dirty address word, an unknown role, missing or trailing bytes are refused.
func Unpack(data []byte) (Call, error) {
	if len(data) < 4 {
		return Call{}, fmt.Errorf("%w: %d bytes", ErrCall, len(data))
	}
	var l *layout
	for i := range layouts {
		if layouts[i].selector == [4]byte(data) {
			l = &layouts[i]
		}
	}
	if l == nil {
		return Call{}, fmt.Errorf("%w: selector 0x%x", ErrCall, data[:4])
	}
	args := data[4:]
	if len(args) != 32*len(l.words) {
		return Call{}, fmt.Errorf("%w: %s: %d bytes of arguments, want %d", ErrCall, l.method, len(args), 32*len(l.words))
	}
	c := Call{Method: l.method}
	for i, w := range l.words {
		b := args[32*i : 32*i+32]
		switch w {
		case amountWord:
			c.Amount = new(big.Int).SetBytes(b)
		case accountWord, toWord:
			if !bytes.Equal(b[:12], make([]byte, 12)) {
				return Call{}, fmt.Errorf("%w: %s: argument %d is no address: 0x%x", ErrCall, l.method, i+1, b)
			}
			if w == toWord {
				c.To = Address(b[12:])
			} else {
				c.Account = Address(b[12:])
			}
		case roleWord:
			r, ok := RoleByID([32]byte(b))
			if !ok {
				return Call{}, fmt.Errorf("%w: %s: role id 0x%x", ErrCall, l.method, b)
			}
			c.Role = r
		}
	}
	return c, nil
}
