package qrc20_test

import (
	"bytes"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
)

var (
	allMethods = []qrc20.Method{
		qrc20.Mint, qrc20.Burn, qrc20.BurnFrom, qrc20.Transfer, qrc20.TransferFrom, qrc20.GrantRole, qrc20.RevokeRole,
		qrc20.Pause, qrc20.Unpause, qrc20.Freeze, qrc20.Unfreeze, qrc20.Allow, qrc20.Disallow,
	}
	allRoles = []qrc20.Role{
		qrc20.Owner, qrc20.Admin, qrc20.Minter, qrc20.Burner, qrc20.Pauser, qrc20.Freezer, qrc20.ComplianceOperator,
		qrc20.TransferAgent,
	}
)

func drawUint256(t *rapid.T, label string) *big.Int {
	return new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, label))
}

func drawAddress(t *rapid.T, label string) tx.Address {
	return tx.Address(rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, label))
}

// drawCall gives a well-formed call and the arguments that go-ethereum's ABI coder takes for it.
func drawCall(t *rapid.T, methods []qrc20.Method) (qrc20.Call, []any) {
	c := qrc20.Call{Method: rapid.SampledFrom(methods).Draw(t, "method")}
	var args []any
	account := func(a *qrc20.Address, label string) {
		*a = drawAddress(t, label)
		args = append(args, common.Address(*a))
	}
	amount := func() {
		c.Amount = drawUint256(t, "amount")
		args = append(args, c.Amount)
	}
	switch c.Method {
	case qrc20.Mint, qrc20.BurnFrom:
		account(&c.Account, "account")
		amount()
	case qrc20.Burn:
		amount()
	case qrc20.Transfer:
		account(&c.To, "to")
		amount()
	case qrc20.TransferFrom:
		account(&c.Account, "account")
		account(&c.To, "to")
		amount()
	case qrc20.GrantRole, qrc20.RevokeRole:
		c.Role = rapid.SampledFrom(allRoles).Draw(t, "role")
		args = append(args, qrc20.RoleID(c.Role))
		account(&c.Account, "account")
	case qrc20.Freeze, qrc20.Unfreeze, qrc20.Allow, qrc20.Disallow:
		account(&c.Account, "account")
	}
	return c, args
}

func TestPackAndUnpackAreInverses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, _ := drawCall(t, allMethods)
		data, err := c.Pack()
		require.NoError(t, err)
		got, err := qrc20.Unpack(data)
		require.NoError(t, err)
		again, err := got.Pack()
		require.NoError(t, err)
		require.Equal(t, data, again)
		if c.Amount != nil {
			require.Zero(t, c.Amount.Cmp(got.Amount))
			c.Amount, got.Amount = nil, nil
		}
		require.Equal(t, c, got)
	})
}

func TestPackGivesGoEthereumsBytes(t *testing.T) {
	for _, tpl := range qrc20.Templates() {
		contract, err := abi.JSON(bytes.NewReader(tpl.ABI))
		require.NoError(t, err)
		for _, m := range tpl.Methods {
			require.Contains(t, contract.Methods, string(m), tpl.ID)
		}
		rapid.Check(t, func(t *rapid.T) {
			c, args := drawCall(t, tpl.Methods)
			want, err := contract.Pack(string(c.Method), args...)
			require.NoError(t, err)
			got, err := c.Pack()
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

func TestPackLeavesItsTableAlone(t *testing.T) {
	first, err := qrc20.Call{Method: qrc20.Pause}.Pack()
	require.NoError(t, err)
	want := bytes.Clone(first)
	clear(first)
	second, err := qrc20.Call{Method: qrc20.Pause}.Pack()
	require.NoError(t, err)
	require.Equal(t, want, second)
}

func TestPackRefuses(t *testing.T) {
	tooBig := new(big.Int).Lsh(big.NewInt(1), 256)
	for name, c := range map[string]qrc20.Call{
		"no method":               {},
		"unknown method":          {Method: "approve", Account: alice, Amount: units(1)},
		"no amount":               {Method: qrc20.Mint, Account: alice},
		"negative amount":         {Method: qrc20.Mint, Account: alice, Amount: units(-1)},
		"amount above 2^256-1":    {Method: qrc20.Burn, Amount: tooBig},
		"unknown role":            {Method: qrc20.GrantRole, Account: alice, Role: "ROOT"},
		"no role":                 {Method: qrc20.RevokeRole, Account: alice},
		"burn names an account":   {Method: qrc20.Burn, Account: alice, Amount: units(1)},
		"mint names a to":         {Method: qrc20.Mint, Account: alice, To: bob, Amount: units(1)},
		"pause names an amount":   {Method: qrc20.Pause, Amount: units(0)},
		"transfer names a source": {Method: qrc20.Transfer, Account: alice, To: bob, Amount: units(1)},
		"freeze names a role":     {Method: qrc20.Freeze, Account: alice, Role: qrc20.Freezer},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Pack()
			require.ErrorIs(t, err, qrc20.ErrCall)
		})
	}
}

func TestUnpackRefuses(t *testing.T) {
	valid, err := mint(alice, 5).Pack()
	require.NoError(t, err)
	role, err := qrc20.Call{Method: qrc20.GrantRole, Account: alice, Role: qrc20.Minter}.Pack()
	require.NoError(t, err)
	with := func(data []byte, at int, b byte) []byte {
		d := bytes.Clone(data)
		d[at] = b
		return d
	}
	for name, data := range map[string][]byte{
		"nothing":                  {},
		"half a selector":          valid[:3],
		"another selector":         with(valid, 0, 0),
		"a byte short":             valid[:len(valid)-1],
		"a byte long":              append(bytes.Clone(valid), 0),
		"a word long":              append(bytes.Clone(valid), make([]byte, 32)...),
		"dirty address":            with(valid, 4, 1),
		"dirty address, nearby":    with(valid, 15, 1),
		"unknown role id":          with(role, 4, 0),
		"approve(address,uint256)": reads.PackApprove(common.Address(alice), units(1)),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := qrc20.Unpack(data)
			require.ErrorIs(t, err, qrc20.ErrCall)
		})
	}
}

func TestRoleIDs(t *testing.T) {
	// OpenZeppelin publishes these two; the others follow the same rule.
	require.Equal(t, common.HexToHash("0x9f2df0fed2c77648de5860a4cc508cd0818c85b8b8a1ab4ceeef8d981c8956a6"), common.Hash(qrc20.RoleID(qrc20.Minter)))
	require.Equal(t, common.HexToHash("0x65d7a28e3265b37a6474929f336521b332c1681b933f6cb9f3376673440d862a"), common.Hash(qrc20.RoleID(qrc20.Pauser)))
	require.Zero(t, qrc20.RoleID(qrc20.Admin))
	for _, r := range allRoles {
		got, ok := qrc20.RoleByID(qrc20.RoleID(r))
		require.True(t, ok)
		require.Equal(t, r, got)
	}
	require.False(t, qrc20.Role("").Valid())
	require.False(t, qrc20.Role("minter").Valid())
	_, ok := qrc20.RoleByID([32]byte{1})
	require.False(t, ok)
}

func FuzzUnpack(f *testing.F) {
	for _, c := range []qrc20.Call{
		mint(alice, 5),
		{Method: qrc20.GrantRole, Account: alice, Role: qrc20.Admin},
		{Method: qrc20.TransferFrom, Account: alice, To: bob, Amount: units(1)},
		{Method: qrc20.Pause},
	} {
		data, err := c.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := qrc20.Unpack(data)
		if err != nil {
			return
		}
		again, err := c.Pack()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("Unpack took %x, Pack gives %x, %v", data, again, err)
		}
	})
}
