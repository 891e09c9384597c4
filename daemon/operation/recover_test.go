package operation_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/chaintest"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// backup is the store as it is now; restore puts it in place of what the store has by then.
func (h *house) backup() (restore func()) {
	h.t.Helper()
	kept := filepath.Join(h.t.TempDir(), "backup")
	h.stopDaemon()
	h.etcd.Close()
	require.NoError(h.t, os.CopyFS(kept, os.DirFS(h.etcd.Config.Dir)))
	h.etcd.Restart()
	h.startDaemon()
	return func() {
		h.t.Helper()
		h.stopDaemon()
		h.stopSeal()
		h.etcd.Close()
		require.NoError(h.t, os.RemoveAll(h.etcd.Config.Dir))
		require.NoError(h.t, os.Rename(kept, h.etcd.Config.Dir))
		h.etcd.Restart()
		h.runSeal()
	}
}

// recover has custodians accept what the store holds; lanes go on at these nonces, and usage is what was charged.
func (h *house) recover(lanes map[string]uint64, usage ...ledger.RecoverUsage) {
	h.t.Helper()
	door, err := seal.Dial(h.t.Context(), h.socket)
	require.NoError(h.t, err)
	defer func() { _ = door.Close() }()
	var doubt *seal.Doubt
	h.until("the seal refuses the store", func() bool {
		s, err := door.Status(h.t.Context())
		if err == nil {
			doubt = s.Doubt
		}
		return doubt != nil && doubt.Known != nil
	})
	require.Equal(h.t, "behind", doubt.Kind)
	d := &ledger.Recover{Format: policy.Format, Instance: h.instance, Epoch: doubt.Epoch + 1, Lost: ledger.Point(*doubt.Known), Accepted: ledger.Point(doubt.Store),
		Usage: usage, CreatedAt: policy.Seconds(time.Now())}
	for id, nonce := range lanes {
		d.Lanes = append(d.Lanes, ledger.RecoverLane{WalletID: id, Nonce: nonce})
	}
	body, err := d.Encode()
	require.NoError(h.t, err)
	_, err = door.Recover(h.t.Context(), h.sign(policy.DocRecover, body, "custodian-1", "custodian-2"))
	require.NoError(h.t, err)
}

// cancelNonce asks for a nonce to be used up.
func (h *house) cancelNonce(wallet string, nonce uint64) (*operation.Operation, error) {
	return h.operations.CancelNonce(h.t.Context(), operator, operation.NonceRequest{WalletID: wallet, Nonce: strconv.FormatUint(nonce, 10)}, nil)
}

// TestCancelFillsTheGapThatARecoveryLeft: the store is restored from a backup that knows nothing of three mints. One
// of them was mined, the bytes of two are lost with their authorizations. The lane goes on behind all three, and waits
// for the gap, which it says; CANCEL operations with intents and approvals of their own fill it, and nothing else does.
func TestCancelFillsTheGapThatARecoveryLeft(t *testing.T) {
	overKinds(t, func(t *testing.T, kind tx.Kind) {
		var node *chaintest.Proxy
		h := newHouse(t, options{kind: kind, period: manual, rules: []policy.Rule{approvals(1)}, nodes: behind(t, &node)})
		stop := h.mineAlways()
		token := h.deployed("0")
		restore := h.backup()
		mined := h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("5"), Recipient: h.own()})
		stop()
		require.EqualValues(t, 1, mined.Nonce)
		node.Set("swallow", "")
		var lost []*operation.Operation
		for range 2 {
			o := h.mint(token, "7")
			h.approve(o)
			lost = append(lost, h.is(o.ID, operation.Broadcasting))
		}
		wallet, other := h.wallet(h.vault), h.wallet(h.vault2)

		restore()
		node.Behave()
		h.recover(map[string]uint64{wallet: 4, other: 0}, ledger.RecoverUsage{ChainID: h.chainID, ContractAddress: *token.ContractAddress, Operation: policy.OpMint, Amount: policy.AmountOf(19)})
		h.startDaemon()
		for _, o := range append(lost, mined) {
			_, err := h.operations.Get(t.Context(), o.ID)
			require.Error(t, err, "the backup knows nothing of it")
		}
		require.EqualValues(t, 2, h.registry.Fold().Epoch())

		after := h.mint(token, "11")
		h.approve(after)
		defer h.mineAlways()()
		h.until("the lane says what it waits for", func() bool { return strings.HasPrefix(h.now(after.ID).Attention, "NONCE_GAP") })
		require.EqualValues(t, 4, h.now(after.ID).Nonce)

		var refusal *registry.Refusal
		for nonce, why := range map[uint64]string{0: "belongs to an operation", 1: "used up on the chain", 4: "belongs to an operation", 6: "not reached yet"} {
			_, err := h.cancelNonce(wallet, nonce)
			require.ErrorAs(t, err, &refusal, nonce)
			require.Equal(t, registry.TxStateConflict, refusal.Type)
			require.Contains(t, refusal.Message, why)
		}
		// The higher one first: it waits for the lower one as everything does.
		var fills []*operation.Operation
		for _, nonce := range []uint64{3, 2} {
			o, err := h.cancelNonce(wallet, nonce)
			require.NoError(t, err)
			require.Equal(t, 1, o.RequiredApprovals)
			h.approve(o)
			fills = append(fills, o)
		}
		for _, o := range fills {
			h.ends(o, operation.Completed)
		}
		done := h.ends(after, operation.Completed)
		require.Empty(t, done.Attention)
		require.Equal(t, "16", h.supply(token), "what was mined before, and what came after; nothing of what was lost")
		_, err := h.cancelNonce(wallet, 2)
		require.ErrorAs(t, err, &refusal, "filled once")
		h.verifies()
	})
}

// TestACancelWhoseNonceIsTaken: another operation got the lane's next nonce before people approved to cancel it. It says
// so, for nothing will ever be signed of it, and can be withdrawn.
func TestACancelWhoseNonceIsTaken(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{rules: []policy.Rule{approvals(1)}})
	token := h.deployed("0")
	late, err := h.cancelNonce(h.wallet(h.vault), 1)
	require.NoError(t, err)
	mint := h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("5"), Recipient: h.own()})
	require.EqualValues(t, 1, mint.Nonce)
	h.approve(late)
	h.until("it says why it waits", func() bool { return strings.HasPrefix(h.now(late.ID).Attention, "the seal does not sign it: nonce 1 ") })
	require.Equal(t, operation.PendingSignature, h.now(late.ID).Status)
	_, err = h.operations.Cancel(h.patient(), operator, late.ID, "", nil)
	require.NoError(t, err)
	h.ends(late, operation.Cancelled)
}
