package dev_test

import (
	"encoding/json/v2"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/config"
)

// answers is what an appliance says of its past.
func (a *appliance) answers(token, operation string, entries int64) string {
	a.t.Helper()
	ctx, c := a.context(), a.as("admin")
	tok, err := c.GetToken(ctx, token)
	if err != nil {
		a.t.Fatal(err)
	}
	op, err := c.GetTokenOperation(ctx, operation)
	if err != nil {
		a.t.Fatal(err)
	}
	var log []client.AuditEntry
	for e, err := range c.AuditEntries(ctx, client.ListAuditEntriesParams{}) {
		if err != nil {
			a.t.Fatal(err)
		}
		if e.Seq <= entries {
			log = append(log, e)
		}
	}
	text, err := json.Marshal([]any{tok, op, log}, json.Deterministic(true))
	if err != nil {
		a.t.Fatal(err)
	}
	return string(text)
}

// newestEntry is the number of the audit log's newest entry.
func (a *appliance) newestEntry() int64 {
	a.t.Helper()
	for e, err := range a.as("admin").AuditEntries(a.context(), client.ListAuditEntriesParams{}) {
		if err != nil {
			a.t.Fatal(err)
		}
		return e.Seq
	}
	return 0
}

// TestARestoredApplianceGivesTheSameAnswers: the store and audit.dir of a whole appliance are lost, and come back
// from a backup that was taken while it ran.
func TestARestoredApplianceGivesTheSameAnswers(t *testing.T) {
	t.Parallel()
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	token := a.deployed()
	id, err := jobs[1].ask(a, token, "before")
	if err != nil {
		t.Fatal(err)
	}
	a.approve(id, "approver-1")
	a.approve(id, "approver-2")
	a.completed(id)
	a.settled(id)
	a.exporter()
	shown := a.operationsShown(token.ID, []string{id})
	a.stop() // from now on what is over leaves etcd at once: the backup is of both
	a.program.flags = []string{"--retention", "1ms"}
	a = a.again()
	a.archived()
	entries := a.newestEntry()
	want := a.answers(token.ID, id, entries)

	file := filepath.Join(t.TempDir(), "backup.tar.gz")
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(filepath.Join(a.program.bin, "mintwardend"), args...).CombinedOutput(); err != nil {
			t.Fatalf("mintwardend %v: %v\n%s", args, err, out)
		}
	}
	conf, sealConf := filepath.Join(a.dir, "config", "mintwarden.toml"), filepath.Join(a.dir, "config", "seal.toml")
	never := func(metrics string) bool {
		return strings.Contains(metrics, "\nmintwarden_backup_timestamp_seconds 0\n")
	}
	a.page(func(_ int, _, metrics string) bool { return never(metrics) })
	run("backup", "--config", conf, "--seal-config", sealConf, file)
	a.page(func(_ int, _, metrics string) bool {
		return strings.Contains(metrics, "\nmintwarden_backup_timestamp_seconds ") && !never(metrics)
	})
	a.stop()

	c, err := config.Load(conf)
	if err != nil {
		t.Fatal(err)
	}
	for _, lost := range []string{"etcd", "audit"} {
		if err := os.Rename(filepath.Join(a.dir, lost), filepath.Join(a.dir, lost+".lost")); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pki := func(name string) string { return filepath.Join(a.dir, "pki", name) }
	c.Store.Endpoints = nil
	c.Store.Embedded = config.Embedded{Dir: filepath.Join(a.dir, "etcd"), Listen: l.Addr().String(), ServerCert: pki("etcd.crt"), ServerKey: pki("etcd.key"),
		RootCert: pki("etcd-root.crt"), RootKey: pki("etcd-root.key")}
	text, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	embedded := filepath.Join(a.dir, "config", "embedded.toml")
	if err := os.WriteFile(embedded, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	run("restore", "--config", embedded, file)
	a = a.again()
	if got := a.answers(token.ID, id, entries); got != want {
		t.Errorf("restored:\n%s\nbefore:\n%s", got, want)
	}
	if got := a.operationsShown(token.ID, []string{id}); got != shown {
		t.Errorf("restored from the archive:\n%s\nbefore:\n%s", got, shown)
	}
	a.receipt(id)
	if v, err := a.as("admin").VerifyAudit(a.context()); err != nil || !v.Valid {
		t.Errorf("the audit log: %s, %v", fmt.Sprintf("%+v", v), err)
	}
}
