package dev_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/chain/devnet/geth"
	"github.com/mintwarden/mintwarden/daemon/dev"
)

// TestEVM: the appliance on go-ethereum's own node, its wallets' keys used by the token itself. It is killed
// whole, node and all, and has lost nothing.
func TestEVM(t *testing.T) {
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "dev")
	a := program{bin: bin, flags: []string{"--network", "evm"}}.start(t, dir)
	_, wallet, _ := a.treasury()
	if wallet.Scheme != "secp256k1" || wallet.Protection != "hsm-native" {
		t.Fatalf("the wallet is of %s, %s", wallet.Scheme, wallet.Protection)
	}
	token := a.deployed()
	mint := func() string {
		op, err := a.as("operator").MintToken(a.context(), token.ID, client.MintRequest{Amount: "5",
			Recipient: client.Party{Type: client.PartyTypeAddress, Address: &wallet.Address}})
		if err != nil {
			t.Fatal(err)
		}
		return op.OperationID
	}
	first, second := mint(), mint()
	a.approve(first, "approver-1", "approver-2")
	a.completed(first)
	a.approve(second, "approver-1", "approver-2")
	a.kill()
	a = a.again()
	a.completed(second)
	if s := a.supply(token.ID); s != "10" {
		t.Fatalf("supply %s", s)
	}
	a.intact()
	a.stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience) // for one that is not refused
	defer cancel()
	if err := dev.Run(ctx, dev.Options{Dir: dir, Network: "quantum", API: "127.0.0.1:0", Monitor: "127.0.0.1:0", RPC: "127.0.0.1:0", SealBin: bin}); err == nil {
		t.Fatal("a directory's network changed its kind")
	}
}

func TestEVMChainID(t *testing.T) {
	if dev.EVMChainID != geth.ChainID {
		t.Fatalf("the charter says %d, the node %d", dev.EVMChainID, geth.ChainID)
	}
}
