package dev_test

import (
	"context"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/policy"
)

// houseToKill is an appliance that lives through many deaths, with what the
// chain must say of it.
type houseToKill struct {
	t        *testing.T // whose step it is now
	a        *appliance
	points   string // where its processes are armed
	wallet   client.Wallet
	token    string   // deployed, for everything that is no deployment
	contract string   // of the token
	supply   *big.Int // of the token, in base units
	executed int      // operations that the wallet carried out
	begun    int      // jobs
}

func newHouseToKill(t *testing.T, flags ...string) *houseToKill {
	p, points := killable(t)
	p.flags = flags
	h := &houseToKill{t: t, a: p.start(t, filepath.Join(t.TempDir(), "appliance")), points: points, supply: big.NewInt(1_000_000)}
	_, h.wallet, _ = h.a.treasury()
	token := h.a.deployed()
	h.token, h.contract = token.ID, h.contractOf(token.ID)
	op, err := h.a.as("operator").MintToken(h.a.context(), h.token, client.MintRequest{Amount: "1000000", Recipient: h.party()})
	if err != nil {
		t.Fatal(err)
	}
	h.a.approve(op.OperationID, "approver-1", "approver-2")
	h.a.completed(op.OperationID)
	h.a.settled(op.OperationID)
	h.executed = 2
	t.Cleanup(func() { h.a.t, h.t = t, t })
	h.check()
	return h
}

func (h *houseToKill) at(t *testing.T) *appliance {
	h.t, h.a.t = t, t
	return h.a
}

// restart starts the same programs again, with no point armed.
func (h *houseToKill) restart() *appliance {
	emptied(h.t, h.points)
	h.a = h.a.again()
	return h.a
}

func (h *houseToKill) party() client.Party {
	return client.Party{Type: client.PartyTypeWalletID, WalletID: &h.wallet.ID}
}

func (h *houseToKill) contractOf(token string) string {
	h.t.Helper()
	d, err := h.a.as("operator").GetToken(h.a.context(), token)
	if err != nil {
		h.t.Fatal(err)
	}
	if d.ContractAddress == nil {
		h.t.Fatalf("token %s has no contract", token)
	}
	return *d.ContractAddress
}

// check is what holds between jobs, whatever was killed before: the chain holds
// each effect once, every nonce is one operation's, every operation is one
// request's, and both logs verify.
func (h *houseToKill) check() {
	h.t.Helper()
	if got := h.number("eth_getTransactionCount", fmt.Sprintf(`[%q, "latest"]`, h.wallet.Address)); got.Cmp(big.NewInt(int64(h.executed))) != 0 {
		h.t.Errorf("the wallet's nonce is %s after %d operations", got, h.executed)
	}
	if got := h.number("eth_call", fmt.Sprintf(`[{"to":%q,"data":"0x18160ddd"}, "latest"]`, h.contract)); got.Cmp(h.supply) != 0 { // totalSupply()
		h.t.Errorf("the supply on the chain is %s, want %s", got, h.supply)
	}
	var n int
	for op, err := range h.a.as("operator").Operations(h.a.context(), client.ListTokenOperationsParams{}) {
		if err != nil {
			h.t.Fatal(err)
		}
		if n++; op.Status != client.OperationStatusCOMPLETED {
			h.t.Errorf("operation %s is %s", op.OperationID, op.Status)
		}
	}
	if n != h.executed {
		h.t.Errorf("there are %d operations, %d were asked for", n, h.executed)
	}
	h.a.intact()
}

// ask is the chain's answer to one call, without quotes.
func (h *houseToKill) ask(method, params string) string {
	h.t.Helper()
	var r struct {
		Result string `json:"result"`
	}
	if text := h.a.rpcCall(method, params); json.Unmarshal([]byte(text), &r) != nil {
		h.t.Fatalf("%s: %s", method, text)
	}
	return r.Result
}

func (h *houseToKill) number(method, params string) *big.Int {
	h.t.Helper()
	text := h.ask(method, params)
	n, ok := new(big.Int).SetString(text, 0)
	if !ok {
		h.t.Fatalf("%s: %q is no number", method, text)
	}
	return n
}

// killJob is one kind of operation that is interrupted.
type killJob struct {
	name string
	// prepare makes what the operation needs.
	prepare func(h *houseToKill, j *attempt)
	// ask requests the operation, with the attempt's key.
	ask func(ctx context.Context, c *client.Client, j *attempt) (id string, err error)
	// check looks at the effect beyond what houseToKill.check does.
	check func(h *houseToKill, j *attempt)
}

const killAmount = 1000

var killJobs = []killJob{
	{
		name:    "deploy",
		prepare: func(h *houseToKill, j *attempt) { j.token = h.a.draft("").ID },
		ask: func(ctx context.Context, c *client.Client, j *attempt) (string, error) {
			op, err := c.DeployToken(ctx, j.token, client.DeployRequest{}, client.WithIdempotencyKey(j.key))
			if err != nil {
				return "", err
			}
			return op.OperationID, nil
		},
		check: func(h *houseToKill, j *attempt) {
			h.t.Helper()
			if code := h.ask("eth_getCode", fmt.Sprintf(`[%q, "latest"]`, h.contractOf(j.token))); len(code) < 1000 {
				h.t.Errorf("the code of the deployed token is %q", code)
			}
		},
	},
	{
		name:    "mint",
		prepare: func(h *houseToKill, _ *attempt) { h.supply.Add(h.supply, big.NewInt(killAmount)) },
		ask: func(ctx context.Context, c *client.Client, j *attempt) (string, error) {
			op, err := c.MintToken(ctx, j.token, client.MintRequest{Amount: fmt.Sprint(killAmount), Recipient: j.party}, client.WithIdempotencyKey(j.key))
			if err != nil {
				return "", err
			}
			return op.OperationID, nil
		},
	},
	{
		name:    "burn",
		prepare: func(h *houseToKill, _ *attempt) { h.supply.Sub(h.supply, big.NewInt(killAmount)) },
		ask: func(ctx context.Context, c *client.Client, j *attempt) (string, error) {
			op, err := c.BurnToken(ctx, j.token, client.BurnRequest{Amount: fmt.Sprint(killAmount), From: j.party}, client.WithIdempotencyKey(j.key))
			if err != nil {
				return "", err
			}
			return op.OperationID, nil
		},
	},
	{
		name: "grant",
		prepare: func(_ *houseToKill, j *attempt) {
			subject := fmt.Sprintf("0x%040x", 0xabc000+j.number) // one address for each attempt
			j.party = client.Party{Type: client.PartyTypeAddress, Address: &subject}
		},
		ask: func(ctx context.Context, c *client.Client, j *attempt) (string, error) {
			op, err := c.GrantTokenRole(ctx, j.token, client.RoleChangeRequest{Role: client.RoleMINTER, Subject: j.party}, client.WithIdempotencyKey(j.key))
			if err != nil {
				return "", err
			}
			return op.OperationID, nil
		},
		check: func(h *houseToKill, j *attempt) {
			h.t.Helper()
			role := qrc20.RoleID(qrc20.Minter)
			data := fmt.Sprintf("0x91d14854%s%064x", hex.EncodeToString(role[:]), 0xabc000+j.number) // hasRole(bytes32,address)
			if h.number("eth_call", fmt.Sprintf(`[{"to":%q,"data":%q}, "latest"]`, h.contract, data)).Cmp(big.NewInt(1)) != 0 {
				h.t.Errorf("%s has no role MINTER", *j.party.Address)
			}
		},
	},
}

// attempt is one job with its key and its documents: run again it sends the
// same requests again, byte for byte, as a caller does who got no answer.
type attempt struct {
	h         *houseToKill
	job       killJob
	number    int
	key       string
	token     string
	party     client.Party
	envelopes map[string]client.Envelope // by approver
	approved  func()                     // called after the first approval, if set
}

func (h *houseToKill) begin(j killJob) *attempt {
	h.t.Helper()
	h.begun++
	a := &attempt{h: h, job: j, number: h.begun, key: fmt.Sprintf("kill-%d", h.begun), token: h.token, party: h.party(),
		envelopes: map[string]client.Envelope{}}
	j.prepare(h, a)
	return a
}

func (j *attempt) ask(ctx context.Context, a *appliance) (string, error) {
	return j.job.ask(ctx, a.as("operator"), j)
}

// run requests the operation and approves it twice.
func (j *attempt) run(ctx context.Context, a *appliance) (id string, err error) {
	j.h.t.Helper()
	if id, err = j.ask(ctx, a); err != nil {
		return "", err
	}
	for _, name := range []string{"approver-1", "approver-2"} {
		c := a.as(name)
		if _, signed := j.envelopes[name]; !signed {
			op, err := c.GetTokenOperation(ctx, id)
			if err != nil {
				return id, err
			}
			d := policy.Decision{Format: 1, Decision: policy.Approve, Intent: op.Intent, Approver: name, Reason: j.key, DecidedAt: policy.Seconds(time.Now())}
			payload, err := d.Encode()
			if err != nil {
				return id, err
			}
			j.envelopes[name] = a.signed(name, "decision", payload)
		}
		if _, err := c.ApproveTokenOperation(ctx, id, client.EnvelopeRequest{Envelope: j.envelopes[name]}); err != nil {
			return id, fmt.Errorf("%s approves: %w", name, err)
		}
		if j.approved != nil && name == "approver-1" {
			j.approved()
		}
	}
	return id, nil
}

func (j *attempt) check(id string) {
	j.h.t.Helper()
	if j.job.check != nil {
		j.job.check(j.h, j)
	}
	if j.h.t.Failed() {
		j.h.t.Logf("operation %s", id)
	}
}
