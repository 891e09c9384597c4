package dev_test

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/pki"
	"github.com/mintwarden/mintwarden/hsm/softhsm"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Two appliances on one etcd cluster and one token: the second comes in by a
// charter and a join, operations are asked for and approved at either, the
// author's seal is killed in the middle, the other takes over, and everything
// is done once. The first one comes back and passes on what it is asked.
func TestTwoAppliancesAndTheAuthorDies(t *testing.T) {
	p := newPair(t)
	one, two := p.boxes[0], p.boxes[1]
	token := one.deployed()
	p.secondJoins()

	var ids []string
	mint := func(at *appliance, n int) string {
		t.Helper()
		_, wallet, _ := one.treasury()
		op, err := at.as("operator").MintToken(at.context(), token.ID, client.MintRequest{Amount: "10",
			Recipient: client.Party{Type: client.PartyTypeWalletID, WalletID: &wallet.ID}}, client.WithIdempotencyKey(fmt.Sprint("mint-", n)))
		if err != nil {
			t.Fatalf("mint %d: %v", n, err)
		}
		return op.OperationID
	}
	for n := range 8 {
		ids = append(ids, mint([]*appliance{one, two}[n%2], n))
	}
	for n, id := range ids[:4] {
		[]*appliance{two, one}[n%2].approve(id, "approver-1", "approver-2")
	}
	for _, id := range ids[:2] {
		one.completed(id)
	}
	p.passed(1, "appliance-1")

	p.killSeal(0)
	for _, id := range ids[4:] {
		p.eventually(func() error {
			for _, name := range []string{"approver-2", "approver-3"} {
				if _, err := two.decide(name, policy.Approve, id); err != nil && !refusedAs(err, 1301) {
					return err
				}
			}
			return nil
		})
	}
	for _, id := range ids {
		two.completed(id)
	}
	if got := two.supply(token.ID); got != "80" {
		t.Errorf("supply is %s, want 80: eight mints of 10", got)
	}
	if s := p.status(1); s.Author != "appliance-2" {
		t.Errorf("the author is %s", s.Author)
	}

	p.startSeal(0)
	p.follows(0)
	p.ready(0)
	last := mint(one, 8)
	one.approve(last, "approver-1", "approver-2")
	one.completed(last)
	p.passed(0, "appliance-2")
	if got := one.supply(token.ID); got != "90" {
		t.Errorf("supply is %s, want 90", got)
	}
	two.intact()
	one.intact()
	// Each keeps the same tree on its own disk, whoever signs it.
	for n, at := range []*appliance{one, two} {
		at.receipt(ids[0])
		at.wholeTree(p.file(n, "audit"), at.receipt(last))
		// What one of them signs the other cosigns, once it has seen it.
		p.eventually(func() error {
			proof, err := audit.ParseProof([]byte(at.receipt(ids[0])))
			if err != nil {
				return err
			}
			if len(evidenceOf(t, proof).Cosigners) == 0 {
				return errors.New("nobody cosigned yet")
			}
			return nil
		})
	}

	// A custodian suspends the first one: the other hears it no more.
	p.suspend(two, "appliance-1")
	waits := mint(one, 9)
	if _, err := one.decide("approver-1", policy.Approve, waits); err == nil {
		t.Error("a suspended appliance's request was passed on")
	}
	two.approve(waits, "approver-1", "approver-2")
	two.completed(waits)
}

// pair is two appliances: processes that a test starts and kills one by one.
type pair struct {
	serving
	boxes  [2]*appliance
	apis   [2]string
	links  [2]string
	pages  [2]string // monitors
	seals  [2]*exec.Cmd
	serves [2]*exec.Cmd
	chain  *exec.Cmd
}

var applianceIDs = [2]string{"appliance-1", "appliance-2"}

// newPair is a pair of which the first serves.
func newPair(t *testing.T) *pair {
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	a.stop()
	p := &pair{serving: serving{appliance: a, t: t, etcd: freeAddress(t), rpc: freeAddress(t), api: freeAddress(t), monitor: freeAddress(t)}}
	p.configure()
	p.cluster()
	for n := range p.boxes {
		p.apis[n], p.links[n], p.pages[n] = freeAddress(t), freeAddress(t), freeAddress(t)
		p.boxes[n] = &appliance{t: t, owner: t, dir: a.dir, url: "https://" + p.apis[n], rpc: "http://" + p.rpc, clients: map[string]*client.Client{}}
		t.Cleanup(p.boxes[n].hangUp)
	}
	p.configureSeals()
	p.chain = p.start("mintwardend", nil, "devnet", "--dir", filepath.Join(a.dir, "chain"), "--rpc", p.rpc, "--period", "500ms")
	p.startSeal(0)
	p.firstCharter()
	p.configureServes()
	p.startServe(0)
	p.furnish()
	return p
}

func (p *pair) file(n int, elements ...string) string {
	return filepath.Join(append([]string{p.dir, "box", applianceIDs[n]}, elements...)...)
}

// configureSeals writes what each seal is told, and gives the second its own
// state and socket.
func (p *pair) configureSeals() {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "config", "seal.toml"))
	if err != nil {
		p.t.Fatal(err)
	}
	for n, id := range applianceIDs {
		if err := os.MkdirAll(p.file(n, "seal"), 0o700); err != nil {
			p.t.Fatal(err)
		}
		own := strings.NewReplacer("'appliance-1'", "'"+id+"'", filepath.Join(p.dir, "seal")+"'", p.file(n, "seal")+"'",
			filepath.Join(p.dir, "run", "seal.sock"), p.socketOf(n), "[store]\n", "[store]\nlease = '3s'\n").Replace(string(text))
		p.write(p.file(n, "seal.toml"), own)
	}
}

func (p *pair) socketOf(n int) string {
	run, err := filepath.EvalSymlinks(filepath.Join(p.dir, "run"))
	if err != nil {
		p.t.Fatal(err)
	}
	return filepath.Join(run, fmt.Sprint("seal", n, ".sock"))
}

func (s *serving) write(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// configureServes writes both mintwarden.toml, with a link between them.
func (p *pair) configureServes() {
	p.t.Helper()
	ca, err := pki.NewCA("appliances", pki.MLDSA65)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(filepath.Join(p.dir, "box", "ca.crt"), string(ca.Pair().Certificate))
	for n, id := range applianceIDs {
		pair, err := ca.IssueServer("appliance:"+id, []string{"127.0.0.1"}, pki.MLDSA65)
		if err != nil {
			p.t.Fatal(err)
		}
		p.write(p.file(n, "link.crt"), string(pair.Certificate))
		p.write(p.file(n, "link.key"), string(pair.Key))
		c, err := config.Load(filepath.Join(p.dir, "config", "serve.toml"))
		if err != nil {
			p.t.Fatal(err)
		}
		c.Appliance, c.Seal.Socket, c.API.Listen, c.Monitor.Listen = id, p.socketOf(n), p.apis[n], p.pages[n]
		c.Audit.Dir = p.file(n, "audit")
		c.Link = config.Link{Listen: p.links[n], Cert: p.file(n, "link.crt"), Key: p.file(n, "link.key"), CA: filepath.Join(p.dir, "box", "ca.crt"),
			Peers: map[string]string{applianceIDs[1-n]: "https://" + p.links[1-n]}}
		text, err := c.Encode()
		if err != nil {
			p.t.Fatal(err)
		}
		p.write(p.file(n, "serve.toml"), string(text))
	}
}

func (p *pair) startServe(n int) {
	p.t.Helper()
	p.serves[n] = p.start("mintwardend", nil, "serve", "--config", p.file(n, "serve.toml"))
	p.ready(n)
}

// restartServe stops a serve as systemd would, changes what it is told, and starts it again.
func (p *pair) restartServe(n int, change func(*config.Config)) {
	p.t.Helper()
	if err := p.serves[n].Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.serves[n].Wait(); err != nil {
		p.t.Errorf("serve of %s ended with %v on SIGTERM", applianceIDs[n], err)
	}
	p.boxes[n].hangUp()
	c, err := config.Load(p.file(n, "serve.toml"))
	if err != nil {
		p.t.Fatal(err)
	}
	change(c)
	text, err := c.Encode()
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(p.file(n, "serve.toml"), string(text))
	p.startServe(n)
}

func (p *pair) ready(n int) {
	p.t.Helper()
	p.monitor = p.pages[n]
	p.serving.ready()
}

// startSeal starts a seal, keeper and worker, as a process group of its own.
func (p *pair) startSeal(n int) {
	p.t.Helper()
	bin, err := binaries()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "mintwarden-seal"), "--config", p.file(n, "seal.toml"))
	cmd.Env = append(os.Environ(), "SOFTHSM2_CONF="+filepath.Join(p.dir, "hsm/token/softhsm2.conf"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.OpenFile(p.file(n, "seal.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.seals[n] = cmd
	p.t.Cleanup(func() {
		if cmd.ProcessState == nil { // else its number may be somebody else's by now
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			_ = cmd.Wait()
		}
		_ = log.Close()
		if p.t.Failed() {
			text, _ := os.ReadFile(p.file(n, "seal.log"))
			p.t.Logf("seal of %s wrote:\n%s", applianceIDs[n], text[max(0, len(text)-4000):])
		}
	})
}

// killSeal is SIGKILL to keeper and worker at one moment.
func (p *pair) killSeal(n int) {
	p.t.Helper()
	if err := syscall.Kill(-p.seals[n].Process.Pid, syscall.SIGKILL); err != nil {
		p.t.Fatal(err)
	}
	_ = p.seals[n].Wait()
}

func (p *pair) door(n int) *seal.Client {
	p.t.Helper()
	door, err := seal.Dial(p.t.Context(), p.socketOf(n))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = door.Close() })
	return door
}

func (p *pair) status(n int) *seal.Status {
	p.t.Helper()
	door := p.door(n)
	var s *seal.Status
	p.eventually(func() (err error) { s, err = door.Status(p.context()); return err })
	return s
}

// eventually tries until it succeeds.
func (s *serving) eventually(try func() error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatal(err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// firstCharter is the first start of the pair, with the first alone.
func (p *pair) firstCharter() {
	p.t.Helper()
	p.serving.firstCharter(p.socketOf(0), p.file(0, "seal.toml"), p.file(1, "seal.toml"))
}

// firstCharter makes a seal's keys and a charter of dev's people for it alone,
// writes the charter's digest into the files of seals, and has the charter
// recorded over the empty store.
func (s *serving) firstCharter(socket string, sealFiles ...string) {
	s.t.Helper()
	door, err := seal.Dial(s.t.Context(), socket)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = door.Close() }()
	var me *seal.InitResult
	s.eventually(func() (err error) { me, err = door.Init(s.context()); return err })
	text, err := os.ReadFile(filepath.Join(s.dir, "config", "charter1.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	old, err := policy.ParseEnvelope(text)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := policy.ParseCharter(old.Payload)
	if err != nil {
		s.t.Fatal(err)
	}
	c.Appliances = []policy.Appliance{applianceOf(applianceIDs[0], me)}
	payload, err := c.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	e := s.envelope(policy.DocCharter, payload, "custodian-1", "custodian-2", "custodian-3")
	digest := string(e.PayloadDigest())
	s.write(filepath.Join(s.dir, "config", "charter1.json"), string(e.Encode()))
	s.write(filepath.Join(s.dir, "charter1.sha256"), digest+"\n")
	for _, path := range sealFiles {
		text, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		s.write(path, "charter1 = '"+digest+"'\n"+string(text))
	}
	s.edit("serve.toml", map[string]string{string(old.PayloadDigest()): digest})
	s.eventually(func() error { _, err := door.CharterApply(s.context(), e); return err })
}

func applianceOf(id string, i *seal.InitResult) policy.Appliance {
	return policy.Appliance{ID: id, LedgerKey: i.LedgerKey, UnsealKey: i.UnsealKey, Token: policy.SecurityToken{Serial: i.Token.Serial, CheckValues: i.Token.CheckValues}}
}

// envelope is a document signed by several people.
func (s *serving) envelope(document string, payload []byte, names ...string) *policy.Envelope {
	s.t.Helper()
	all := &policy.Envelope{PayloadType: policy.PayloadType(document), Payload: payload}
	for _, name := range names {
		wire, err := json.Marshal(s.signed(name, document, payload))
		if err != nil {
			s.t.Fatal(err)
		}
		one, err := policy.ParseEnvelope(wire)
		if err != nil {
			s.t.Fatal(err)
		}
		all.Signatures = append(all.Signatures, one.Signatures...)
	}
	return all
}

// furnish makes a vault, a wallet and a policy, as dev would.
func (p *pair) furnish() {
	p.t.Helper()
	one := p.boxes[0]
	ctx, operator := one.context(), one.as("operator")
	vault, err := operator.CreateVaultAccount(ctx, client.VaultAccountCreate{Name: "treasury"})
	if err != nil {
		p.t.Fatal(err)
	}
	wallet, err := operator.CreateWallet(ctx, vault.ID, client.WalletCreate{Network: "quantum-chain-devnet"})
	if err != nil {
		p.t.Fatal(err)
	}
	one.rpcCall("devnet_fund", `["`+wallet.Address+`"]`)
	one.twoOf("dev-default", nil)
}

// secondJoins admits the second appliance: its keys by charter 2, which goes
// through the API, and its empty memory by a join.
func (p *pair) secondJoins() {
	p.t.Helper()
	p.startSeal(1)
	second := p.door(1)
	var keys *seal.InitResult
	p.eventually(func() (err error) { keys, err = second.Init(p.context()); return err })
	p.boxes[0].nextCharter(func(c *policy.Charter) { c.Appliances = append(c.Appliances, applianceOf(applianceIDs[1], keys)) }, "custodian-1", "custodian-3")
	at := p.status(0)
	join, err := (&ledger.Join{Format: 1, Instance: at.Instance, ApplianceID: applianceIDs[1], LedgerKey: keys.LedgerKey, UnsealKey: keys.UnsealKey,
		Sequence: at.Sequence, Head: at.Head, CreatedAt: policy.Seconds(time.Now())}).Encode()
	if err != nil {
		p.t.Fatal(err)
	}
	first := p.door(0)
	if _, err := first.Join(p.context(), p.envelope(policy.DocJoin, join, "custodian-2", "custodian-3")); err != nil {
		p.t.Fatalf("join: %v", err)
	}
	p.follows(1)
	p.startServe(1)
}

// follows waits until a seal goes by the ledger that another one writes.
func (p *pair) follows(n int) {
	p.t.Helper()
	door := p.door(n)
	p.eventually(func() error {
		s, err := door.Status(p.context())
		switch {
		case err != nil:
			return err
		case s.Sealed || s.Doubt != nil || s.Author != applianceIDs[1-n]:
			return fmt.Errorf("%s is %+v, doubt %+v", applianceIDs[n], s, s.Doubt)
		}
		return nil
	})
}

// passed asserts that an appliance passed something on to another.
func (p *pair) passed(n int, to string) {
	p.t.Helper()
	p.monitor = p.pages[n]
	_, body := p.get("/metrics")
	if !strings.Contains(body, `mintwarden_link_requests_total{appliance="`+to+`",direction="passed"`) {
		p.t.Errorf("%s passed nothing on to %s", applianceIDs[n], to)
	}
}

func (p *pair) suspend(at *appliance, id string) {
	p.t.Helper()
	doc, err := (&policy.Freeze{Format: 1, Instance: at.charter().Instance, Subject: policy.Subject{ApplianceID: id}, Frozen: true, CreatedAt: policy.Seconds(time.Now())}).Encode()
	if err != nil {
		p.t.Fatal(err)
	}
	f, err := at.as("custodian-1").Freeze(at.context(), client.EnvelopeRequest{Envelope: at.signed("custodian-1", policy.DocFreeze, doc)})
	if err != nil || !f.Frozen {
		p.t.Fatalf("suspending %s: %+v, %v", id, f, err)
	}
}

// anew gives the directory's seal a token and a memory that nobody used: what
// stands in a token and a journal is one store's.
func (s *serving) anew() {
	s.t.Helper()
	pins := map[string][]byte{}
	for _, name := range []string{"pin", "so-pin"} {
		text, err := os.ReadFile(filepath.Join(s.dir, "hsm", name))
		if err != nil {
			s.t.Fatal(err)
		}
		pins[name] = text
	}
	err := errors.Join(os.RemoveAll(filepath.Join(s.dir, "hsm", "token")), os.RemoveAll(filepath.Join(s.dir, "seal")), os.Mkdir(filepath.Join(s.dir, "seal"), 0o700))
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := softhsm.Create(s.t.Context(), filepath.Join(s.dir, "hsm", "token"), "mintwarden-dev", pins["so-pin"], pins["pin"]); err != nil {
		s.t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "config", "seal.toml"))
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "charter1 = ")
	line, _, _ := strings.Cut(rest, "\n")
	s.edit("seal.toml", map[string]string{"charter1 = " + line + "\n": ""})
}
