package dev_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// job is one operation that a crash interrupts: how it is asked for (again and
// again with one key) and how its single effect shows on the chain.
type job struct {
	name string
	// prepare makes what the operation is about.
	prepare func(a *appliance) *client.Token
	// ask sends the request with the key and answers the operation's id.
	ask func(a *appliance, t *client.Token, key string) (string, error)
	// effect is checked once the operation has completed.
	effect func(a *appliance, t *client.Token)
}

var jobs = []job{
	{
		name:    "deploy",
		prepare: func(a *appliance) *client.Token { return a.draft("") },
		ask: func(a *appliance, t *client.Token, key string) (string, error) {
			op, err := a.as("operator").DeployToken(a.context(), t.ID, client.DeployRequest{}, client.WithIdempotencyKey(key))
			if err != nil {
				return "", err
			}
			return op.OperationID, nil
		},
		effect: func(a *appliance, t *client.Token) {
			a.t.Helper()
			if got := a.supply(t.ID); got != "0" {
				a.t.Errorf("supply after the deployment is %s", got)
			}
		},
	},
	{
		name:    "mint",
		prepare: func(a *appliance) *client.Token { return a.deployed() },
		ask: func(a *appliance, t *client.Token, key string) (string, error) {
			_, wallet, _ := a.treasury()
			op, err := a.as("operator").MintToken(a.context(), t.ID, client.MintRequest{Amount: "1000",
				Recipient: client.Party{Type: client.PartyTypeWalletID, WalletID: &wallet.ID}}, client.WithIdempotencyKey(key))
			if err != nil {
				return "", err
			}
			return op.OperationID, nil
		},
		effect: func(a *appliance, t *client.Token) {
			a.t.Helper()
			if got := a.supply(t.ID); got != "1000" {
				a.t.Errorf("supply after one mint of 1000 is %s", got)
			}
		},
	},
}

// moments are where all processes die, between the request and COMPLETED.
var moments = []struct {
	name string
	// until brings the operation to the moment; the kill follows at once.
	until func(a *appliance, id string)
}{
	{"asked", func(*appliance, string) {}},
	{"one approval", func(a *appliance, id string) { a.approve(id, "approver-1") }},
	{"quorum", func(a *appliance, id string) { a.approve(id, "approver-1", "approver-2") }},
	{"signed and no node", func(a *appliance, id string) {
		a.rpcCall("devnet_refuse", `["the mempool is full"]`)
		a.approve(id, "approver-1", "approver-2")
		a.reached(id, client.OperationStatusSIGNED)
	}},
	{"sent and lost", func(a *appliance, id string) {
		a.rpcCall("devnet_drop", `["0x1"]`)
		a.approve(id, "approver-1", "approver-2")
		a.reached(id, client.OperationStatusBROADCASTING)
	}},
	{"sent and unmined", func(a *appliance, id string) {
		a.rpcCall("devnet_delay", `["0x4"]`)
		a.approve(id, "approver-1", "approver-2")
		a.reached(id, client.OperationStatusBROADCASTING)
	}},
	{"mined", func(a *appliance, id string) {
		a.approve(id, "approver-1", "approver-2")
		a.reached(id, client.OperationStatusCONFIRMING)
	}},
}

// reached waits until the operation has been in status.
func (a *appliance) reached(id string, status client.OperationStatus) {
	a.t.Helper()
	_, err := a.as("operator").WaitOperation(a.context(), id, func(op *client.Operation) bool {
		for _, h := range op.History {
			if h.Status == status {
				return true
			}
		}
		return false
	}, nil)
	if err != nil {
		a.t.Fatal(err)
	}
}

// Every process is killed at one moment on the way of a deployment or of a
// mint, which take turns; with MINTWARDEN_LONG=1 each meets each moment. After the restart there is one effect on the chain, one answer to the
// idempotency key, and an audit log and a ledger that verify.
func TestCrash(t *testing.T) {
	t.Parallel()
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	defer func() { a.t = t }()
	long := os.Getenv("MINTWARDEN_LONG") == "1"
	for i, j := range jobs {
		for k, m := range moments {
			if !long && k%len(jobs) != i {
				continue
			}
			t.Run(j.name+" "+m.name, func(t *testing.T) {
				a.t = t
				token := j.prepare(a)
				key := "crash-" + strings.ReplaceAll(j.name+"-"+m.name, " ", "-")
				id, err := j.ask(a, token, key)
				if err != nil {
					t.Fatal(err)
				}
				m.until(a, id)
				a.kill()
				a = a.again()
				again, err := j.ask(a, token, key)
				if err != nil || again != id {
					t.Fatalf("the key answers %s, %v; it was %s", again, err, id)
				}
				a.approveMissing(id)
				a.completed(id)
				j.effect(a, token)
				a.intact()
			})
		}
	}
}

// approveMissing adds what the quorum of two lacks.
func (a *appliance) approveMissing(id string) {
	a.t.Helper()
	op, err := a.as("operator").GetTokenOperation(a.context(), id)
	if err != nil {
		a.t.Fatal(err)
	}
	if op.Status != client.OperationStatusPENDINGAUTHORIZATION {
		return
	}
	have := map[string]bool{}
	for _, d := range op.Approvals {
		have[d.Approver] = true
	}
	for _, name := range []string{"approver-1", "approver-2"} {
		if !have[name] {
			if _, err := a.decide(name, policy.Approve, id); err != nil {
				a.t.Fatal(err)
			}
		}
	}
}

// A stop and a start on the same directory lose nothing: not the token, not an
// operation that waits for people.
func TestStopAndStart(t *testing.T) {
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	token := a.deployed()
	id, err := jobs[1].ask(a, token, "stop-and-start")
	if err != nil {
		t.Fatal(err)
	}
	a.stop()
	a = a.again()
	a.fenced()
	a.approve(id, "approver-2", "approver-3")
	a.completed(id)
	jobs[1].effect(a, token)
	a.intact()
}
