package chain

import (
	"fmt"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/ethclient/simulated"
	gethnode "github.com/ethereum/go-ethereum/node"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// TestAgainstGeth does with an unmodified go-ethereum node what the others do with the devnet.
func TestAgainstGeth(t *testing.T) {
	key, err := crypto.GenerateKey()
	require.NoError(t, err)
	public := crypto.FromECDSAPub(&key.PublicKey)[1:]
	from, err := tx.Sender(tx.KindEVM, public)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	require.NoError(t, l.Close())
	backend := simulated.NewBackend(types.GenesisAlloc{common.Address(from): {Balance: devnet.Gift}}, func(n *gethnode.Config, e *ethconfig.Config) {
		n.HTTPHost, n.HTTPPort, n.HTTPModules = "127.0.0.1", port, []string{"eth"}
	})
	defer backend.Close()
	c := dial(t, Network{Name: "geth", Kind: tx.KindEVM, ChainID: 1337, RPCURLs: []string{fmt.Sprintf("http://127.0.0.1:%d", port)},
		Confirmations: 2, Scheme: tx.Secp256k1, Currency: "ETH"})

	var nonce uint64
	send := func(to *tx.Address, data []byte, gas uint64) []byte {
		f, err := c.Fees(t.Context(), High)
		require.NoError(t, err)
		u := &tx.Unsigned{Kind: tx.KindEVM, ChainID: 1337, Nonce: nonce, Tip: f.Tip, MaxFee: f.MaxFee, Gas: gas, To: to,
			Value: new(big.Int), Data: data}
		nonce++
		digest, err := u.SigningHash()
		require.NoError(t, err)
		sig, err := crypto.Sign(digest[:], key)
		require.NoError(t, err)
		raw, err := u.Encode(public, sig)
		require.NoError(t, err)
		require.NoError(t, c.Send(t.Context(), raw))
		require.NoError(t, c.Send(t.Context(), raw), "already known")
		return raw
	}
	gas, err := c.EstimateGas(t.Context(), from, nil, obedient)
	require.NoError(t, err)
	created := send(nil, obedient, gas)
	// Until geth has indexed its first block it refuses to say anything of a transaction.
	backend.Commit()
	require.Eventually(t, func() bool {
		_, err := c.Status(t.Context(), tx.HashOf(created))
		return err == nil
	}, patience, 5*time.Millisecond)
	st := status(t, c, created)
	at := tx.CreateAddress(from, 0)
	require.True(t, st.Success && !st.Final)
	require.Equal(t, &at, st.ContractAddress)

	paused := unhex("d93c0665")
	_, err = c.Call(t.Context(), from, at, paused)
	var revert *RevertError
	require.ErrorAs(t, err, &revert)
	require.Equal(t, paused, revert.Data)
	failed := send(&at, paused, 200_000)
	require.Equal(t, TxStatus{Found: true}, status(t, c, failed))
	require.Equal(t, TxStatus{}, status(t, c, []byte("never sent")))
	backend.Commit()
	require.Equal(t, revert.Reason, status(t, c, failed).RevertReason)
	starved := send(&at, nil, 30_000)
	backend.Commit()
	require.Contains(t, status(t, c, starved).RevertReason, "out of gas")

	require.True(t, status(t, c, created).Final)
	err = c.Send(t.Context(), created)
	var rejected *RejectedError
	require.ErrorAs(t, err, &rejected)
	require.True(t, rejected.NonceTooLow)
	b, err := c.Balance(t.Context(), from)
	require.NoError(t, err)
	require.Negative(t, b.Cmp(devnet.Gift))
	h, err := c.Head(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 3, h.Number)
}
