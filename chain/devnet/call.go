package devnet

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/eth/gasestimator"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"
)

const (
	callGas     = 50_000_000 // geth's default cap of a call's gas
	callTime    = 5 * time.Second
	estimateErr = 0.015 // geth's tolerance above the least gas that suffices
)

// callArgs is the call object of eth_call and eth_estimateGas.
type callArgs struct {
	From                 common.Address    `json:"from"`
	To                   *common.Address   `json:"to"`
	Gas                  *hexutil.Uint64   `json:"gas"`
	GasPrice             *hexutil.Big      `json:"gasPrice"`
	MaxFeePerGas         *hexutil.Big      `json:"maxFeePerGas"`
	MaxPriorityFeePerGas *hexutil.Big      `json:"maxPriorityFeePerGas"`
	Value                *hexutil.Big      `json:"value"`
	Nonce                *hexutil.Uint64   `json:"nonce"`
	Data                 *hexutil.Bytes    `json:"data"`
	Input                *hexutil.Bytes    `json:"input"` // the newer name of data
	AccessList           *types.AccessList `json:"accessList"`
	ChainID              *hexutil.Big      `json:"chainId"`
}

// message is the call as the EVM takes it; gas is used if the call names none.
func (c *callArgs) message(baseFee *big.Int, gas uint64) (*core.Message, error) {
	m := &core.Message{From: c.From, To: c.To, GasLimit: gas}
	if c.Gas != nil && uint64(*c.Gas) > 0 {
		m.GasLimit = min(uint64(*c.Gas), callGas)
	}
	if c.Nonce != nil {
		m.Nonce = uint64(*c.Nonce)
	}
	if c.Input != nil {
		m.Data = *c.Input
	} else if c.Data != nil {
		m.Data = *c.Data
	}
	if c.AccessList != nil {
		m.AccessList = *c.AccessList
	}
	if c.GasPrice != nil && (c.MaxFeePerGas != nil || c.MaxPriorityFeePerGas != nil) {
		return nil, errors.New("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
	}
	var err error
	number := func(b *hexutil.Big) *uint256.Int {
		if b == nil {
			return new(uint256.Int)
		}
		v, overflow := uint256.FromBig(b.ToInt())
		if overflow {
			err = fmt.Errorf("%v does not fit 256 bits", b)
		}
		return v
	}
	m.Value = number(c.Value)
	if c.GasPrice != nil {
		m.GasPrice = number(c.GasPrice)
		m.GasFeeCap, m.GasTipCap = m.GasPrice, m.GasPrice
		return m, err
	}
	m.GasFeeCap, m.GasTipCap = number(c.MaxFeePerGas), number(c.MaxPriorityFeePerGas)
	m.GasPrice = new(uint256.Int)
	if err == nil && !m.GasFeeCap.IsZero() {
		m.GasPrice.Add(m.GasTipCap, uint256.MustFromBig(baseFee))
		if m.GasPrice.Gt(m.GasFeeCap) {
			m.GasPrice.Set(m.GasFeeCap)
		}
	}
	return m, err
}

// Call executes without a transaction and answers what it returns.
func (a *ethAPI) Call(ctx context.Context, args callArgs, ref *rpc.BlockNumberOrHash) (hexutil.Bytes, error) {
	st, b, err := a.n.stateAt(latest(ref))
	if err != nil {
		return nil, err
	}
	m, err := args.message(b.header.BaseFee, callGas)
	if err != nil {
		return nil, err
	}
	evm := vm.NewEVM(core.NewEVMBlockContext(b.header, a.n.chain, nil), st, a.n.config, vm.Config{NoBaseFee: true})
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	defer context.AfterFunc(ctx, evm.Cancel)()
	result, err := core.ApplyMessage(evm, m.SkipNonceCheck().SkipEOACheck(), core.NewGasPool(callGas))
	switch {
	case evm.Cancelled():
		return nil, fmt.Errorf("execution aborted (timeout = %v)", callTime)
	case st.Error() != nil:
		return nil, st.Error()
	case err != nil:
		return nil, fmt.Errorf("err: %w (supplied gas %d)", err, m.GasLimit)
	case errors.Is(result.Err, vm.ErrExecutionReverted):
		return nil, newRevertError(result.Revert())
	}
	return result.Return(), result.Err
}

// EstimateGas is the least gas with which the call succeeds, found by geth's own estimator.
func (a *ethAPI) EstimateGas(ctx context.Context, args callArgs, ref *rpc.BlockNumberOrHash) (hexutil.Uint64, error) {
	st, b, err := a.n.stateAt(latest(ref))
	if err != nil {
		return 0, err
	}
	m, err := args.message(b.header.BaseFee, 0)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	opts := &gasestimator.Options{Config: a.n.config, Chain: a.n.chain, Header: b.header, State: st, ErrorRatio: estimateErr}
	gas, revert, err := gasestimator.Estimate(ctx, m.SkipNonceCheck().SkipEOACheck(), opts, callGas)
	if errors.Is(err, vm.ErrExecutionReverted) {
		return 0, newRevertError(revert)
	}
	return hexutil.Uint64(gas), err
}

// revertError is a contract's refusal as geth answers it: code 3, and the revert data.
type revertError struct {
	message string
	data    string
}

func newRevertError(data []byte) *revertError {
	message := vm.ErrExecutionReverted.Error()
	if reason, err := abi.UnpackRevert(data); err == nil {
		message += ": " + reason
	}
	return &revertError{message, hexutil.Encode(data)}
}

// Error, ErrorCode and ErrorData are what the rpc server looks for.
func (e *revertError) Error() string { return e.message }

// ErrorCode is geth's for a revert.
func (e *revertError) ErrorCode() int { return 3 }

// ErrorData is the revert data in hex.
func (e *revertError) ErrorData() any { return e.data }
