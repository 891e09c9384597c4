package dev_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// One custodian seals a development appliance over the API, at once; it stays
// sealed over a restart, answers reads, and says how far its custodians have
// come; a quorum of shares brings it back, and what waited goes on.
func TestSealedByOneCustodianAndBackByTwo(t *testing.T) {
	t.Parallel()
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	token := a.deployed()
	id, err := jobs[1].ask(a, token, "before")
	if err != nil {
		t.Fatal(err)
	}
	a.approve(id, "approver-1")
	a.sealBy("custodian-2")
	if _, err := a.decide("approver-2", policy.Approve, id); !refusedAs(err, 1603) {
		t.Fatalf("an approval while sealed: %v", err)
	}

	a.kill()
	a = a.again()
	st := a.sealState(func(s *client.Seal) bool { return s.Unsealing != nil })
	if !st.Sealed || st.Unsealing.Need != 2 || len(st.Unsealing.Shares) != 0 {
		t.Fatalf("after a restart: %+v", st)
	}
	if _, err := a.as("viewer").GetTokenOperation(a.context(), id); err != nil {
		t.Fatalf("a read while sealed: %v", err)
	}
	if _, err := a.unsealBy("custodian-1", []byte("a nonce that nobody drew"), "custodian-1"); !refusedAs(err, 1202) {
		t.Fatalf("a stale share: %v", err)
	}
	if _, err := a.unsealBy("custodian-1", st.Unsealing.Nonce, "custodian-3"); !refusedAs(err, 1202) {
		t.Fatalf("another custodian's share: %v", err)
	}
	st, err = a.unsealBy("custodian-1", a.nonce(), "custodian-1")
	if err != nil || len(st.Unsealing.Shares) != 1 || st.Unsealing.Shares[0] != "custodian-1" {
		t.Fatalf("the first share: %+v, %v", st, err)
	}
	if _, err = a.unsealBy("custodian-3", a.nonce(), "custodian-3"); err != nil {
		t.Fatalf("the last share: %v", err)
	}
	a.sealState(func(s *client.Seal) bool { return s.Reachable && !s.Sealed })
	a.approve(id, "approver-2")
	a.completed(id)
	if got := a.supply(token.ID); got != "1000" {
		t.Errorf("supply is %s", got)
	}
	a.intact()
	a.kill()
	a = a.again() // unsealed for good: the PIN's file opens it again
	a.sealState(func(s *client.Seal) bool { return s.Reachable && !s.Sealed })
}

// A directory of an earlier build, without custody and shares, gets both at its
// next start and keeps what it has.
func TestADirectoryWithoutSharesGetsThem(t *testing.T) {
	t.Parallel()
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	custody := filepath.Join(a.dir, "seal", seal.CustodyFile)
	a.stop()
	before, err := os.ReadFile(custody)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{custody, "custodians/custodian-1.share", "custodians/custodian-2.share", "custodians/custodian-3.share"} {
		if !filepath.IsAbs(path) {
			path = filepath.Join(a.dir, path)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	a = a.again()
	a.as("viewer")
	after, err := os.ReadFile(custody)
	if err != nil || bytes.Equal(before, after) {
		t.Fatalf("custody was not made again: %v", err)
	}
	// Sealed and unsealed with the programs that people use.
	cli := a.cli()
	cli("seal", "--as", "custodian-1", "--reason", "drill", "--yes")
	a.sealState(func(s *client.Seal) bool { return s.Sealed && s.Unsealing != nil })
	for _, name := range []string{"custodian-2", "custodian-3"} {
		cli("unseal", "--as", name)
	}
	a.sealState(func(s *client.Seal) bool { return s.Reachable && !s.Sealed })
}

// cli runs the operator's program as somebody who sourced DIR/env.
func (a *appliance) cli() func(args ...string) {
	a.t.Helper()
	program, err := commandLine()
	if err != nil {
		a.t.Fatal(err)
	}
	state := a.t.TempDir()
	return func(args ...string) {
		a.t.Helper()
		cmd := exec.CommandContext(a.context(), "sh", append([]string{"-c", `. "$0"; exec "$@"`, filepath.Join(a.dir, "env"), program}, args...)...)
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+state)
		if out, err := cmd.CombinedOutput(); err != nil {
			a.t.Fatalf("mintwarden %v: %v\n%s", args, err, out)
		}
	}
}

// sealBy seals on one custodian's document and waits until that is so.
func (a *appliance) sealBy(custodian string) {
	a.t.Helper()
	d := &policy.Seal{Format: 1, Instance: a.charter().Instance, ApplianceID: "appliance-1", Reason: "drill", CreatedAt: policy.Seconds(time.Now())}
	payload, err := d.Encode()
	if err != nil {
		a.t.Fatal(err)
	}
	s, err := a.as(custodian).SealSeal(a.context(), client.EnvelopeRequest{Envelope: a.signed(custodian, policy.DocSeal, payload)})
	if err != nil || !s.Sealed {
		a.t.Fatalf("%s seals: %+v, %v", custodian, s, err)
	}
	a.sealState(func(s *client.Seal) bool { return s.Reachable && s.Sealed })
}

// charter is the one in force.
func (a *appliance) charter() *policy.Charter {
	a.t.Helper()
	shown, err := a.as("viewer").GetCharter(a.context())
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := policy.ParseCharter(shown.Document)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// sealState waits for a state of the seal.
func (a *appliance) sealState(is func(*client.Seal) bool) *client.Seal {
	a.t.Helper()
	ctx := a.context()
	for {
		s, err := a.as("viewer").GetSeal(ctx)
		if err == nil && is(s) {
			return s
		}
		select {
		case <-ctx.Done():
			a.t.Fatalf("the seal is %+v: %v", s, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (a *appliance) nonce() []byte {
	a.t.Helper()
	return a.sealState(func(s *client.Seal) bool { return s.Unsealing != nil }).Unsealing.Nonce
}

// unsealBy hands in a custodian's share, the one in whose file.
func (a *appliance) unsealBy(custodian string, nonce []byte, whose string) (*client.Seal, error) {
	a.t.Helper()
	text, err := os.ReadFile(filepath.Join(a.dir, "custodians", whose+".share"))
	if err != nil {
		a.t.Fatal(err)
	}
	share, err := seal.ParseShare([]byte(strings.TrimSpace(string(text))))
	if err != nil {
		a.t.Fatal(err)
	}
	defer share.Destroy()
	c := a.charter()
	box, _ := c.Appliance("appliance-1")
	sealed, err := seal.SealShare(box.UnsealKey, seal.Binding{Instance: c.Instance, ApplianceID: box.ID, Custodian: custodian, Nonce: nonce}, share)
	if err != nil {
		a.t.Fatal(err)
	}
	d := &policy.Unseal{Format: 1, Instance: c.Instance, ApplianceID: box.ID, Nonce: nonce, Share: sealed, CreatedAt: policy.Seconds(time.Now())}
	payload, err := d.Encode()
	if err != nil {
		a.t.Fatal(err)
	}
	return a.as(custodian).UnsealSeal(a.context(), client.EnvelopeRequest{Envelope: a.signed(custodian, policy.DocUnseal, payload)})
}

func refusedAs(err error, code int) bool {
	e, ok := err.(*client.Error) //nolint:errorlint // the client gives exactly that
	return ok && e.Code == code
}
