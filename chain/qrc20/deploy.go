package qrc20

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"unicode/utf8"

	"github.com/ethereum/go-ethereum/common"
)

// Longest name and symbol that a deployment takes, in bytes of UTF-8. They bound its gas.
const (
	MaxNameSize   = 256
	MaxSymbolSize = 64
)

// maxArgsSize is the longest encoding of arguments, in bytes: eight words, and two texts with a
// length word each.
const maxArgsSize = 8*32 + 2*32 + MaxNameSize + MaxSymbolSize

// ErrDeploy says that arguments make no deployment, or that bytes are no init code of the template.
var ErrDeploy = errors.New("not a deployment")

// noCap is what the constructor gets where a token has no cap: 2^256-1.
var noCap = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))

// DeployArgs are the constructor's arguments.
type DeployArgs struct {
	Name     string // 1 to MaxNameSize bytes of UTF-8
	Symbol   string // 1 to MaxSymbolSize bytes of UTF-8
	Decimals uint8
	// Cap is the highest total supply in base units; 0 and 2^256-1 both say that there is none.
	Cap *big.Int
	// InitialSupply is minted to Admin by the constructor, in base units, at most Cap.
	InitialSupply *big.Int
	// Mintable and Burnable say whether MINTER and BURNER can ever be held by anyone.
	Mintable, Burnable bool
	// Admin gets the initial supply and every role of the supply policy. Not the zero address.
	Admin Address
}

func (a *DeployArgs) check() error {
	for _, s := range []struct {
		what, text string
		max        int
	}{{"name", a.Name, MaxNameSize}, {"symbol", a.Symbol, MaxSymbolSize}} {
		if s.text == "" || len(s.text) > s.max || !utf8.ValidString(s.text) {
			return fmt.Errorf("%w: %s %.80q: want 1 to %d bytes of UTF-8", ErrDeploy, s.what, s.text, s.max)
		}
	}
	for _, n := range []struct {
		what string
		v    *big.Int
	}{{"cap", a.Cap}, {"initial supply", a.InitialSupply}} {
		if n.v == nil || n.v.Sign() < 0 || n.v.BitLen() > 256 {
			return fmt.Errorf("%w: %s %v is not a uint256", ErrDeploy, n.what, n.v)
		}
	}
	if a.InitialSupply.Cmp(a.cap()) > 0 {
		return fmt.Errorf("%w: initial supply %v is above the cap %v", ErrDeploy, a.InitialSupply, a.Cap)
	}
	if a.Admin == (Address{}) {
		return fmt.Errorf("%w: admin is the zero address", ErrDeploy)
	}
	return nil
}

// cap is the constructor's argument.
func (a *DeployArgs) cap() *big.Int {
	if a.Cap.Sign() == 0 {
		return noCap
	}
	return a.Cap
}

// InitCode is the data of the transaction that deploys the token: creation code and encoded
// constructor arguments. It is a function of the arguments alone.
func (t *Template) InitCode(a DeployArgs) ([]byte, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	args, err := t.parsed.Constructor.Inputs.Pack(a.Name, a.Symbol, a.Decimals, a.cap(), a.Mintable, a.Burnable,
		a.InitialSupply, common.Address(a.Admin))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrDeploy, err)
	}
	return append(bytes.Clone(t.Bytecode), args...), nil
}

// DecodeInitCode is the strict inverse of InitCode: whatever it takes, InitCode gives back byte for
// byte, and everything else is refused. A cap of 2^256-1 is given as 0, “none”.
func (t *Template) DecodeInitCode(code []byte) (DeployArgs, error) {
	encoded, ok := bytes.CutPrefix(code, t.Bytecode)
	if !ok {
		return DeployArgs{}, fmt.Errorf("%w: the code is not that of %s", ErrDeploy, t.ID)
	}
	if len(encoded) > maxArgsSize {
		return DeployArgs{}, fmt.Errorf("%w: constructor arguments of %d bytes, at most %d", ErrDeploy, len(encoded), maxArgsSize)
	}
	v, err := t.parsed.Constructor.Inputs.Unpack(encoded)
	if err != nil {
		return DeployArgs{}, fmt.Errorf("%w: constructor arguments: %v", ErrDeploy, err)
	}
	a := DeployArgs{
		Name: v[0].(string), Symbol: v[1].(string), Decimals: v[2].(uint8), Cap: v[3].(*big.Int),
		Mintable: v[4].(bool), Burnable: v[5].(bool), InitialSupply: v[6].(*big.Int), Admin: Address(v[7].(common.Address)),
	}
	if a.Cap.Sign() == 0 {
		return DeployArgs{}, fmt.Errorf("%w: the constructor refuses a cap of 0", ErrDeploy)
	}
	if a.Cap.Cmp(noCap) == 0 {
		a.Cap = new(big.Int)
	}
	// The ABI decoder takes dirty words, odd offsets and trailing bytes; InitCode makes none.
	again, err := t.InitCode(a)
	if err != nil {
		return DeployArgs{}, err
	}
	if !bytes.Equal(again, code) {
		return DeployArgs{}, fmt.Errorf("%w: constructor arguments are not in canonical form", ErrDeploy)
	}
	return a, nil
}
