package devnet

import (
	"encoding/json"
	"math/big"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mintwarden/mintwarden/chain/tx"
)

func TestTransferOfEachScheme(t *testing.T) {
	b := start(t, Config{Period: 0})
	for _, scheme := range []tx.Scheme{tx.Dilithium3, tx.MLDSA65} {
		t.Run(string(scheme), func(t *testing.T) {
			w := b.funded(t, scheme)
			u := unsigned(0)
			u.To, u.Value = &tx.Address{0xbe, byte(len(scheme))}, big.NewInt(12345)
			hash := b.mustSend(t, w.signed(t, u))

			r, err := b.eth.TransactionReceipt(t.Context(), hash)
			require.NoError(t, err)
			require.Equal(t, types.ReceiptStatusSuccessful, r.Status)
			require.EqualValues(t, 21000, r.GasUsed)
			require.EqualValues(t, types.DynamicFeeTxType, r.Type)

			to, err := b.eth.BalanceAt(t.Context(), common.Address(*u.To), nil)
			require.NoError(t, err)
			require.Equal(t, u.Value, to)
			left, err := b.eth.BalanceAt(t.Context(), w.account(), nil)
			require.NoError(t, err)
			paid := new(big.Int).Mul(big.NewInt(21000), r.EffectiveGasPrice)
			require.Equal(t, new(big.Int).Sub(Gift, paid.Add(paid, u.Value)), left)
		})
	}
}

func TestHeadersAreEthereums(t *testing.T) {
	b := start(t, Config{Period: 0})
	w := b.funded(t, tx.Dilithium3)
	b.mustSend(t, w.signed(t, unsigned(0)))
	for number := int64(0); number <= 2; number++ {
		h, err := b.eth.HeaderByNumber(t.Context(), big.NewInt(number))
		require.NoError(t, err)
		var answered struct{ Hash common.Hash }
		require.NoError(t, b.rpc.Call(&answered, "eth_getBlockByNumber", hexutil.EncodeBig(big.NewInt(number)), false))
		require.Equal(t, h.Hash(), answered.Hash, "the hash covers the header of block %d", number)
		if number > 0 {
			require.Equal(t, b.GetHeaderByNumber(uint64(number-1)).Hash(), h.ParentHash)
		}
	}
}

func TestNamesOfBothChains(t *testing.T) {
	b := start(t, Config{Period: 0})
	w := b.funded(t, tx.Dilithium3)
	hash := b.mustSend(t, w.signed(t, unsigned(0)))
	calls := map[string][]any{
		"chainId": {}, "blockNumber": {}, "gasPrice": {}, "maxPriorityFeePerGas": {},
		"getBalance": {w.address, "latest"}, "getTransactionCount": {w.address, "pending"}, "getCode": {w.address, "latest"},
		"getTransactionByHash": {hash}, "getTransactionReceipt": {hash}, "getBlockByNumber": {"latest", true},
		"feeHistory": {"0x4", "latest", []int{10, 50, 90}}, "getLogs": {map[string]any{"fromBlock": "0x0"}},
		"estimateGas": {map[string]any{"from": w.address, "to": w.address}},
		"call":        {map[string]any{"from": w.address, "to": w.address}, "latest"},
	}
	for name, args := range calls {
		var eth, qc json.RawMessage
		require.NoError(t, b.rpc.Call(&eth, "eth_"+name, args...), name)
		require.NoError(t, b.rpc.Call(&qc, "qc_"+name, args...), name)
		require.JSONEq(t, string(eth), string(qc), name)
		require.NotEqual(t, "null", string(eth), name)
	}
	var version, network string
	require.NoError(t, b.rpc.Call(&network, "net_version"))
	require.Equal(t, "2080377", network)
	require.NoError(t, b.rpc.Call(&version, "web3_clientVersion"))
	require.NotEmpty(t, version)
}

func TestContract(t *testing.T) {
	b := start(t, Config{Period: 0})
	w := b.funded(t, tx.Dilithium3)
	u := unsigned(0)
	u.To, u.Value, u.Data, u.Gas = nil, new(big.Int), counterInit, 200_000
	created, err := b.eth.TransactionReceipt(t.Context(), b.mustSend(t, w.signed(t, u)))
	require.NoError(t, err)
	at := crypto.CreateAddress(w.account(), 0)
	require.Equal(t, at, created.ContractAddress)
	code, err := b.eth.CodeAt(t.Context(), at, nil)
	require.NoError(t, err)
	require.Equal(t, unhex(counterRuntime), code)

	for nonce := uint64(1); nonce <= 3; nonce++ {
		u = unsigned(nonce)
		u.To, u.Value, u.Gas = (*tx.Address)(&at), new(big.Int), 100_000
		b.mustSend(t, w.signed(t, u))
	}
	topic := common.BigToHash(big.NewInt(0x2a))
	logs, err := b.eth.FilterLogs(t.Context(), ethereum.FilterQuery{FromBlock: new(big.Int), Addresses: []common.Address{at},
		Topics: [][]common.Hash{{topic, {1}}}})
	require.NoError(t, err)
	require.Len(t, logs, 3)
	for i, l := range logs {
		require.Equal(t, big.NewInt(int64(i+1)), new(big.Int).SetBytes(l.Data))
		require.Equal(t, created.BlockNumber.Uint64()+1+uint64(i), l.BlockNumber)
		byHash, err := b.eth.FilterLogs(t.Context(), ethereum.FilterQuery{BlockHash: &l.BlockHash})
		require.NoError(t, err)
		require.Equal(t, []types.Log{l}, byHash)
	}
	none, err := b.eth.FilterLogs(t.Context(), ethereum.FilterQuery{FromBlock: new(big.Int), Topics: [][]common.Hash{{{1}}}})
	require.NoError(t, err)
	require.Empty(t, none)

	gas, err := b.eth.EstimateGas(t.Context(), ethereum.CallMsg{From: w.account(), To: &at})
	require.NoError(t, err)
	last, err := b.eth.TransactionReceipt(t.Context(), logs[2].TxHash)
	require.NoError(t, err)
	require.GreaterOrEqual(t, gas, last.GasUsed)
	require.Less(t, gas, last.GasUsed*12/10)

	// Each block's state stays: slot 0 as the first call left it.
	slot, err := b.eth.StorageAt(t.Context(), at, common.Hash{}, new(big.Int).SetUint64(logs[0].BlockNumber))
	require.NoError(t, err)
	require.Equal(t, common.BigToHash(big.NewInt(1)).Bytes(), slot)
}

// Error(string) with “no”.
var revertNo = unhex("08c379a0" + "0000000000000000000000000000000000000000000000000000000000000020" +
	"0000000000000000000000000000000000000000000000000000000000000002" +
	"6e6f000000000000000000000000000000000000000000000000000000000000")

func TestRevertCarriesItsData(t *testing.T) {
	b := start(t, Config{Period: 0})
	w := b.funded(t, tx.Dilithium3)
	u := unsigned(0)
	u.To, u.Value, u.Data, u.Gas = nil, new(big.Int), counterInit, 200_000
	b.mustSend(t, w.signed(t, u))
	at := crypto.CreateAddress(w.account(), 0)
	msg := ethereum.CallMsg{From: w.account(), To: &at, Data: revertNo}
	_, callErr := b.eth.CallContract(t.Context(), msg, nil)
	_, estimateErr := b.eth.EstimateGas(t.Context(), msg)
	for _, err := range []error{callErr, estimateErr} {
		var withData rpc.DataError
		require.ErrorAs(t, err, &withData)
		require.Equal(t, "execution reverted: no", withData.Error())
		require.Equal(t, hexutil.Encode(revertNo), withData.ErrorData())
		require.Equal(t, 3, withData.(rpc.Error).ErrorCode())
	}
	u = unsigned(1)
	u.To, u.Value, u.Data, u.Gas = (*tx.Address)(&at), new(big.Int), revertNo, 100_000
	r, err := b.eth.TransactionReceipt(t.Context(), b.mustSend(t, w.signed(t, u)))
	require.NoError(t, err)
	require.Equal(t, types.ReceiptStatusFailed, r.Status)
	require.Empty(t, r.Logs)
}

func TestFundOnce(t *testing.T) {
	b := start(t, Config{Period: Manual})
	w := b.funded(t, tx.Dilithium3)
	again, err := b.Fund(w.account())
	require.NoError(t, err)
	require.False(t, again)
	b.mustSend(t, w.signed(t, unsigned(0)))
	b.mineOne(t)
	again, err = b.Fund(w.account())
	require.NoError(t, err)
	require.False(t, again)
}

func TestBaseFeeFollowsGas(t *testing.T) {
	b := start(t, Config{Period: Manual})
	w := b.funded(t, tx.Dilithium3)
	before := b.Head()
	empty := b.mineOne(t)
	require.Negative(t, empty.header.BaseFee.Cmp(before.BaseFee), "an empty block lowers the base fee")

	h, err := b.eth.FeeHistory(t.Context(), 10, nil, []float64{10, 50, 90})
	require.NoError(t, err)
	require.Len(t, h.BaseFee, 4)
	require.Equal(t, empty.header.BaseFee, h.BaseFee[2])
	for nonce, tip := range []int64{1e9, 2e9, 3e9} {
		u := unsigned(uint64(nonce))
		u.Tip = big.NewInt(tip)
		b.mustSend(t, w.signed(t, u))
	}
	full := b.mineOne(t)
	require.Len(t, full.txs, 3)
	require.Equal(t, h.BaseFee[3], full.header.BaseFee, "eth_feeHistory foretells the next base fee")
	h, err = b.eth.FeeHistory(t.Context(), 1, nil, []float64{10, 50, 90})
	require.NoError(t, err)
	require.Equal(t, [][]*big.Int{{big.NewInt(1e9), big.NewInt(2e9), big.NewInt(3e9)}}, h.Reward)

	// Below the base fee nothing is mined.
	u := unsigned(3)
	u.MaxFee = big.NewInt(1)
	u.Tip = big.NewInt(1)
	b.mustSend(t, w.signed(t, u))
	require.Empty(t, b.mineOne(t).txs)
}

func TestPeriod(t *testing.T) {
	b := start(t, Config{Period: 5 * time.Millisecond})
	w := b.funded(t, tx.Dilithium3)
	hash := b.mustSend(t, w.signed(t, unsigned(0)))
	require.Eventually(t, func() bool {
		r, err := b.eth.TransactionReceipt(t.Context(), hash)
		return err == nil && b.Head().Number.Uint64() > r.BlockNumber.Uint64()+3
	}, patience, 5*time.Millisecond)
}

func TestRequestLimits(t *testing.T) {
	b := start(t, Config{Period: Manual})
	_, err := b.sendRaw(make([]byte, maxBody))
	require.ErrorContains(t, err, "413")
	calls := make([]rpc.BatchElem, maxBatch+1)
	for i := range calls {
		calls[i] = rpc.BatchElem{Method: "eth_chainId", Result: new(string)}
	}
	require.NoError(t, b.rpc.BatchCall(calls))
	require.ErrorContains(t, calls[0].Error, "batch too large")
}

func TestConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no directory":   {},
		"public address": {Dir: t.TempDir(), Addr: "0.0.0.0:0"},
		"no port":        {Dir: t.TempDir(), Addr: "127.0.0.1"},
		"foreign scheme": {Dir: t.TempDir(), Schemes: []tx.Scheme{tx.Secp256k1}},
	} {
		_, err := Start(t.Context(), cfg)
		require.Error(t, err, name)
	}
}

func TestDirectoryHasOneChainAndOneOwner(t *testing.T) {
	dir := t.TempDir()
	n, err := Start(t.Context(), Config{Dir: dir, Period: Manual})
	require.NoError(t, err)
	_, err = Start(t.Context(), Config{Dir: dir, Period: Manual})
	require.Error(t, err, "two nodes on one directory")
	require.NoError(t, n.Close())
	_, err = Start(t.Context(), Config{Dir: dir, ChainID: 5, Period: Manual})
	require.ErrorIs(t, err, ErrChainID)
	n, err = Start(t.Context(), Config{Dir: dir, Period: Manual})
	require.NoError(t, err)
	require.NoError(t, n.Close())
}

func TestCloseLeavesNothing(t *testing.T) {
	old := goleak.IgnoreCurrent()
	n, err := Start(t.Context(), Config{Dir: t.TempDir(), Period: time.Millisecond})
	require.NoError(t, err)
	require.NoError(t, n.Close())
	require.NoError(t, n.Close())
	goleak.VerifyNone(t, old)
}

// TestManyAtOnce has several accounts send, and others read and reorganize, while blocks come.
func TestManyAtOnce(t *testing.T) {
	b := start(t, Config{Period: 2 * time.Millisecond})
	const wallets, each = 6, 8
	done := make(chan error, wallets+1)
	addresses := make([]common.Address, wallets)
	for i := range wallets {
		w := newWallet(t, tx.Dilithium3)
		addresses[i] = w.account()
		raws := make([][]byte, each)
		for nonce := range raws {
			raws[nonce] = w.signed(t, unsigned(uint64(nonce)))
		}
		go func() {
			_, err := b.Fund(w.account())
			for i := 0; i < each && err == nil; i++ {
				_, err = b.sendRaw(raws[i])
			}
			done <- err
		}()
	}
	go func() {
		var err error
		for i := 0; i < 10 && err == nil; i++ {
			if _, err = b.eth.FeeHistory(t.Context(), 20, nil, []float64{50}); err == nil {
				_, err = b.eth.FilterLogs(t.Context(), ethereum.FilterQuery{FromBlock: new(big.Int)})
			}
			if err == nil && b.Head().Number.Uint64() > 2 {
				_, err = b.Reorg(2, false)
			}
		}
		done <- err
	}()
	for range wallets + 1 {
		require.NoError(t, <-done)
	}
	for _, a := range addresses {
		require.Eventually(t, func() bool {
			nonce, err := b.eth.NonceAt(t.Context(), a, nil)
			return err == nil && nonce == each
		}, patience, 5*time.Millisecond)
	}
	sum, err := b.eth.BalanceAt(t.Context(), common.Address{0xaa}, nil)
	require.NoError(t, err)
	require.EqualValues(t, wallets*each, sum.Int64())
	b.mu.RLock()
	defer b.mu.RUnlock()
	require.Empty(t, b.pool.byHash)
}
