package dev_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
)

// chainPoints are met only by an operation that the chain treats badly: what no block takes is offered again,
// dearer, and what a deep reorg undoes is taken back.
var chainPoints = []string{"bumpBeforeSeal", "bumpAfterSeal", "bumpBeforeCommit", "bumpAfterCommit", "reopenBeforeCommit", "reopenAfterCommit"}

// Every process dies at each of those points. Whatever the moment, the operation is COMPLETED in the end, with
// one effect and one nonce.
func TestKillPointsOfTheChain(t *testing.T) {
	h := newHouseToKill(t)
	for _, name := range chainPoints {
		if !t.Run(name, func(t *testing.T) {
			if name[0] == 'b' {
				h.killBump(t, name)
			} else {
				h.killReopen(t, name)
			}
		}) {
			return // what follows would start from what is broken
		}
	}
}

// mint asks for one more mint and approves it.
func (h *houseToKill) mint() string {
	h.t.Helper()
	h.begun++
	h.supply.Add(h.supply, big.NewInt(killAmount))
	op, err := h.a.as("operator").MintToken(h.a.context(), h.token, client.MintRequest{Amount: fmt.Sprint(killAmount), Recipient: h.party()},
		client.WithIdempotencyKey(fmt.Sprint("kill-chain-", h.begun)))
	if err != nil {
		h.t.Fatal(err)
	}
	h.a.approve(op.OperationID, "approver-1", "approver-2")
	h.executed++
	return op.OperationID
}

// dies arms a point, does what leads there, and waits until every process is dead.
func (h *houseToKill) dies(a *appliance, name string, lead func()) {
	h.t.Helper()
	ctx, die := context.WithCancelCause(a.context())
	a.arm(h.points, killPoint{name: name}, func() { a.strike(); die(errKilled) })
	lead()
	<-ctx.Done()
	if !errors.Is(context.Cause(ctx), errKilled) {
		h.t.Fatalf("nothing got to %s", name)
	}
	a.kill()
}

func (h *houseToKill) killBump(t *testing.T, name string) {
	a := h.at(t)
	a.rpcCall("devnet_delay", `["0x7"]`) // enough blocks to be offered again before the first version is mined
	id := ""
	h.dies(a, name, func() { id = h.mint() })
	a = h.restart()
	a.completed(id)
	h.check()
}

func (h *houseToKill) killReopen(t *testing.T, name string) {
	a := h.at(t)
	id := h.mint()
	op := a.completed(id)
	h.a.settled(id)
	if name == revivePoint {
		h.a.archived()
	}
	h.dies(a, name, func() {
		head := h.number("eth_blockNumber", `[]`)
		depth := head.Int64() - *op.BlockNumber + 1
		a.rpcCall("devnet_reorg", fmt.Sprintf(`["0x%x", true]`, depth))
	})
	a = h.restart()
	for { // until it is taken back and done again
		op, err := a.as("operator").GetTokenOperation(a.context(), id)
		if err != nil {
			t.Fatal(err)
		}
		ends := 0
		for _, s := range op.History {
			if s.Status == client.OperationStatusCOMPLETED {
				ends++
			}
		}
		if ends > 1 && op.Status == client.OperationStatusCOMPLETED {
			break
		}
		time.Sleep(20 * time.Millisecond) // the next look; the context of the call ends it
	}
	h.check()
}
