package policy_test

import (
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	. "github.com/mintwarden/mintwarden/policy"
)

var gwei = big.NewInt(1_000_000_000)

// gas is one that fits the operation.
func gas(t *testing.T, i *Intent) uint64 {
	template, ok := qrc20.TemplateByID("tpl_qrc20_v1")
	require.True(t, ok)
	switch i.OperationType {
	case OpDeployToken:
		lowest, _ := template.DeployGasBounds()
		return lowest
	case OpCancel:
		return 21_000
	}
	lowest := uint64(0)
	for _, m := range template.Methods {
		l, _ := qrc20.GasBounds(m)
		lowest = max(lowest, l)
	}
	return lowest
}

// regulated makes the intent one of a token that has lists.
func regulated(i *Intent) { i.Token.TemplateID = "tpl_qrc20_regulated_v1" }

func TestTransactionCallsWhatTheIntentSays(t *testing.T) {
	a := big.NewInt(1000)
	for name, c := range map[string]struct {
		op     OperationType
		change func(*Intent)
		want   qrc20.Call
	}{
		"mint":                {OpMint, nil, qrc20.Call{Method: qrc20.Mint, Amount: a, Account: account("alice")}},
		"burn from others":    {OpBurn, nil, qrc20.Call{Method: qrc20.BurnFrom, Amount: a, Account: account("bert")}},
		"burn its own":        {OpBurn, func(i *Intent) { i.Params.Source = &i.Performer.Address }, qrc20.Call{Method: qrc20.Burn, Amount: a}},
		"transfer of others":  {OpTransfer, nil, qrc20.Call{Method: qrc20.TransferFrom, Amount: a, Account: account("bert"), To: account("alice")}},
		"transfer of its own": {OpTransfer, func(i *Intent) { i.Params.Source = &i.Performer.Address }, qrc20.Call{Method: qrc20.Transfer, Amount: a, To: account("alice")}},
		"grant":               {OpGrantRole, nil, qrc20.Call{Method: qrc20.GrantRole, Role: qrc20.Minter, Account: account("alice")}},
		"revoke":              {OpRevokeRole, nil, qrc20.Call{Method: qrc20.RevokeRole, Role: qrc20.Minter, Account: account("alice")}},
		"pause":               {OpPause, nil, qrc20.Call{Method: qrc20.Pause}},
		"unpause":             {OpUnpause, nil, qrc20.Call{Method: qrc20.Unpause}},
		"freeze":              {OpFreeze, regulated, qrc20.Call{Method: qrc20.Freeze, Account: account("alice")}},
		"unfreeze":            {OpUnfreeze, regulated, qrc20.Call{Method: qrc20.Unfreeze, Account: account("alice")}},
		"allow":               {OpAllowlistAdd, regulated, qrc20.Call{Method: qrc20.Allow, Account: account("alice")}},
		"disallow":            {OpAllowlistRemove, regulated, qrc20.Call{Method: qrc20.Disallow, Account: account("alice")}},
		"grant a freezer": {OpGrantRole, func(i *Intent) { regulated(i); i.Params.Role = qrc20.Freezer },
			qrc20.Call{Method: qrc20.GrantRole, Role: qrc20.Freezer, Account: account("alice")}},
	} {
		i := mint(t)
		become(t, i, c.op)
		if c.change != nil {
			c.change(i)
		}
		u, err := i.Transaction(7, gas(t, i), gwei, big.NewInt(1))
		require.NoError(t, err, name)
		call, err := qrc20.Unpack(u.Data)
		require.NoError(t, err, name)
		require.Equal(t, c.want, call, name)
		require.Equal(t, account("contract"), *u.To, name)
		u.Data, u.To = nil, nil
		require.Equal(t, &tx.Unsigned{Kind: tx.KindQuantum, ChainID: 2080377, Nonce: 7, Tip: big.NewInt(1), MaxFee: gwei, Gas: gas(t, i), Value: new(big.Int)}, u, name)
	}
}

func TestTransactionOfADeployment(t *testing.T) {
	i := mint(t)
	become(t, i, OpDeployToken)
	u, err := i.Transaction(0, gas(t, i), gwei, gwei)
	require.NoError(t, err)
	require.Nil(t, u.To)
	template, _ := qrc20.TemplateByID("tpl_qrc20_v1")
	args, err := template.DecodeInitCode(u.Data)
	require.NoError(t, err)
	require.Equal(t, account("treasury"), tx.Address(args.Admin))
	require.Equal(t, "Example Institutional Token", args.Name)
	i.Params.Admin = ptr(account("mallory"))
	_, err = i.Transaction(0, gas(t, i), gwei, gwei)
	require.ErrorIs(t, err, ErrTransaction, "the creation code is not the one that was approved")
}

func TestTransactionOfACancel(t *testing.T) {
	i := mint(t)
	become(t, i, OpCancel)
	u, err := i.Transaction(7, 21_000, gwei, gwei)
	require.NoError(t, err)
	require.Equal(t, i.Performer.Address, *u.To)
	require.Empty(t, u.Data)
	require.Zero(t, u.Value.Sign())
	_, err = i.Transaction(8, 21_000, gwei, gwei)
	require.ErrorIs(t, err, ErrTransaction, "another nonce")
}

func TestTransactionKindFollowsTheScheme(t *testing.T) {
	i := mint(t)
	i.Scheme = tx.Secp256k1
	u, err := i.Transaction(0, gas(t, i), gwei, gwei)
	require.NoError(t, err)
	require.Equal(t, tx.KindEVM, u.Kind)
}

func TestTransactionRefuses(t *testing.T) {
	fits := gas(t, mint(t))
	for name, c := range map[string]struct {
		nonce, gas  uint64
		maxFee, tip *big.Int
		change      func(*Intent)
	}{
		"no fees":               {0, fits, nil, nil, nil},
		"a fee of nothing":      {0, fits, new(big.Int), new(big.Int), nil},
		"a negative tip":        {0, fits, gwei, big.NewInt(-1), nil},
		"a tip above the fee":   {0, fits, big.NewInt(1), gwei, nil},
		"fees above the cap":    {0, fits, big.NewInt(1_000_000_000_000), gwei, nil},
		"fees beyond 2^256":     {0, fits, new(big.Int).Lsh(gwei, 300), gwei, nil},
		"fees that overflow":    {0, fits, MaxAmount().Big(), gwei, nil},
		"too little gas":        {0, 1, gwei, gwei, nil},
		"too much gas":          {0, 10_000_000, big.NewInt(1), big.NewInt(1), nil},
		"the last nonce":        {1<<64 - 1, fits, gwei, gwei, nil},
		"an unknown template":   {0, fits, gwei, gwei, func(i *Intent) { i.Token.TemplateID = "tpl_other" }},
		"a call that it lacks":  {0, fits, gwei, gwei, func(i *Intent) { become(t, i, OpFreeze) }},
		"a role that it lacks":  {0, fits, gwei, gwei, func(i *Intent) { become(t, i, OpGrantRole); i.Params.Role = qrc20.Freezer }},
		"a malformed intent":    {0, fits, gwei, gwei, func(i *Intent) { i.Params.Recipient = nil }},
		"a token not deployed":  {0, fits, gwei, gwei, func(i *Intent) { i.Token.ContractAddress = nil }},
		"an unknown scheme":     {0, fits, gwei, gwei, func(i *Intent) { i.Scheme = "" }},
		"a recipient of nobody": {0, fits, gwei, gwei, func(i *Intent) { i.Params.Recipient = &tx.Address{} }},
	} {
		i := mint(t)
		if c.change != nil {
			c.change(i)
		}
		_, err := i.Transaction(c.nonce, c.gas, c.maxFee, c.tip)
		require.Error(t, err, name)
	}
}

// gas × max fee fits the cap exactly, and not one wei more.
func TestFeeCapIsExact(t *testing.T) {
	i := mint(t)
	fits := gas(t, i)
	i.FeeCap, _ = AmountFromBig(new(big.Int).Mul(gwei, new(big.Int).SetUint64(fits)))
	_, err := i.Transaction(0, fits, gwei, gwei)
	require.NoError(t, err)
	_, err = i.Transaction(0, fits, new(big.Int).Add(gwei, big.NewInt(1)), gwei)
	require.ErrorIs(t, err, ErrTransaction)
}

func TestWordsShowEveryAddressInFull(t *testing.T) {
	i := mint(t)
	become(t, i, OpTransfer)
	words := i.Words(Glossary{Currency: "QC"})
	for _, name := range []string{"alice", "bert", "treasury", "contract"} {
		require.Contains(t, words, account(name).String())
	}
	i = mint(t)
	p := inForce(t, policyOf(twoOf("approvers")))
	i.Policies = []PolicyRef{p.Ref()}
	headline, _, _ := strings.Cut(i.Words(Glossary{Currency: "QC", Policies: []*InForce{p}}), ". ")
	require.Equal(t, "Mint 1,000 EIT (1000000000000000000000) to "+account("alice").String()+
		" on quantum-chain-devnet, fee at most 0.01 QC, asked by oscar, policy dev-default v1: 2 of approvers", headline)
}

func TestUnits(t *testing.T) {
	for _, c := range []struct {
		base     string
		decimals uint8
		want     string
	}{
		{"0", 0, "0"}, {"0", 18, "0"}, {"1", 0, "1"}, {"999", 0, "999"}, {"1000", 0, "1,000"}, {"1234567", 0, "1,234,567"}, {"1", 1, "0.1"}, {"10", 1, "1"},
		{"1000000", 6, "1"}, {"1500000", 6, "1.5"}, {"1", 77, "0." + "0000000000000000000000000000000000000000000000000000000000000000000000000000"[:76] + "1"},
		{MaxAmount().String(), 18, "115,792,089,237,316,195,423,570,985,008,687,907,853,269,984,665,640,564,039,457.584007913129639935"},
	} {
		require.Equal(t, c.want, Units(amount(t, c.base), c.decimals), c.base)
	}
}

func TestPrintableEscapesWhatMisleads(t *testing.T) {
	for s, want := range map[string]string{
		"plain – süß 漢字": "plain – süß 漢字", "a\nb": `a\nb`, "a\x1b[31mb": `a\x1b[31mb`, "a\u202eb": `a\u202eb`, "a\u200bb": `a\u200bb`, `a\u202eb`: `a\\u202eb`,
		"a\u00a0b": `a\u00a0b`, "a\xffb": `a\xffb`, "a\U000e0041b": `a\U000e0041b`,
	} {
		require.Equal(t, want, Printable(s))
	}
}

func TestAmounts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(rt, "bytes"))
		a, err := AmountFromBig(b)
		require.NoError(rt, err)
		require.Equal(rt, b.String(), a.String())
		again, err := ParseAmount(a.String())
		require.NoError(rt, err)
		require.Equal(rt, a, again)
		require.Zero(rt, a.Big().Cmp(b))
		c := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(rt, "more"))
		d, _ := AmountFromBig(c)
		require.Equal(rt, b.Cmp(c), a.Cmp(d))
		sum, ok := a.Add(d)
		want := new(big.Int).Add(b, c)
		require.Equal(rt, want.BitLen() <= 256, ok)
		if ok {
			require.Zero(rt, sum.Big().Cmp(want))
		} else {
			require.Equal(rt, MaxAmount(), sum)
		}
	})
	for _, s := range []string{"", " 1", "1 ", "+1", "-1", "01", "00", "1e3", "0x1", "1_000", "1.0", "１", "115792089237316195423570985008687907853269984665640564039457584007913129639936", "9999999999999999999999999999999999999999999999999999999999999999999999999999999"} {
		_, err := ParseAmount(s)
		require.ErrorIs(t, err, ErrAmount, s)
	}
	for _, b := range []*big.Int{nil, big.NewInt(-1), new(big.Int).Lsh(big.NewInt(1), 256)} {
		_, err := AmountFromBig(b)
		require.ErrorIs(t, err, ErrAmount)
	}
}

func FuzzParseAmount(f *testing.F) {
	f.Add("0")
	f.Add(MaxAmount().String())
	f.Add("01")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAmount(s)
		if err == nil && a.String() != s {
			t.Fatalf("%q reads as %s", s, a)
		}
	})
}
