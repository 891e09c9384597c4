package dev_test

import (
	"bufio"
	"context"
	"encoding/json/v2"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

const (
	// blockPeriod of the chain that is minted on.
	blockPeriod = 50 * time.Millisecond
	lanes       = 4 // wallets that mint
	mostKeys    = 64
)

// plant is a running `mintwardend dev` under load: its processes, and one client
// an API key, for the limits of the API are each key's.
type plant struct {
	b         *testing.B
	dir       string
	url       string
	cmd       *exec.Cmd
	ended     chan struct{}
	admin     *client.Client
	operators []*client.Client // mostKeys of them
	approvers [2]*client.Client
	signers   [2]*policy.Signer // of approver-1 (ECDSA) and approver-2 (Ed25519)

	token   string
	wallets []string
	started time.Duration // from exec to “ready”
}

// start runs argv on the directory and waits until it says ready.
func (p *plant) start(argv ...string) {
	p.b.Helper()
	p.cmd, p.ended = exec.Command(argv[0], argv[1:]...), make(chan struct{})
	// A benchmark that is killed must not leave an appliance behind that works on.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	log, err := os.OpenFile(filepath.Join(filepath.Dir(p.dir), "log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	p.must(err)
	p.cmd.Stderr = log
	stdout, err := p.cmd.StdoutPipe()
	p.must(err)
	began := time.Now()
	p.must(p.cmd.Start())
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), "ready url="); ok {
				url, _, _ := strings.Cut(rest, " ")
				ready <- url
			}
		}
		_ = p.cmd.Wait()
		_ = log.Close()
		close(p.ended)
	}()
	select {
	case p.url = <-ready:
		p.awaitReady()
		p.started = time.Since(began)
	case <-p.ended:
		p.b.Fatalf("the appliance ended before it was ready; its log ends:\n%s", p.logTail())
	case <-time.After(patience):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		p.b.Fatalf("the appliance did not become ready; its log ends:\n%s", p.logTail())
	}
	p.connect()
}

// awaitReady asks the monitor until every part of the appliance is there.
func (p *plant) awaitReady() {
	p.b.Helper()
	_, monitor, _ := strings.Cut(p.config(), "[monitor]\nlisten = '")
	monitor, _, _ = strings.Cut(monitor, "'")
	for began := time.Now(); time.Since(began) < patience; time.Sleep(10 * time.Millisecond) {
		r, err := http.Get("http://" + monitor + "/readyz")
		if err != nil {
			continue
		}
		_ = r.Body.Close()
		if r.StatusCode == http.StatusOK {
			return
		}
	}
	p.b.Fatal("the appliance says ready, its monitor does not")
}

// config is what the daemon runs on.
func (p *plant) config() string {
	p.b.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "config", "mintwarden.toml"))
	p.must(err)
	return string(text)
}

func (p *plant) logTail() string {
	text, _ := os.ReadFile(filepath.Join(filepath.Dir(p.dir), "log"))
	return string(text[max(0, len(text)-6000):])
}

// stop ends the appliance, if it runs, and lets the clients go.
func (p *plant) stop() {
	if p.cmd == nil || p.cmd.Process == nil {
		return // it was never started
	}
	select {
	case <-p.ended:
		return
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.b.Error("the appliance did not stop on SIGTERM")
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
	for _, c := range append(slices.Clone(p.operators), p.admin, p.approvers[0], p.approvers[1]) {
		if c != nil {
			c.Close()
		}
	}
}

func (p *plant) must(err error) {
	p.b.Helper()
	if err != nil {
		p.b.Fatal(err)
	}
}

// connect makes the clients; the operators' further keys are made at the first start.
func (p *plant) connect() {
	p.b.Helper()
	p.admin = p.client("keys/admin")
	p.operators = nil
	for n := range p.approvers {
		name := fmt.Sprintf("approver-%d", n+1)
		p.approvers[n] = p.client("approvers/" + name)
		text, err := os.ReadFile(filepath.Join(p.dir, "approvers", name+".key"))
		p.must(err)
		p.signers[n], err = policy.LoadSignerPEM(text)
		p.must(err)
	}
	user := ""
	for u, err := range p.admin.Users(p.b.Context()) {
		p.must(err)
		if u.Name == "operator" {
			user = u.ID
		}
	}
	for n := range mostKeys {
		file := filepath.Join(p.dir, "keys", fmt.Sprintf("bench-%d.apikey", n))
		if _, err := os.Stat(file); err != nil {
			c, err := p.admin.CreateCredential(p.b.Context(), client.CredentialCreate{UserID: user})
			p.must(err)
			p.must(os.WriteFile(file, []byte(*c.Key), 0o600))
		}
		p.operators = append(p.operators, p.client(fmt.Sprintf("keys/bench-%d", n)))
	}
}

func (p *plant) client(key string) *client.Client {
	p.b.Helper()
	c, err := client.New(client.Config{URL: p.url, CAFile: p.dir + "/tls/ca.crt", CertFile: p.dir + "/tls/client.crt", KeyFile: p.dir + "/tls/client.key",
		APIKeyFile: filepath.Join(p.dir, key+".apikey"), Patience: 20 * time.Second, Poll: 20 * time.Millisecond})
	p.must(err)
	return c
}

// furnish makes what is minted: a token whose MINTER role all wallets of the treasury have.
func (p *plant) furnish() {
	p.b.Helper()
	ctx, c := p.b.Context(), p.operators[0]
	vault, policyID := "", ""
	for v, err := range c.VaultAccounts(ctx) {
		p.must(err)
		if v.Name == "treasury" {
			vault = v.ID
		}
	}
	for pol, err := range c.Policies(ctx) {
		p.must(err)
		if pol.Name == "dev-default" {
			policyID = pol.ID
		}
	}
	for range lanes - 1 {
		_, err := c.CreateWallet(ctx, vault, client.WalletCreate{Network: "quantum-chain-devnet"})
		p.must(err)
	}
	var addresses []string
	for w, err := range c.Wallets(ctx, vault) {
		p.must(err)
		p.wallets, addresses = append(p.wallets, w.ID), append(addresses, w.Address)
	}
	t, err := c.CreateToken(ctx, client.TokenCreate{Standard: "QRC-20", TemplateID: "tpl_qrc20_v1", Name: "Example Institutional Token",
		Symbol: "EIT", Decimals: 18, Network: "quantum-chain-devnet", SupplyPolicy: client.SupplyPolicy{Mintable: true, Burnable: true},
		Admin: client.TokenAdmin{VaultAccountID: vault, ApprovalPolicyID: policyID}})
	p.must(err)
	p.token = t.ID
	d, err := c.DeployToken(ctx, p.token, client.DeployRequest{})
	p.must(err)
	p.must(p.approve(d.OperationID))
	p.completed(d.OperationID)
	roles, err := c.ListTokenRoles(ctx, p.token)
	p.must(err)
	for _, address := range addresses {
		if holds(roles, client.RoleMINTER, address) {
			continue
		}
		g, err := c.GrantTokenRole(ctx, p.token, client.RoleChangeRequest{Role: client.RoleMINTER, Subject: toAddress(address)})
		p.must(err)
		p.must(p.approve(g.OperationID))
		p.completed(g.OperationID)
	}
}

func holds(roles *client.TokenRoles, role client.Role, address string) bool {
	for _, r := range roles.Roles {
		if r.Role == role && slices.Contains(r.Holders, address) {
			return true
		}
	}
	return false
}

func toAddress(address string) client.Party {
	return client.Party{Type: client.PartyTypeAddress, Address: &address}
}

func (p *plant) completed(id string) {
	p.b.Helper()
	ctx, cancel := context.WithTimeout(p.b.Context(), patience)
	defer cancel()
	op, err := p.operators[0].WaitOperation(ctx, id, client.Done, nil)
	p.must(err)
	if op.Status != client.OperationStatusCOMPLETED {
		p.b.Fatalf("%s ended as %s: %+v", id, op.Status, op.FailureReason)
	}
}

// mint asks with key k for a mint by one of the wallets.
func (p *plant) mint(k int) (id string, err error) {
	one := "0x00000000000000000000000000000000000000A1"
	op, err := p.operators[k].MintToken(p.b.Context(), p.token, client.MintRequest{Amount: "1", Recipient: toAddress(one),
		PerformedBy: &client.Performer{Type: client.PerformerTypeWalletID, WalletID: &p.wallets[k%len(p.wallets)]}})
	if err != nil {
		return "", err
	}
	return op.OperationID, nil
}

// approve reads the intent once and has two people sign it.
func (p *plant) approve(id string) error {
	ctx := p.b.Context()
	op, err := p.approvers[0].GetTokenOperation(ctx, id)
	if err != nil {
		return err
	}
	for n, signer := range p.signers {
		d := policy.Decision{Format: 1, Decision: policy.Approve, Intent: op.Intent, Approver: fmt.Sprintf("approver-%d", n+1), DecidedAt: policy.Seconds(time.Now())}
		payload, err := d.Encode()
		if err != nil {
			return err
		}
		e, err := policy.Sign(policy.PayloadType(policy.DocDecision), payload, signer)
		if err != nil {
			return err
		}
		var wire client.Envelope
		if err := json.Unmarshal(e.Encode(), &wire); err != nil {
			return err
		}
		if _, err := p.approvers[n].ApproveTokenOperation(ctx, id, client.EnvelopeRequest{Envelope: wire}); err != nil {
			return err
		}
	}
	return nil
}

// count is how many operations have the status; with none, how many there are.
func (p *plant) count(status client.OperationStatus) int {
	p.b.Helper()
	one := 1
	q := client.ListTokenOperationsParams{Limit: &one}
	if status != "" {
		q.Status = &status
	}
	l, err := p.operators[0].ListTokenOperations(p.b.Context(), q)
	p.must(err)
	return l.Pagination.Total
}

// processes are the pids of the appliance by what they do.
func (p *plant) processes() map[string]int {
	p.b.Helper()
	out := map[string]int{"serve": p.cmd.Process.Pid}
	children := func(of int) []int {
		var pids []int
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", of))
		for _, t := range tasks {
			text, _ := os.ReadFile(t)
			for _, f := range strings.Fields(string(text)) {
				pid, _ := strconv.Atoi(f)
				pids = append(pids, pid)
			}
		}
		return pids
	}
	for _, pid := range children(p.cmd.Process.Pid) {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(args), "devnet") {
			out["devnet"] = pid
			continue
		}
		out["keeper"] = pid
		for _, w := range children(pid) {
			out["worker"] = w
		}
	}
	if len(out) != 4 {
		p.b.Fatalf("the appliance's processes are %v, want serve, devnet, keeper, worker", out)
	}
	return out
}

// resident is the VmRSS of a process, in MiB.
func resident(pid int) float64 { return memory(pid, "VmRSS:") }

// mapped is the part of it that is files', in MiB: etcd's database, mostly, which the kernel takes back when
// it needs the memory.
func mapped(pid int) float64 { return memory(pid, "RssFile:") }

func memory(pid int, field string) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for l := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(l, field); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024
		}
	}
	return 0
}

// processor is the processor time that a process has used, in seconds.
func processor(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100 // USER_HZ
}
