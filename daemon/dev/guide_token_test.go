package dev_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
)

// The guide's page "HSM unplugged or lost": the token is lost with the power, and its vendor's backup, of before the
// newest batches and the newest wallet, is put in its place (SoftHSM2's way is a copy of its directory). The seal takes
// it: it remembers more than the token does. What waited is done once; a wallet that is younger than the backup has no
// key, which is said, and holds nobody else up.
func TestGuideTokenRestored(t *testing.T) {
	t.Parallel()
	if os.Getenv("MINTWARDEN_LONG") == "" {
		t.Skip("an appliance of its own: make test-long")
	}
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	token := a.deployed()
	tokens, backup := filepath.Join(a.dir, "hsm", "token"), filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(tokens)); err != nil {
		t.Fatal(err)
	}
	mint := func(key, wallet string) string {
		t.Helper()
		r := client.MintRequest{Amount: "1000", Recipient: toAddress("0x00000000000000000000000000000000000000A1")}
		if wallet != "" {
			r.PerformedBy = &client.Performer{Type: client.PerformerTypeWalletID, WalletID: &wallet}
		}
		op, err := a.as("operator").MintToken(a.context(), token.ID, r, client.WithIdempotencyKey(key))
		if err != nil {
			t.Fatal(err)
		}
		return op.OperationID
	}
	done := func(id string) {
		t.Helper()
		a.approve(id, "approver-1", "approver-2")
		a.completed(id)
	}
	vault, _, _ := a.treasury()
	late, err := a.as("operator").CreateWallet(a.context(), vault.ID, client.WalletCreate{Network: "quantum-chain-devnet"})
	if err != nil {
		t.Fatal(err)
	}
	grant, err := a.as("operator").GrantTokenRole(a.context(), token.ID, client.RoleChangeRequest{Role: client.RoleMINTER, Subject: toAddress(late.Address)})
	if err != nil {
		t.Fatal(err)
	}
	done(grant.OperationID)
	done(mint("after-the-backup", ""))
	waits := mint("waits", "")
	a.approve(waits, "approver-1")

	a.kill()
	if err := os.RemoveAll(tokens); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(tokens, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	a = a.again()
	a.page(func(code int, _, metrics string) bool {
		return code == 200 && strings.Contains(metrics, "\nmintwarden_seal_token 1\n")
	})
	a.approve(waits, "approver-2")
	a.completed(waits)

	lost := mint("without-a-key", late.ID)
	a.approve(lost, "approver-1", "approver-2")
	done(mint("beside-it", ""))
	ctx := a.context()
	for {
		op, err := a.as("operator").GetTokenOperation(ctx, lost)
		if err != nil {
			t.Fatalf("nothing says what the operation without a key waits for: %v", err)
		}
		if op.Attention != nil {
			if want := "HSM: "; !strings.HasPrefix(*op.Attention, want) || !strings.Contains(*op.Attention, late.ID) {
				t.Errorf("without a key: attention %q", *op.Attention)
			}
			break
		}
		time.Sleep(20 * time.Millisecond) // the next look; ctx ends it
	}
	if got := a.supply(token.ID); got != "3000" {
		t.Errorf("supply is %s", got)
	}
	a.intact()
}
