package dev_test

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/cloudflare/circl/sign/dilithium/mode3"

	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// account is somebody else's account on the devnet, with coins and a key that
// the appliance does not have.
type account struct {
	rpc     func(method, params string) string
	key     *mode3.PrivateKey
	public  []byte
	address tx.Address
	nonce   uint64
}

// control asks the devnet at the path that answers also while it is stalled.
func (e *edge) control(t *testing.T) func(method, params string) string {
	a := *e.appliance
	a.t, a.rpc = t, strings.TrimSuffix(e.rpc, "/")+"/control"
	return a.rpcCall
}

func (e *edge) account(t *testing.T) *account {
	t.Helper()
	public, key, err := mode3.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &account{rpc: e.control(t), key: key, public: public.Bytes()}
	if a.address, err = tx.Sender(tx.KindQuantum, a.public); err != nil {
		t.Fatal(err)
	}
	a.rpc("devnet_fund", fmt.Sprintf("[%q]", a.address))
	return a
}

// send has the transaction mined at once.
func (a *account) send(t *testing.T, to, value, data string) {
	t.Helper()
	address, err := tx.ParseAddress(to)
	if err != nil {
		t.Fatal(err)
	}
	wei, _ := new(big.Int).SetString(value, 10)
	input, err := hex.DecodeString(data)
	if err != nil {
		t.Fatal(err)
	}
	u := &tx.Unsigned{Kind: tx.KindQuantum, ChainID: devnet.DefaultChainID, Nonce: a.nonce, Tip: big.NewInt(1e9), MaxFee: big.NewInt(1e12),
		Gas: 200_000, To: &address, Value: wei, Data: input}
	digest, err := u.SigningHash()
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, mode3.SignatureSize)
	mode3.SignTo(a.key, digest[:], signature)
	raw, err := u.Encode(a.public, signature)
	if err != nil {
		t.Fatal(err)
	}
	a.nonce++
	a.rpc("eth_sendRawTransaction", fmt.Sprintf(`["0x%x"]`, raw))
	a.rpc("devnet_mine", `["0x1"]`)
}

// testFunds: a wallet that cannot pay is named with what it lacks. The devnet
// gives coins to every wallet that has none, so this one gets 1 wei first.
func (e *edge) testFunds(t *testing.T) {
	payer := e.account(t)
	vault := e.made(t, call{method: "POST", path: "/v1/vault/accounts", body: `{"name":"poor"}`}, http.StatusCreated)
	payer.rpc("devnet_stall", `[true]`)
	var made sync.WaitGroup
	made.Go(func() {
		a, err := e.try(t.Context(), call{method: "POST", path: "/v1/vault/accounts/" + vault + "/wallets", body: `{"network":"quantum-chain-devnet"}`})
		if err != nil || a.status != http.StatusCreated {
			t.Errorf("wallet: %d %s %v", a.status, a.body, err)
		}
	})
	var page struct {
		Data []struct {
			Address string `json:"address"`
		} `json:"data"`
	}
	e.until(t, func() bool {
		e.accepted(t, call{method: "GET", path: "/v1/vault/accounts/" + vault + "/wallets"}, http.StatusOK, &page)
		return len(page.Data) == 1
	})
	poor := page.Data[0].Address
	payer.send(t, poor, "1", "")
	payer.rpc("devnet_stall", `[false]`)
	made.Wait()
	body := strings.Replace(e.tokenBody(`"mintable":true,"burnable":true`), e.vault, vault, 1)
	token := e.made(t, call{method: "POST", path: "/v1/tokens", body: body}, http.StatusCreated)
	p := e.refused(t, call{method: "POST", path: "/v1/tokens/" + token + "/deploy", key: draw(), body: `{}`}, want{422, 1304, poor})
	shortfall, _ := p.Details["shortfall"].(string)
	if n, ok := new(big.Int).SetString(shortfall, 10); !ok || n.Sign() <= 0 || !strings.Contains(p.Message, shortfall) {
		t.Errorf("the shortfall is not named: %v, %s", p.Details, p.Message)
	}
	payer.send(t, poor, "1000000000000000000", "")
	for range 2 { // a deployment that was withdrawn is asked for again
		e.withdraw(t, e.made(t, call{method: "POST", path: "/v1/tokens/" + token + "/deploy", key: draw(), body: `{}`}, http.StatusAccepted))
	}
}

// testPaused: what the contract would refuse is 1714 before anybody is asked.
func (e *edge) testPaused(t *testing.T) {
	const pause, unpause = "8456cb59", "3f4ba83a"
	pauser := e.account(t)
	grant := e.made(t, e.change("grant", e.tokenID, "PAUSER", addressParty(pauser.address.String())), http.StatusAccepted)
	e.approve(grant, "approver-1", "approver-2")
	e.completed(grant)
	pauser.send(t, e.tokenAddr, "0", pause)
	var token struct {
		Paused *bool `json:"paused"`
	}
	e.accepted(t, call{method: "GET", path: "/v1/tokens/" + e.tokenID}, http.StatusOK, &token)
	if token.Paused == nil || !*token.Paused {
		t.Fatal("the token is not paused")
	}
	e.refused(t, e.mint(e.tokenID, `"1"`, addressParty(e.stranger)), want{422, 1714, "paused"})
	pauser.send(t, e.tokenAddr, "0", unpause)
	e.withdraw(t, e.made(t, e.mint(e.tokenID, `"1"`, addressParty(e.stranger)), http.StatusAccepted))
}

// testNoNode: while no node answers, what needs the chain is 1500 and burns no key.
func (e *edge) testNoNode(t *testing.T) {
	control := e.control(t)
	before := e.totals(t)
	mint := e.mint(e.tokenID, `"1"`, addressParty(e.stranger))
	calls := []call{{method: "GET", path: "/v1/tokens/" + e.tokenID}, {method: "GET", path: "/v1/wallets/" + e.wallet + "/balance"},
		{method: "GET", path: "/v1/tokens/" + e.tokenID + "/roles"}, mint}
	answers := make([]answer, len(calls))
	control("devnet_stall", `[true]`)
	var last sync.WaitGroup
	for i, c := range calls {
		last.Go(func() {
			var err error
			if answers[i], err = e.try(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
	}
	last.Wait()
	control("devnet_stall", `[false]`)
	for _, a := range answers {
		a.problem(t, want{503, 1500, ""})
	}
	if after := e.totals(t); after != before {
		t.Errorf("%s became %s", before, after)
	}
	a := e.accepted(t, mint, http.StatusAccepted, nil)
	var op struct {
		OperationID string `json:"operationId"`
	}
	if err := json.Unmarshal(a.body, &op); err != nil || a.header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%v, %v", err, a.header)
	}
	e.withdraw(t, op.OperationID)
}

// testWalletsAnHour: the seal makes at most 20 wallets an hour; one more is refused and leaves nothing.
func (e *edge) testWalletsAnHour(t *testing.T) {
	path := "/v1/vault/accounts/" + e.emptyVault + "/wallets"
	for range 20 {
		before := e.total(t, path)
		a := e.send(t, call{method: "POST", path: path, key: draw(), body: `{"network":"quantum-chain-devnet"}`})
		if a.status == http.StatusCreated {
			continue
		}
		a.problem(t, want{429, 1604, "20"})
		if after := e.total(t, path); after != before {
			t.Errorf("%d wallets became %d", before, after)
		}
		return
	}
	t.Error("twenty more wallets were made")
}
