package dev_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	tessera "github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"

	"encoding/json/v2"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// commandLine builds the operator's program once a test run.
var commandLine = sync.OnceValues(func() (string, error) {
	dir, err := binaries()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "mintwarden")
	out, err := exec.Command("go", "build", "-o", path, "github.com/mintwarden/mintwarden/cmd/mintwarden").CombinedOutput()
	if err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return path, nil
})

// verify runs mintwarden audit verify --receipt with nothing but a digest: no address, no key, no certificate.
func verify(t *testing.T, charter1, receipt string) (exit int, said string) {
	t.Helper()
	program, err := commandLine()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "it.tlog-proof")
	if err := os.WriteFile(path, []byte(receipt), 0o600); err != nil {
		t.Fatal(err)
	}
	return alone(t, program, "audit", "verify", "--receipt", path, "--charter1", charter1)
}

// alone runs the operator's program where nothing tells it of an appliance.
func alone(t *testing.T, program string, args ...string) (exit int, said string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"HOME=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestReceipts: a completed mint, a rejected one, and one that was denied when it was asked for each have a receipt
// that anybody verifies offline from charter 1's digest, that cannot be changed, and that no other log verifies;
// and Tessera's fsck accepts the log that they are of.
func TestReceipts(t *testing.T) {
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	text, err := os.ReadFile(filepath.Join(a.dir, "charter1.sha256"))
	if err != nil {
		t.Fatal(err)
	}
	charter1 := strings.TrimSpace(string(text))
	token := a.deployed()
	mint := func(amount, key string) (*client.Operation, error) {
		_, wallet, _ := a.treasury()
		op, err := a.as("operator").MintToken(a.context(), token.ID, client.MintRequest{Amount: amount,
			Recipient: client.Party{Type: client.PartyTypeWalletID, WalletID: &wallet.ID}}, client.WithIdempotencyKey(key))
		if err != nil {
			return nil, err
		}
		return a.as("operator").GetTokenOperation(a.context(), op.OperationID)
	}
	done, err := mint("1000", "done")
	if err != nil {
		t.Fatal(err)
	}
	a.approve(done.OperationID, "approver-1", "approver-2")
	a.completed(done.OperationID)
	rejected, err := mint("1001", "rejected")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.decide("approver-2", policy.Reject, rejected.OperationID); err != nil {
		t.Fatal(err)
	}
	a.end(rejected.OperationID)
	_, err = mint("1"+strings.Repeat("0", 60), "denied")
	var no *client.Error
	if !errors.As(err, &no) {
		t.Fatal(err)
	}
	denial, _ := no.Details["auditId"].(string)
	if denial == "" {
		t.Fatalf("a denial without auditId: %v", no)
	}

	receipts := map[string]string{}
	for name, id := range map[string]string{"completed": done.OperationID, "rejected": rejected.OperationID} {
		r, err := a.as("viewer").GetTokenOperationReceipt(a.context(), id)
		if err != nil {
			t.Fatal(err)
		}
		receipts[name] = r.Proof
	}
	r, err := a.as("viewer").GetAuditReceipt(a.context(), denial)
	if err != nil {
		t.Fatal(err)
	}
	receipts["denied"] = r.Proof
	for name, receipt := range receipts {
		exit, said := verify(t, charter1, receipt)
		if exit != 0 || !strings.Contains(said, "operation."+name) {
			t.Errorf("%s: exit code %d: %s", name, exit, said)
		}
	}
	a.t = t
	a.forgeries(charter1, receipts)
	a.wholeTree(filepath.Join(a.dir, "audit"), receipts["denied"])

	// What was promised stays: the log that goes on after a kill extends it.
	a.kill()
	b := a.again()
	after, err := b.as("viewer").GetTokenOperationReceipt(b.context(), done.OperationID)
	if err != nil {
		t.Fatal(err)
	}
	if exit, said := verify(t, charter1, after.Proof); exit != 0 {
		t.Errorf("after a kill: exit code %d: %s", exit, said)
	}
	b.wholeTree(filepath.Join(b.dir, "audit"), after.Proof)
	if v, err := b.as("viewer").VerifyAudit(b.context()); err != nil || !v.Valid {
		t.Errorf("%+v, %v", v, err)
	}
}

// receipt is an operation's, verified offline.
func (a *appliance) receipt(operationID string) string {
	a.t.Helper()
	text, err := os.ReadFile(filepath.Join(a.dir, "charter1.sha256"))
	if err != nil {
		a.t.Fatal(err)
	}
	r, err := a.as("viewer").GetTokenOperationReceipt(a.context(), operationID)
	if err != nil {
		a.t.Fatal(err)
	}
	if exit, said := verify(a.t, strings.TrimSpace(string(text)), r.Proof); exit != 0 {
		a.t.Errorf("the receipt of %s: exit code %d: %s", operationID, exit, said)
	}
	return r.Proof
}

// forgeries are receipts that must not verify, each with exit code 5.
func (a *appliance) forgeries(charter1 string, receipts map[string]string) {
	t := a.t
	t.Helper()
	p, err := audit.ParseProof([]byte(receipts["denied"]))
	if err != nil {
		t.Fatal(err)
	}
	other, err := audit.ParseProof([]byte(receipts["completed"]))
	if err != nil {
		t.Fatal(err)
	}
	e, _, err := audit.ParseEvidence(p.Extra)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func(p *audit.Proof, e *audit.Evidence)) string {
		q, f := *p, *e
		change(&q, &f)
		if q.Extra, err = f.Encode(); err != nil {
			t.Fatal(err)
		}
		return string(q.Encode())
	}
	for name, forged := range map[string]string{
		"another place": changed(func(p *audit.Proof, _ *audit.Evidence) { p.Index++ }),
		"another path":  changed(func(p *audit.Proof, _ *audit.Evidence) { p.Hashes = other.Hashes[:1] }),
		"another tree": changed(func(p *audit.Proof, _ *audit.Evidence) {
			p.Checkpoint = bytes.Replace(p.Checkpoint, []byte("\n"), []byte("\n9"), 1)
		}),
		"no cosignature": changed(func(p *audit.Proof, _ *audit.Evidence) {
			p.Checkpoint = p.Checkpoint[:bytes.LastIndex(p.Checkpoint, []byte("— "))]
		}),
		"another entry": changed(func(_ *audit.Proof, e *audit.Evidence) { e.Entry = evidenceOf(t, other).Entry }),
		"a changed entry": changed(func(_ *audit.Proof, e *audit.Evidence) {
			e.Entry = bytes.Replace(e.Entry, []byte("denied"), []byte("agreed"), 1)
		}),
		"no charter":      changed(func(_ *audit.Proof, e *audit.Evidence) { e.Charters = nil }),
		"charter 1 twice": changed(func(_ *audit.Proof, e *audit.Evidence) { e.Charters = append(e.Charters, e.Charters[0]) }),
		"a changed charter": changed(func(_ *audit.Proof, e *audit.Evidence) {
			e.Charters = append(e.Charters[:0:0], bytes.Replace(e.Charters[0], []byte("ey"), []byte("ez"), 1))
		}),
		"keys of somebody else": changed(func(_ *audit.Proof, e *audit.Evidence) {
			e.Keys = bytes.Replace(e.Keys, []byte(`"applianceId":"`), []byte(`"applianceId":"x`), 1)
		}),
		"nothing":     "",
		"no evidence": string((&audit.Proof{Index: p.Index, Hashes: p.Hashes, Checkpoint: p.Checkpoint}).Encode()),
	} {
		if exit, said := verify(t, charter1, forged); exit != 5 {
			t.Errorf("%s: exit code %d: %s", name, exit, said)
		}
	}
	if exit, said := verify(t, "sha256:"+strings.Repeat("0", 64), receipts["denied"]); exit != 5 || !strings.Contains(said, "charter 1") {
		t.Errorf("a receipt of another log: exit code %d: %s", exit, said)
	}
}

func evidenceOf(t *testing.T, p *audit.Proof) *audit.Evidence {
	t.Helper()
	e, _, err := audit.ParseEvidence(p.Extra)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// wholeTree has Tessera's fsck read an appliance's log from its disk, with the key that a receipt names.
func (a *appliance) wholeTree(dir, receipt string) {
	t := a.t
	t.Helper()
	p, err := audit.ParseProof([]byte(receipt))
	if err != nil {
		t.Fatal(err)
	}
	var keys seal.CheckpointKeys
	if err := json.Unmarshal(evidenceOf(t, p).Keys, &keys); err != nil {
		t.Fatal(err)
	}
	log, _, err := keys.Verifiers()
	if err != nil {
		t.Fatal(err)
	}
	hash := func(b []byte) ([][]byte, error) {
		var bundle api.EntryBundle
		if err := bundle.UnmarshalText(b); err != nil {
			return nil, err
		}
		var out [][]byte
		for _, e := range bundle.Entries {
			out = append(out, rfc6962.DefaultHasher.HashLeaf(e))
		}
		return out, nil
	}
	err = fsck.New(seal.Origin(keys.Instance), log, tessera.FileFetcher{Root: filepath.Join(dir, "tlog")}, hash, fsck.Opts{N: 1}).Check(t.Context())
	if err != nil {
		t.Error(err)
	}
	program, err := commandLine()
	if err != nil {
		t.Fatal(err)
	}
	charter1 := filepath.Join(a.dir, "charter1.sha256")
	if exit, said := alone(t, program, "audit", "verify", "--tiles", dir, "--charter1", charter1); exit != 0 || !strings.Contains(said, "was signed by") {
		t.Errorf("the whole log: exit code %d: %s", exit, said)
	}
	// Of a copy, one bit of one leaf.
	other := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	leaves, err := filepath.Glob(filepath.Join(other, "tlog", "tile", "entries", "*", "*"))
	if err != nil || len(leaves) == 0 {
		t.Fatal(leaves, err)
	}
	for _, path := range leaves { // of the newest tree and of those before
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[20] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if exit, said := alone(t, program, "audit", "verify", "--tiles", other, "--charter1", charter1); exit != 5 || !strings.Contains(said, "breaks at leaf") {
		t.Errorf("a tampered log: exit code %d: %s", exit, said)
	}
}
