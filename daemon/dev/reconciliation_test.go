package dev_test

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/dilithium/mode3"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// A role holder outside mints: the appliance tells at once, freezes the token as soon as two nodes agree, also when
// it was killed in between, and the custodians' threshold alone lets the token go on.
func TestAMintThatNobodyAuthorizedFreezesTheToken(t *testing.T) {
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	token := a.deployed()
	id, err := jobs[1].ask(a, token, "before")
	if err != nil {
		t.Fatal(err)
	}
	a.approve(id, "approver-1", "approver-2")
	a.completed(id)
	r := a.reconciled(token.ID, func(r *client.Reconciliation) bool {
		return r.Status == client.ReconciliationStatusAGREES && r.EventsChecked > 4
	})
	if want := (client.ReconciliationSupply{Events: "1000", Contract: "1000", Operations: "1000"}); r.Supply != want || r.UnmatchedTotal != 0 || r.FromBlock == 0 {
		t.Fatalf("after a mint: %+v", r)
	}

	outsider := a.outsider()
	address := outsider.address.String()
	grant, err := a.as("operator").GrantTokenRole(a.context(), token.ID, client.RoleChangeRequest{Role: "MINTER",
		Subject: client.Party{Type: client.PartyTypeAddress, Address: &address}}, client.WithIdempotencyKey("grant"))
	if err != nil {
		t.Fatal(err)
	}
	a.approve(grant.OperationID, "approver-1", "approver-3")
	a.completed(grant.OperationID)
	deployed, err := a.as("operator").GetToken(a.context(), token.ID)
	if err != nil || deployed.ContractAddress == nil {
		t.Fatal(err)
	}
	data, err := qrc20.Call{Method: qrc20.Mint, Amount: big.NewInt(7), Account: qrc20.Address(outsider.address)}.Pack()
	if err != nil {
		t.Fatal(err)
	}
	outsider.send(t, *deployed.ContractAddress, "0", hex.EncodeToString(data))
	r = a.reconciled(token.ID, func(r *client.Reconciliation) bool { return r.UnmatchedTotal > 0 })
	u := r.Unmatched[0]
	if r.Status != client.ReconciliationStatusDISAGREES || r.UnmatchedTotal != 1 || r.Frozen || u.Event != "Transfer" || u.Amount == nil || *u.Amount != "7" ||
		u.Account == nil || *u.Account != address || r.Supply.Events != "1007" {
		t.Fatalf("one node alone: %+v", r)
	}
	a.kill()

	s := serving{appliance: a, t: t}
	s.etcd, s.rpc, s.api, s.monitor = freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
	s.configure()
	_, port, _ := strings.Cut(s.rpc, ":")
	s.edit("serve.toml", map[string]string{"rpc_urls = ['http://" + s.rpc + "']": "rpc_urls = ['http://" + s.rpc + "', 'http://localhost:" + port + "']"})
	s.start("mintwardend", nil, "serve", "--config", filepath.Join(a.dir, "config", "serve.toml"))
	s.start("mintwardend", nil, "devnet", "--dir", filepath.Join(a.dir, "chain"), "--rpc", s.rpc, "--period", "500ms")
	s.start("mintwarden-seal", []string{"SOFTHSM2_CONF=" + filepath.Join(a.dir, "hsm/token/softhsm2.conf")},
		"--config", filepath.Join(a.dir, "config", "seal.toml"))
	s.ready()
	a.url = "https://" + s.api
	a.reconciled(token.ID, func(r *client.Reconciliation) bool { return r.Frozen })
	if id, err = jobs[1].ask(a, token, "frozen"); err == nil {
		t.Fatalf("a frozen token took %s", id)
	}
	s.unfreeze(token.ID)
	if id, err = jobs[1].ask(a, token, "again"); err != nil {
		t.Fatal(err)
	}
	a.approve(id, "approver-1", "approver-2")
	a.completed(id)
	r = a.reconciled(token.ID, func(r *client.Reconciliation) bool { return r.Supply.Events == "2007" })
	if r.Frozen || r.UnmatchedTotal != 1 || r.Status != client.ReconciliationStatusDISAGREES {
		t.Errorf("after the custodians let it go on: %+v", r)
	}
	s.metrics(`mintwarden_reconciliation_disagreeing_tokens{network="quantum-chain-devnet"} 1`, "mintwarden_reconciliation_events_total",
		"mintwarden_reconciliation_behind_blocks")
	a.intact()
}

// reconciled waits for a token's reconciliation to become what is wanted.
func (a *appliance) reconciled(tokenID string, wanted func(*client.Reconciliation) bool) *client.Reconciliation {
	a.t.Helper()
	var last *client.Reconciliation
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if last, err = a.as("viewer").GetTokenReconciliation(a.context(), tokenID); err == nil && wanted(last) {
			return last
		}
	}
	a.t.Fatalf("the reconciliation of %s stays %+v, %v", tokenID, last, err)
	return nil
}

// outsider is an account with coins whose key the appliance does not have.
func (a *appliance) outsider() *account {
	a.t.Helper()
	public, key, err := mode3.GenerateKey(rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	o := &account{rpc: a.rpcCall, key: key, public: public.Bytes()}
	if o.address, err = tx.Sender(tx.KindQuantum, o.public); err != nil {
		a.t.Fatal(err)
	}
	a.rpcCall("devnet_fund", fmt.Sprintf("[%q]", o.address))
	return o
}

// unfreeze lets a token go on by two custodians.
func (s *serving) unfreeze(tokenID string) {
	s.t.Helper()
	later := policy.Seconds(time.Now()).Add(time.Second) // newer than the freeze, which may be of this very second
	payload, err := (&policy.Freeze{Format: 1, Instance: s.charter().Instance, Subject: policy.Subject{TokenID: tokenID}, CreatedAt: later}).Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	var wire client.Envelope
	if err := json.Unmarshal(s.envelope(policy.DocFreeze, payload, "custodian-1", "custodian-2").Encode(), &wire); err != nil {
		s.t.Fatal(err)
	}
	if f, err := s.as("custodian-1").Freeze(s.context(), client.EnvelopeRequest{Envelope: wire}); err != nil || f.Frozen {
		s.t.Fatalf("letting %s go on: %+v, %v", tokenID, f, err)
	}
}
