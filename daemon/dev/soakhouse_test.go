package dev_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/chain/chaintest"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/policy"
)

// members is how many etcd has.
const members = 3

// soakHouse is two appliances on an etcd of three members and a chain that two
// nodes show, which sign for a Qustody, too; every process and every line between
// them in the hands of a test.
type soakHouse struct {
	*pair
	kind     tx.Kind
	seed     uint64
	instance string // the charter's

	etcds  [members]*process
	chain  *process
	serves [2]*process
	seals  [2]*process

	peers      [members]*wire    // to a member, from the others
	serveStore [2][members]*wire // from a serve to a member
	sealStore  [2][members]*wire
	links      [2]*wire // to an appliance, from the other
	nodes      [2]*chaintest.Proxy

	root       *clientv3.Client
	hooked     time.Time      // when the webhook was made
	deep       atomic.Bool    // a reorg took away what was final
	custodians sync.WaitGroup // who unseal
	notes      notes

	sink    *sink
	setUp   int // operations that made all this
	wallets []client.Wallet
	qustody *soakQustody
	tokens  []soakToken
	wide    string                       // policy for all
	tight   string                       // policy of the second token
	callers [2]map[string]*client.Client // by name; made before anybody shares them
}

// soakToken is a token that the clients work with.
type soakToken struct {
	id, contract string
}

// tightLimit is the daily one of mints of the second token, until custodians
// change it: less than what the clients ask for, so that it binds.
const tightLimit = 2_000

func newSoakHouse(t *testing.T, kind tx.Kind, seed uint64) *soakHouse {
	h := &soakHouse{kind: kind, seed: seed}
	_ = t.TempDir() // taken away after what is kept of it
	t.Cleanup(func() { h.keep(t) })
	h.pairUp(t)
	h.secondJoins()
	h.instance = h.boxes[0].charter().Instance
	h.furnishSoak()
	h.handOver()
	h.eventually(h.qustody.registered)
	return h
}

// blockPeriods are how often there is a block. Go-ethereum's have a second between them at least, and those that a
// reorg makes at once run ahead of the clock, which slower ones make up for.
var blockPeriods = map[tx.Kind]time.Duration{tx.KindQuantum: 500 * time.Millisecond, tx.KindEVM: 2 * time.Second}

// pairUp makes the pair on the house's etcd and chain, the first of the two alone in the charter.
func (h *soakHouse) pairUp(t *testing.T) {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	made := program{bin: bin, period: blockPeriods[h.kind], flags: []string{"--network", string(h.kind)}}.start(t, filepath.Join(t.TempDir(), "appliance"))
	made.stop()
	h.pair = &pair{serving: serving{appliance: made, t: t, etcd: freeAddress(t), rpc: freeAddress(t), api: freeAddress(t), monitor: freeAddress(t)}}
	h.configure()
	h.cluster(&h.serving)
	for n := range h.boxes {
		h.apis[n], h.pair.links[n], h.pages[n] = freeAddress(t), freeAddress(t), freeAddress(t)
		h.boxes[n] = &appliance{t: t, owner: t, dir: h.dir, url: "https://" + h.apis[n], rpc: "http://" + h.rpc, clients: map[string]*client.Client{}}
		t.Cleanup(h.boxes[n].hangUp)
	}
	h.configureSeals()
	h.chain = &process{name: "chain", path: filepath.Join(bin, "mintwardend"), log: filepath.Join(h.dir, "box", "chain.log"),
		args: []string{"devnet", "--kind", string(h.kind), "--dir", filepath.Join(h.dir, "chain"), "--rpc", h.rpc, "--period", blockPeriods[h.kind].String()}}
	h.chain.start(t)
	h.startSeal(0)
	h.firstCharter()
	h.configureServes()
	h.startServe(0)
}

// cluster starts the three members, which reach each other over wires.
func (h *soakHouse) cluster(s *serving) {
	s.t.Helper()
	dir := s.etcdCertificates()
	program := s.etcdProgram(dir)
	var all []string
	var clients, peers [members]string
	for n := range members {
		clients[n], peers[n] = freeAddress(s.t), freeAddress(s.t)
		if n == 0 {
			clients[n] = s.etcd // where the files look already
		}
		h.peers[n] = newWire(s.t, fmt.Sprint("peer-", n+1), peers[n])
		all = append(all, fmt.Sprintf("m%d=http://%s", n+1, h.peers[n].address()))
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	for n := range members {
		h.etcds[n] = &process{name: fmt.Sprint("etcd-", n+1), path: program, log: file(fmt.Sprint("etcd-", n+1, ".log")),
			args: []string{"--name", fmt.Sprint("m", n+1), "--data-dir", file(fmt.Sprint("data-", n+1)),
				"--listen-client-urls", "https://" + clients[n], "--advertise-client-urls", "https://" + clients[n],
				"--listen-peer-urls", "http://" + peers[n], "--initial-advertise-peer-urls", "http://" + h.peers[n].address(),
				"--initial-cluster", strings.Join(all, ","), "--cert-file", file("server.crt"), "--key-file", file("server.key"),
				"--trusted-ca-file", file("ca.crt"), "--client-cert-auth", "--log-level", "warn"}}
		h.etcds[n].start(s.t)
		for box := range applianceIDs {
			h.serveStore[box][n] = newWire(s.t, fmt.Sprintf("serve-%d to etcd-%d", box+1, n+1), clients[n])
			h.sealStore[box][n] = newWire(s.t, fmt.Sprintf("seal-%d to etcd-%d", box+1, n+1), clients[n])
		}
	}
	s.etcdUsers(dir)
	s.onCluster(dir)
	h.root = s.etcdRoot(dir, clients[:]...)
}

// wideLimit is never reached: the policy for all says it, so that the tokens that a narrow one does not bind are
// judged by a limit, too.
const wideLimit = "1000000000"

// furnishSoak makes the wallets, the tokens and their roles while all is well.
func (h *soakHouse) furnishSoak() {
	h.t.Helper()
	one := h.boxes[0]
	vault, err := one.as("operator").CreateVaultAccount(one.context(), client.VaultAccountCreate{Name: "treasury"})
	if err != nil {
		h.t.Fatal(err)
	}
	made := func() client.Wallet {
		w, err := one.as("operator").CreateWallet(one.context(), vault.ID, client.WalletCreate{Network: one.charter().Networks[0].Name})
		if err != nil {
			h.t.Fatal(err)
		}
		one.rpcCall("devnet_fund", `["`+w.Address+`"]`)
		return *w
	}
	for range 3 {
		h.wallets = append(h.wallets, made())
	}
	one.nextCharter(func(c *policy.Charter) { groups(c, "") }, "custodian-1", "custodian-2")
	one.twoOf("dev-default", nil)
	most := wideLimit
	h.wide = one.twoOf("wide", nil, client.PolicyRule{Type: client.PolicyRuleTypeDAILYLIMIT, Amount: &most}).ID
	for n := range 2 {
		token := one.deployed()
		shown, err := one.as("operator").GetToken(one.context(), token.ID)
		if err != nil || shown.ContractAddress == nil {
			h.t.Fatalf("token %s: %v", token.ID, err)
		}
		made := soakToken{id: token.ID, contract: *shown.ContractAddress}
		if n == 1 {
			tight, mint := fmt.Sprint(tightLimit), []client.OperationType{client.OperationTypeMINT}
			h.tight = one.twoOf("tight", &token.ID, client.PolicyRule{Type: client.PolicyRuleTypeDAILYLIMIT, Amount: &tight, Operations: &mint}).ID
		}
		h.tokens = append(h.tokens, made)
	}
	h.qustody = h.newQustody(made(), h.tokens[0])
	var grants []string
	for _, token := range h.tokens {
		for _, w := range slices.Concat(h.wallets[1:], []client.Wallet{h.qustody.wallet}) {
			for _, role := range []client.Role{client.RoleMINTER, client.RoleBURNER, client.RoleADMIN} {
				op, err := one.as("operator").GrantTokenRole(one.context(), token.id, client.RoleChangeRequest{Role: role,
					Subject: client.Party{Type: client.PartyTypeWalletID, WalletID: &w.ID}})
				if err != nil {
					h.t.Fatal(err)
				}
				one.approve(op.OperationID, "approver-1", "approver-2")
				grants = append(grants, op.OperationID)
			}
		}
	}
	for _, id := range grants {
		one.completed(id)
	}
	h.setUp = len(h.tokens) + len(grants)
	h.sink = newSink(h.t)
	hook, err := one.as("admin").CreateWebhook(one.context(), client.WebhookCreate{URL: h.sink.server.URL, Events: []string{"*"}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.sink.know(*hook.Secret)
	h.hooked = time.Now()
}

// handOver ends what the set-up started and starts the same again on lines that
// can be cut, each process to be killed and started again on its own.
func (h *soakHouse) handOver() {
	h.t.Helper()
	for n := range applianceIDs {
		for _, cmd := range []interface{ Signal(os.Signal) error }{h.pair.serves[n].Process, h.pair.seals[n].Process} {
			if err := cmd.Signal(syscall.SIGTERM); err != nil {
				h.t.Fatal(err)
			}
		}
		if err := h.pair.serves[n].Wait(); err != nil {
			h.t.Fatalf("serve of %s: %v", applianceIDs[n], err)
		}
		if err := h.pair.seals[n].Wait(); err != nil {
			h.t.Fatalf("seal of %s: %v", applianceIDs[n], err)
		}
		h.boxes[n].hangUp()
	}
	bin, err := binaries()
	if err != nil {
		h.t.Fatal(err)
	}
	serve := filepath.Join(bin, "mintwardend")
	if os.Getenv("MINTWARDEN_SOAK_RACE") == "1" {
		serve += "-race"
		goRun(h.t, moduleRoot(h.t), "build", "-race", "-o", serve, "./cmd/mintwardend")
	}
	for n := range h.nodes {
		h.nodes[n] = chaintest.New("http://" + h.rpc)
		h.t.Cleanup(h.nodes[n].Close)
		h.links[n] = newWire(h.t, "link to "+applianceIDs[n], h.pair.links[n])
	}
	for n, id := range applianceIDs {
		h.custody(n)
		h.rewire(n)
		h.seals[n] = &process{name: "seal of " + id, path: filepath.Join(bin, "mintwarden-seal"), log: h.file(n, "seal.soak.log"),
			args: []string{"--config", h.file(n, "seal.toml")}, env: h.throughShim(n)}
		h.serves[n] = &process{name: "serve of " + id, path: serve, log: h.file(n, "serve.soak.log"),
			args: []string{"serve", "--config", h.file(n, "serve.toml")}}
		h.seals[n].start(h.t)
		h.serves[n].start(h.t)
	}
	for n := range applianceIDs {
		h.pair.ready(n)
		h.callers[n] = map[string]*client.Client{}
		for _, name := range []string{"operator", "viewer", "admin", "approver-1", "approver-2", "approver-3", "custodian-1", "custodian-2", "custodian-3"} {
			h.callers[n][name] = h.caller(n, name)
		}
	}
}

// caller is a client that tries once.
func (h *soakHouse) caller(n int, name string) *client.Client {
	h.t.Helper()
	box := h.boxes[n]
	folder := map[string]string{"approver": "approvers", "custodian": "custodians"}[strings.SplitN(name, "-", 2)[0]]
	if folder == "" {
		folder = "keys"
	}
	c, err := client.New(client.Config{URL: box.url, CAFile: box.dir + "/tls/ca.crt", CertFile: box.dir + "/tls/client.crt",
		KeyFile: box.dir + "/tls/client.key", APIKeyFile: filepath.Join(box.dir, folder, name+".apikey"), Patience: -1})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	return c
}

// rewire has an appliance go over the wires.
func (h *soakHouse) rewire(n int) {
	h.t.Helper()
	path := h.file(n, "serve.toml")
	c, err := config.Load(path)
	if err != nil {
		h.t.Fatal(err)
	}
	c.Store.Endpoints, c.Networks[0].RPCURLs = nil, nil
	var sealEndpoints []string
	for m := range members {
		c.Store.Endpoints = append(c.Store.Endpoints, "https://"+h.serveStore[n][m].address())
		sealEndpoints = append(sealEndpoints, "'https://"+h.sealStore[n][m].address()+"'")
	}
	for _, node := range h.nodes {
		c.Networks[0].RPCURLs = append(c.Networks[0].RPCURLs, node.URL())
	}
	c.Link.Peers = map[string]string{applianceIDs[1-n]: "https://" + h.links[1-n].address()}
	c.Limits.MaxPending = 10_000 // one key asks for everything
	c.Callback = h.qustody.config()
	if h.archives() {
		c.Operation.RetentionText, c.Audit.RetentionText = "15s", "15s"
	}
	text, err := c.Encode()
	if err != nil {
		h.t.Fatal(err)
	}
	h.write(path, string(text))
	old, err := os.ReadFile(h.file(n, "seal.toml"))
	if err != nil {
		h.t.Fatal(err)
	}
	was := "['https://" + h.etcd + "']"
	if !bytes.Contains(old, []byte(was)) {
		h.t.Fatalf("seal.toml does not say %s:\n%s", was, old)
	}
	text = []byte(strings.Replace(string(old), was, "["+strings.Join(sealEndpoints, ", ")+"]", 1))
	if h.archives() {
		text = append(text, "\n[ledger]\nsnapshot_batches = 100\n"...)
	}
	h.write(h.file(n, "seal.toml"), string(text))
}

// archives tells whether what is over leaves the store, and the ledger has
// snapshots, while it is broken: with every other seed.
func (h *soakHouse) archives() bool { return h.seed%2 == 1 }

// processes are all that may be killed.
func (h *soakHouse) processes() []*process {
	all := append(append(append([]*process{h.chain}, h.etcds[:]...), h.serves[:]...), h.seals[:]...)
	return slices.DeleteFunc(all, func(p *process) bool { return p == nil })
}

// wires are all lines but those to the nodes.
func (h *soakHouse) wires() (all []*wire) {
	for n := range h.serveStore {
		all = append(append(append(all, h.serveStore[n][:]...), h.sealStore[n][:]...), h.links[n])
	}
	return append(append(all, h.peers[:]...), h.qustody.line)
}
