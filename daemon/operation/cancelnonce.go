package operation

import (
	"context"
	"fmt"
	"strconv"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// NonceRequest asks for a nonce of a wallet's lane to be used up by a transaction that does nothing.
type NonceRequest struct {
	WalletID    string
	Nonce       string // decimal, as the caller wrote it
	FeeStrategy FeeStrategy
	Replaces    string // a FAILED CANCEL; empty: none
}

// CancelNonce submits a CANCEL: an operation without a token, which the policies of the wallet's vault account
// and of all judge. The nonce must be the lane's next one, or one that a recovery left open: the ledger gave all
// others to operations, and takes none of them back. Otherwise it is Submit.
func (s *Service) CancelNonce(ctx context.Context, a registry.Actor, r NonceRequest, idem *store.Idempotent) (*Operation, error) {
	if r.FeeStrategy == "" {
		r.FeeStrategy = chain.Medium
	}
	if err := s.index.ready(ctx); err != nil {
		return nil, err
	}
	p, err := s.planCancel(ctx, a, &r)
	if err != nil {
		return nil, err
	}
	if err := s.checkNonce(ctx, p); err != nil {
		return nil, err
	}
	if err := s.checkReplaces(ctx, p); err != nil {
		return nil, err
	}
	if err := s.checkPending(a); err != nil {
		return nil, err
	}
	return s.judgeAndCreate(ctx, a, p, idem)
}

func (s *Service) planCancel(ctx context.Context, a registry.Actor, r *NonceRequest) (*plan, error) {
	w, err := s.registry.Wallet(ctx, r.WalletID)
	if err != nil {
		return nil, err
	}
	if w.Status != registry.WalletActive {
		return nil, registry.Refuse(registry.VaultNotFound, "wallet %s is %s; an active one is needed", w.ID, w.Status)
	}
	p := &plan{
		id: store.NewID(IDPrefix), request: &Request{Type: policy.OpCancel, FeeStrategy: r.FeeStrategy, Replaces: r.Replaces},
		requester: a.Name, now: s.now(), token: &registry.Token{Network: w.Network}, wallet: w,
	}
	var ok bool
	if p.chain, ok = s.chains[w.Network]; !ok {
		return nil, registry.Refuse(registry.Validation, "network %s of wallet %s is not in this appliance's configuration", w.Network, w.ID)
	}
	charter, _ := s.registry.Fold().Charter()
	if p.network, ok = charter.Network(w.Network); !ok {
		return nil, registry.Refuse(registry.Validation, "network %s of wallet %s is not in the charter", w.Network, w.ID)
	}
	n, err := strconv.ParseUint(r.Nonce, 10, 64)
	if err != nil || fmt.Sprint(n) != r.Nonce {
		return nil, registry.Refuse(registry.Validation, "nonce %.30q is not a decimal number below 2^64", r.Nonce)
	}
	p.nonce = &n
	return p, nil
}

// checkNonce refuses a nonce that the ledger would not give to a CANCEL, which has the last word, and one that a
// recovery left open and the chain has used up: that gap is none.
func (s *Service) checkNonce(ctx context.Context, p *plan) error {
	fold, n := s.registry.Fold(), *p.nonce
	next := fold.NextNonce(p.wallet.ID)
	switch {
	case n == next:
		return nil
	case fold.Gap(p.wallet.ID, n):
		used, err := p.chain.NonceAt(ctx, p.wallet.Address, nil)
		if err != nil || n >= used {
			return err
		}
		return registry.Refuse(registry.TxStateConflict, "nonce %d of wallet %s is used up on the chain, whose next one is %d; there is nothing to fill", n, p.wallet.ID, used)
	case n < next:
		return registry.Refuse(registry.TxStateConflict, "nonce %d of wallet %s belongs to an operation already; the lane's next one is %d", n, p.wallet.ID, next)
	}
	return registry.Refuse(registry.TxStateConflict, "nonce %d of wallet %s is not reached yet; the lane's next one is %d", n, p.wallet.ID, next)
}
