package dev_test

import (
	"bytes"
	"encoding/json/v2"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// testIdempotency: required where spec/api.md says so, one key for one body.
func (e *edge) testIdempotency(t *testing.T) {
	to := addressParty(e.stranger)
	keyless := func(c call) call { c.key = ""; return c }
	for _, c := range []call{
		keyless(e.mint(e.tokenID, `"1"`, to)), keyless(e.burn(e.tokenID, `"1"`, to)),
		keyless(e.change("grant", e.tokenID, "MINTER", to)), keyless(e.change("revoke", e.tokenID, "MINTER", to)),
		{method: "POST", path: "/v1/tokens/" + e.draftID + "/deploy", body: `{}`},
	} {
		t.Run("missing on "+c.path[len("/v1/tokens/")+len(e.tokenID):], func(t *testing.T) {
			e.refused(t, c, want{400, 1101, "Idempotency-Key"})
		})
	}
	inBody := func(key string) call {
		c := keyless(e.mint(e.tokenID, `"1"`, to))
		c.body = strings.TrimSuffix(c.body, "}") + fmt.Sprintf(`,"idempotencyKey":%q}`, key)
		return c
	}
	differing := inBody("one")
	differing.key = "another"
	header := func(values ...string) call {
		c := keyless(e.mint(e.tokenID, `"1"`, to))
		c.header = http.Header{"Idempotency-Key": values}
		return c
	}
	for _, c := range []struct {
		name string
		call call
		want want
	}{
		{"header and body differ", differing, want{400, 1100, "another"}},
		{"256 characters", header(strings.Repeat("k", 256)), want{400, 1110, ""}},
		{"with a space", header("two words"), want{400, 1100, "two words"}},
		{"not ASCII", header("schl\u00fcssel"), want{400, 1100, ""}},
		{"sent twice", header("one", "one"), want{400, 1100, ""}},
		{"256 characters in the body", inBody(strings.Repeat("k", 256)), want{400, 1110, ""}},
		{"a space in the body", inBody("two words"), want{400, 1100, "two words"}},
	} {
		t.Run(c.name, func(t *testing.T) { e.refused(t, c.call, c.want) })
	}

	t.Run("255 characters", func(t *testing.T) {
		e.accepted(t, header(draw()+strings.Repeat("k", 255-len(draw()))), http.StatusAccepted, nil)
	})
	first := e.mint(e.tokenID, `"7"`, to)
	was := e.accepted(t, first, http.StatusAccepted, nil)
	replayed := func(t *testing.T, c call) {
		t.Helper()
		before := e.totals(t)
		a := e.send(t, c)
		if a.status != was.status || !bytes.Equal(a.body, was.body) {
			t.Errorf("answered %d %s, the first time %d %s", a.status, a.body, was.status, was.body)
		}
		if a.header.Get("Idempotency-Replayed") != "true" {
			t.Error("Idempotency-Replayed is missing")
		}
		if after := e.totals(t); after != before {
			t.Errorf("%s became %s", before, after)
		}
	}
	t.Run("again", func(t *testing.T) { replayed(t, first) })
	t.Run("again, written otherwise", func(t *testing.T) {
		c := first
		c.body = fmt.Sprintf("{ \"recipient\" : {\"address\":%q, \"type\":\"addr\\u0065ss\"},\n \"amount\":\"7\", \"idempotencyKey\":%q}", e.stranger, first.key)
		replayed(t, c)
	})
	for name, c := range map[string]call{
		"another amount":    e.mint(e.tokenID, `"8"`, to),
		"another recipient": e.mint(e.tokenID, `"7"`, walletParty(e.wallet)),
		"a bad amount":      e.mint(e.tokenID, `"-7"`, to), // the record is looked at before values
		"a field more":      e.mint(e.tokenID, `"7","feeStrategy":"HIGH"`, to),
	} {
		t.Run("same key, "+name, func(t *testing.T) {
			c.key = first.key
			e.refused(t, c, want{422, 1601, first.key})
		})
	}
	t.Run("the same key on another path is another key", func(t *testing.T) {
		c := e.mint(e.cappedID, `"7"`, to)
		c.key = first.key
		a := e.accepted(t, c, http.StatusAccepted, nil)
		if a.header.Get("Idempotency-Replayed") != "" {
			t.Error("replayed")
		}
		var op struct {
			OperationID string `json:"operationId"`
		}
		if err := json.Unmarshal(a.body, &op); err != nil {
			t.Fatal(err)
		}
		e.withdraw(t, op.OperationID)
	})
	e.testUnburnt(t)
}

// testUnburnt: a request that is refused does not burn its key, whatever refused it.
func (e *edge) testUnburnt(t *testing.T) {
	key := draw()
	mint := func(token, amount string) call {
		c := e.mint(token, amount, addressParty(e.stranger))
		c.key = key
		return c
	}
	as := func(c call, who string) call { c.as = who; return c }
	for _, c := range []struct {
		name string
		call call
		want want
	}{
		{"no bearer key", as(mint(e.tokenID, `"3"`), "none"), want{401, 1000, ""}},
		{"no permission", as(mint(e.tokenID, `"3"`), "viewer"), want{403, 1001, ""}},
		{"shape", mint(e.tokenID, `"3","colour":1`), want{400, 1100, ""}},
		{"value", mint(e.tokenID, `"0"`), want{400, 1713, ""}},
		{"policy", mint(e.tokenID, `"1000000000000000000000001"`), want{422, 1200, ""}},
	} {
		t.Run("not burnt by "+c.name, func(t *testing.T) { e.refused(t, c.call, c.want) })
	}
	t.Run("not burnt", func(t *testing.T) {
		a := e.accepted(t, mint(e.tokenID, `"3"`), http.StatusAccepted, nil)
		if a.header.Get("Idempotency-Replayed") != "" {
			t.Error("the first effect of the key is called a replay")
		}
	})
}

// testSixteenAtOnce: one key sixteen times at once has one effect; the others
// get 1602 or the first answer.
func (e *edge) testSixteenAtOnce(t *testing.T) {
	for _, c := range []call{
		e.mint(e.tokenID, `"5"`, addressParty(e.stranger)),
		{method: "POST", path: "/v1/vault/accounts", key: draw(), body: `{"name":"sixteen"}`},
		{method: "POST", path: "/v1/tokens", key: draw(), body: e.tokenBody(`"mintable":true,"burnable":true`)},
		{method: "POST", path: "/v1/vault/accounts/" + e.emptyVault + "/wallets", key: draw(), body: `{"network":"quantum-chain-devnet"}`},
	} {
		t.Run(c.path, func(t *testing.T) {
			list := map[bool]string{true: "/v1/token-operations", false: strings.Replace(c.path, "/mint", "", 1)}[strings.HasSuffix(c.path, "/mint")]
			before := e.total(t, list)
			answers := make([]answer, 16)
			var last sync.WaitGroup
			start := make(chan struct{})
			for i := range answers {
				last.Go(func() {
					<-start
					a, err := e.try(t.Context(), c)
					if err != nil {
						t.Error(err)
					}
					answers[i] = a
				})
			}
			close(start)
			last.Wait()
			bodies, first := map[string]bool{}, 0
			for _, a := range answers {
				if a.status >= 400 {
					a.problem(t, want{409, 1602, c.key})
					continue
				}
				bodies[string(a.body)] = true
				if a.header.Get("Idempotency-Replayed") == "" {
					first++
				}
			}
			if len(bodies) != 1 || first != 1 {
				t.Errorf("%d answers that differ, %d of them called the first", len(bodies), first)
			}
			if got := e.total(t, list); got != before+1 {
				t.Errorf("%s: %d became %d", list, before, got)
			}
		})
	}
}

// withdraw cancels an operation so that it no longer counts as pending.
func (e *edge) withdraw(t *testing.T, id string) {
	t.Helper()
	e.accepted(t, call{method: "POST", path: "/v1/token-operations/" + id + "/cancel", body: `{}`}, http.StatusOK, nil)
}
