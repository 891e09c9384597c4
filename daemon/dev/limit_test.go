package dev_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// A limit that is read in one step and counted in another is no limit. 64, or
// 512, mints at once, all approved, against a DAILY_LIMIT that fits 10: exactly
// 10 are signed, every time.
func TestApprovedMintsAtOnceAgainstALimitOfTen(t *testing.T) {
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	sizes, rounds := []int{64}, 1
	if os.Getenv("MINTWARDEN_LONG") == "1" {
		sizes, rounds = []int{64, 512}, 50
	}
	askers := a.operators(slices.Max(sizes) / maxPending)
	for _, n := range sizes {
		for round := range rounds {
			t.Run(fmt.Sprintf("%d, round %d", n, round+1), func(t *testing.T) {
				a.t = t
				a.tenOf(n, askers)
			})
		}
	}
	a.t = t
	a.intact()
}

// maxPending is how many operations of one key may await approval.
const maxPending = 64

// tenOf asks for n mints of a new token, has all approved at once, and counts
// what becomes of them.
func (a *appliance) tenOf(n int, askers []*client.Client) {
	a.t.Helper()
	token := a.deployed()
	_, wallet, _ := a.treasury()
	// Asked for and approved while the limit is wide; then the custodians narrow it, and the seal judges by the narrow one.
	ids := make([]string, n)
	each(a.t, n, func(i int) error {
		op, err := askers[i/maxPending].MintToken(a.context(), token.ID, client.MintRequest{Amount: "100",
			Recipient: client.Party{Type: client.PartyTypeWalletID, WalletID: &wallet.ID}})
		if err != nil {
			return fmt.Errorf("mint %d: %w", i, err)
		}
		ids[i] = op.OperationID
		return nil
	})
	for _, name := range []string{"operator", "approver-1", "approver-2"} {
		a.as(name) // made before the goroutines, which share the map
	}
	each(a.t, n, func(i int) error { _, err := a.decide("approver-1", policy.Approve, ids[i]); return err })
	a.limit(token.ID, "1000")
	each(a.t, n, func(i int) error { _, err := a.decide("approver-2", policy.Approve, ids[i]); return err })
	ended := map[client.OperationStatus]int{}
	for _, id := range ids {
		ended[a.end(id).Status]++
	}
	if ended[client.OperationStatusCOMPLETED] != 10 || ended[client.OperationStatusREJECTED] != n-10 {
		a.t.Errorf("ended %v, want 10 COMPLETED and %d REJECTED", ended, n-10)
	}
	if got := a.supply(token.ID); got != "1000" {
		a.t.Errorf("supply is %s, want 1000: ten mints of 100", got)
	}
}

// each does something n times, 64 at once.
func each(t *testing.T, n int, do func(i int) error) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(64)
	for i := range n {
		g.Go(func() error { return do(i) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// operators are clients of the operator with a key of their own each.
func (a *appliance) operators(n int) []*client.Client {
	a.t.Helper()
	id := ""
	for u, err := range a.as("admin").Users(a.context()) {
		if err != nil {
			a.t.Fatal(err)
		}
		if u.Name == "operator" {
			id = u.ID
		}
	}
	var out []*client.Client
	for i := range n {
		made, err := a.as("admin").CreateCredential(a.context(), client.CredentialCreate{UserID: id})
		if err != nil {
			a.t.Fatal(err)
		}
		path := filepath.Join(a.t.TempDir(), fmt.Sprint(i, ".apikey"))
		if err := os.WriteFile(path, []byte(*made.Key), 0o600); err != nil {
			a.t.Fatal(err)
		}
		c, err := client.New(client.Config{URL: a.url, CAFile: a.dir + "/tls/ca.crt", CertFile: a.dir + "/tls/client.crt",
			KeyFile: a.dir + "/tls/client.key", APIKeyFile: path, Patience: 20 * time.Second})
		if err != nil {
			a.t.Fatal(err)
		}
		a.t.Cleanup(c.Close)
		out = append(out, c)
	}
	return out
}

// limit puts a DAILY_LIMIT on the token, signed by two custodians.
func (a *appliance) limit(tokenID, amount string) {
	a.t.Helper()
	a.twoOf("narrow", &tokenID, client.PolicyRule{Type: client.PolicyRuleTypeDAILYLIMIT, Amount: &amount})
}

// twoOf puts a policy in force that asks two of the approvers and says rules
// besides: of one token, or of everything.
func (a *appliance) twoOf(name string, tokenID *string, rules ...client.PolicyRule) *client.Policy {
	a.t.Helper()
	ctx := a.context()
	two, group := 2, "approvers"
	p, err := a.as("operator").CreatePolicy(ctx, client.PolicyWrite{Name: name, TokenID: tokenID, Rules: append([]client.PolicyRule{
		{Type: client.PolicyRuleTypeREQUIREAPPROVAL, MinApprovers: &two, ApproverGroup: &group}}, rules...)})
	if err != nil {
		a.t.Fatal(err)
	}
	for _, custodian := range []string{"custodian-1", "custodian-3"} {
		p, err = a.as(custodian).SignPolicy(ctx, p.ID, client.EnvelopeRequest{Envelope: a.signed(custodian, "policy", p.Document)})
		if err != nil {
			a.t.Fatalf("%s signs: %v", custodian, err)
		}
	}
	if p.Status != client.PolicyStatusACTIVE {
		a.t.Fatalf("the policy is %s after two signatures", p.Status)
	}
	return p
}
