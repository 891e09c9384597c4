package dev_test

import (
	"net/http"
	"testing"

	"github.com/mintwarden/mintwarden/api/client"
)

// testRegulated goes through what moves, stops and restricts a token, on both templates at once, and through
// what the contract would refuse in each state: 1714 before anybody is asked.
func (e *edge) testRegulated(t *testing.T) {
	const who = "0x00000000000000000000000000000000000000AA"
	to, own := addressParty(who), walletParty(e.wallet)
	refused := func(c call, restriction, says string) {
		t.Helper()
		if p := e.refused(t, c, want{422, 1714, says}); p.Details["restriction"] != restriction {
			t.Errorf("%s %s: details %v, want restriction %s", c.method, c.path, p.Details, restriction)
		}
	}
	// done has all of them approved, and sees them completed.
	done := func(calls ...call) {
		t.Helper()
		var ids []string
		for _, c := range calls {
			ids = append(ids, e.made(t, c, http.StatusAccepted))
		}
		for _, id := range ids {
			e.approve(id, "approver-1", "approver-2")
		}
		for _, id := range ids {
			e.completed(id)
		}
	}
	holds := func(token, want string) {
		t.Helper()
		b, err := e.as("viewer").GetTokenBalance(e.context(), token, who)
		if err != nil || b.Balance != want {
			t.Errorf("%s holds %+v of %s, %v; want %s", who, b, token, err, want)
		}
	}
	refused(e.mint(e.regulatedID, `"1"`, to), "NOT_ALLOWED", who)
	refused(e.disallow(e.regulatedID, who), "NOT_ALLOWED", who)
	refused(e.list("unfreeze", e.regulatedID, to), "NOT_FROZEN", who)
	refused(e.stop("unpause", e.tokenID), "NOT_PAUSED", e.tokenID)

	done(e.mint(e.tokenID, `"50"`, own), e.mint(e.regulatedID, `"50"`, own), e.list("allowlist", e.regulatedID, to))
	refused(e.list("allowlist", e.regulatedID, to), "ALLOWED", who)
	done(e.transfer(e.tokenID, `"20"`, own, to), e.transfer(e.regulatedID, `"20"`, own, to))
	holds(e.tokenID, "20")
	holds(e.regulatedID, "20")

	late := e.made(t, e.mint(e.regulatedID, `"1"`, to), http.StatusAccepted)
	freeze := call{method: "POST", path: "/v1/tokens/" + e.regulatedID + "/freeze", key: draw(), body: `{"subject":` + to + `,"reason":"court order 17"}`}
	done(e.stop("pause", e.tokenID), freeze)
	refused(e.list("freeze", e.regulatedID, to), "FROZEN", who)
	refused(e.mint(e.regulatedID, `"1"`, to), "FROZEN", who)
	refused(e.transfer(e.regulatedID, `"1"`, own, to), "FROZEN", who)
	refused(e.stop("pause", e.tokenID), "PAUSED", e.tokenID)
	refused(e.transfer(e.tokenID, `"1"`, own, to), "PAUSED", e.tokenID)
	paused, err := e.as("viewer").GetToken(e.context(), e.tokenID)
	if err != nil || paused.Status != client.TokenStatusPAUSED || paused.Paused == nil || !*paused.Paused {
		t.Errorf("%+v, %v: want PAUSED", paused, err)
	}
	// What was asked for before is asked again at signing, and ends there.
	e.approve(late, "approver-1", "approver-2")
	if op := e.end(late); op.Status != client.OperationStatusFAILED || op.FailureReason == nil || op.BlockchainTransactionHash != nil {
		t.Errorf("%s is %s: %v", late, op.Status, op.FailureReason)
	}
	done(e.stop("unpause", e.tokenID), e.list("unfreeze", e.regulatedID, to))
	again := e.mint(e.regulatedID, `"1"`, to)
	again.body = again.body[:len(again.body)-1] + `,"replaces":"` + late + `"}`
	done(again, e.disallow(e.regulatedID, who))
	refused(e.transfer(e.regulatedID, `"1"`, own, to), "NOT_ALLOWED", who)
	holds(e.regulatedID, "21")

	e.retire(t)
}

// retire: a token that is in use is not retired; one that is takes nothing but what stops things.
func (e *edge) retire(t *testing.T) {
	retire := func(id string) call {
		return call{method: "POST", path: "/v1/tokens/" + id + "/retire", key: draw(), body: `{"reason":"redeemed in full"}`}
	}
	open := e.made(t, e.stop("pause", e.regulatedID), http.StatusAccepted)
	e.refused(t, retire(e.regulatedID), want{409, 1301, e.regulatedID})
	e.withdraw(t, open)
	e.accepted(t, retire(e.regulatedID), http.StatusOK, nil)
	own := walletParty(e.wallet)
	for _, c := range []call{
		retire(e.regulatedID), e.mint(e.regulatedID, `"1"`, own), e.burn(e.regulatedID, `"1"`, own), e.transfer(e.regulatedID, `"1"`, own, own),
		e.change("grant", e.regulatedID, "MINTER", own), e.stop("unpause", e.regulatedID), e.list("unfreeze", e.regulatedID, own),
		e.list("allowlist", e.regulatedID, own),
		{method: "POST", path: "/v1/tokens/" + e.regulatedID + "/deploy", key: draw()},
	} {
		e.refused(t, c, want{422, 1704, "retired"})
	}
	if got := e.supply(e.regulatedID); got != "51" {
		t.Errorf("the chain has %s of a retired token, want 51", got)
	}
}
