package operation_test

import (
	"crypto/ecdsa"
	"encoding/binary"
	"math/big"
	"testing"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/chaintest"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// outsider is an account of the chain that this appliance knows nothing of.
type outsider struct {
	*house
	evm     *ecdsa.PrivateKey
	quantum *mode3.PrivateKey
	public  []byte
	address tx.Address
	nonce   uint64
}

func (h *house) outsider() *outsider {
	h.t.Helper()
	o := &outsider{house: h}
	if h.kind == tx.KindEVM {
		var err error
		o.evm, err = crypto.GenerateKey()
		require.NoError(h.t, err)
		o.public = crypto.FromECDSAPub(&o.evm.PublicKey)[1:] // without the mark of its form
	} else {
		public, private, err := mode3.GenerateKey(nil)
		require.NoError(h.t, err)
		o.quantum, o.public = private, public.Bytes()
	}
	var err error
	o.address, err = tx.Sender(h.kind, o.public)
	require.NoError(h.t, err)
	require.NoError(h.t, h.fund(h.t.Context(), o.address))
	return o
}

// create deploys a contract and returns when it is final.
func (o *outsider) create(code []byte) (contract tx.Address, creation tx.Hash) {
	o.t.Helper()
	u := &tx.Unsigned{Kind: o.kind, ChainID: o.chainID, Nonce: o.nonce, Tip: big.NewInt(1e9), MaxFee: big.NewInt(1e11), Gas: 8_000_000, Value: new(big.Int), Data: code}
	digest, err := u.SigningHash()
	require.NoError(o.t, err)
	var signature []byte
	if o.evm != nil {
		signature, err = crypto.Sign(digest[:], o.evm)
		require.NoError(o.t, err)
	} else {
		signature = make([]byte, mode3.SignatureSize)
		mode3.SignTo(o.quantum, digest[:], signature)
	}
	raw, err := u.Encode(o.public, signature)
	require.NoError(o.t, err)
	// go-ethereum's pool hears of a block, and of the gift in it, a moment after the chain.
	o.until("the node takes it", func() bool { return o.chain.Send(o.t.Context(), raw) == nil })
	contract, creation = tx.CreateAddress(o.address, o.nonce), tx.HashOf(raw)
	o.nonce++
	o.until("the contract is final", func() bool {
		st, err := o.chain.Status(o.t.Context(), creation)
		return err == nil && st.Final
	})
	return contract, creation
}

// takenOver imports a contract and has custodians bind it.
func (h *house) takenOver(contract tx.Address, creation *tx.Hash) (*registry.Token, *registry.Import) {
	h.t.Helper()
	draft, err := h.registry.ImportToken(h.t.Context(), operator, registry.ImportSpec{Network: networkName, ContractAddress: contract, TemplateID: "tpl_qrc20_v1",
		CreationTransactionHash: creation, AdminVaultAccountID: h.vault, ApprovalPolicyID: h.policyID}, nil)
	require.NoError(h.t, err)
	bound, err := h.registry.Import(h.t.Context(), draft.ID)
	require.NoError(h.t, err)
	_, err = h.operations.Submit(h.t.Context(), operator, operation.Request{Type: policy.OpPause, TokenID: draft.ID}, nil)
	var refusal *registry.Refusal
	require.ErrorAs(h.t, err, &refusal, "no custodian has signed")
	require.Equal(h.t, registry.NotDeployed, refusal.Type)
	for _, who := range []string{"custodian-1", "custodian-2"} {
		bound, err = h.registry.SignBinding(h.t.Context(), registry.Actor{Name: who}, draft.ID, h.sign(policy.DocBinding, bound.Document, who).Encode())
		require.NoError(h.t, err)
	}
	require.NotZero(h.t, bound.Sequence)
	token, err := h.registry.Token(h.t.Context(), draft.ID)
	require.NoError(h.t, err)
	require.Equal(h.t, registry.TokenDeployed, token.Status)
	return token, bound
}

// TestImport: a token that somebody else deployed is taken over on either kind of network, verified by the transaction
// that made it, and does from then on what a token of our own does.
func TestImport(t *testing.T) {
	overKinds(t, func(t *testing.T, kind tx.Kind) {
		h := newHouse(t, options{kind: kind, period: manual, rules: []policy.Rule{approvals(1)}})
		defer h.mineAlways()()
		w, err := h.registry.OldestWallet(t.Context(), h.vault, networkName)
		require.NoError(t, err)
		template, _ := qrc20.TemplateByID("tpl_qrc20_v1")
		code, err := template.InitCode(qrc20.DeployArgs{Name: "Older Token", Symbol: "OLD", Decimals: 6, Cap: big.NewInt(1e12), InitialSupply: big.NewInt(5000),
			Mintable: true, Burnable: true, Admin: qrc20.Address(w.Address)})
		require.NoError(t, err)
		contract, creation := h.outsider().create(code)
		token, bound := h.takenOver(contract, &creation)
		require.True(t, bound.Binding.Verified, "%v", bound.Doubts)
		require.Equal(t, contract, *token.ContractAddress)
		require.Equal(t, "OLD", token.Symbol)
		require.Equal(t, "1000000000000", token.SupplyPolicy.MaxSupply.String())
		h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("1000"), Recipient: h.own()})
		h.do(operation.Request{Type: policy.OpBurn, TokenID: token.ID, Amount: text("1"), From: h.own()})
		require.Equal(t, "5999", h.supply(token))
		_, err = h.registry.ImportToken(t.Context(), operator, registry.ImportSpec{Network: networkName, ContractAddress: contract, TemplateID: "tpl_qrc20_v1",
			AdminVaultAccountID: h.vault, ApprovalPolicyID: h.policyID}, nil)
		var refusal *registry.Refusal
		require.ErrorAs(t, err, &refusal, "a second id for the same contract")
		require.Equal(t, registry.AlreadyDeployed, refusal.Type)
	})
}

// TestAttack_ANodeSaysThatTheChainIsLonger when a token is imported: reconciliation would begin at a block that is not
// final, or is not there for years, and nobody would look at what is before it.
func TestAttack_ANodeSaysThatTheChainIsLonger(t *testing.T) {
	t.Parallel()
	var liar *chaintest.Proxy
	h := newHouse(t, options{kind: tx.KindQuantum, period: manual, rules: []policy.Rule{approvals(1)}, nodes: func(own string) []string {
		liar = chaintest.New(own)
		t.Cleanup(liar.Close)
		return []string{liar.URL(), own}
	}})
	stop := h.mineAlways()
	w, err := h.registry.OldestWallet(t.Context(), h.vault, networkName)
	require.NoError(t, err)
	template, _ := qrc20.TemplateByID("tpl_qrc20_v1")
	code, err := template.InitCode(qrc20.DeployArgs{Name: "Older Token", Symbol: "OLD", Decimals: 6, Cap: big.NewInt(1e12), InitialSupply: big.NewInt(5000),
		Mintable: true, Burnable: true, Admin: qrc20.Address(w.Address)})
	require.NoError(t, err)
	contract, creation := h.outsider().create(code)
	h.mine(4)
	stop()
	final := h.head() + 1 - h.chain.Network().Confirmations
	h.until("the other node's blocks are known", func() bool { n, ok := h.chain.Common(); return ok && n == h.head() })
	liar.Set("head", "1")
	token, _ := h.takenOver(contract, &creation)
	require.Equal(t, final, token.BlockNumber)
}

// TestAttackAWalletOfOursIsImportedAsAnExternalHolder: listed as an external holder, whoever steals its key would mint
// unseen.
func TestAttackAWalletOfOursIsImportedAsAnExternalHolder(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{kind: tx.KindEVM, period: manual, rules: []policy.Rule{approvals(1)}})
	defer h.mineAlways()()
	w, err := h.registry.OldestWallet(t.Context(), h.vault, networkName)
	require.NoError(t, err)
	template, _ := qrc20.TemplateByID("tpl_qrc20_v1")
	code, err := template.InitCode(qrc20.DeployArgs{Name: "Older Token", Symbol: "OLD", Decimals: 6, Cap: big.NewInt(1e12), InitialSupply: big.NewInt(5000),
		Mintable: true, Burnable: true, Admin: qrc20.Address(w.Address)})
	require.NoError(t, err)
	contract, creation := h.outsider().create(code)
	_, err = h.registry.ImportToken(t.Context(), operator, registry.ImportSpec{Network: networkName, ContractAddress: contract, TemplateID: "tpl_qrc20_v1",
		CreationTransactionHash: &creation, AdminVaultAccountID: h.vault, ApprovalPolicyID: h.policyID, External: []tx.Address{w.Address}}, nil)
	var refusal *registry.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, registry.Validation, refusal.Type)
	require.Contains(t, refusal.Message, w.Address.String())
}

// TestAttackAHiddenMinterHidesBehindTheSupplyPolicy: a constructor of somebody's own left a template's runtime code with
// a MINTER whom the contract does not list, so that the token passes for one that nobody can mint. Once he is found he
// is revoked through us: what the token's supply policy gives to nobody may still be taken from somebody.
func TestAttackAHiddenMinterHidesBehindTheSupplyPolicy(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{kind: tx.KindEVM, period: manual, rules: []policy.Rule{approvals(1)}})
	defer h.mineAlways()()
	thief := h.outsider()
	w, err := h.registry.OldestWallet(t.Context(), h.vault, networkName)
	require.NoError(t, err)
	template, _ := qrc20.TemplateByID("tpl_qrc20_v1")
	code, err := template.InitCode(qrc20.DeployArgs{Name: "Honest", Symbol: "HON", Decimals: 18, Cap: new(big.Int), InitialSupply: new(big.Int),
		Mintable: true, Burnable: true, Admin: qrc20.Address(thief.address)})
	require.NoError(t, err)
	honest, _ := thief.create(code)
	runtime, err := h.chain.Code(t.Context(), honest)
	require.NoError(t, err)
	contract, _ := thief.create(planted(runtime, map[qrc20.Role]tx.Address{qrc20.Minter: thief.address, qrc20.Burner: thief.address, qrc20.Admin: w.Address}))

	token, bound := h.takenOver(contract, nil)
	require.False(t, bound.Binding.Verified)
	require.False(t, token.SupplyPolicy.Mintable || token.SupplyPolicy.Burnable, "the contract lists nobody")
	hidden := address(thief.address.String())
	for _, role := range []string{"MINTER", "BURNER"} {
		_, err := h.operations.Submit(t.Context(), operator, operation.Request{Type: policy.OpGrantRole, TokenID: token.ID, Role: role, Subject: hidden}, nil)
		var refusal *registry.Refusal
		require.ErrorAs(t, err, &refusal)
		require.Equal(t, registry.OperationNotAllowed, refusal.Type, "widening stays refused")
		has, err := h.registry.HasRole(t.Context(), token, qrc20.Role(role), thief.address)
		require.NoError(t, err)
		require.True(t, has)
		h.do(operation.Request{Type: policy.OpRevokeRole, TokenID: token.ID, Role: role, Subject: hidden})
		has, err = h.registry.HasRole(t.Context(), token, qrc20.Role(role), thief.address)
		require.NoError(t, err)
		require.False(t, has, "%s is still the thief's", role)
	}
}

// planted is init code of somebody's own: it writes roles and names into the storage, past the list of role holders,
// and leaves a runtime code behind.
func planted(runtime []byte, roles map[qrc20.Role]tx.Address) []byte {
	word := func(n uint64) (w [32]byte) {
		binary.BigEndian.PutUint64(w[24:], n)
		return w
	}
	short := func(text string) (w [32]byte) {
		copy(w[:], text)
		w[31] = byte(2 * len(text))
		return w
	}
	var b []byte
	store := func(slot, value [32]byte) { // PUSH32 value PUSH32 slot SSTORE
		b = append(append(append(append(append(b, 0x7f), value[:]...), 0x7f), slot[:]...), 0x55)
	}
	store(word(3), short("Planted Token"))
	store(word(4), short("PLNT"))
	for role, who := range roles {
		var account [32]byte
		copy(account[12:], who[:])
		id := qrc20.RoleID(role)
		for place := range uint64(12) { // wherever the compiler put the mapping of roles
			at := word(place)
			store([32]byte(crypto.Keccak256(account[:], crypto.Keccak256(id[:], at[:]))), word(1))
		}
	}
	const tail = 13
	size, offset := uint16(len(runtime)), uint16(len(b)+tail)
	// PUSH2 size DUP1 PUSH2 offset PUSH1 0 CODECOPY PUSH1 0 RETURN
	b = append(b, 0x61, byte(size>>8), byte(size), 0x80, 0x61, byte(offset>>8), byte(offset), 0x60, 0, 0x39, 0x60, 0, 0xf3)
	return append(b, runtime...)
}
