package ledger

import (
	"errors"
	"fmt"

	"github.com/mintwarden/mintwarden/policy"
)

var errOneMember = errors.New("a record has exactly one member")

// Type is the record's, empty if not exactly one member is set.
func (r *Record) Type() Type {
	var found Type
	members := 0
	for _, m := range []struct {
		set  bool
		kind Type
	}{
		{r.Charter != nil, TypeCharter}, {r.Policy != nil, TypePolicy}, {r.Binding != nil, TypeBinding},
		{r.Decision != nil, TypeDecision}, {r.Request != nil, TypeRequest}, {r.Freeze != nil, TypeFreeze}, {r.Join != nil, TypeJoin},
		{r.Recover != nil, TypeRecover}, {r.DeployBinding != nil, TypeBinding}, {r.EventFreeze != nil, TypeFreeze},
		{r.Wallet != nil, TypeWallet}, {r.Authorize != nil, TypeAuthorize}, {r.Bump != nil, TypeBump},
		{r.Cancel != nil, TypeCancel}, {r.Settle != nil, TypeSettle}, {r.Checkpoint != nil, TypeCheckpoint},
		{r.Trim != nil, TypeTrim},
	} {
		if m.set {
			found = m.kind
			members++
		}
	}
	if members != 1 {
		return ""
	}
	return found
}

// envelopeOf is where the envelope of a type of record stands, nil if the type has none.
func (r *Record) envelopeOf(t Type) **Enveloped {
	switch t {
	case TypeCharter:
		return &r.Charter
	case TypePolicy:
		return &r.Policy
	case TypeBinding:
		return &r.Binding
	case TypeDecision:
		return &r.Decision
	case TypeRequest:
		return &r.Request
	case TypeFreeze:
		return &r.Freeze
	case TypeJoin:
		return &r.Join
	case TypeRecover:
		return &r.Recover
	}
	return nil
}

// enveloped is the envelope, nil if the record has none.
func (r *Record) enveloped() *Enveloped {
	if place := r.envelopeOf(r.Type()); place != nil {
		return *place
	}
	return nil
}

// check is nil if exactly one member is set and its fields are within their ranges. It knows
// nothing of other records.
func (r *Record) check() error {
	t := r.Type()
	if t == "" {
		return errOneMember
	}
	switch {
	case r.EventFreeze != nil:
		return errors.Join(policy.CheckID("token", r.EventFreeze.TokenID), policy.CheckText(r.EventFreeze.Event, MaxReason))
	case r.DeployBinding != nil:
		return r.DeployBinding.Check()
	case r.Wallet != nil:
		return r.Wallet.check()
	case r.Authorize != nil:
		return r.Authorize.check()
	case r.Bump != nil:
		return r.Bump.check()
	case r.Cancel != nil:
		return errors.Join(policy.CheckID("op", r.Cancel.OperationID), policy.CheckText(r.Cancel.Reason, MaxReason))
	case r.Settle != nil:
		if r.Settle.TxHash.IsZero() {
			return fmt.Errorf("settle of %.64q: txHash is zero", r.Settle.OperationID)
		}
		return policy.CheckID("op", r.Settle.OperationID)
	case r.Checkpoint != nil:
		return errors.Join(checkDigest("root", r.Checkpoint.Root), checkInteger("size", r.Checkpoint.Size))
	case r.Trim != nil:
		if r.Trim.FirstKept == 0 {
			return fmt.Errorf("firstKept 0: sequences begin at 1")
		}
		return errors.Join(checkDigest("snapshot", r.Trim.Snapshot), checkInteger("firstKept", r.Trim.FirstKept))
	}
	return nil
}

func (w *Wallet) check() error {
	if !w.Scheme.Valid() || len(w.PublicKey) != w.Scheme.PublicKeySize() {
		return fmt.Errorf("wallet %.64q: scheme %.40q with a public key of %d bytes", w.WalletID, string(w.Scheme), len(w.PublicKey))
	}
	if w.Address.IsZero() {
		return fmt.Errorf("wallet %.64q: address is zero", w.WalletID)
	}
	return errors.Join(policy.CheckID("wallet", w.WalletID), policy.CheckID("vault", w.VaultAccountID), policy.CheckName(w.Network))
}

// maxCharges bounds an authorization's; an intent makes at most one today.
const maxCharges = 8

func (a *Authorize) check() error {
	if len(a.Charges) > maxCharges {
		return fmt.Errorf("%d charges, at most %d", len(a.Charges), maxCharges)
	}
	for i, c := range a.Charges {
		if c.Contract.IsZero() || c.ChainID == 0 || c.ChainID > MaxInteger {
			return fmt.Errorf("charge on chain %d, contract %s", c.ChainID, c.Contract)
		}
		if !c.Operation.HasAmount() || c.Operation.Counted() != c.Operation {
			return fmt.Errorf("charge of operation %.40q, which has no limit of its own", string(c.Operation))
		}
		for _, d := range a.Charges[:i] {
			if d.counter() == c.counter() {
				return fmt.Errorf("two charges on chain %d, contract %s, %s", c.ChainID, c.Contract, c.Operation)
			}
		}
	}
	if a.GasLimit == 0 || a.Tx.IsZero() {
		return fmt.Errorf("gas limit %d, tx %s: neither is zero", a.GasLimit, a.Tx)
	}
	return errors.Join(policy.CheckID("op", a.OperationID), policy.CheckID("wallet", a.WalletID), checkDigest("intent", a.Intent),
		checkInteger("nonce", a.Nonce), checkInteger("gasLimit", a.GasLimit), checkFees(a.MaxFee, a.Tip), checkTime("expiry", a.Expiry))
}

func (b *Bump) check() error {
	if b.Version < 2 || b.Version > MaxVersions || b.Tx.IsZero() {
		return fmt.Errorf("bump of %.64q: version %d (2 to %d), tx %s", b.OperationID, b.Version, MaxVersions, b.Tx)
	}
	return errors.Join(policy.CheckID("op", b.OperationID), checkFees(b.MaxFee, b.Tip))
}

func checkFees(maxFee, tip policy.Amount) error {
	if maxFee.Is0() || tip.Cmp(maxFee) > 0 {
		return fmt.Errorf("max fee %s, tip %s: want a max fee above 0 and a tip of at most that", maxFee, tip)
	}
	return nil
}

func checkInteger(name string, n uint64) error {
	if n > MaxInteger {
		return fmt.Errorf("%s %d: at most 2^53-1", name, n)
	}
	return nil
}

func checkDigest(name string, d policy.Digest) error {
	if !d.Valid() {
		return fmt.Errorf("%s %.80q is not a digest", name, string(d))
	}
	return nil
}
