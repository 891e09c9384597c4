package sealed

import (
	"context"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// foreign reads the transaction that somebody else made of an intent, nil where nobody did. What it does is
// decoded here, from its bytes; it must be what the intent says, byte for byte what the intent makes, and offer
// what the request offers. No hash of anybody's is looked at.
func foreign(i *policy.Intent, q seal.AuthorizeRequest) (*tx.Unsigned, error) {
	if len(q.Unsigned) == 0 {
		return nil, nil
	}
	u, err := i.Foreign(q.Unsigned)
	if err != nil {
		return nil, seal.Errorf(seal.KindInvalid, "%v", err)
	}
	if u.Gas != q.GasLimit || u.MaxFee.Cmp(q.MaxFee.Big()) != 0 || u.Tip.Cmp(q.Tip.Big()) != 0 {
		return nil, seal.Errorf(seal.KindInvalid, "the transaction has gas limit %d, max fee %s and tip %s, the request says %d, %s and %s",
			u.Gas, u.MaxFee, u.Tip, q.GasLimit, q.MaxFee, q.Tip)
	}
	return u, nil
}

// foreignTurn holds a foreign transaction's nonce against the lane's next one: who made it counts by the
// chain, the ledger by what it gave. A lower one belongs to an operation for ever; a higher one's turn comes
// when those before it were signed.
func (q *wanted) foreignTurn(w ledger.Wallet, nonce uint64) error {
	switch {
	case q.foreign == nil || q.foreign.Nonce == nonce:
		return nil
	case q.foreign.Nonce < nonce:
		return seal.Errorf(seal.KindInvalid, "nonce %d of wallet %s belongs to another operation; the lane's next one is %d", q.foreign.Nonce, w.WalletID, nonce)
	}
	return seal.Errorf(seal.KindWait, "nonce %d of wallet %s is not reached yet; the lane's next one is %d", q.foreign.Nonce, w.WalletID, nonce)
}

// sameForeign refuses to sign, under an authorization that was recorded before, other bytes than it is of.
func (q *wanted) sameForeign(a ledger.Authorize) error {
	if q.foreign == nil {
		return nil
	}
	if hash, err := q.foreign.SigningHash(); err != nil || hash != a.Tx {
		return seal.Errorf(seal.KindConflict, "operation %s was authorized with nonce %d for the transaction %s, this is another one", a.OperationID, a.Nonce, a.Tx)
	}
	return nil
}

// WalletProve signs that a wallet of the ledger is ours. What is signed follows from the wallet's address
// alone and is the encoding of no transaction: it moves nothing, and the same request gives the same proof of
// the same thing, so that the ledger need not remember it.
func (r *room) WalletProve(ctx context.Context, q seal.WalletProveRequest) (_ *seal.WalletProof, err error) {
	defer r.count(seal.OpWalletProve, &err)
	if r.token == nil {
		return nil, r.tokenError()
	}
	known := r.known()
	if known.fold == nil {
		return nil, errNoCharter
	}
	if known.doubt != nil {
		return nil, seal.Errorf(seal.KindStore, "the store is in doubt; nothing is signed")
	}
	charter, _ := known.fold.Charter()
	if charter == nil {
		return nil, errNoCharter
	}
	if known.fold.Frozen(policy.Subject{ApplianceID: r.appliance}) {
		return nil, seal.Errorf(seal.KindDenied, "appliance %s is suspended", r.appliance)
	}
	w, ok := known.fold.Wallet(q.WalletID)
	if !ok {
		return nil, seal.Errorf(seal.KindInvalid, "wallet %.64q is not in the ledger", q.WalletID)
	}
	network, ok := charter.Network(w.Network)
	if !ok {
		return nil, seal.Errorf(seal.KindInvalid, "network %s of wallet %s is not in the charter", w.Network, w.WalletID)
	}
	if err := mayUse(charter, network.ChainID); err != nil {
		return nil, err
	}
	signature, err := r.signDigest(ctx, tx.OwnershipDigest(w.Address), w.Wallet)
	if err != nil {
		return nil, err
	}
	return &seal.WalletProof{WalletID: w.WalletID, Address: w.Address, PublicKey: w.PublicKey, Signature: signature}, nil
}
