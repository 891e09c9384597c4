package dev_test

import (
	"bytes"
	"encoding/json/v2"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// settled waits until the audit log tells of the operation's settlement, its
// last step, and holds that it tells of each step once.
func (a *appliance) settled(id string) {
	a.t.Helper()
	ctx := a.context()
	for {
		times := map[string]int{}
		for e, err := range a.as("operator").AuditEntries(ctx, client.ListAuditEntriesParams{ResourceID: &id}) {
			if err != nil {
				a.t.Fatalf("the audit log does not tell of %s's settlement: %v", id, err)
			}
			times[e.Action]++
		}
		if times["operation.settled"] == 0 {
			time.Sleep(5 * time.Millisecond) // the next look; the loop ends by the condition or with ctx
			continue
		}
		for action, n := range times {
			if want := map[string]int{"operation.approval_recorded": 2}[action]; n != max(want, 1) {
				a.t.Errorf("the audit log says %d times %s of %s", n, action, id)
			}
		}
		return
	}
}

// archived waits until nothing of any operation is in the store.
func (a *appliance) archived() {
	a.t.Helper()
	a.nothingIn(a.config().Store, store.OperationPrefix, store.OperationIndex)
}

// config is what the daemon runs on.
func (a *appliance) config() *config.Config {
	a.t.Helper()
	c, err := config.Load(filepath.Join(a.dir, "config", "mintwarden.toml"))
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// nothingIn waits until no key of a store begins with any of the prefixes.
func (a *appliance) nothingIn(c config.Store, prefixes ...string) {
	a.t.Helper()
	ctx := a.context()
	s := a.storeOf(c)
	defer func() { _ = s.Close() }()
	for _, prefix := range prefixes {
		for {
			n, err := s.Count(ctx, prefix)
			if err != nil {
				a.t.Fatalf("keys below %s stay in etcd: %v", prefix, err)
			}
			if n == 0 {
				break
			}
			time.Sleep(20 * time.Millisecond) // the next look; ctx ends it
		}
	}
}

// storeOf is a store as the daemon sees it. Whoever asks closes it.
func (a *appliance) storeOf(c config.Store) *store.Store {
	a.t.Helper()
	s, err := store.Open(a.context(), store.Config{Endpoints: c.Endpoints, CAFile: c.CA, CertFile: c.Cert, KeyFile: c.Key, ServerName: c.ServerName}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return s
}

// exporter makes the user of that name, who may export.
func (a *appliance) exporter() {
	a.t.Helper()
	user, err := a.as("admin").CreateUser(a.context(), client.UserCreate{Name: "exporter", Role: "compliance_officer"})
	if err != nil {
		a.t.Fatal(err)
	}
	made, err := a.as("admin").CreateCredential(a.context(), client.CredentialCreate{UserID: user.ID})
	if err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.dir, "keys", "exporter.apikey"), []byte(*made.Key), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// operationsShown is all that the API says of operations of a token: each, in lists of every kind, as exports and as
// transactions.
func (a *appliance) operationsShown(token string, ids []string) string {
	a.t.Helper()
	ctx, c := a.context(), a.as("admin")
	var out bytes.Buffer
	say := func(what string, v any, err error) {
		a.t.Helper()
		if err != nil {
			a.t.Fatalf("%s: %v", what, err)
		}
		text, err := json.Marshal(v, json.Deterministic(true))
		if err != nil {
			a.t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %s\n", what, text)
	}
	for _, id := range ids {
		op, err := c.GetTokenOperation(ctx, id)
		say("operation", op, err)
	}
	two := client.Limit(2)
	for _, status := range []client.OperationStatus{"", client.OperationStatusCOMPLETED, client.OperationStatusREJECTED, client.OperationStatusCANCELLED} {
		p := client.ListTokenOperationsParams{TokenID: &token, Limit: &two}
		q := client.ListTransactionsParams{TokenID: &token, Limit: &two}
		if status != "" {
			p.Status, q.Status = &status, &status
		}
		for op, err := range c.Operations(ctx, p) {
			say("listed "+string(status), op, err)
		}
		first, err := c.ListTokenOperations(ctx, p)
		say("page "+string(status), first, err)
		for tx, err := range c.Transactions(ctx, q) {
			say("transaction "+string(status), tx, err)
			whole, err := c.GetTransaction(ctx, tx.ID)
			say("transaction", whole, err)
		}
	}
	for _, format := range []client.ExportTransactionsParamsFormat{"csv", "json"} {
		if err := a.as("exporter").ExportTransactions(ctx, client.ExportTransactionsParams{Format: &format}, &out); err != nil {
			a.t.Fatal(err)
		}
	}
	return out.String()
}

// What is over leaves the store for the disks of two appliances. Both answer as before, byte for byte, in this life and
// in the next: by id, in lists, exports and transactions; receipts verify; a request that is sent again is answered as it
// was, and a decision that comes too late is refused as before.
func TestTwoAppliancesArchiveOperations(t *testing.T) {
	p := newPair(t)
	one, two := p.boxes[0], p.boxes[1]
	token := one.deployed()
	p.secondJoins()
	one.exporter()
	_, wallet, _ := one.treasury()
	mint := func(at *appliance, key string) *client.MintAccepted {
		t.Helper()
		op, err := at.as("operator").MintToken(at.context(), token.ID, client.MintRequest{Amount: "10",
			Recipient: client.Party{Type: client.PartyTypeWalletID, WalletID: &wallet.ID}}, client.WithIdempotencyKey(key))
		if err != nil {
			t.Fatalf("mint %s: %v", key, err)
		}
		return op
	}
	accepted := []*client.MintAccepted{mint(one, "mint-0"), mint(two, "mint-1"), mint(one, "mint-2"), mint(two, "mint-3")}
	var ids []string
	for _, op := range accepted {
		ids = append(ids, op.OperationID)
	}
	for n, at := range []*appliance{one, two} {
		at.approve(ids[n], "approver-1", "approver-2")
		at.completed(ids[n])
		at.settled(ids[n])
	}
	if _, err := two.decide("approver-1", policy.Reject, ids[2]); err != nil {
		t.Fatal(err)
	}
	one.end(ids[2])
	if _, err := one.as("operator").CancelTokenOperation(one.context(), ids[3], client.CancelRequest{Reason: new("not needed")}); err != nil {
		t.Fatal(err)
	}
	two.end(ids[3])
	late := func(at *appliance) string {
		_, err := at.as("operator").CancelTokenOperation(at.context(), ids[0], client.CancelRequest{Reason: new("too late")})
		if err == nil {
			t.Fatal("a completed operation was cancelled")
		}
		var refused *client.Error
		if !errors.As(err, &refused) {
			t.Fatal(err)
		}
		return fmt.Sprint(refused.HTTPStatus, " ", refused.Code, " ", refused.Message)
	}
	before, refused := one.operationsShown(token.ID, ids), late(one)
	if n := strings.Count(before, "operation "); n != len(ids) {
		t.Fatalf("%d operations are shown:\n%s", n, before)
	}
	var conf config.Store
	for _, life := range []string{"while they leave", "in another life"} {
		for n := range p.boxes {
			p.restartServe(n, func(c *config.Config) { c.Operation.RetentionText, conf = "1ms", c.Store })
		}
		one.nothingIn(conf, store.OperationPrefix, store.OperationIndex)
		for n, at := range []*appliance{one, two} {
			if got := at.operationsShown(token.ID, ids); got != before {
				t.Errorf("%s, %s says:\n%s\nbefore:\n%s", life, applianceIDs[n], got, before)
			}
			for k, op := range accepted {
				if again := mint(at, fmt.Sprint("mint-", k)); *again != *op {
					t.Errorf("%s, %s answers mint-%d with %+v, it was %+v", life, applianceIDs[n], k, again, op)
				}
			}
			if got := late(at); got != refused {
				t.Errorf("%s, %s refuses with %s, it was %s", life, applianceIDs[n], got, refused)
			}
		}
	}
	for _, at := range []*appliance{one, two} {
		at.receipt(ids[0])
		at.receipt(ids[2])
		at.intact()
	}
	if got := two.supply(token.ID); got != "20" {
		t.Errorf("supply is %s, want 20: two mints of 10", got)
	}
	one.nothingIn(conf, store.OperationPrefix) // nothing of that brought any of them back
}
