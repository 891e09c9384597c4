package dev_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/devnet/geth"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/callback/callbacktest"
	"github.com/mintwarden/mintwarden/policy"
)

// registrationPoints are met by a wallet that is registered at Qustody, callbackPoints by a transaction that Qustody
// asks to have signed: before and after each question to it, and after each commit of what it answered.
var (
	registrationPoints = []string{"callbackBeforeRegister", "callbackAfterRegister", "callbackAfterRegistration"}
	callbackPoints     = []string{"callbackAfterList", "callbackBeforePayload", "callbackAfterPayload", "callbackBeforeWanted", "callbackAfterWanted",
		"callbackBeforePost", "callbackAfterPost", "callbackAfterDelivery"}
)

// Every process dies at each of those points. Whatever the moment, the wallet is registered once, and each transaction
// of Qustody's ends as one operation with one signature, one nonce and one effect on the chain. With MINTWARDEN_LONG=1
// so it is of kind evm, too.
func TestKillPointsOfTheCallback(t *testing.T) {
	kinds := []tx.Kind{tx.KindQuantum}
	if os.Getenv("MINTWARDEN_LONG") == "1" {
		kinds = append(kinds, tx.KindEVM)
	}
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			h := newCallbackToKill(t, kind)
			for _, name := range registrationPoints {
				if !t.Run(name, func(t *testing.T) { h.killRegistration(t, name) }) {
					return // what follows would start from what is broken
				}
			}
			for _, name := range callbackPoints {
				if !t.Run(name, func(t *testing.T) { h.killSignature(t, name) }) {
					return
				}
			}
		})
	}
}

// callbackToKill is an appliance that signs for Qustody and lives through many deaths: `mintwardend serve` and its seal, on
// a chain of this process's.
type callbackToKill struct {
	serving
	bin      string
	points   string
	q        *callbacktest.Qustody
	wallet   client.Wallet
	token    string
	contract tx.Address
	supply   int64
	done     map[string]bool // operations that were carried out
	running  []*exec.Cmd     // of one process group, of which the first is the leader
}

func newCallbackToKill(t *testing.T, kind tx.Kind) *callbackToKill {
	p, points := killable(t)
	network := callbacktest.Network{Kind: tx.KindQuantum, Scheme: tx.Dilithium3, ChainID: devnet.DefaultChainID}
	if kind == tx.KindEVM {
		network = callbacktest.Network{Kind: tx.KindEVM, Scheme: tx.Secp256k1, ChainID: geth.ChainID}
		p.flags, p.period = append(p.flags, "--network", "evm"), time.Second
	}
	a := p.start(t, filepath.Join(t.TempDir(), "appliance"))
	h := &callbackToKill{serving: serving{appliance: a, t: t}, bin: p.bin, points: points, done: map[string]bool{}}
	_, h.wallet, _ = a.treasury()
	token := a.deployed()
	h.token = token.ID
	d, err := a.as("operator").GetToken(a.context(), token.ID)
	if err != nil || d.ContractAddress == nil {
		t.Fatalf("the token has no contract: %v", err)
	}
	if h.contract, err = tx.ParseAddress(*d.ContractAddress); err != nil {
		t.Fatal(err)
	}
	a.stop()

	h.etcd, h.rpc, h.api, h.monitor = freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
	h.configure()
	network.RPC = "http://" + h.rpc
	a.rpc, a.url = network.RPC, "https://"+h.api
	h.q = callbacktest.New(t, network)
	h.q.Next(1) // the wallet deployed
	h.callback()
	h.chain(kind, p.period)
	t.Cleanup(func() {
		h.at(t)
		h.down()
	})
	return h
}

// chain goes on with dev's, in this process: it outlives every death.
func (h *callbackToKill) chain(kind tx.Kind, period time.Duration) {
	h.t.Helper()
	dir := filepath.Join(h.dir, "chain")
	var node interface{ Close() error }
	var err error
	if kind == tx.KindEVM {
		node, err = geth.Start(context.Background(), geth.Config{Dir: dir, Addr: h.rpc, Period: period})
	} else {
		node, err = devnet.Start(context.Background(), devnet.Config{Dir: dir, Addr: h.rpc, Period: period})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = node.Close() })
}

// callback adds the signer to the configuration.
func (h *callbackToKill) callback() {
	h.t.Helper()
	write := func(name string, text []byte) string {
		path := filepath.Join(h.dir, "config", name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			h.t.Fatal(err)
		}
		return path
	}
	path := filepath.Join(h.dir, "config", "serve.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	write("serve.toml", fmt.Appendf(text, `
[callback]
url = %q
key_file = %q
ca = %q
requester = "operator"
poll = "100ms"
[[callback.wallets]]
wallet = %q
vault_account = "vault-at-qustody"
asset = "asset-at-qustody"
`, h.q.URL, write("qustody.apikey", []byte(callbacktest.Key)),
		write("qustody.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.q.Certificate})), h.wallet.ID))
}

func (h *callbackToKill) at(t *testing.T) { h.t, h.appliance.t = t, t }

// up starts daemon and seal in one process group, with no point armed.
func (h *callbackToKill) up() {
	h.t.Helper()
	emptied(h.t, h.points)
	h.launch(nil, "mintwardend", "serve", "--config", filepath.Join(h.dir, "config", "serve.toml"))
	h.launch([]string{"SOFTHSM2_CONF=" + filepath.Join(h.dir, "hsm/token/softhsm2.conf")},
		"mintwarden-seal", "--config", filepath.Join(h.dir, "config", "seal.toml"))
	h.ready()
}

func (h *callbackToKill) launch(env []string, name string, args ...string) {
	h.t.Helper()
	cmd := exec.Command(filepath.Join(h.bin, name), args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if len(h.running) > 0 {
		cmd.SysProcAttr.Pgid = h.running[0].Process.Pid
	}
	log, err := os.OpenFile(filepath.Join(filepath.Dir(h.dir), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.running = append(h.running, cmd)
}

// strike is SIGKILL to every process at one moment.
func (h *callbackToKill) strike() { _ = syscall.Kill(-h.running[0].Process.Pid, syscall.SIGKILL) }

// down kills what runs and waits for its end.
func (h *callbackToKill) down() {
	if len(h.running) == 0 {
		return
	}
	h.strike()
	for _, cmd := range h.running {
		_ = cmd.Wait()
	}
	h.running = nil
	h.hangUp()
}

// dies arms a point, does what leads there, and waits until every process is dead. The context ends with them.
func (h *callbackToKill) dies(name string, lead func(context.Context)) {
	h.t.Helper()
	ctx, die := context.WithCancelCause(h.context())
	h.arm(h.points, killPoint{name: name}, func() { h.strike(); die(errKilled) })
	lead(ctx)
	<-ctx.Done()
	if !errors.Is(context.Cause(ctx), errKilled) {
		h.t.Fatalf("nothing got to %s", name)
	}
	h.down()
}

// killRegistration: Qustody takes no wallet before the point is armed.
func (h *callbackToKill) killRegistration(t *testing.T, name string) {
	h.at(t)
	h.q.Lie(func(what, _ string, w http.ResponseWriter, _ *http.Request) bool {
		if what == "register" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return what == "register"
	})
	h.up()
	h.dies(name, func(context.Context) { h.q.Lie(nil) })
	if name != registrationPoints[len(registrationPoints)-1] {
		return
	}
	h.up()
	h.check()
	asked := h.q.Count("register")
	rounds := h.q.Count("list")
	h.wait("rounds go on", func() bool { return h.q.Count("list") > rounds+2 })
	if h.q.Count("register") != asked || h.q.Registered() != 1 {
		t.Errorf("%d wallets are registered, and it was asked %d times more", h.q.Registered(), h.q.Count("register")-asked)
	}
	h.down()
}

func (h *callbackToKill) killSignature(t *testing.T, name string) {
	h.at(t)
	h.up()
	var ref string
	h.dies(name, func(ctx context.Context) {
		ref = h.q.Create(t, h.address(), h.contract, qrc20.Call{Method: qrc20.Mint, Amount: big.NewInt(killAmount), Account: qrc20.Address{7}})
		h.supply += killAmount
		h.approved(ctx)
	})
	h.up()
	id := h.approved(h.context())
	if id == "" {
		t.Fatal("it became no operation")
	}
	op := h.completed(id)
	h.done[id] = true
	if at := h.q.At(ref); op.BlockchainTransactionHash == nil || *op.BlockchainTransactionHash != at.Hash || at.Status != "BROADCASTING" {
		t.Errorf("Qustody has %+v, the operation %+v", at, op)
	}
	h.check()
	h.down()
}

func (h *callbackToKill) address() tx.Address {
	h.t.Helper()
	a, err := tx.ParseAddress(h.wallet.Address)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// approved waits for the operation that is new and has its two approvers approve, whether they did before or not. It
// returns once they did, or ctx ended.
func (h *callbackToKill) approved(ctx context.Context) (id string) {
	h.t.Helper()
	for ; ctx.Err() == nil && id == ""; pause(ctx) {
		for op, err := range h.as("operator").Operations(ctx, client.ListTokenOperationsParams{}) {
			if err != nil {
				break
			}
			if op.OperationType == client.OperationTypeMINT && !h.done[op.OperationID] {
				id = op.OperationID
			}
		}
	}
	for _, name := range []string{"approver-1", "approver-2"} {
		if ctx.Err() != nil {
			break
		}
		// Its answer may be lost with the appliance, or say that the person has decided.
		_, _ = h.decideIn(ctx, name, policy.Approve, id)
	}
	return id
}

// pause is between two looks; ctx ends what they are of.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Millisecond):
	}
}

func (h *callbackToKill) wait(what string, f func() bool) {
	h.t.Helper()
	ctx := h.context()
	for ; !f(); pause(ctx) {
		if ctx.Err() != nil {
			h.t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// check is what holds between deaths: one operation, one signature, one nonce and one effect for each transaction.
func (h *callbackToKill) check() {
	h.t.Helper()
	mints := 0
	for op, err := range h.as("operator").Operations(h.context(), client.ListTokenOperationsParams{}) {
		if err != nil {
			h.t.Fatal(err)
		}
		if op.Status != client.OperationStatusCOMPLETED {
			h.t.Errorf("operation %s is %s", op.OperationID, op.Status)
		}
		if op.OperationType == client.OperationTypeMINT {
			mints++
		}
	}
	if mints != len(h.done) || h.q.Distinct() != len(h.done) {
		h.t.Errorf("%d transactions are %d operations and %d signed ones", len(h.done), mints, h.q.Distinct())
	}
	if got, want := h.rpcCall("eth_getTransactionCount", fmt.Sprintf(`[%q, "latest"]`, h.wallet.Address)), fmt.Sprintf(`"0x%x"`, 1+len(h.done)); !strings.Contains(got, want) {
		h.t.Errorf("the wallet's nonce is %s after %d operations", got, 1+len(h.done))
	}
	if got := h.appliance.supply(h.token); got != fmt.Sprint(h.supply) {
		h.t.Errorf("the supply is %s, want %d", got, h.supply)
	}
	h.intact()
}
