package dev_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// patience is what a step may take before the test gives up on it; nothing is
// measured by it.
const patience = 2 * time.Minute

// binaries builds the real programs once a test run.
var binaries = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "mintwarden-bin-")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir+"/", "github.com/mintwarden/mintwarden/cmd/mintwardend",
		"github.com/mintwarden/mintwarden/cmd/mintwarden-seal").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := binaries(); err == nil {
		_ = os.RemoveAll(dir)
	}
	if killed.dir != "" {
		_ = os.RemoveAll(killed.dir)
	}
	os.Exit(code)
}

// appliance is a real `mintwardend dev` with its children, in a process group
// of its own so that a test can kill all of them at one moment.
type appliance struct {
	t       *testing.T // whose step it is now
	owner   *testing.T // at whose end it is stopped
	dir     string
	url     string
	rpc     string
	program program
	cmd     *exec.Cmd
	ended   chan struct{}
	clients map[string]*client.Client
}

// program is which build runs, and how often it makes blocks.
type program struct {
	bin     string
	period  time.Duration
	monitor string   // where its figures are; empty: on a port that is free then
	flags   []string // more of dev's
}

func startAppliance(t *testing.T, dir string) *appliance {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	return program{bin: bin, period: 500 * time.Millisecond}.start(t, dir)
}

func (p program) start(t *testing.T, dir string) *appliance {
	t.Helper()
	a := &appliance{t: t, owner: t, dir: dir, program: p, ended: make(chan struct{}), clients: map[string]*client.Client{}}
	a.cmd = exec.Command(filepath.Join(p.bin, "mintwardend"), append([]string{"dev", "--dir", dir, "--api", "127.0.0.1:0",
		"--monitor", cmp.Or(p.monitor, "127.0.0.1:0"), "--rpc", "127.0.0.1:0", "--period", p.period.String(), "--log", "info"}, p.flags...)...)
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.OpenFile(filepath.Join(filepath.Dir(dir), "log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	a.cmd.Stderr = log
	stdout, err := a.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), "ready url="); ok {
				url, _, _ := strings.Cut(rest, " ")
				ready <- url
			}
		}
		_ = a.cmd.Wait()
		_ = log.Close()
		close(a.ended)
	}()
	t.Cleanup(func() {
		a.t = t // a subtest whose step it was has ended
		a.stop()
	})
	select {
	case a.url = <-ready:
	case <-a.ended:
		a.dump()
		t.Fatal("mintwardend dev ended before it was ready")
	case <-time.After(patience):
		a.dump()
		t.Fatal("mintwardend dev did not become ready")
	}
	a.rpc = a.nodeURL()
	return a
}

// nodeURL reads the devnet's address from the config that the daemon runs on.
func (a *appliance) nodeURL() string {
	text, err := os.ReadFile(filepath.Join(a.dir, "config", "mintwarden.toml"))
	if err != nil {
		a.t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "rpc_urls = ['")
	if !ok {
		a.t.Fatalf("no rpc_urls in\n%s", text)
	}
	url, _, _ := strings.Cut(rest, "'")
	return url
}

// dump shows the end of the log.
func (a *appliance) dump() {
	a.t.Helper()
	text, _ := os.ReadFile(filepath.Join(filepath.Dir(a.dir), "log"))
	if len(text) > 6000 {
		text = text[len(text)-6000:]
	}
	a.t.Logf("the appliance's log ends:\n%s", text)
}

// exitOfAPanic is the Go runtime's, and no program's of ours.
const exitOfAPanic = 2

// stop ends the appliance as systemd would, and kills what does not end.
func (a *appliance) stop() {
	if a.owner.Failed() {
		a.dump()
	}
	select {
	case <-a.ended:
		return
	default:
	}
	_ = a.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-a.ended:
		if a.cmd.ProcessState.ExitCode() == exitOfAPanic {
			a.dump()
			a.t.Error("mintwardend dev stopped by a panic")
		}
	case <-time.After(patience):
		a.t.Error("mintwardend dev did not stop on SIGTERM")
		a.kill()
	}
	a.hangUp()
}

// kill is SIGKILL to every process at one moment: daemon, keeper, worker, devnet.
func (a *appliance) kill() {
	if err := syscall.Kill(-a.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		a.t.Fatal(err) // ESRCH: they are dead already
	}
	a.awaitEnd()
	a.hangUp()
}

// awaitEnd waits for the end of what was told to end, or killed.
func (a *appliance) awaitEnd() {
	a.t.Helper()
	select {
	case <-a.ended:
	case <-time.After(patience):
		a.dump()
		a.t.Fatalf("mintwardend dev, process %d, does not end", a.cmd.Process.Pid)
	}
}

func (a *appliance) hangUp() {
	for _, c := range a.clients {
		c.Close()
	}
	a.clients = map[string]*client.Client{}
}

// again starts the appliance on the same directory.
func (a *appliance) again() *appliance {
	a.t.Helper()
	b := a.program.start(a.owner, a.dir)
	b.t = a.t
	return b
}

func (a *appliance) as(name string) *client.Client {
	a.t.Helper()
	if c, ok := a.clients[name]; ok {
		return c
	}
	folder := map[string]string{"approver": "approvers", "custodian": "custodians"}[strings.SplitN(name, "-", 2)[0]]
	if folder == "" {
		folder = "keys"
	}
	c, err := client.New(client.Config{URL: a.url, CAFile: a.dir + "/tls/ca.crt", CertFile: a.dir + "/tls/client.crt",
		KeyFile: a.dir + "/tls/client.key", APIKeyFile: filepath.Join(a.dir, folder, name+".apikey"),
		Poll: 20 * time.Millisecond, Patience: 20 * time.Second})
	if err != nil {
		a.t.Fatal(err)
	}
	a.clients[name] = c
	return c
}

func (a *appliance) context() context.Context {
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	a.t.Cleanup(cancel)
	return ctx
}

// decide signs the operation's intent as a person of the charter and sends it.
func (a *appliance) decide(name string, verb policy.Verb, id string) (*client.Operation, error) {
	a.t.Helper()
	return a.decideIn(a.context(), name, verb, id)
}

// decideIn gives up when ctx ends.
func (a *appliance) decideIn(ctx context.Context, name string, verb policy.Verb, id string) (*client.Operation, error) {
	a.t.Helper()
	c := a.as(name)
	op, err := c.GetTokenOperation(ctx, id)
	if err != nil {
		return nil, err
	}
	said := a.decision(name, verb, op)
	if verb == policy.Reject {
		return c.RejectTokenOperation(ctx, id, said)
	}
	return c.ApproveTokenOperation(ctx, id, said)
}

// decision is what a person of the charter says of an operation, signed.
func (a *appliance) decision(name string, verb policy.Verb, op *client.Operation) client.EnvelopeRequest {
	a.t.Helper()
	d := policy.Decision{Format: 1, Decision: verb, Intent: op.Intent, Approver: name, Reason: "test", DecidedAt: policy.Seconds(time.Now())}
	payload, err := d.Encode()
	if err != nil {
		a.t.Fatal(err)
	}
	return client.EnvelopeRequest{Envelope: a.signed(name, "decision", payload)}
}

// signed is an envelope over payload with the demo key of name.
func (a *appliance) signed(name, document string, payload []byte) client.Envelope {
	a.t.Helper()
	folder, _, _ := strings.Cut(name, "-")
	text, err := os.ReadFile(filepath.Join(a.dir, folder+"s", name+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	signer, err := policy.LoadSignerPEM(text)
	if err != nil {
		a.t.Fatal(err)
	}
	e, err := policy.Sign(policy.PayloadType(document), payload, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	var wire client.Envelope
	if err := json.Unmarshal(e.Encode(), &wire); err != nil {
		a.t.Fatal(err)
	}
	return wire
}

func (a *appliance) approve(id string, names ...string) {
	a.t.Helper()
	for _, n := range names {
		if _, err := a.decide(n, policy.Approve, id); err != nil {
			a.t.Fatalf("%s approves %s: %v", n, id, err)
		}
	}
}

// end waits for an operation's terminal status.
func (a *appliance) end(id string) *client.Operation {
	a.t.Helper()
	op, err := a.as("operator").WaitOperation(a.context(), id, client.Done, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return op
}

func (a *appliance) completed(id string) *client.Operation {
	a.t.Helper()
	op := a.end(id)
	if op.Status != client.OperationStatusCOMPLETED {
		reason := ""
		if op.FailureReason != nil {
			reason = *op.FailureReason
		}
		a.t.Fatalf("%s %s ended as %s: %s", op.OperationType, id, op.Status, reason)
	}
	return op
}

// treasury is the vault, its wallet and the policy that dev makes.
func (a *appliance) treasury() (vault client.VaultAccount, wallet client.Wallet, policyID string) {
	a.t.Helper()
	ctx, c := a.context(), a.as("operator")
	for v, err := range c.VaultAccounts(ctx) {
		if err != nil {
			a.t.Fatal(err)
		}
		if v.Name == "treasury" {
			vault = v
		}
	}
	for w, err := range c.Wallets(ctx, vault.ID) {
		if err != nil {
			a.t.Fatal(err)
		}
		wallet = w
	}
	for p, err := range c.Policies(ctx) {
		if err != nil {
			a.t.Fatal(err)
		}
		if p.Name == "dev-default" {
			policyID = p.ID
		}
	}
	if wallet.ID == "" || policyID == "" {
		a.t.Fatal("dev made no wallet or no policy")
	}
	return vault, wallet, policyID
}

// draft makes a token that is not deployed.
func (a *appliance) draft(policyID string) *client.Token {
	a.t.Helper()
	vault, wallet, devDefault := a.treasury()
	if policyID == "" {
		policyID = devDefault
	}
	t, err := a.as("operator").CreateToken(a.context(), client.TokenCreate{Standard: "QRC-20", TemplateID: "tpl_qrc20_v1",
		Name: "Example Institutional Token", Symbol: "EIT", Decimals: 18, Network: wallet.Network,
		SupplyPolicy: client.SupplyPolicy{Mintable: true, Burnable: true},
		Admin:        client.TokenAdmin{VaultAccountID: vault.ID, ApprovalPolicyID: policyID}})
	if err != nil {
		a.t.Fatal(err)
	}
	return t
}

// deployed makes a token and deploys it with two approvals.
func (a *appliance) deployed() *client.Token {
	a.t.Helper()
	t := a.draft("")
	op, err := a.as("operator").DeployToken(a.context(), t.ID, client.DeployRequest{})
	if err != nil {
		a.t.Fatal(err)
	}
	a.approve(op.OperationID, "approver-1", "approver-2")
	a.completed(op.OperationID)
	return t
}

func (a *appliance) supply(tokenID string) string {
	a.t.Helper()
	t, err := a.as("operator").GetToken(a.context(), tokenID)
	if err != nil {
		a.t.Fatal(err)
	}
	if t.TotalSupply == nil {
		return "none"
	}
	return *t.TotalSupply
}

// rpcCall asks the devnet directly: the chain is the judge of every effect.
func (a *appliance) rpcCall(method, params string) string {
	a.t.Helper()
	r, err := http.Post(a.rpc, "application/json", strings.NewReader(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params)))
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	if strings.Contains(string(text), `"error"`) {
		a.t.Fatalf("%s: %s", method, text)
	}
	return string(text)
}

// intact verifies audit log and ledger whole: the ledger offline, from charter
// 1 on, with nothing but what the API hands out and the digest in the directory.
func (a *appliance) intact() {
	a.t.Helper()
	ctx, c := a.context(), a.as("operator")
	audit, err := c.VerifyAudit(ctx)
	if err != nil {
		a.t.Fatal(err)
	}
	if !audit.Valid {
		a.t.Fatalf("the audit log does not verify: %+v", audit)
	}
	digest, err := os.ReadFile(filepath.Join(a.dir, "charter1.sha256"))
	if err != nil {
		a.t.Fatal(err)
	}
	fold := ledger.NewFold(policy.Digest(strings.TrimSpace(string(digest))))
	for batch, err := range c.Batches(ctx, 1) {
		if err != nil {
			a.t.Fatal(err)
		}
		if _, err := fold.Apply(batch); err != nil {
			a.t.Fatalf("the ledger does not verify: %v", err)
		}
	}
	if n, _ := fold.Head(); n == 0 {
		a.t.Fatal("the ledger is empty")
	}
}
