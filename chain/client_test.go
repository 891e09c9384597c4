package chain

import (
	"context"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/tx"
)

func TestReads(t *testing.T) {
	n := manual(t)
	c := dial(t, network(n.URL()))
	w := newWallet(t)
	empty, err := c.Balance(t.Context(), w.address)
	require.NoError(t, err)
	require.Zero(t, empty.Sign())
	fund(t, n, w)
	full, err := c.Balance(t.Context(), w.address)
	require.NoError(t, err)
	require.Equal(t, devnet.Gift, full)

	require.NoError(t, c.Send(t.Context(), w.sign(t, transfer(0))))
	mine(t, n, 1)
	nonce, err := c.NonceAt(t.Context(), w.address, nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, nonce)
	nonce, err = c.NonceAt(t.Context(), w.address, big.NewInt(1))
	require.NoError(t, err)
	require.EqualValues(t, 0, nonce, "at the block before")

	h, err := c.Head(t.Context())
	require.NoError(t, err)
	want := n.Head()
	require.Equal(t, Head{want.Number.Uint64(), tx.Hash(want.Hash()), time.Unix(int64(want.Time), 0).UTC(), want.BaseFee}, h)

	code, err := c.Code(t.Context(), w.address)
	require.NoError(t, err)
	require.Empty(t, code)
}

func TestDeployCallRevert(t *testing.T) {
	n := manual(t)
	c := dial(t, network(n.URL()))
	w := newWallet(t)
	fund(t, n, w)
	gas, err := c.EstimateGas(t.Context(), w.address, nil, obedient)
	require.NoError(t, err)
	u := transfer(0)
	u.To, u.Value, u.Data, u.Gas = nil, new(big.Int), obedient, gas
	raw := w.sign(t, u)
	require.NoError(t, c.Send(t.Context(), raw))
	require.Equal(t, TxStatus{Found: true}, status(t, c, raw))
	mine(t, n, 1)
	st := status(t, c, raw)
	at := tx.CreateAddress(w.address, 0)
	require.True(t, st.Mined && st.Success && !st.Final)
	require.EqualValues(t, 1, st.Confirmations)
	require.Equal(t, &at, st.ContractAddress)
	require.Positive(t, st.EffectiveGasPrice.Sign())
	code, err := c.Code(t.Context(), at)
	require.NoError(t, err)
	require.NotEmpty(t, code)

	// keccak("EnforcedPause()")[:4], one of OpenZeppelin's custom errors.
	paused := unhex("d93c0665")
	_, callErr := c.Call(t.Context(), w.address, at, paused)
	_, estimateErr := c.EstimateGas(t.Context(), w.address, &at, paused)
	var said string
	for _, err := range []error{callErr, estimateErr} {
		var revert *RevertError
		require.ErrorAs(t, err, &revert)
		require.Equal(t, paused, revert.Data)
		require.Contains(t, strings.ToLower(revert.Reason), "pause")
		said = revert.Reason
	}

	u = transfer(1)
	u.To, u.Value, u.Data, u.Gas = &at, new(big.Int), paused, 100_000
	raw = w.sign(t, u)
	require.NoError(t, c.Send(t.Context(), raw))
	mine(t, n, 2)
	st = status(t, c, raw)
	require.True(t, st.Final && st.Mined && !st.Success)
	require.Equal(t, said, st.RevertReason, "a mined failure says what the call said")

	out, err := c.Call(t.Context(), w.address, at, nil)
	require.NoError(t, err)
	require.Empty(t, out)
}

func TestOutOfGasIsSaid(t *testing.T) {
	n := manual(t)
	c := dial(t, network(n.URL()))
	w := newWallet(t)
	fund(t, n, w)
	u := transfer(0)
	u.To, u.Value, u.Data, u.Gas = nil, new(big.Int), obedient, 55_000
	raw := w.sign(t, u)
	require.NoError(t, c.Send(t.Context(), raw))
	mine(t, n, 1)
	st := status(t, c, raw)
	require.False(t, st.Success)
	require.Contains(t, st.RevertReason, "out of gas")
}

func TestFinality(t *testing.T) {
	n := manual(t)
	c := dial(t, network(n.URL()))
	w := newWallet(t)
	fund(t, n, w)
	raw := w.sign(t, transfer(0))
	require.Equal(t, TxStatus{}, status(t, c, raw), "unknown before it was sent")
	require.NoError(t, c.Send(t.Context(), raw))
	for confirmations := uint64(1); confirmations <= 3; confirmations++ {
		mine(t, n, 1)
		st := status(t, c, raw)
		require.Equal(t, confirmations, st.Confirmations)
		require.Equal(t, confirmations >= 2, st.Final)
	}
	before := status(t, c, raw)

	_, err := n.Reorg(3, false)
	require.NoError(t, err)
	require.Equal(t, TxStatus{Found: true}, status(t, c, raw), "a reorg takes it back")
	mine(t, n, 2)
	after := status(t, c, raw)
	require.True(t, after.Final)
	require.NotEqual(t, before.BlockHash, after.BlockHash)

	_, err = n.Reorg(2, true)
	require.NoError(t, err)
	require.Equal(t, TxStatus{}, status(t, c, raw), "and this one for good")
	require.NoError(t, c.Send(t.Context(), raw), "the same bytes again")
	mine(t, n, 2)
	require.True(t, status(t, c, raw).Final)

	n.Lag(1)
	require.False(t, status(t, c, raw).Final, "a node that is behind does not see the depth")
	n.Lag(2)
	require.Equal(t, TxStatus{Found: true}, status(t, c, raw))
}

func TestSendRefusals(t *testing.T) {
	n := manual(t)
	c := dial(t, network(n.URL()))
	w := newWallet(t)
	fund(t, n, w)
	mined, waits := w.sign(t, transfer(0)), w.sign(t, transfer(1))
	require.NoError(t, c.Send(t.Context(), mined))
	mine(t, n, 1)
	require.NoError(t, c.Send(t.Context(), waits))
	require.NoError(t, c.Send(t.Context(), waits), "already known is success")

	other := transfer(1)
	other.Tip = big.NewInt(1e9 + 1)
	poor := newWallet(t)
	foreign := transfer(1)
	foreign.ChainID = 1
	for name, tc := range map[string]struct {
		raw  []byte
		want RejectedError
	}{
		"nonce used up":      {mined, RejectedError{NonceTooLow: true}},
		"replaces too cheap": {w.sign(t, other), RejectedError{Underpriced: true}},
		"cannot pay":         {poor.sign(t, transfer(0)), RejectedError{InsufficientFunds: true}},
		"another chain":      {w.sign(t, foreign), RejectedError{}},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.Send(t.Context(), tc.raw)
			var rejected *RejectedError
			require.ErrorAs(t, err, &rejected)
			require.NotEmpty(t, rejected.Message)
			tc.want.Message = rejected.Message
			require.Equal(t, &tc.want, rejected)
		})
	}

	dear := transfer(1)
	dear.Tip, dear.MaxFee = big.NewInt(1.2e9), big.NewInt(6e9)
	replacing := w.sign(t, dear)
	require.NoError(t, c.Send(t.Context(), replacing), "10 % more replaces")
	mine(t, n, 1)
	require.True(t, status(t, c, replacing).Success)
	require.Equal(t, TxStatus{}, status(t, c, waits))

	n.Refuse("the node is busy\n\x1b[31m")
	err := c.Send(t.Context(), w.sign(t, transfer(2)))
	var rejected *RejectedError
	require.ErrorAs(t, err, &rejected)
	require.NotContains(t, err.Error(), "\x1b")
}

func TestFees(t *testing.T) {
	n := manual(t)
	c := dial(t, network(n.URL()))
	_, err := c.Fees(t.Context(), "")
	require.Error(t, err)
	idle, err := c.Fees(t.Context(), Medium)
	require.NoError(t, err)
	require.Equal(t, big.NewInt(1e9), idle.Tip, "the node's suggestion while blocks are empty")

	wallets := make([]*wallet, 10)
	for i := range wallets {
		wallets[i] = newWallet(t)
		fund(t, n, wallets[i])
	}
	for i, w := range wallets { // tips of 1 to 10 gwei, in one block
		u := transfer(0)
		u.Tip, u.MaxFee = big.NewInt(int64(i+1)*1e9), big.NewInt(50e9)
		require.NoError(t, c.Send(t.Context(), w.sign(t, u)))
	}
	mine(t, n, 1)
	tips := map[Strategy]int64{Low: 1, Medium: 5, High: 9}
	for s, gwei := range tips {
		f, err := c.Fees(t.Context(), s)
		require.NoError(t, err)
		require.Equal(t, big.NewInt(gwei*1e9), f.Tip, s)
		mineless := n.Head() // the next block's base fee is what counts; the header's bounds it
		require.Less(t, f.MaxFee.Cmp(new(big.Int).Add(f.Tip, new(big.Int).Mul(mineless.BaseFee, big.NewInt(3)))), 1)
		require.Positive(t, f.MaxFee.Cmp(f.Tip))
	}
}

func TestWrongChain(t *testing.T) {
	n := manual(t)
	other, err := devnet.Start(t.Context(), devnet.Config{Dir: t.TempDir(), Period: devnet.Manual, ChainID: 7})
	require.NoError(t, err)
	t.Cleanup(func() { other.Close() })
	_, err = Dial(t.Context(), network(other.URL()), nil, nil)
	require.ErrorIs(t, err, ErrWrongChain)
	_, err = Dial(t.Context(), network(n.URL(), other.URL()), nil, nil)
	require.ErrorIs(t, err, ErrWrongChain)
	require.ErrorContains(t, err, "7")
}

func TestFailover(t *testing.T) {
	n := manual(t)
	hung := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer hung.Close()
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	net := network(dead.URL+"/secret-key", hung.URL, n.URL())
	net.Timeout = 200 * time.Millisecond
	c := dial(t, net)
	w := newWallet(t)
	fund(t, n, w)
	b, err := c.Balance(t.Context(), w.address)
	require.NoError(t, err)
	require.Equal(t, devnet.Gift, b)
	require.NoError(t, c.Send(t.Context(), w.sign(t, transfer(0))))

	// The only one that works stops answering, and comes back.
	n.Stall(true)
	_, err = c.Head(t.Context())
	require.ErrorIs(t, err, ErrUnavailable)
	require.NotContains(t, err.Error(), "secret-key")
	require.ErrorIs(t, c.Send(t.Context(), w.sign(t, transfer(1))), ErrUnavailable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Head(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, ErrUnavailable)
	n.Stall(false)
	_, err = c.Head(t.Context())
	require.NoError(t, err)
}

func TestMetrics(t *testing.T) {
	n := manual(t)
	mine(t, n, 3)
	reg := prometheus.NewPedanticRegistry()
	c, err := Dial(t.Context(), network(n.URL()), nil, reg)
	require.NoError(t, err)
	_, err = c.Head(t.Context())
	require.NoError(t, err)
	_, err = Dial(t.Context(), network(n.URL()), nil, reg)
	require.Error(t, err, "one network is registered once")
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP mintwarden_chain_head_number Number of the newest block that a node told.
# TYPE mintwarden_chain_head_number gauge
mintwarden_chain_head_number{network="quantum-chain-devnet"} 3
`), "mintwarden_chain_head_number"))
	count, err := testutil.GatherAndCount(reg, "mintwarden_chain_rpc_seconds", "mintwarden_chain_head_age_seconds")
	require.NoError(t, err)
	require.GreaterOrEqual(t, count, 3)
	c.Close()
	count, err = testutil.GatherAndCount(reg)
	require.NoError(t, err)
	require.Zero(t, count, "a closed client leaves the registry as it was")
}

func TestCloseLeavesNothing(t *testing.T) {
	n := manual(t)
	old := goleak.IgnoreCurrent()
	c, err := Dial(t.Context(), network(n.URL()), nil, nil)
	require.NoError(t, err)
	_, err = c.Head(t.Context())
	require.NoError(t, err)
	c.Close()
	goleak.VerifyNone(t, old, goleak.IgnoreTopFunction("net/http.(*conn).serve"), goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"))
}

func TestNetworkValidate(t *testing.T) {
	good := network("http://127.0.0.1:1", "https://user:pw@node.example/key")
	require.NoError(t, good.Validate())
	for name, change := range map[string]func(*Network){
		"name":          func(n *Network) { n.Name = "Quantum Chain" },
		"no name":       func(n *Network) { n.Name = "" },
		"kind":          func(n *Network) { n.Kind = "" },
		"scheme":        func(n *Network) { n.Scheme = tx.Secp256k1 },
		"no scheme":     func(n *Network) { n.Scheme = "" },
		"chain id":      func(n *Network) { n.ChainID = 0 },
		"confirmations": func(n *Network) { n.Confirmations = 0 },
		"too many":      func(n *Network) { n.Confirmations = maxConfirmations + 1 },
		"no URL":        func(n *Network) { n.RPCURLs = nil },
		"websocket":     func(n *Network) { n.RPCURLs = []string{"ws://node/secret"} },
		"no host":       func(n *Network) { n.RPCURLs = []string{"http:///secret"} },
		"broken":        func(n *Network) { n.RPCURLs = []string{"http://a b/secret\x7f"} },
		"twice":         func(n *Network) { n.RPCURLs = []string{"http://a/secret", "http://a/secret"} },
		"time":          func(n *Network) { n.Timeout = -1 },
	} {
		n := good
		change(&n)
		err := n.Validate()
		require.ErrorIs(t, err, ErrNetwork, name)
		require.NotContains(t, err.Error(), "secret", name)
		_, err = Dial(t.Context(), n, nil, nil)
		require.ErrorIs(t, err, ErrNetwork, name)
	}
}
