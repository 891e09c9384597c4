package reconciliation_test

import (
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/reconciliation"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// Every sort of event is the effect of one operation of its sort, and of one alone: the same event without an
// operation, and a second time beside the one that an operation explains, is told of.
func TestEverySortOfEventIsOneOperations(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := &planted{h: h}
	subject, actor := account(1), account(2)
	ten := policy.AmountOf(10)
	minter := common.Hash(qrc20.RoleID(qrc20.Minter))
	topic := func(signature string) common.Hash { return crypto.Keccak256Hash([]byte(signature)) }
	two := func(signature string) []common.Hash {
		return []common.Hash{topic(signature), word(subject), word(actor)}
	}
	sorts := []struct {
		event  string
		topics []common.Hash
		data   []byte
		does   operation.Operation
	}{
		{"Transfer", []common.Hash{transferTopic, zeroWord, word(subject)}, number(10).Bytes(), operation.Operation{Type: policy.OpMint, Recipient: &subject, Amount: &ten}},
		{"Transfer", []common.Hash{transferTopic, word(subject), zeroWord}, number(10).Bytes(), operation.Operation{Type: policy.OpBurn, From: &subject, Amount: &ten}},
		{"RoleGranted", []common.Hash{topic("RoleGranted(bytes32,address,address)"), minter, word(subject), word(actor)}, nil,
			operation.Operation{Type: policy.OpGrantRole, Role: qrc20.Minter, Subject: &subject}},
		{"RoleRevoked", []common.Hash{topic("RoleRevoked(bytes32,address,address)"), minter, word(subject), word(actor)}, nil,
			operation.Operation{Type: policy.OpRevokeRole, Role: qrc20.Minter, Subject: &subject}},
		{"Paused", []common.Hash{topic("Paused(address)")}, word(actor).Bytes(), operation.Operation{Type: policy.OpPause}},
		{"Unpaused", []common.Hash{topic("Unpaused(address)")}, word(actor).Bytes(), operation.Operation{Type: policy.OpUnpause}},
		{"Frozen", two("Frozen(address,address)"), nil, operation.Operation{Type: policy.OpFreeze, Subject: &subject}},
		{"Unfrozen", two("Unfrozen(address,address)"), nil, operation.Operation{Type: policy.OpUnfreeze, Subject: &subject}},
		{"Allowed", two("Allowed(address,address)"), nil, operation.Operation{Type: policy.OpAllowlistAdd, Subject: &subject}},
		{"Disallowed", two("Disallowed(address,address)"), nil, operation.Operation{Type: policy.OpAllowlistRemove, Subject: &subject}},
	}
	var want []string
	for n, s := range sorts {
		block := uint64(2 + 2*n)
		hash := tx.Hash(hashOf(uint64(n)))
		o := s.does
		o.ID, o.Status, o.TokenID, o.Network, o.Authorized = store.NewID("op_"), operation.Completed, h.token.ID, networkName, true
		o.TransactionHash, o.BlockNumber, o.History = &hash, block, []operation.Step{{Status: operation.Completed, At: time.Now()}}
		p.plant(&o)
		h.node.write(block, h.contract, hashOf(uint64(n)), s.topics, s.data)         // its effect
		h.node.write(block, h.contract, hashOf(uint64(n)), s.topics, s.data)         // the same again
		h.node.write(block+1, h.contract, hashOf(1_000+uint64(n)), s.topics, s.data) // nobody's
		want = append([]string{s.event, s.event}, want...)                           // the newest first
	}
	p.flush()
	last := uint64(2 + 2*len(sorts))
	h.node.advance(last + confirmations)
	r := h.until(func(r *reconciliation.Report) bool { return r.BlockNumber >= last })
	require.EqualValues(t, 3*len(sorts), r.EventsChecked)
	require.EqualValues(t, 2*len(sorts), r.UnmatchedTotal)
	var told []string
	for _, u := range r.Unmatched {
		told = append(told, u.Event)
	}
	require.Equal(t, want, told)
	require.Equal(t, len(want), h.told())
}
