package qrc20_test

import (
	"bytes"
	"encoding/hex"
	"math/big"
	"os/exec"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
)

func v1(t testing.TB) *qrc20.Template {
	t.Helper()
	tpl, ok := qrc20.TemplateByID("tpl_qrc20_v1")
	if !ok {
		t.Fatal("tpl_qrc20_v1 is missing")
	}
	return tpl
}

func TestTemplates(t *testing.T) {
	for _, tpl := range qrc20.Templates() {
		found, ok := qrc20.TemplateByID(tpl.ID)
		require.True(t, ok)
		require.Same(t, tpl, found)
		require.Equal(t, qrc20.StandardQRC20, tpl.Standard)
		require.NotEmpty(t, tpl.Name)
		require.NotEmpty(t, tpl.Description)
		for _, r := range tpl.Roles {
			require.True(t, r.Valid(), r)
			require.True(t, tpl.HasRole(r))
		}
		for _, m := range tpl.Methods {
			require.True(t, m.Valid(), m)
			low, high := qrc20.GasBounds(m)
			require.Less(t, low, high, m)
		}
	}
	_, ok := qrc20.TemplateByID("tpl_qrc20_v2")
	require.False(t, ok)
	require.False(t, v1(t).HasRole(qrc20.Freezer))
	require.False(t, v1(t).HasMethod(qrc20.Freeze))
	require.True(t, regulated(t).HasRole(qrc20.Freezer))
	require.True(t, regulated(t).HasMethod(qrc20.Disallow))
	require.NotEqual(t, v1(t).BytecodeHash, regulated(t).BytecodeHash)
}

func regulated(t testing.TB) *qrc20.Template {
	t.Helper()
	tpl, ok := qrc20.TemplateByID("tpl_qrc20_regulated_v1")
	if !ok {
		t.Fatal("tpl_qrc20_regulated_v1 is missing")
	}
	return tpl
}

func drawDeploy(t *rapid.T) qrc20.DeployArgs {
	a := qrc20.DeployArgs{
		Name:     rapid.StringN(1, -1, qrc20.MaxNameSize).Draw(t, "name"),
		Symbol:   rapid.StringN(1, -1, qrc20.MaxSymbolSize).Draw(t, "symbol"),
		Decimals: rapid.Byte().Draw(t, "decimals"),
		Cap:      drawUint256(t, "cap"),
		Mintable: rapid.Bool().Draw(t, "mintable"),
		Burnable: rapid.Bool().Draw(t, "burnable"),
		Admin:    drawAddress(t, "admin"),
	}
	a.InitialSupply = drawUint256(t, "initial supply")
	if a.Cap.Sign() > 0 && a.InitialSupply.Cmp(a.Cap) > 0 {
		a.InitialSupply.Set(a.Cap)
	}
	if tx.Address(a.Admin).IsZero() {
		a.Admin = admin
	}
	return a
}

func TestInitCodeAndDecodeInitCodeAreInverses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawDeploy(t)
		tpl := rapid.SampledFrom(qrc20.Templates()).Draw(t, "template")
		code, err := tpl.InitCode(a)
		require.NoError(t, err)
		limit := a.Cap
		if limit.Sign() == 0 {
			limit = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
		}
		require.Equal(t, append(bytes.Clone(tpl.Bytecode), reads.PackConstructor(a.Name, a.Symbol, a.Decimals, limit, a.Mintable,
			a.Burnable, a.InitialSupply, common.Address(a.Admin))...), code, "as the generated bindings have it")
		got, err := tpl.DecodeInitCode(code)
		require.NoError(t, err)
		require.Zero(t, a.Cap.Cmp(got.Cap))
		require.Zero(t, a.InitialSupply.Cmp(got.InitialSupply))
		a.Cap, a.InitialSupply, got.Cap, got.InitialSupply = nil, nil, nil, nil
		require.Equal(t, a, got)
	})
}

func TestInitCodeRefuses(t *testing.T) {
	for name, spoil := range map[string]func(a *qrc20.DeployArgs){
		"no name":            func(a *qrc20.DeployArgs) { a.Name = "" },
		"name too long":      func(a *qrc20.DeployArgs) { a.Name = strings.Repeat("n", qrc20.MaxNameSize+1) },
		"name not UTF-8":     func(a *qrc20.DeployArgs) { a.Name = "\xff" },
		"no symbol":          func(a *qrc20.DeployArgs) { a.Symbol = "" },
		"symbol too long":    func(a *qrc20.DeployArgs) { a.Symbol = strings.Repeat("s", qrc20.MaxSymbolSize+1) },
		"no cap":             func(a *qrc20.DeployArgs) { a.Cap = nil },
		"negative cap":       func(a *qrc20.DeployArgs) { a.Cap = units(-1) },
		"cap too big":        func(a *qrc20.DeployArgs) { a.Cap = new(big.Int).Lsh(units(1), 256) },
		"no supply":          func(a *qrc20.DeployArgs) { a.InitialSupply = nil },
		"supply above cap":   func(a *qrc20.DeployArgs) { a.InitialSupply = new(big.Int).Add(a.Cap, units(1)) },
		"admin is nobody":    func(a *qrc20.DeployArgs) { a.Admin = tx.Address{} },
		"supply not uint256": func(a *qrc20.DeployArgs) { a.Cap, a.InitialSupply = units(0), new(big.Int).Lsh(units(1), 256) },
	} {
		t.Run(name, func(t *testing.T) {
			a := example()
			spoil(&a)
			_, err := v1(t).InitCode(a)
			require.ErrorIs(t, err, qrc20.ErrDeploy)
		})
	}
}

func TestDecodeInitCodeRefuses(t *testing.T) {
	tpl := v1(t)
	valid, err := tpl.InitCode(example())
	require.NoError(t, err)
	n := len(tpl.Bytecode)
	with := func(at int, b byte) []byte {
		d := bytes.Clone(valid)
		d[at] = b
		return d
	}
	zeroCap := append(bytes.Clone(tpl.Bytecode),
		reads.PackConstructor("n", "s", 18, units(0), true, true, units(0), common.Address(admin))...)
	for name, code := range map[string][]byte{
		"nothing":             {},
		"no arguments":        tpl.Bytecode,
		"other code":          with(100, valid[100]+1),
		"a byte short":        valid[:len(valid)-1],
		"a byte long":         append(bytes.Clone(valid), 0),
		"a word long":         append(bytes.Clone(valid), make([]byte, 32)...),
		"dirty bool":          with(n+4*32, 1),
		"dirty decimals":      with(n+2*32, 1),
		"dirty admin":         with(n+7*32, 1),
		"dirty string end":    with(len(valid)-1, 1),
		"another offset":      with(n+31, valid[n+31]+32),
		"a cap of zero":       zeroCap,
		"offset out of range": with(n, 0xff),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tpl.DecodeInitCode(code)
			require.ErrorIs(t, err, qrc20.ErrDeploy)
		})
	}
}

func TestCheckCode(t *testing.T) {
	for _, tpl := range qrc20.Templates() {
		t.Run(tpl.ID, func(t *testing.T) { testCheckCode(t, tpl) })
	}
}

func testCheckCode(t *testing.T, tpl *qrc20.Template) {
	a := example()
	w := newWorld(t, "london", tpl.ID)
	code := w.state.GetCode(common.Address(w.deploy(a)))
	require.Equal(t, tpl.BytecodeHash, tpl.HashCode(code))
	require.NotEqual(t, tpl.BytecodeHash, [32]byte(crypto.Keccak256Hash(code)), "the immutables are set")
	require.NoError(t, tpl.CheckCode(code, a))

	for want, spoil := range map[string]func(a *qrc20.DeployArgs){
		"cap is 1000000, want 5": func(a *qrc20.DeployArgs) { a.Cap = units(5) },
		"decimals is 18, want 6": func(a *qrc20.DeployArgs) { a.Decimals = 6 },
		"mintable is 1, want 0":  func(a *qrc20.DeployArgs) { a.Mintable = false },
		"burnable is 1, want 0":  func(a *qrc20.DeployArgs) { a.Burnable = false },
	} {
		b := example()
		spoil(&b)
		err := tpl.CheckCode(code, b)
		require.ErrorIs(t, err, qrc20.ErrCode)
		require.ErrorContains(t, err, want)
	}
	for name, other := range map[string][]byte{
		"none":          nil,
		"a byte short":  code[:len(code)-1],
		"a byte long":   append(bytes.Clone(code), 0),
		"another byte":  append([]byte{code[0] ^ 1}, code[1:]...),
		"creation code": tpl.Bytecode,
	} {
		require.ErrorIs(t, tpl.CheckCode(other, a), qrc20.ErrCode, name)
	}
	for _, other := range qrc20.Templates() {
		if other != tpl {
			require.ErrorIs(t, other.CheckCode(code, a), qrc20.ErrCode, "the code of another template")
		}
	}
}

// TestOneTemplatesInitCodeIsNotAnothers: what was approved under one template cannot be deployed as the other.
func TestOneTemplatesInitCodeIsNotAnothers(t *testing.T) {
	plain, err := v1(t).InitCode(example())
	require.NoError(t, err)
	_, err = regulated(t).DecodeInitCode(plain)
	require.ErrorIs(t, err, qrc20.ErrDeploy)
	strict, err := regulated(t).InitCode(example())
	require.NoError(t, err)
	_, err = v1(t).DecodeInitCode(strict)
	require.ErrorIs(t, err, qrc20.ErrDeploy)
}

// TestSealStaysLight holds the package to what the seal may link: no RPC client, no EVM; and to the
// house: it imports nothing of ours.
func TestSealStaysLight(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "github.com/ethereum/go-ethereum/accounts/abi\n")
	require.Equal(t, 1, strings.Count(string(out), "mintwarden/mintwarden/"))
	for _, heavy := range []string{
		"go-ethereum/accounts/abi/bind", "go-ethereum/rpc", "go-ethereum/core/", "go-ethereum/ethclient", "qrc20/bindings", "\nnet/http\n",
	} {
		require.NotContains(t, string(out), heavy)
	}
}

func TestDecodeRevert(t *testing.T) {
	word := func(n byte) string { return strings.Repeat("00", 31) + hex.EncodeToString([]byte{n}) }
	text := func(s string) string {
		padded := make([]byte, (len(s)+31)/32*32)
		copy(padded, s)
		return "08c379a0" + word(32) + word(byte(len(s))) + hex.EncodeToString(padded)
	}
	for name, c := range map[string]struct{ data, want string }{
		"nothing":             {"", "reverted without a reason"},
		"Error(string)":       {text("paused for lunch"), `"paused for lunch"`},
		"hostile text":        {text("a\n\u202eb\x00"), `"a\n\u202eb\x00"`},
		"not UTF-8":           {text("\xff"), "\"\ufffd\""},
		"Panic(uint256)":      {"4e487b71" + word(0x11), "arithmetic overflow or underflow"},
		"Panic, unknown code": {"4e487b71" + word(0x77), "panic 0x77"},
		"Panic, cut short":    {"4e487b71", "reverted with an unknown reason of 4 bytes, 0x4e487b71"},
		"custom":              {"d93c0665", "the token is paused"},
		"custom, cut short":   {"fb8f41b2" + word(1), "reverted with an unknown reason of 36 bytes, 0xfb8f41b2" + word(1)},
		"unknown":             {"deadbeef", "reverted with an unknown reason of 4 bytes, 0xdeadbeef"},
		"two bytes":           {"dead", "reverted with an unknown reason of 2 bytes, 0xdead"},
		"unknown role":        {"e2517d3f" + strings.Repeat("00", 12) + strings.Repeat("22", 20) + strings.Repeat("ab", 32), "0x2222222222222222222222222222222222222222 does not hold the role 0x" + strings.Repeat("ab", 32)},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := hex.DecodeString(c.data)
			require.NoError(t, err)
			require.Equal(t, c.want, qrc20.DecodeRevert(data))
		})
	}
}

func FuzzDecodeInitCode(f *testing.F) {
	for _, tpl := range qrc20.Templates() {
		valid, err := tpl.InitCode(example())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(valid[len(tpl.Bytecode):])
	}
	f.Fuzz(func(t *testing.T, args []byte) {
		for _, tpl := range qrc20.Templates() {
			code := append(bytes.Clone(tpl.Bytecode), args...)
			a, err := tpl.DecodeInitCode(code)
			if len(args) > 1024 && err == nil {
				t.Fatalf("DecodeInitCode took %d bytes of arguments", len(args))
			}
			if err != nil {
				continue
			}
			again, err := tpl.InitCode(a)
			if err != nil || !bytes.Equal(again, code) {
				t.Fatalf("DecodeInitCode took %x, InitCode gives %x, %v", args, again, err)
			}
		}
	})
}

func FuzzDecodeRevert(f *testing.F) {
	f.Add([]byte{0x08, 0xc3, 0x79, 0xa0})
	f.Add([]byte{0xfb, 0x8f, 0x41, 0xb2})
	f.Fuzz(func(t *testing.T, data []byte) {
		if s := qrc20.DecodeRevert(data); s == "" || strings.ContainsAny(s, "\n\r\x00\x1b") {
			t.Fatalf("%q", s)
		}
	})
}
