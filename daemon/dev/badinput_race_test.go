package dev_test

import (
	"encoding/json/v2"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// testDecisionsAtOnce: one person decides once, however many of his envelopes come at one moment.
func (e *edge) testDecisionsAtOnce(t *testing.T) {
	for _, name := range []string{"the same", "different"} {
		t.Run(name, func(t *testing.T) {
			id := e.made(t, e.mint(e.tokenID, `"2"`, addressParty(e.stranger)), http.StatusAccepted)
			calls, answers := make([]call, 16), make([]answer, 16)
			same := e.decision(t, "approver-1", policy.Approve, id, "same")
			for n := range calls {
				payload := same
				if name == "different" {
					payload = e.decision(t, "approver-1", policy.Approve, id, fmt.Sprint("reason ", n))
				}
				calls[n] = decide("approver-1", "approve", id, e.envelope(t, "approver-1", "decision", payload))
			}
			var last sync.WaitGroup
			start := make(chan struct{})
			for n := range calls {
				last.Go(func() {
					<-start
					var err error
					if answers[n], err = e.try(t.Context(), calls[n]); err != nil {
						t.Error(err)
					}
				})
			}
			close(start)
			last.Wait()
			recorded := 0
			for _, a := range answers {
				if a.status == http.StatusOK {
					recorded++
					continue
				}
				a.problem(t, want{409, 1203, "approver-1"})
			}
			if name == "the same" && recorded != len(calls) || name == "different" && recorded != 1 {
				t.Errorf("%d of %d were accepted", recorded, len(calls))
			}
			op := e.get(t, id)
			if len(op.Approvals) != 1 || len(op.ApprovedBy) != 1 || op.Status != client.OperationStatusPENDINGAUTHORIZATION {
				t.Errorf("the operation is %s with %v", op.Status, op.Approvals)
			}
			e.withdraw(t, id)
		})
	}
}

// testApproveAndCancel: of the approval that completes a quorum and a
// withdrawal at the same moment, one has its way: an operation that is
// withdrawn leaves nothing on the chain, one that is signed cannot be withdrawn.
func (e *edge) testApproveAndCancel(t *testing.T) {
	token := e.token(t, `"mintable":true,"burnable":true`)
	op := e.made(t, call{method: "POST", path: "/v1/tokens/" + token + "/deploy", key: draw(), body: `{}`}, http.StatusAccepted)
	e.approve(op, "approver-1", "approver-2")
	e.completed(op)
	const rounds = 24
	type race struct {
		id, approval     string
		approved, undone answer
	}
	races := make([]race, rounds)
	for i := range races {
		id := e.made(t, e.mint(token, `"1"`, addressParty(e.stranger)), http.StatusAccepted)
		e.approve(id, "approver-1")
		races[i] = race{id: id, approval: e.envelope(t, "approver-2", "decision", e.decision(t, "approver-2", policy.Approve, id, "go"))}
	}
	for i := range races {
		r := &races[i]
		start := make(chan struct{})
		var both sync.WaitGroup
		// The reads put the withdrawal a little later in every round, so that each side wins some.
		send := func(to *answer, reads int, c call) {
			both.Go(func() {
				<-start
				for range reads {
					_, _ = e.try(t.Context(), call{method: "GET", path: "/v1/token-operations/" + r.id})
				}
				a, err := e.try(t.Context(), c)
				if err != nil {
					t.Error(err)
				}
				*to = a
			})
		}
		send(&r.approved, 0, decide("approver-2", "approve", r.id, r.approval))
		send(&r.undone, i, call{method: "POST", path: "/v1/token-operations/" + r.id + "/cancel", body: `{}`})
		close(start)
		both.Wait()
	}
	ended := map[client.OperationStatus]int{}
	for _, r := range races {
		status := e.end(r.id).Status
		ended[status]++
		withdrawn := r.undone.status == http.StatusOK
		switch {
		case withdrawn != (status == client.OperationStatusCANCELLED):
			t.Errorf("%s ended as %s; the withdrawal was answered %d %s", r.id, status, r.undone.status, r.undone.body)
		case !withdrawn && status != client.OperationStatusCOMPLETED:
			t.Errorf("%s ended as %s", r.id, status)
		case !withdrawn && r.approved.status != http.StatusOK:
			t.Errorf("%s completed; the approval was answered %d %s", r.id, r.approved.status, r.approved.body)
		}
		for _, a := range []answer{r.approved, r.undone} {
			if a.status == http.StatusOK {
				continue
			}
			var told struct {
				Error problem `json:"error"`
			}
			_ = json.Unmarshal(a.body, &told)
			if a.status != 409 || told.Error.Code != 1301 && told.Error.Code != 1715 {
				t.Errorf("%s: the loser is answered %d %s", r.id, a.status, a.body)
			}
		}
	}
	t.Logf("ended %v", ended)
	if got, want := e.supply(token), fmt.Sprint(ended[client.OperationStatusCOMPLETED]); got != want {
		t.Errorf("supply is %s, %s mints completed", got, want)
	}
}
