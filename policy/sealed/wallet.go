package sealed

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// WalletCreate makes a wallet's key and attests it in the ledger. The key's id
// is the wallet's, so that a retry finds the key that an earlier one made.
func (r *room) WalletCreate(ctx context.Context, q seal.WalletCreateRequest) (_ *seal.WalletResult, err error) {
	defer r.count(seal.OpWalletCreate, &err)
	if r.token == nil {
		return nil, r.tokenError()
	}
	if err := r.walletWanted(q); err != nil {
		return nil, err
	}
	if w, ok, err := r.walletThere(ctx, q); ok || err != nil {
		return w, err
	}
	// One at a time, so that what the ledger would take when a key is made is what
	// it takes when the key is recorded.
	select {
	case r.creating <- struct{}{}:
		defer func() { <-r.creating }()
	case <-ctx.Done():
		return nil, seal.Errorf(seal.KindBusy, "other wallets are being made")
	}
	if w, ok, err := r.walletThere(ctx, q); ok || err != nil {
		return w, err
	}
	// A key is made only if the ledger would take a wallet now: the limits of the
	// charter are limits of keys, too.
	if err := r.submit(ctx, func(rd *round) error { return rd.reserve(q) }); err != nil {
		return nil, err
	}
	wrapping, err := r.wrapping(ctx)
	if err != nil {
		r.places.giveBack(q.WalletID)
		return nil, err
	}
	public, protection, err := r.token.CreateKey(ctx, q.WalletID, hsm.Scheme(q.Scheme), wrapping)
	if err != nil {
		if _, _, _, there := r.token.KeyPublic(ctx, q.WalletID); errors.Is(there, hsm.ErrNotFound) {
			r.places.giveBack(q.WalletID)
		}
		return nil, hsmError(err)
	}
	address, err := tx.Sender(q.Scheme.Kind(), public)
	if err != nil {
		return nil, seal.Errorf(seal.KindInvalid, "%v", err)
	}
	want := ledger.Wallet{WalletID: q.WalletID, VaultAccountID: q.VaultAccountID, Network: q.Network,
		Scheme: q.Scheme, PublicKey: public, Address: address}
	var out seal.WalletResult
	err = r.submit(ctx, func(rd *round) error {
		if have, ok := rd.stage.Wallet(q.WalletID); ok {
			if !sameWallet(have.Wallet, want) {
				return seal.Errorf(seal.KindDuplicate, "wallet %s is another one already", q.WalletID)
			}
			out = walletResult(*have, protection)
			return nil
		}
		out = walletResult(ledger.WalletRecord{Wallet: want, Recorded: ledger.Moment{Sequence: rd.sequence}}, protection)
		return rd.add(ledger.Record{Wallet: &want})
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// walletWanted refuses what no ledger takes, before a key is made.
func (r *room) walletWanted(q seal.WalletCreateRequest) error {
	for _, err := range []error{policy.CheckID("wallet", q.WalletID), policy.CheckID("vault", q.VaultAccountID),
		policy.CheckText(q.Label, maxLabel)} {
		if err != nil {
			return seal.Errorf(seal.KindInvalid, "%v", err)
		}
	}
	if !q.Scheme.Valid() {
		return seal.Errorf(seal.KindInvalid, "scheme %.40q is not known", q.Scheme)
	}
	return nil
}

const maxLabel = 256 // bytes

// walletThere is the answer to a request whose wallet the ledger holds.
func (r *room) walletThere(ctx context.Context, q seal.WalletCreateRequest) (_ *seal.WalletResult, ok bool, err error) {
	fold := r.known().fold
	if fold == nil {
		return nil, false, nil
	}
	w, ok := fold.Wallet(q.WalletID)
	if !ok || w.VaultAccountID != q.VaultAccountID || w.Network != q.Network || w.Scheme != q.Scheme {
		return nil, false, nil
	}
	// How its key is protected says the token that we reach, not the ledger.
	_, _, protection, err := r.token.KeyPublic(ctx, q.WalletID)
	if err != nil {
		return nil, false, hsmError(err)
	}
	out := walletResult(*w, protection)
	return &out, true, nil
}

// reserve refuses what the ledger would not take, and keeps a place in the
// charter's numbers for the wallet's key, whether or not a record follows.
func (rd *round) reserve(q seal.WalletCreateRequest) error {
	if rd.charter() == nil {
		return errNoCharter
	}
	charter := rd.charter()
	if rd.stage.Frozen(policy.Subject{ApplianceID: rd.room.appliance}) {
		return seal.Errorf(seal.KindDenied, "appliance %s is suspended", rd.room.appliance)
	}
	network, ok := charter.Network(q.Network)
	if !ok || network.Kind != q.Scheme.Kind() {
		return seal.Errorf(seal.KindInvalid, "the charter has no network %.64q for keys of %s", q.Network, q.Scheme)
	}
	if _, ok := rd.stage.Wallet(q.WalletID); ok {
		return seal.Errorf(seal.KindDuplicate, "wallet %s is another one already", q.WalletID)
	}
	wallets := rd.stage.Wallets()
	all, young := rd.room.places.others(q.WalletID, rd.now, wallets)
	for _, w := range wallets {
		all++
		if rd.now.Sub(w.Recorded.Time) < time.Hour {
			young++
		}
	}
	if all >= charter.WalletsTotal() {
		return seal.Errorf(seal.KindDenied, "there are %d wallets, the charter allows %d", all, charter.WalletsTotal())
	}
	if young >= charter.WalletsPerHour() {
		return seal.Errorf(seal.KindDenied, "%d wallets were made in the last hour, the charter allows %d", young, charter.WalletsPerHour())
	}
	rd.room.places.keep(q.WalletID, rd.now)
	return nil
}

// places are wallets that have, or may have, a key and no record: a commit that
// failed, a token that did not say what it did. Each counts as a wallet until it
// is one; asking for it again makes it one. They are known to this process only.
type places struct {
	mu sync.Mutex
	at map[string]time.Time // by wallet id
}

// others counts the places of other wallets, and those of the last hour. It lets
// go of those that became wallets.
func (p *places) others(walletID string, now time.Time, wallets []*ledger.WalletRecord) (all, young int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range wallets {
		delete(p.at, w.WalletID)
	}
	for id, at := range p.at {
		if id == walletID {
			continue
		}
		all++
		if now.Sub(at) < time.Hour {
			young++
		}
	}
	return all, young
}

func (p *places) keep(walletID string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == nil {
		p.at = map[string]time.Time{}
	}
	if _, ok := p.at[walletID]; !ok {
		p.at[walletID] = now
	}
}

func (p *places) giveBack(walletID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.at, walletID)
}

func sameWallet(a, b ledger.Wallet) bool {
	return a.WalletID == b.WalletID && a.VaultAccountID == b.VaultAccountID && a.Network == b.Network &&
		a.Scheme == b.Scheme && a.Address == b.Address && bytes.Equal(a.PublicKey, b.PublicKey)
}

func walletResult(w ledger.WalletRecord, p hsm.Protection) seal.WalletResult {
	return seal.WalletResult{Sequence: w.Recorded.Sequence, WalletID: w.WalletID, VaultAccountID: w.VaultAccountID, Network: w.Network,
		Scheme: w.Scheme, PublicKey: w.PublicKey, Address: w.Address, Protection: string(p)}
}
