package qrc20_test

import (
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/qrc20/bindings"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// forks are the rules under which every template must work: Quantum Chain's, and Ethereum's newest.
var forks = map[string]*params.ChainConfig{"london": london(), "osaka": osaka()}

func london() *params.ChainConfig {
	zero := new(big.Int)
	return &params.ChainConfig{
		ChainID: big.NewInt(2080377), HomesteadBlock: zero, EIP150Block: zero, EIP155Block: zero, EIP158Block: zero,
		ByzantiumBlock: zero, ConstantinopleBlock: zero, PetersburgBlock: zero, IstanbulBlock: zero,
		MuirGlacierBlock: zero, BerlinBlock: zero, LondonBlock: zero,
	}
}

func osaka() *params.ChainConfig {
	c, zero := *london(), uint64(0)
	c.TerminalTotalDifficulty, c.MergeNetsplitBlock = new(big.Int), new(big.Int)
	c.ShanghaiTime, c.CancunTime, c.PragueTime, c.OsakaTime = &zero, &zero, &zero, &zero
	return &c
}

func account(n byte) tx.Address {
	var a tx.Address
	for i := range a {
		a[i] = 0x10 + n // no zero bytes: the dearest calldata
	}
	return a
}

func units(n int64) *big.Int { return big.NewInt(n) }

var (
	admin   = account(1)
	alice   = account(2)
	bob     = account(3)
	mallory = account(4)
	reads   = bindings.NewQRC20V1()
)

// world is go-ethereum's EVM over a state of its own, with whole transactions: intrinsic gas, nonce.
type world struct {
	t        *testing.T
	template *qrc20.Template
	evm      *vm.EVM
	state    *state.StateDB
	// used is the highest gas of the last transaction, refunds not deducted: the least limit.
	used uint64
}

func newWorld(t *testing.T, fork, template string) *world {
	config := forks[fork]
	tpl, ok := qrc20.TemplateByID(template)
	require.True(t, ok, template)
	db, err := state.New(types.EmptyRootHash, state.NewDatabaseForTesting())
	require.NoError(t, err)
	block := vm.BlockContext{
		CanTransfer: core.CanTransfer, Transfer: core.Transfer,
		GetHash:  func(uint64) common.Hash { return common.Hash{} },
		Coinbase: common.HexToAddress("0xc0ffee"), GasLimit: 30_000_000, BlockNumber: big.NewInt(1), Time: 1,
		Difficulty: new(big.Int), BaseFee: new(big.Int), BlobBaseFee: new(big.Int),
	}
	if config.TerminalTotalDifficulty != nil {
		block.Random = &common.Hash{}
	}
	return &world{t: t, template: tpl, evm: vm.NewEVM(block, db, config, vm.Config{}), state: db}
}

// send executes one transaction with a gas limit and gives its return data and whether it succeeded.
func (w *world) send(from tx.Address, to *tx.Address, data []byte, gas uint64) ([]byte, bool) {
	w.t.Helper()
	msg := &core.Message{
		From: common.Address(from), To: (*common.Address)(to), Nonce: w.state.GetNonce(common.Address(from)),
		Value: new(uint256.Int), GasLimit: gas, GasPrice: new(uint256.Int), GasFeeCap: new(uint256.Int),
		GasTipCap: new(uint256.Int), Data: data,
	}
	w.evm.SetTxContext(core.NewEVMTxContext(msg))
	r, err := core.ApplyMessage(w.evm, msg, core.NewGasPool(30_000_000))
	require.NoError(w.t, err)
	w.state.Finalise(w.evm.ChainConfig().Rules(w.evm.Context.BlockNumber, w.evm.Context.Random != nil, w.evm.Context.Time))
	w.used = r.MaxUsedGas
	return r.ReturnData, !r.Failed()
}

// deploy gives the contract's address; the constructor must succeed. Where the template has an allowlist,
// everybody who has a name here is on it.
func (w *world) deploy(a qrc20.DeployArgs) tx.Address {
	w.t.Helper()
	at := w.deployOnly(a)
	if w.template.HasMethod(qrc20.Allow) {
		for _, who := range []tx.Address{alice, bob, mallory} {
			require.Empty(w.t, w.call(a.Admin, at, qrc20.Call{Method: qrc20.Allow, Account: who}))
		}
	}
	return at
}

// deployOnly leaves the allowlist as the constructor made it.
func (w *world) deployOnly(a qrc20.DeployArgs) tx.Address {
	w.t.Helper()
	tpl := w.template
	code, err := tpl.InitCode(a)
	require.NoError(w.t, err)
	at := tx.CreateAddress(a.Admin, w.state.GetNonce(common.Address(a.Admin)))
	ret, ok := w.send(a.Admin, nil, code, 10_000_000)
	require.True(w.t, ok, qrc20.DecodeRevert(ret))
	require.NoError(w.t, tpl.CheckCode(w.state.GetCode(common.Address(at)), a))
	return at
}

// call executes c and gives why it reverted, empty if it did not.
func (w *world) call(from, token tx.Address, c qrc20.Call) string {
	w.t.Helper()
	data, err := c.Pack()
	require.NoError(w.t, err)
	ret, ok := w.send(from, &token, data, 1_000_000)
	if ok {
		return ""
	}
	return qrc20.DecodeRevert(ret)
}

func (w *world) approve(owner, token, spender tx.Address, amount *big.Int) {
	w.t.Helper()
	ret, ok := w.send(owner, &token, reads.PackApprove(common.Address(spender), amount), 1_000_000)
	require.True(w.t, ok, qrc20.DecodeRevert(ret))
}

// read calls a view and hands its return data to unpack.
func read[T any](w *world, token tx.Address, data []byte, unpack func([]byte) (T, error)) T {
	w.t.Helper()
	snapshot := w.state.Snapshot()
	ret, _, err := w.evm.StaticCall(common.Address(mallory), common.Address(token), data, vm.NewGasBudget(1_000_000, 0))
	require.NoError(w.t, err)
	w.state.RevertToSnapshot(snapshot)
	v, err := unpack(ret)
	require.NoError(w.t, err)
	return v
}

func (w *world) balance(token, of tx.Address) *big.Int {
	w.t.Helper()
	return read(w, token, reads.PackBalanceOf(common.Address(of)), reads.UnpackBalanceOf)
}

func (w *world) supply(token tx.Address) *big.Int {
	w.t.Helper()
	return read(w, token, reads.PackTotalSupply(), reads.UnpackTotalSupply)
}

func (w *world) holders(token tx.Address, r qrc20.Role) []tx.Address {
	w.t.Helper()
	var all []tx.Address
	for _, a := range read(w, token, reads.PackGetRoleMembers(qrc20.RoleID(r)), reads.UnpackGetRoleMembers) {
		all = append(all, tx.Address(a))
	}
	return all
}

// example is the token of the README, capped at a million units of 18 decimals.
func example() qrc20.DeployArgs {
	return qrc20.DeployArgs{
		Name: "Example Institutional Token", Symbol: "EIT", Decimals: 18, Cap: units(1_000_000), InitialSupply: units(0),
		Mintable: true, Burnable: true, Admin: admin,
	}
}
