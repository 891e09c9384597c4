package operation

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Foreign is a transaction that somebody else made for a wallet of ours: the appliance only signs it, whoever
// made it sends it. It becomes an operation like every other, under the same policies and approvals, with two
// differences: the seal signs exactly these bytes or nothing, so that fees are never raised here, and the
// signature goes to the maker, through a Courier, in place of a node.
type Foreign struct {
	Ref      string // the maker's id of it, one that ValidRef takes
	WalletID string // who is to sign
	Unsigned []byte // the exact bytes
}

// Courier knows the maker of foreign transactions. Its methods are called again after every crash, so each MUST
// be safe to repeat. An error is tried again later, unless it is of the types below.
type Courier interface {
	// Wanted is nil if the maker still wants exactly these bytes to be signed; *Unwanted if it never will again.
	Wanted(ctx context.Context, ref string, unsigned []byte) error
	// Deliver hands the signature over and reports whether this appliance is to send the bytes as well;
	// *Undelivered if the maker does not take it.
	Deliver(ctx context.Context, o *Operation, signed *tx.Signed) (send bool, err error)
}

// Unwanted ends a foreign operation that is not signed yet.
type Unwanted struct {
	Changed bool // the maker shows other bytes under the same id now: FAILED; else it gave it up: CANCELLED
	Reason  string
}

func (e *Unwanted) Error() string { return e.Reason }

// Undelivered is an operation's attention: its signature is ready, and its maker refuses it.
type Undelivered struct{ Reason string }

func (e *Undelivered) Error() string { return e.Reason }

// ChangedError says that a foreign transaction became an operation before, with other bytes.
type ChangedError struct{ Ref, OperationID string }

func (e *ChangedError) Error() string {
	return fmt.Sprintf("operation: transaction %s became operation %s with other bytes than these", e.Ref, e.OperationID)
}

// attentionCourier begins the attention of an operation whose maker does not take the signature.
const attentionCourier = "CALLBACK"

var errNoCourier = errors.New("operation: a foreign transaction waits for a signer that this appliance is not configured as; every appliance of a store needs the same [callback]")

var refForm = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$`)

// ValidRef reports whether a maker's id can be kept: 1 to 64 letters, digits, hyphens and underscores.
func ValidRef(ref string) bool { return refForm.MatchString(ref) }

// Courier makes c the one who knows the makers of foreign transactions. It is called before RunWorker.
func (s *Service) Courier(c Courier) { s.courier = c }

// foreignRecord is the value of a foreign transaction's key.
type foreignRecord struct {
	OperationID string        `json:"operationId"`
	Unsigned    policy.Digest `json:"unsigned"`
}

// OfForeign is the operation that a foreign transaction became; ok is false if it became none.
func (s *Service) OfForeign(ctx context.Context, ref string) (id string, ok bool, err error) {
	r, ok, err := s.foreignRecord(ctx, ref)
	return r.OperationID, ok, err
}

func (s *Service) foreignRecord(ctx context.Context, ref string) (r foreignRecord, ok bool, err error) {
	if !ValidRef(ref) {
		return r, false, registry.Refuse(registry.Validation, "%.80q is no transaction's id: want 1 to 64 letters, digits, hyphens and underscores", ref)
	}
	v, _, ok, err := s.store.Get(ctx, store.Foreign(ref))
	if err != nil || !ok {
		return r, false, err
	}
	if err := json.Unmarshal(v, &r, json.RejectUnknownMembers(true)); err != nil {
		return r, false, fmt.Errorf("operation: %s: %w", store.Foreign(ref), err)
	}
	return r, true, nil
}

// SubmitForeign makes a foreign transaction an operation, or finds the one that it became. What the operation
// is follows from the bytes alone. Refusals are *registry.Refusal, as Submit's; other bytes under an id that
// became an operation before are a *ChangedError.
func (s *Service) SubmitForeign(ctx context.Context, a registry.Actor, f Foreign) (*Operation, error) {
	for try := 1; ; try++ {
		o, err := s.submitForeign(ctx, a, f)
		if !lostRace(err) || try == submitTries {
			return o, err
		}
	}
}

func (s *Service) submitForeign(ctx context.Context, a registry.Actor, f Foreign) (*Operation, error) {
	if err := s.index.ready(ctx); err != nil {
		return nil, err
	}
	r, ok, err := s.foreignRecord(ctx, f.Ref)
	switch {
	case err != nil:
		return nil, err
	case ok && r.Unsigned != policy.DigestOf(f.Unsigned):
		return nil, &ChangedError{Ref: f.Ref, OperationID: r.OperationID}
	case ok:
		return s.Get(ctx, r.OperationID)
	}
	request, u, err := s.readForeign(ctx, &f)
	if err != nil {
		return nil, err
	}
	if err := checkShape(request); err != nil {
		return nil, err
	}
	p, err := s.plan(ctx, a, request)
	if err != nil {
		return nil, err
	}
	p.foreign, p.unsigned = &f, u
	for _, check := range []func() error{p.checkState, p.checkTemplate, p.checkValues, func() error { return s.checkPending(a) }} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return s.judgeAndCreate(ctx, a, p, nil)
}

// readForeign is the request that would have made the same transaction. Whatever it does not say, no operation
// of ours does, and it is refused.
func (s *Service) readForeign(ctx context.Context, f *Foreign) (*Request, *tx.Unsigned, error) {
	w, err := s.registry.Wallet(ctx, f.WalletID)
	if err != nil {
		return nil, nil, err
	}
	read, err := policy.ReadForeign(w.Scheme.Kind(), w.Address, f.Unsigned)
	if err != nil {
		return nil, nil, registry.Refuse(registry.Validation, "transaction %s: %s", f.Ref, err)
	}
	fold := s.registry.Fold()
	charter, _ := fold.Charter()
	u := read.Unsigned
	if network, ok := charter.Network(w.Network); !ok || network.ChainID != u.ChainID {
		return nil, nil, registry.Refuse(registry.Validation, "transaction %s is for chain id %d, which is not that of wallet %s", f.Ref, u.ChainID, w.ID)
	}
	if next := fold.NextNonce(w.ID); u.Nonce < next {
		return nil, nil, registry.Refuse(registry.TxStateConflict, "transaction %s has nonce %d of wallet %s, which belongs to another operation; the lane's next one is %d",
			f.Ref, u.Nonce, w.ID, next)
	}
	b, ok := fold.BindingByContract(u.ChainID, read.Contract)
	if !ok || b.Network != w.Network {
		return nil, nil, registry.Refuse(registry.NotFound, "transaction %s calls %s, which is no token of ours", f.Ref, read.Contract)
	}
	party := func(a *tx.Address) *Party {
		if a == nil {
			return nil
		}
		return &Party{Type: PartyAddress, Address: a.String()}
	}
	r := &Request{Type: read.Type, TokenID: b.TokenID, Recipient: party(read.Params.Recipient), From: party(read.Params.Source),
		Subject: party(read.Params.Subject), Role: string(read.Params.Role), PerformedBy: &Party{Type: PartyWallet, WalletID: w.ID}}
	if read.Params.Amount != nil {
		text := read.Params.Amount.String()
		r.Amount = &text
	}
	return r, u, nil
}

// checkForeign holds the intent that people will sign against the bytes that it was read from, as the seal will.
func (p *plan) checkForeign(i *policy.Intent) error {
	if p.foreign == nil {
		return nil
	}
	if _, err := i.Foreign(p.foreign.Unsigned); err != nil {
		return registry.Refuse(registry.Validation, "transaction %s: %s", p.foreign.Ref, err)
	}
	return nil
}

// stageForeign writes the bytes beside the operation, and under their maker's id which operation they became.
func (p *plan) stageForeign(t *store.Tx, o *Operation, asked map[string]any) {
	if p.foreign == nil {
		return
	}
	b, err := json.Marshal(foreignRecord{o.ID, policy.DigestOf(p.foreign.Unsigned)})
	if err != nil {
		panic(fmt.Sprintf("operation: %s: %v", o.ID, err)) // two strings encode
	}
	o.Foreign = p.foreign.Ref
	t.PutIfAbsent(store.OpUnsigned(o.ID), p.foreign.Unsigned)
	t.PutIfAbsent(store.Foreign(o.Foreign), b)
	asked["foreignTransaction"], asked["signingHash"] = o.Foreign, tx.HashOf(p.foreign.Unsigned).String()
}

// foreignOffer fills in what a foreign operation's own bytes say, for the seal signs nothing else of it.
// errNothingNew: lower nonces come first.
func (s *Service) foreignOffer(ctx context.Context, o *Operation, i *policy.Intent, r *seal.AuthorizeRequest) error {
	if o.Foreign == "" {
		return nil
	}
	raw, _, ok, err := s.store.Get(ctx, store.OpUnsigned(o.ID))
	if err != nil || !ok {
		return errors.Join(err, missing(ok, "the transaction of "+o.ID))
	}
	u, err := tx.DecodeUnsigned(i.Scheme.Kind(), raw)
	if err != nil {
		return fmt.Errorf("operation: the transaction of %s: %w", o.ID, err)
	}
	if !o.Authorized && u.Nonce > s.registry.Fold().NextNonce(o.WalletID) {
		return errNothingNew
	}
	r.Unsigned, r.GasLimit = raw, u.Gas
	if r.MaxFee, err = policy.AmountFromBig(u.MaxFee); err != nil {
		return err
	}
	r.Tip, err = policy.AmountFromBig(u.Tip)
	return err
}

// wanted asks a foreign operation's maker, before anything is signed and a nonce is spent, whether it is still
// about the bytes that people approved. why ends the operation.
func (s *Service) wanted(ctx context.Context, o *Operation, r *seal.AuthorizeRequest) (why *end, err error) {
	if o.Foreign == "" {
		return nil, nil
	}
	if s.courier == nil {
		return nil, errNoCourier
	}
	err = s.courier.Wanted(ctx, o.Foreign, bytes.Clone(r.Unsigned))
	var no *Unwanted
	if !errors.As(err, &no) {
		return nil, err
	}
	if no.Changed {
		return &end{Failed, attentionCourier + ": " + no.Reason}, nil
	}
	return &end{Cancelled, attentionCourier + ": " + no.Reason}, nil
}

// deliver hands a foreign operation's signature to its maker. Bytes that were in a block before are everybody's:
// after a reorg they are sent from here as well, like all others.
func (s *Service) deliver(c *chain.Client, o *Operation, send func(context.Context, []byte) error) func(context.Context, []byte) error {
	return func(ctx context.Context, raw []byte) error {
		if s.courier == nil {
			return errNoCourier
		}
		signed, err := tx.Decode(c.Network().Kind, raw)
		if err != nil {
			return fmt.Errorf("operation: the signed transaction of %s: %w", o.ID, err)
		}
		too, err := s.courier.Deliver(ctx, o, signed)
		if err != nil {
			return err
		}
		if too || slices.ContainsFunc(o.History, func(s Step) bool { return s.Status == Confirming }) {
			return send(ctx, raw)
		}
		return nil
	}
}

// sendRefusal is what a person should look at where bytes were not taken: a node's no, or a maker's.
func sendRefusal(err error) (attention string, ok bool) {
	var rejected *chain.RejectedError
	if errors.As(err, &rejected) {
		return "TX_BROADCAST_FAILED: " + rejected.Message, true
	}
	var no *Undelivered
	if errors.As(err, &no) {
		return attentionCourier + ": " + no.Reason, true
	}
	return "", false
}
