package operation

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// nonceStolen begins the failure reason of an operation whose nonce another transaction holds.
const nonceStolen = "NONCE_STOLEN"

// confirm looks what became of a sent transaction at the newest head.
func (l *lane) confirm(ctx context.Context, fence *store.Fence, e entry) error {
	o := e.op
	c, ok := l.s.chains[o.Network]
	if !ok || o.TransactionHash == nil {
		return fmt.Errorf("operation: %s has no transaction on a configured network", o.ID)
	}
	head := l.s.heads.get(o.Network)
	for _, nothing := range []func(context.Context, *chain.Client, *Operation, chain.Head) (bool, error){l.stays, l.tooSoon} {
		if is, err := nothing(ctx, c, o, head); err != nil || is {
			return err
		}
	}
	hashes, err := l.s.hashes(ctx, o)
	if err != nil {
		return err
	}
	st, hash, err := l.s.seen(ctx, c, head, hashes)
	if err != nil {
		return err
	}
	l.note(func() { l.inside[o.ID] = ending{st.BlockNumber, st.BlockHash} })
	final, why := false, ""
	if st.Mined {
		l.s.heads.passed(o.Network, st.BlockNumber+st.Confirmations)
		if st.Final {
			if final, why, err = l.s.agreed(ctx, c, o, hashes, st); err != nil {
				return err
			}
		}
	}
	switch {
	case st.Mined && final && o.Status == Broadcasting:
		return l.final(ctx, fence, c, o, st, hash)
	case st.Mined && o.Status == Broadcasting:
		confirmBefore()
		if o, err = l.mined(ctx, fence, o, st, hash); err != nil {
			return err
		}
		confirmAfter()
	case st.Mined && (o.BlockNumber != st.BlockNumber || *o.TransactionHash != hash):
		if o, err = l.moved(ctx, fence, o, st, hash); err != nil {
			return err
		}
	case !st.Mined && o.Status == Confirming:
		l.markSent(o.ID, false)
		l.note(func() { delete(l.waits, o.ID) })
		_, err = l.walk(ctx, fence, o.ID, []Status{Confirming}, []leg{{Broadcasting, map[string]any{"reason": "a reorg took its block away", "blockNumber": o.BlockNumber}}},
			func(o *Operation, _ *store.Tx) error {
				o.BlockNumber, o.Confirmations = 0, 0
				return nil
			})
		return err
	case !st.Mined:
		return l.unmined(ctx, fence, c, o, hashes, st, head)
	}
	if final && o.Status == Confirming {
		return l.final(ctx, fence, c, o, st, hash)
	}
	if st.Final {
		// Some nodes are still to agree, which no block tells of.
		return cmp.Or(l.disagreed(ctx, fence, o, why), errNothingNew)
	}
	l.lookedAt(o.ID, head)
	return nil
}

// The points before and after the commit that makes an operation CONFIRMING, alone or together with its end.
func confirmBefore() {
	// gofail: var confirmBeforeCommit struct{}
}

func confirmAfter() {
	// gofail: var confirmAfterCommit struct{}
}

// stays reports whether an operation is where it was last found, in a block that is the chain's and not deep enough
// yet: all operations in one block are looked at by asking for that block.
func (l *lane) stays(ctx context.Context, c *chain.Client, o *Operation, head chain.Head) (bool, error) {
	l.mu.Lock()
	at, known := l.inside[o.ID]
	l.mu.Unlock()
	if !known || o.Status != Confirming || at.number != o.BlockNumber || head.Number < at.number || head.Number-at.number+1 >= c.Network().Confirmations {
		return false, nil
	}
	hash, err := hashUnder(ctx, l.s.glances, c, head, at.number)
	if err != nil || hash != at.hash {
		return false, err
	}
	l.lookedAt(o.ID, head)
	return true, nil
}

// tooSoon reports whether this is the first head that was seen since an operation was sent, and its nonce is not used
// up: the next block is to say more. One question tells it of all that a wallet has sent; without an answer nothing is
// too soon.
func (l *lane) tooSoon(ctx context.Context, c *chain.Client, o *Operation, head chain.Head) (bool, error) {
	l.mu.Lock()
	w, waits := l.waits[o.ID]
	waits = waits && l.sent[o.ID] && w.version == o.version() && w.heads == 0
	l.mu.Unlock()
	if !waits || o.Status != Broadcasting {
		return false, nil
	}
	used, err := usedUnder(ctx, l.s.glances, c, head, o.Performer)
	if err != nil || used > o.Nonce {
		return false, ctx.Err()
	}
	l.waited(o, head)
	l.lookedAt(o.ID, head)
	return true, nil
}

func (l *lane) lookedAt(id string, head chain.Head) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looked[id] = head.Hash
}

func (l *lane) mined(ctx context.Context, fence *store.Fence, o *Operation, st chain.TxStatus, hash tx.Hash) (*Operation, error) {
	return l.walk(ctx, fence, o.ID, []Status{Broadcasting}, []leg{confirming(st)},
		func(o *Operation, _ *store.Tx) error {
			o.BlockNumber, o.Confirmations, o.Attention, o.TransactionHash = st.BlockNumber, st.Confirmations, "", &hash
			return nil
		})
}

func confirming(st chain.TxStatus) leg {
	return leg{Confirming, map[string]any{"blockNumber": st.BlockNumber, "blockHash": st.BlockHash.String()}}
}

// moved notes that a reorg put the transaction into another block, or another version of it into one.
func (l *lane) moved(ctx context.Context, fence *store.Fence, o *Operation, st chain.TxStatus, hash tx.Hash) (*Operation, error) {
	return l.change(ctx, fence, o.ID, func(o *Operation, t *store.Tx) (bool, error) {
		if o.Status != Confirming || o.BlockNumber == st.BlockNumber && *o.TransactionHash == hash {
			return false, nil
		}
		o.BlockNumber, o.Confirmations, o.TransactionHash = st.BlockNumber, st.Confirmations, &hash
		t.Audit(o.draft(registry.SystemActor(), "operation.block_changed", map[string]any{"blockNumber": st.BlockNumber, "blockHash": st.BlockHash.String(),
			"transactionHash": hash.String()}))
		return true, nil
	})
}

// unmined sends again what no node knows any more, raises the fees of what waits too long, and ends an
// operation whose nonce is another's at depth.
func (l *lane) unmined(ctx context.Context, fence *store.Fence, c *chain.Client, o *Operation, hashes []tx.Hash, st chain.TxStatus, head chain.Head) error {
	// Not every node shows what waits, nor keeps it: what was taken is offered dearer in its time all the same.
	waits := st.Found || l.taken(o)
	if !st.Found {
		l.markSent(o.ID, false)
	}
	depth := c.Network().Confirmations
	if head.Number+1 < depth {
		l.lookedAt(o.ID, head)
		return nil
	}
	// Unused now is unused at depth, which not every node can tell: some forget states sooner than a block is final.
	nonce, err := usedUnder(ctx, l.s.glances, c, head, o.Performer)
	if err == nil && nonce > o.Nonce {
		nonce, err = nonceUnder(ctx, l.s.glances, c, head, o.Performer, head.Number+1-depth)
	}
	if err != nil {
		return err
	}
	if nonce > o.Nonce {
		// Mined in between, perhaps, or one node is wrong: the receipts have the last word, and every node has one.
		stolen, why, err := l.stolen(ctx, c, o, hashes)
		if err != nil {
			return err
		}
		if !stolen {
			return cmp.Or(l.disagreed(ctx, fence, o, why), errNothingNew)
		}
		at := ending{number: head.Number + 1 - depth}
		if at.hash, err = hashUnder(ctx, l.s.glances, c, head, at.number); err != nil {
			return err
		}
		reason := fmt.Sprintf("%s: another transaction holds nonce %d of %s", nonceStolen, o.Nonce, o.Performer)
		l.s.log.Error("a wallet's nonce was used by somebody else", "operation", o.ID, "wallet", o.WalletID, "nonce", o.Nonce)
		l.s.metrics.alarms.WithLabelValues(nonceStolen).Inc()
		return l.fail(ctx, fence, c, o, []Status{Broadcasting}, nil, reason, chain.TxStatus{}, *o.TransactionHash, at)
	}
	switch {
	case o.Foreign != "" && waits:
		err = l.overdue(ctx, fence, c, o, head)
	case o.Foreign == "" && (waits || l.underpriced(o.ID)):
		err = l.bump(ctx, fence, c, o, head)
	}
	if err != nil {
		return err
	}
	l.lookedAt(o.ID, head)
	return nil
}

// taken reports whether a node took an operation's newest bytes when they were sent last.
func (l *lane) taken(o *Operation) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, waits := l.waits[o.ID]
	return waits && w.version == o.version() && l.sent[o.ID]
}

// underpriced reports whether the nodes refuse the newest bytes for their fees.
func (l *lane) underpriced(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused[id]
}

// final ends an operation by its receipt at depth, with what that means for the token. One that was final
// when it was first seen in a block goes through CONFIRMING in the same transaction.
func (l *lane) final(ctx context.Context, fence *store.Fence, c *chain.Client, o *Operation, st chain.TxStatus, hash tx.Hash) error {
	if !st.Success {
		return l.fail(ctx, fence, c, o, []Status{Broadcasting, Confirming}, []leg{confirming(st)}, st.RevertReason, st, hash, ending{st.BlockNumber, st.BlockHash})
	}
	if o.Type == policy.OpDeployToken {
		if err := l.checkDeployed(ctx, fence, c, o); err != nil {
			return err
		}
	}
	if o.Status == Broadcasting {
		confirmBefore()
		defer confirmAfter()
	}
	// gofail: var completeBeforeCommit struct{}
	_, err := l.walk(ctx, fence, o.ID, []Status{Broadcasting, Confirming}, []leg{confirming(st), {Completed, map[string]any{
		"transactionHash": hash.String(), "blockNumber": st.BlockNumber, "blockHash": st.BlockHash.String(), "gasUsed": st.GasUsed}}},
		func(o *Operation, t *store.Tx) error {
			o.ended(c, st, hash, ending{st.BlockNumber, st.BlockHash})
			o.FailureReason = ""
			return l.s.stageToken(ctx, t, o, func(token *registry.Token) (bool, error) { return l.s.completed(ctx, token, o) })
		})
	// gofail: var completeAfterCommit struct{}
	return err
}

// ended notes where an operation ended, and on whose word; st is empty where another transaction holds the nonce.
func (o *Operation) ended(c *chain.Client, st chain.TxStatus, hash tx.Hash, at ending) {
	o.BlockNumber, o.Confirmations, o.Attention = st.BlockNumber, st.Confirmations, ""
	o.TransactionHash, o.SingleNode, o.EndBlock, o.EndHash = &hash, c.Nodes() == 1, at.number, &at.hash
}

// completed is what a completed operation makes of its token.
func (s *Service) completed(ctx context.Context, token *registry.Token, o *Operation) (bool, error) {
	switch o.Type {
	case policy.OpDeployToken:
		return s.deployed(token, o), nil
	case policy.OpPause, policy.OpUnpause:
		return s.followPause(ctx, token)
	}
	return false, nil
}

// deployed gives the token its contract, unless the ledger has another one for it by then: a deployment may come back
// from its end after the token was deployed again. One that ends a second time does not undo what became of the token.
func (s *Service) deployed(token *registry.Token, o *Operation) bool {
	contract := tx.CreateAddress(o.Performer, o.Nonce)
	if b, ok := s.registry.Fold().Binding(token.ID); ok && b.ContractAddress != contract {
		return false
	}
	if known := token.ContractAddress; token.Status != registry.TokenRetired && (known == nil || *known != contract) {
		token.Status = registry.TokenDeployed
	}
	token.ContractAddress, token.TransactionHash = &contract, o.TransactionHash
	token.BlockNumber, token.DeployedAt = o.BlockNumber, policy.Seconds(s.now())
	return true
}

// followPause takes over what the chain says: two wallets' operations are not seen to be final in the order
// in which they were mined. A retired token stays retired.
func (s *Service) followPause(ctx context.Context, token *registry.Token) (bool, error) {
	if token.Status != registry.TokenDeployed && token.Status != registry.TokenPaused {
		return false, nil
	}
	paused, err := s.registry.Paused(ctx, token)
	if err != nil {
		return false, err
	}
	before := token.Status
	token.Status = registry.TokenDeployed
	if paused {
		token.Status = registry.TokenPaused
	}
	return token.Status != before, nil
}

// fail ends an operation on the chain's word, over the states that lead there.
func (l *lane) fail(ctx context.Context, fence *store.Fence, c *chain.Client, o *Operation, from []Status, over []leg, reason string, st chain.TxStatus, hash tx.Hash, at ending) error {
	end := leg{Failed, map[string]any{"reason": reason, "transactionHash": hash.String()}}
	_, err := l.walk(ctx, fence, o.ID, from, append(over, end),
		func(o *Operation, t *store.Tx) error {
			o.ended(c, st, hash, at)
			o.FailureReason = reason
			return l.s.stageToken(ctx, t, o, func(token *registry.Token) (bool, error) { return undeployed(token, o), nil })
		})
	return err
}

// undeployed takes the contract from the token of a deployment that failed: one that was done before a reorg took it back
// gave it one. What another deployment made of the token stays, and a retired one stays retired.
func undeployed(token *registry.Token, o *Operation) bool {
	contract := tx.CreateAddress(o.Performer, o.Nonce)
	done := (token.Status == registry.TokenDeployed || token.Status == registry.TokenPaused) && *token.ContractAddress == contract
	if o.Type != policy.OpDeployToken || token.DeployOperationID != o.ID || token.Status != registry.TokenDeploying && !done {
		return false
	}
	token.Status, token.ContractAddress, token.TransactionHash = registry.TokenFailed, nil, nil
	token.BlockNumber, token.DeployedAt = 0, time.Time{}
	return true
}

// stageToken puts a change of the operation's token into the same transaction.
func (s *Service) stageToken(ctx context.Context, t *store.Tx, o *Operation, change func(*registry.Token) (bool, error)) error {
	if o.Type != policy.OpDeployToken && o.Type != policy.OpPause && o.Type != policy.OpUnpause {
		return nil
	}
	token, rev, err := s.registry.TokenAt(ctx, o.TokenID)
	if err != nil {
		return err
	}
	changed, err := change(token)
	if changed && err == nil {
		s.registry.StageToken(t, token, rev)
	}
	return err
}

// checkDeployed compares the code on the chain with the template's, its immutables at the intended values.
// Code that differs can only be a node's lie: the operation stays, for a person to look at.
func (l *lane) checkDeployed(ctx context.Context, fence *store.Fence, c *chain.Client, o *Operation) error {
	_, i, err := l.s.intentOf(ctx, o)
	if err != nil {
		return err
	}
	template, ok := qrc20.TemplateByID(i.Token.TemplateID)
	if !ok {
		return fmt.Errorf("operation: template %s of %s is not known", i.Token.TemplateID, o.ID)
	}
	contract := tx.CreateAddress(o.Performer, o.Nonce)
	code, err := c.Code(ctx, contract)
	if err != nil {
		return err
	}
	p := i.Params
	err = template.CheckCode(code, qrc20.DeployArgs{Name: *p.Name, Symbol: *p.Symbol, Decimals: *p.Decimals, Cap: p.Cap.Big(),
		InitialSupply: p.InitialSupply.Big(), Mintable: *p.Mintable, Burnable: *p.Burnable, Admin: *p.Admin})
	if err == nil {
		return nil
	}
	attention := fmt.Sprintf("the code at %s is not the template's: %s", contract, err)
	l.s.metrics.alarms.WithLabelValues("CODE_DIFFERS").Inc()
	if _, werr := l.change(ctx, fence, o.ID, func(o *Operation, _ *store.Tx) (bool, error) {
		changed := o.Attention != attention
		o.Attention = attention
		return changed, nil
	}); werr != nil {
		return werr
	}
	return err
}
