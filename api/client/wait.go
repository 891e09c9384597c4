package client

import (
	"context"
	"fmt"
	"time"
)

// Terminal tells whether an operation in this status stays in it, short of a
// reorganization of the chain deeper than its confirmations.
func (s OperationStatus) Terminal() bool {
	switch s {
	case OperationStatusCOMPLETED, OperationStatusREJECTED, OperationStatusCANCELLED, OperationStatusFAILED:
		return true
	}
	return false
}

// Done is the until of a WaitOperation that waits for the end.
func Done(op *Operation) bool { return op.Status.Terminal() }

// WaitOperation reads an operation until until says so, an error that retrying
// does not cure, or the end of ctx. It always returns at a terminal status, so
// that who waits for APPROVED learns of REJECTED. onChange, if not nil, is
// called with the first reading and with every later one whose status,
// decisions, attention, block or confirmations are others than before.
//
// An appliance that is restarted meanwhile is waited for as long as a call is
// patient. The operation answered is the last one read; it is nil only if none
// was.
func (c *Client) WaitOperation(ctx context.Context, operationID string, until func(*Operation) bool, onChange func(*Operation)) (*Operation, error) {
	var last *Operation
	t := time.NewTicker(c.poll)
	defer t.Stop()
	for {
		op, err := c.GetTokenOperation(ctx, operationID)
		if err != nil {
			return last, err
		}
		if onChange != nil && (last == nil || changed(last, op)) {
			onChange(op)
		}
		last = op
		if op.Status.Terminal() || until != nil && until(op) {
			return op, nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return last, fmt.Errorf("client: waiting for %s, which is %s: %w", operationID, op.Status, ctx.Err())
		}
	}
}

func changed(a, b *Operation) bool {
	return a.Status != b.Status || len(a.Approvals) != len(b.Approvals) || len(a.History) != len(b.History) ||
		a.Confirmations != b.Confirmations || !same(a.Attention, b.Attention) || !same(a.BlockNumber, b.BlockNumber) ||
		!same(a.BlockchainTransactionHash, b.BlockchainTransactionHash)
}

func same[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
