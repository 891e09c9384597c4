package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// The words with which attention begins when an operation waits for something that only time or people bring.
const (
	attentionFeeCap   = "FEE_CAP"          // the network asks more than the approved cap allows
	attentionVersions = "TX_STUCK"         // every version that may be signed was, or none may be any more
	attentionRefused  = "BUMP_REFUSED"     // the seal does not sign a dearer one
	attentionNodes    = "NODES_INCOMPLETE" // its end is known to some of the configured nodes only
	attentionDiffer   = "NODES_DIFFER"     // nodes contradict each other
	attentionGap      = "NONCE_GAP"        // a nonce before its own is nobody's
	attentionHSM      = "HSM"              // the token does not sign
)

// passing is how long the pauses between tries may grow before a fault is a person's to look at.
const passing = time.Second

// wait is how long the newest version of an operation has been waiting to be mined: counted in heads that were
// seen while some node had it, so that neither an outage nor a restart makes everything seem stuck at once.
type wait struct {
	version int
	first   uint64 // number of the head at which it began
	last    tx.Hash
	heads   uint64
}

// waited counts one more head and reports for how many blocks an operation has waited.
func (l *lane) waited(o *Operation, head chain.Head) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, ok := l.waits[o.ID]
	if !ok || w.version != o.version() || head.Number < w.first {
		w = wait{version: o.version(), first: head.Number, last: head.Hash}
	}
	if w.last != head.Hash {
		w.last = head.Hash
		w.heads++
	}
	l.waits[o.ID] = w
	return min(w.heads, head.Number-w.first)
}

// ripe reports whether an operation's turn has come: nothing of its lane with a lower nonce waits, or the fee
// that it offers is below what a block costs, so that its turn would not help.
func (l *lane) ripe(o *Operation, last offer, head chain.Head) bool {
	if head.BaseFee != nil && last.maxFee.Cmp(head.BaseFee) < 0 {
		return true
	}
	for _, id := range l.s.index.onTheirWay(l.wallet) {
		e, open := l.s.index.get(id)
		if open && (e.op.Status == Signed || e.op.Status == Broadcasting) && e.op.Nonce < o.Nonce {
			return false
		}
	}
	return true
}

// overdue says of a foreign operation that no block takes what its maker has: nobody raises its fees here, nor sends it.
func (l *lane) overdue(ctx context.Context, fence *store.Fence, c *chain.Client, o *Operation, head chain.Head) error {
	if l.waited(o, head) < c.Network().Resubmit() {
		return nil
	}
	return l.attend(ctx, fence, o, fmt.Sprintf("%s: whoever made it has the signature, and no block has the transaction; its nonce %d stays spent, and what comes after it on wallet %s waits",
		attentionCourier, o.Nonce, o.WalletID))
}

// offer is what a version pays for a unit of gas, in wei.
type offer struct {
	version     int
	gas         uint64
	maxFee, tip *big.Int
}

// offered is what the ledger says of the newest version that was authorized.
func offered(r ledger.OperationRecord) offer {
	a := r.Authorized
	o := offer{1, a.GasLimit, a.MaxFee.Big(), a.Tip.Big()}
	if n := len(r.Bumps); n > 0 {
		b := r.Bumps[n-1]
		o.version, o.maxFee, o.tip = int(b.Version), b.MaxFee.Big(), b.Tip.Big()
	}
	return o
}

// raised is at least an eighth more: 12.5 %, which every pool takes for a replacement.
func raised(fee *big.Int) *big.Int {
	out := new(big.Int).Mul(fee, big.NewInt(9))
	return out.Add(out, big.NewInt(7)).Rsh(out, 3)
}

// next is the offer that follows, or why there is none within the cap. market is what the network asks now.
func (last offer) next(feeCap *big.Int, market chain.Fees) (offer, string) {
	most := new(big.Int).Div(feeCap, new(big.Int).SetUint64(last.gas))
	base := new(big.Int).Rsh(new(big.Int).Sub(market.MaxFee, market.Tip), 1)
	least := raised(last.maxFee)
	switch {
	case base.Cmp(most) > 0:
		return offer{}, fmt.Sprintf("%s: a block costs %s wei a unit of gas, the approved fee cap of %s allows %s; it waits until that falls", attentionFeeCap, base, feeCap, most)
	case least.Cmp(most) > 0:
		return offer{}, fmt.Sprintf("%s: it offers %s wei a unit of gas, the approved fee cap of %s allows no raise; it waits until it is mined as it is", attentionFeeCap, last.maxFee, feeCap)
	case last.version >= ledger.MaxVersions:
		return offer{}, fmt.Sprintf("%s: it was sent %d times with fees raised each time, and is in no block; it waits", attentionVersions, last.version)
	}
	n := offer{last.version + 1, last.gas, least, raised(last.tip)}
	if market.MaxFee.Cmp(n.maxFee) > 0 {
		n.maxFee = market.MaxFee
	}
	if n.maxFee.Cmp(most) > 0 {
		n.maxFee = most
	}
	if market.Tip.Cmp(n.tip) > 0 {
		n.tip = market.Tip
	}
	if n.tip.Cmp(n.maxFee) > 0 {
		n.tip = n.maxFee
	}
	return n, ""
}

// bump has the seal sign the same transaction with higher fees if it has waited long enough for its turn.
func (l *lane) bump(ctx context.Context, fence *store.Fence, c *chain.Client, o *Operation, head chain.Head) error {
	waited := l.waited(o, head)
	if waited < c.Network().Resubmit() {
		return nil
	}
	record, ok := l.s.registry.Fold().Operation(o.ID)
	if !ok || record.Authorized == nil || record.Settled != nil {
		return l.attend(ctx, fence, o, attentionVersions+": a reorg took it out of a block that was final, and the fees of what the ledger has settled are not raised; it is sent as it is, and waits")
	}
	last := offered(record)
	if !l.ripe(o, last, head) {
		return nil
	}
	wanted := last // signed before a crash, and not kept
	if last.version <= o.version() {
		market, err := c.Fees(ctx, o.FeeStrategy)
		if err != nil {
			return err
		}
		var why string
		if wanted, why = last.next(o.FeeCap.Big(), market); why != "" {
			return l.attend(ctx, fence, o, why)
		}
	}
	body, _, err := l.s.intentOf(ctx, o)
	if err != nil {
		return err
	}
	q := seal.BumpRequest{OperationID: o.ID, Intent: body, Head: l.s.headOf(o.Network)}
	if q.MaxFee, err = policy.AmountFromBig(wanted.maxFee); err != nil {
		return err
	}
	if q.Tip, err = policy.AmountFromBig(wanted.tip); err != nil {
		return err
	}
	// gofail: var bumpBeforeSeal struct{}
	result, err := l.s.seal.Bump(ctx, q)
	// gofail: var bumpAfterSeal struct{}
	if kind, refused := seal.KindOf(err); refused && (kind == seal.KindDenied || kind == seal.KindInvalid || kind == seal.KindConflict) {
		return l.attend(ctx, fence, o, attentionRefused+": "+message(err))
	}
	if err != nil {
		return l.unsigned(ctx, fence, o, err)
	}
	return l.keepVersion(ctx, fence, c, o, wanted, result)
}

// keepVersion writes the bytes of one more version, if none are there; they are read back and sent after that.
func (l *lane) keepVersion(ctx context.Context, fence *store.Fence, c *chain.Client, o *Operation, wanted offer, r *seal.BumpResult) error {
	signed, err := tx.Decode(c.Network().Kind, r.RawTx)
	if err != nil {
		return fmt.Errorf("operation: version %d of the transaction of %s: %w", r.Version, o.ID, err)
	}
	// Those between were signed for whoever asked and had no answer, or no fence by then: nobody has their bytes.
	if signed.Hash != r.TxHash || signed.Nonce != o.Nonce || int(r.Version) <= o.version() {
		return fmt.Errorf("operation: the seal's version %d of %s is %s with nonce %d; it is %s, and one after version %d with nonce %d was asked for",
			r.Version, o.ID, r.TxHash, signed.Nonce, signed.Hash, o.version(), o.Nonce)
	}
	b := l.s.storedTx(ctx, o, storedTx{r.RawTx, r.TxHash, signed.Nonce})
	// gofail: var bumpBeforeCommit struct{}
	_, err = l.change(ctx, fence, o.ID, func(o *Operation, t *store.Tx) (bool, error) {
		if o.Status != Broadcasting || o.version() >= int(r.Version) {
			return false, nil
		}
		t.PutIfAbsent(store.OpTx(o.ID, int(r.Version)), b)
		t.Put(store.TxOperation(r.TxHash), []byte(o.ID))
		o.Version, o.TransactionHash, o.Attention = int(r.Version), &r.TxHash, ""
		t.Audit(o.draft(registry.SystemActor(), "operation.resubmitted", map[string]any{"version": int(r.Version), "transactionHash": r.TxHash.String(),
			"nonce": signed.Nonce, "maxFee": wanted.maxFee.String(), "tip": wanted.tip.String(), "ledgerSequence": r.Sequence}))
		return true, nil
	})
	// gofail: var bumpAfterCommit struct{}
	if err != nil {
		return err
	}
	l.markSent(o.ID, false)
	return nil
}

// putOff says of an operation that is not signed that its cap does not pay for a block now, or that nodes contradict each
// other about it; other errors pass.
func (l *lane) putOff(ctx context.Context, fence *store.Fence, o *Operation, err error) error {
	var contested *contestedError
	if errors.As(err, &contested) {
		return cmp.Or(l.disagreed(ctx, fence, o, contested.attention), errNothingNew)
	}
	var dear *dearError
	if !errors.As(err, &dear) {
		return err
	}
	if err := l.attend(ctx, fence, o, attentionFeeCap+": "+dear.Error()); err != nil {
		return err
	}
	return errNothingNew
}

// attentionUnsigned begins the sentence about an operation that the ledger has no place for as things are.
const attentionUnsigned = "the seal does not sign it: "

// unsigned says of an operation why the token does not sign it, or the ledger takes no authorization of it, once that lasts;
// the error passes, and it is tried again.
func (l *lane) unsigned(ctx context.Context, fence *store.Fence, o *Operation, cause error) error {
	begins := ""
	switch kind, _ := seal.KindOf(cause); kind {
	case seal.KindHSM:
		begins = attentionHSM + ": "
	case seal.KindConflict:
		begins = attentionUnsigned
	}
	if begins == "" || strings.HasPrefix(o.Attention, begins) || !l.lasts(o.ID) {
		return cause
	}
	if err := l.attend(ctx, fence, o, begins+message(cause)); err != nil {
		return err
	}
	return cause
}

// lasts reports whether an operation's step failed for longer than passing faults take.
func (l *lane) lasts(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.retry[id].pause >= passing
}

// attend writes what a person should look at, once.
func (l *lane) attend(ctx context.Context, fence *store.Fence, o *Operation, attention string) error {
	if o.Attention == attention {
		return nil
	}
	_, err := l.change(ctx, fence, o.ID, func(o *Operation, t *store.Tx) (bool, error) {
		if o.Status.Terminal() || o.Attention == attention {
			return false, nil
		}
		o.Attention = attention
		t.Audit(o.draft(registry.SystemActor(), "operation.attention", map[string]any{"attention": attention}))
		return true, nil
	})
	return err
}
