package dev_test

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// A token that somebody deployed elsewhere is taken over, once the custodians' threshold has signed what its id
// means: with the creation transaction it is verified, and what the appliance does with it is reconciled from then on.
func TestImport(t *testing.T) {
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	_, wallet, _ := a.treasury()
	outsider := a.outsider()
	treasury, err := tx.ParseAddress(wallet.Address)
	if err != nil {
		t.Fatal(err)
	}
	args := qrc20.DeployArgs{Name: "Older Token", Symbol: "OLD", Decimals: 6, Cap: big.NewInt(1e12), InitialSupply: big.NewInt(5000),
		Mintable: true, Burnable: true, Admin: qrc20.Address(treasury)}
	contract, creation := outsider.create(t, initCode(t, args))

	token, binding := a.imported(contract, creation)
	if !binding.Verified || len(binding.Doubts) != 0 || binding.Bound || binding.RequiredSignatures != 2 {
		t.Fatalf("a template's token: %+v", binding)
	}
	if token.Status != client.TokenStatusDRAFT || token.Name != "Older Token" || token.Symbol != "OLD" || token.Decimals != 6 {
		t.Fatalf("the token: %+v", token)
	}
	if _, err := a.as("operator").DeployToken(a.context(), token.ID, client.DeployRequest{}); !refusedAs(err, 1702) {
		t.Errorf("deploying an import: %v", err)
	}
	if _, err := jobs[1].ask(a, token, "too-early"); !refusedAs(err, 1703) {
		t.Errorf("a mint before the custodians signed: %v", err)
	}
	a.bind(token.ID, "custodian-2")
	if bound := a.bind(token.ID, "custodian-2"); bound.Bound {
		t.Fatal("one custodian twice bound a token")
	}
	if bound := a.bind(token.ID, "custodian-3"); !bound.Bound {
		t.Fatalf("two custodians did not bind it: %+v", bound)
	}
	id, err := jobs[1].ask(a, token, "imported")
	if err != nil {
		t.Fatal(err)
	}
	a.approve(id, "approver-1", "approver-2")
	a.completed(id)
	r := a.reconciled(token.ID, func(r *client.Reconciliation) bool {
		return r.Supply.Events == "6000" && r.Status == client.ReconciliationStatusAGREES
	})
	if r.UnmatchedTotal != 0 || r.EventsChecked != 1 {
		t.Errorf("what happened before the import is nobody's here: %+v", r)
	}
	if _, err := a.as("operator").ImportToken(a.context(), a.importOf(contract, creation)); !refusedAs(err, 1702) {
		t.Errorf("a second id for the same contract: %v", err)
	}
	a.intact()
}

// The runtime code of a template proves nothing: another constructor can leave it behind with a minter of its own,
// whom the contract's list of role holders does not name. Such a token is never verified; what the minter does later
// is found by reconciliation.
func TestImportOfAHiddenMinter(t *testing.T) {
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	outsider := a.outsider()
	args := qrc20.DeployArgs{Name: "Evil Token", Symbol: "EVIL", Decimals: 18, Cap: new(big.Int), InitialSupply: new(big.Int),
		Mintable: true, Burnable: true, Admin: qrc20.Address(outsider.address)}
	honest, honestCreation := outsider.create(t, initCode(t, args))

	// The honest way: roles in somebody else's hands are named, and refuse the import.
	if _, err := a.as("operator").ImportToken(a.context(), a.importOf(honest, honestCreation)); !refusedAs(err, 1100) || !strings.Contains(err.Error(), outsider.address.String()) {
		t.Errorf("an admin outside: %v", err)
	}
	runtime := strings.Trim(between(a.rpcCall("eth_getCode", `["`+honest+`","latest"]`), `"result":"0x`, `"`), `"`)
	contract, creation := outsider.create(t, hiddenMinter(t, runtime, outsider.address))
	token, binding := a.imported(contract, creation)
	if binding.Verified || len(binding.Doubts) != 1 || !strings.Contains(binding.Doubts[0], "no init code") {
		t.Fatalf("a constructor of somebody's own: %+v", binding)
	}
	// Another transaction, which made an honest contract, does not vouch for this one; neither does none.
	for _, other := range []string{honestCreation, ""} {
		if _, b := a.imported(contract, other); b.Verified || len(b.Doubts) != 1 {
			t.Errorf("creation %q: %+v", other, b)
		}
	}
	a.bind(token.ID, "custodian-1")
	if bound := a.bind(token.ID, "custodian-2"); !bound.Bound || bound.Verified {
		t.Fatalf("the custodians' word: %+v", bound)
	}
	a.reconciled(token.ID, func(r *client.Reconciliation) bool { return r.Status == client.ReconciliationStatusAGREES })
	data, err := qrc20.Call{Method: qrc20.Mint, Amount: big.NewInt(9), Account: qrc20.Address(outsider.address)}.Pack()
	if err != nil {
		t.Fatal(err)
	}
	outsider.send(t, contract, "0", hex.EncodeToString(data))
	r := a.reconciled(token.ID, func(r *client.Reconciliation) bool { return r.UnmatchedTotal > 0 })
	if r.Status != client.ReconciliationStatusDISAGREES || r.Unmatched[0].Amount == nil || *r.Unmatched[0].Amount != "9" {
		t.Errorf("the hidden minter's mint: %+v", r)
	}
}

func initCode(t *testing.T, args qrc20.DeployArgs) []byte {
	t.Helper()
	template, _ := qrc20.TemplateByID("tpl_qrc20_v1")
	code, err := template.InitCode(args)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// hiddenMinter is init code of somebody's own: it writes name, symbol and a MINTER into the storage, past the list of
// role holders, and leaves a template's runtime code behind.
func hiddenMinter(t *testing.T, runtime string, who tx.Address) []byte {
	t.Helper()
	code, err := hex.DecodeString(runtime)
	if err != nil {
		t.Fatal(err)
	}
	word := func(n uint64) (w [32]byte) {
		binary.BigEndian.PutUint64(w[24:], n)
		return w
	}
	short := func(text string) (w [32]byte) {
		copy(w[:], text)
		w[31] = byte(2 * len(text))
		return w
	}
	var account [32]byte
	copy(account[12:], who[:])
	var b []byte
	store := func(slot, value [32]byte) { // PUSH32 value PUSH32 slot SSTORE
		b = append(append(append(append(append(b, 0x7f), value[:]...), 0x7f), slot[:]...), 0x55)
	}
	store(word(3), short("Evil Token"))
	store(word(4), short("EVIL"))
	role := qrc20.RoleID(qrc20.Minter)
	for place := range uint64(12) { // wherever the compiler put the mapping of roles
		at := word(place)
		base := crypto.Keccak256(role[:], at[:])
		store([32]byte(crypto.Keccak256(account[:], base)), word(1))
	}
	const tail = 13
	size, offset := uint16(len(code)), uint16(len(b)+tail)
	// PUSH2 size DUP1 PUSH2 offset PUSH1 0 CODECOPY PUSH1 0 RETURN
	b = append(b, 0x61, byte(size>>8), byte(size), 0x80, 0x61, byte(offset>>8), byte(offset), 0x60, 0, 0x39, 0x60, 0, 0xf3)
	return append(b, code...)
}

func (a *appliance) importOf(contract, creation string) client.TokenImport {
	a.t.Helper()
	vault, _, policyID := a.treasury()
	body := client.TokenImport{Network: "quantum-chain-devnet", ContractAddress: contract, TemplateID: "tpl_qrc20_v1",
		Admin: client.TokenAdmin{VaultAccountID: vault.ID, ApprovalPolicyID: policyID}}
	if creation != "" {
		body.CreationTransactionHash = &creation
	}
	return body
}

func (a *appliance) imported(contract, creation string) (*client.Token, *client.TokenBinding) {
	a.t.Helper()
	token, err := a.as("operator").ImportToken(a.context(), a.importOf(contract, creation))
	if err != nil {
		a.t.Fatal(err)
	}
	binding, err := a.as("custodian-1").GetTokenBinding(a.context(), token.ID)
	if err != nil {
		a.t.Fatal(err)
	}
	return token, binding
}

// bind has a custodian sign what a token's id is to mean.
func (a *appliance) bind(tokenID, custodian string) *client.TokenBinding {
	a.t.Helper()
	binding, err := a.as(custodian).GetTokenBinding(a.context(), tokenID)
	if err != nil {
		a.t.Fatal(err)
	}
	signed, err := a.as(custodian).SignTokenBinding(a.context(), tokenID, client.EnvelopeRequest{Envelope: a.signed(custodian, policy.DocBinding, binding.Document)})
	if err != nil {
		a.t.Fatalf("%s signs: %v", custodian, err)
	}
	return signed
}

// create deploys a contract and waits until it is final.
func (o *account) create(t *testing.T, code []byte) (contract, hash string) {
	t.Helper()
	u := &tx.Unsigned{Kind: tx.KindQuantum, ChainID: devnet.DefaultChainID, Nonce: o.nonce, Tip: big.NewInt(1e9), MaxFee: big.NewInt(1e12),
		Gas: 8_000_000, Value: new(big.Int), Data: code}
	digest, err := u.SigningHash()
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, mode3.SignatureSize)
	mode3.SignTo(o.key, digest[:], signature)
	raw, err := u.Encode(o.public, signature)
	if err != nil {
		t.Fatal(err)
	}
	at := tx.CreateAddress(o.address, o.nonce)
	o.nonce++
	o.rpc("eth_sendRawTransaction", fmt.Sprintf(`["0x%x"]`, raw))
	o.rpc("devnet_mine", `["0x3"]`)
	var receipt struct {
		Result *struct {
			Status string `json:"status"`
		} `json:"result"`
	}
	if err := json.Unmarshal([]byte(o.rpc("eth_getTransactionReceipt", fmt.Sprintf("[%q]", tx.HashOf(raw)))), &receipt); err != nil || receipt.Result == nil || receipt.Result.Status != "0x1" {
		t.Fatalf("the contract was not made: %+v, %v", receipt.Result, err)
	}
	return at.String(), tx.HashOf(raw).String()
}

func between(text, before, after string) string {
	_, rest, _ := strings.Cut(text, before)
	in, _, _ := strings.Cut(rest, after)
	return in
}
