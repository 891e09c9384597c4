package policy_test

import (
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	. "github.com/mintwarden/mintwarden/policy"
)

// foreign is the intent's transaction as somebody else would send it in, with a change.
func foreign(t testing.TB, i *Intent, gas uint64, change func(*tx.Unsigned)) []byte {
	t.Helper()
	u, err := i.Transaction(7, gas, gwei, big.NewInt(1))
	require.NoError(t, err)
	if change != nil {
		change(u)
	}
	raw, err := u.EncodeUnsigned()
	require.NoError(t, err)
	return raw
}

func TestForeignTransactionsOfEveryOperationAreRead(t *testing.T) {
	for _, op := range []OperationType{OpMint, OpBurn, OpTransfer, OpGrantRole, OpRevokeRole, OpPause, OpUnpause, OpFreeze, OpUnfreeze, OpAllowlistAdd, OpAllowlistRemove} {
		for _, own := range []bool{false, true} {
			i := mint(t)
			become(t, i, op)
			if op == OpFreeze || op == OpUnfreeze || op == OpAllowlistAdd || op == OpAllowlistRemove {
				regulated(i)
			}
			if own && i.Params.Source != nil {
				i.Params.Source = &i.Performer.Address
			}
			raw := foreign(t, i, gas(t, i), nil)
			u, err := i.Foreign(raw)
			require.NoError(t, err, "%s, own %v", op, own)
			require.Equal(t, uint64(7), u.Nonce)
			read, err := ReadForeign(i.Scheme.Kind(), i.Performer.Address, raw)
			require.NoError(t, err)
			require.Equal(t, op, read.Type)
			require.Equal(t, i.Params, read.Params)
			require.Equal(t, *i.Token.ContractAddress, read.Contract)
		}
	}
}

// Each is the approved transaction but for one thing.
func TestForeignTransactionThatIsNotWhatWasShownIsRefused(t *testing.T) {
	call := func(c qrc20.Call) func(*tx.Unsigned) {
		return func(u *tx.Unsigned) {
			data, err := c.Pack()
			require.NoError(t, err)
			u.Data = data
		}
	}
	for name, change := range map[string]func(*tx.Unsigned){
		"another amount":     call(qrc20.Call{Method: qrc20.Mint, Amount: big.NewInt(1001), Account: account("alice")}),
		"another recipient":  call(qrc20.Call{Method: qrc20.Mint, Amount: big.NewInt(1000), Account: account("mallory")}),
		"another operation":  call(qrc20.Call{Method: qrc20.Transfer, Amount: big.NewInt(1000), To: account("alice")}),
		"a role":             call(qrc20.Call{Method: qrc20.GrantRole, Role: qrc20.Minter, Account: account("alice")}),
		"another chain":      func(u *tx.Unsigned) { u.ChainID = 1 },
		"another contract":   func(u *tx.Unsigned) { u.To = &tx.Address{9} },
		"coins":              func(u *tx.Unsigned) { u.Value = big.NewInt(1) },
		"a creation":         func(u *tx.Unsigned) { u.To = nil },
		"fees past the cap":  func(u *tx.Unsigned) { u.MaxFee = new(big.Int).Lsh(gwei, 60) },
		"a tip past the fee": func(u *tx.Unsigned) { u.Tip = new(big.Int).Lsh(gwei, 1) },
		"too much gas":       func(u *tx.Unsigned) { u.Gas = 10_000_000 },
		"too little gas":     func(u *tx.Unsigned) { u.Gas = 21_000 },
		"data after it":      func(u *tx.Unsigned) { u.Data = append(u.Data, 0) },
		"a dirty address":    func(u *tx.Unsigned) { u.Data[4] = 1 },
		"no data":            func(u *tx.Unsigned) { u.Data = nil },
	} {
		i := mint(t)
		_, err := i.Foreign(foreign(t, i, gas(t, i), change))
		require.Error(t, err, name)
	}
	i := mint(t)
	_, err := i.Foreign(append(foreign(t, i, gas(t, i), nil), 0))
	require.ErrorIs(t, err, ErrForeign)
	_, err = i.Foreign(nil)
	require.ErrorIs(t, err, ErrForeign)
}

// burnFrom of what the wallet itself holds does what burn does, by other bytes than the intent makes.
func TestForeignTransactionInAnotherSpellingIsRefused(t *testing.T) {
	i := mint(t)
	become(t, i, OpBurn)
	i.Params.Source = &i.Performer.Address
	_, err := i.Foreign(foreign(t, i, gas(t, i), func(u *tx.Unsigned) {
		data, err := qrc20.Call{Method: qrc20.BurnFrom, Amount: i.Params.Amount.Big(), Account: i.Performer.Address}.Pack()
		require.NoError(t, err)
		u.Data = data
	}))
	require.ErrorIs(t, err, ErrForeign)
}

// FuzzForeign: whatever an intent takes for its own, the intent makes.
func FuzzForeign(f *testing.F) {
	i := mint(f)
	f.Add(foreign(f, i, 120_000, nil))
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, raw []byte) {
		u, err := i.Foreign(raw)
		if err != nil {
			return
		}
		made, err := i.Transaction(u.Nonce, u.Gas, u.MaxFee, u.Tip)
		require.NoError(t, err)
		again, err := made.EncodeUnsigned()
		require.NoError(t, err)
		require.Equal(t, raw, again)
	})
}
