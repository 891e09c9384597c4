package dev_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
)

// killPoint is a place in a program where the process that gets there dies,
// and the rest of the appliance with it.
type killPoint struct {
	name string // of the gofail point
	// pass is how often the operation goes through the point before it kills:
	// 0 is the first time. Decisions, authorization and settlement of an
	// operation go the same way, one after the other.
	pass int
	// late arms the point after the first approval: it is met by the work of
	// other operations, too.
	late bool
	// job is the only one that gets to the point; empty: all do.
	job string
}

// killPoints follow an operation from its request to its settlement: before and
// after each commit to etcd, each call of the seal, each use of the HSM, each
// send, and before each answer.
var killPoints = []killPoint{
	// The request: one transaction with its answer.
	{name: "submitBeforeCommit"},
	{name: "submitAfterCommit"}, // and before the answer
	// A person's decision on its way to the seal, and its answer.
	{name: "decideBeforeSeal"},
	{name: "decideAfterSeal"},
	{name: "decideBeforeAnswer"},
	{name: "decideBeforeSeal", pass: 1},
	{name: "decideAfterSeal", pass: 1},
	{name: "decideBeforeAnswer", pass: 1},
	// What the ledger says, carried into the store: two decisions, the
	// authorization, the settlement.
	{name: "carryBeforeCommit"},
	{name: "carryAfterCommit"},
	{name: "carryBeforeCommit", pass: 1},
	{name: "carryAfterCommit", pass: 1},
	{name: "carryBeforeCommit", pass: 2},
	{name: "carryAfterCommit", pass: 2},
	{name: "carryBeforeCommit", pass: 3},
	{name: "carryAfterCommit", pass: 3},
	// The lane: PENDING_SIGNATURE, the seal's authorization, the bytes and SIGNED.
	{name: "pendBeforeCommit"},
	{name: "pendAfterCommit"},
	{name: "authorizeBeforeSeal"},
	{name: "authorizeAfterSeal"},
	{name: "keepBeforeCommit"},
	{name: "keepAfterCommit"},
	// BROADCASTING, the node, CONFIRMING, COMPLETED, the settlement.
	{name: "broadcastBeforeCommit"},
	{name: "broadcastAfterCommit"},
	{name: "sendBefore"},
	{name: "sendAfter"},
	{name: "confirmBeforeCommit"},
	{name: "confirmAfterCommit"},
	{name: "completeBeforeCommit"},
	{name: "completeAfterCommit"},
	{name: "settleBeforeSeal"},
	{name: "settleAfterSeal"},
	// The audit log's sequencer and the cursor of the ledger's follower.
	{name: "auditBeforeCommit"},
	{name: "auditAfterCommit"},
	{name: "auditBeforeCommit", late: true},
	{name: "auditAfterCommit", late: true},
	{name: "cursorBeforeCommit", late: true},
	{name: "cursorAfterCommit", late: true},
	// The webhooks' router, which takes events out of the outbox.
	{name: "routeBeforeCommit", late: true},
	{name: "routeAfterCommit", late: true},
	// The reconciliation's progress, with what it found.
	{name: "reconcileBeforeCommit", late: true},
	{name: "reconcileAfterCommit", late: true},
	// A checkpoint of both logs: recorded and not signed, signed and not in the store; tiles, what they are of, and
	// the checkpoint on the disk.
	{name: "checkpointBeforeSign", late: true},
	{name: "checkpointBeforeStore", late: true},
	{name: "tilesBeforeWrite", late: true},
	{name: "tilesBeforeState", late: true},
	{name: "tilesBeforeCheckpoint", late: true},
	// The seal's worker, with a decision, the authorization and the settlement:
	// the HSM signs the batch, etcd takes it, the journal remembers it.
	{name: "batchBeforeHSM"},
	{name: "batchAfterHSM"},
	{name: "batchBeforeCommit"},
	{name: "batchAfterCommit"},
	{name: "journalBeforeWrite"},
	{name: "journalBeforeSync"},
	{name: "journalAfterSync"},
	{name: "batchBeforeHSM", pass: 2},
	{name: "batchAfterHSM", pass: 2},
	{name: "batchBeforeCommit", pass: 2},
	{name: "batchAfterCommit", pass: 2},
	{name: "journalBeforeWrite", pass: 2},
	{name: "journalBeforeSync", pass: 2},
	{name: "journalAfterSync", pass: 2},
	{name: "batchBeforeCommit", pass: 3},
	{name: "batchAfterCommit", pass: 3},
	{name: "journalAfterSync", pass: 3},
	// A deployment binds its token, and the anchor in the HSM is renewed.
	{name: "anchorBeforeWrite", job: "deploy"},
	{name: "anchorAfterWrite", job: "deploy"},
	// The HSM signs the transaction, and the seal answers with it.
	{name: "signBeforeHSM"},
	{name: "signAfterHSM"},
}

// noOperations are points that no operation gets to: batches are trimmed, and
// audit entries archived, behind a retention of days, and a token is frozen for
// what no operation did.
var noOperations = []string{"trimBeforeDelete", "archiveBeforeSync", "archiveBeforeDelete", "reconcileAfterFreeze"}

// Every process dies while an operation stands at a point of the programs, one
// point after the other. Whatever the moment: after the restart the same
// requests again give the same answers, there is one effect on the chain, one
// nonce is used, the operation is COMPLETED and settled, and audit log and
// ledger verify. Each point is met once, the jobs taking turns; with
// MINTWARDEN_LONG=1 each job meets each point.
func TestKillPoints(t *testing.T) {
	long := os.Getenv("MINTWARDEN_LONG") == "1"
	h := newHouseToKill(t)
	met := map[string]bool{}
	for _, point := range killPoints {
		jobs := killJobs
		if !long {
			if met[point.name] {
				continue
			}
			turn := len(met) % len(killJobs)
			jobs = killJobs[turn : turn+1]
		}
		met[point.name] = true
		if point.job != "" {
			jobs = slices.DeleteFunc(slices.Clone(killJobs), func(j killJob) bool { return j.name != point.job })
		}
		for _, j := range jobs {
			name := point.name
			if point.pass > 0 {
				name += " " + []string{"", "second", "third", "fourth"}[point.pass]
			}
			if point.late {
				name += " late"
			}
			if !t.Run(j.name+" "+name, func(t *testing.T) { h.kill(t, point, j) }) {
				return // what follows would start from what is broken
			}
		}
	}
}

// The tables above name every point that there is in the programs.
func TestKillPointsAreAllMet(t *testing.T) {
	listed := slices.Concat(noOperations, chainPoints, archivePoints, []string{revivePoint}, registrationPoints, callbackPoints)
	for _, p := range killPoints {
		listed = append(listed, p.name)
	}
	slices.Sort(listed)
	listed = slices.Compact(listed)
	found := pointsIn(t)
	if !slices.Equal(listed, found) {
		t.Errorf("the programs have\n%q\nand the table\n%q", found, listed)
	}
}

// errKilled is why the calls of an interrupted job end.
var errKilled = errors.New("the appliance was killed")

// kill does one job up to the point, and again after the restart.
func (h *houseToKill) kill(t *testing.T, point killPoint, j killJob) {
	a := h.at(t)
	job := h.begin(j)
	ctx, die := context.WithCancelCause(a.context())
	arm := func() { a.arm(h.points, point, func() { a.strike(); die(errKilled) }) }
	if point.late {
		job.approved = arm
	} else {
		arm()
	}
	id, err := job.run(ctx, a) // fails if the point comes before its last answer
	<-ctx.Done()
	if !errors.Is(context.Cause(ctx), errKilled) {
		t.Fatalf("operation %q never got to the point; its requests ended with %v", id, err)
	}
	a.kill()

	a = h.restart()
	job.approved = nil
	again, err := job.run(a.context(), a)
	if err != nil {
		t.Fatalf("the same requests after the restart: %v", err)
	}
	if id != "" && again != id {
		t.Fatalf("the key answers %s after the restart, it was %s", again, id)
	}
	third, err := job.ask(a.context(), a)
	if err != nil || third != again {
		t.Fatalf("the key answers %s, %v the second time; it was %s", third, err, again)
	}
	a.completed(again)
	h.executed++
	h.a.settled(again)
	job.check(again)
	h.check()
}
