package sealed

import (
	"bytes"
	"context"
	"fmt"
	"maps"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func (r *room) ledgerKeyID() string { return ledgerKeys + r.appliance }

// ledgerKey is the public half of this appliance's ledger key in the token.
func (r *room) ledgerKey(ctx context.Context) (policy.PublicKey, error) {
	pub, err := r.token.Ed25519Public(ctx, r.ledgerKeyID())
	if err != nil {
		return policy.PublicKey{}, hsmError(err)
	}
	return policy.NewPublicKey(pub)
}

// Init makes the keys of this appliance, those that are not there yet, and
// returns what a charter has to say of it. Once a charter names this appliance it
// makes nothing any more.
func (r *room) Init(ctx context.Context) (_ *seal.InitResult, err error) {
	defer r.count(seal.OpInit, &err)
	if r.token == nil {
		return nil, r.tokenError()
	}
	fold := r.known().fold
	if fold != nil && headOf(fold) > 0 && !named(fold, r.appliance) {
		// An appliance that is to join makes a ledger key of its own; the keys that
		// wallets are wrapped with it shares, or could sign for none of them.
		if _, err := r.token.GenerateEd25519(ctx, r.ledgerKeyID(), r.ledgerKeyID()); err != nil {
			return nil, hsmError(err)
		}
	}
	if fold == nil || headOf(fold) == 0 {
		if err := r.token.GenerateAESWrappingKey(ctx, wrappingKey, wrappingKey); err != nil {
			return nil, hsmError(err)
		}
		for _, id := range []string{r.ledgerKeyID(), canaryKey} {
			if _, err := r.token.GenerateEd25519(ctx, id, id); err != nil {
				return nil, hsmError(err)
			}
		}
	}
	return r.identity(ctx)
}

func named(f *ledger.Fold, appliance string) bool {
	c, _ := f.Charter()
	if c == nil {
		return false
	}
	_, ok := c.Appliance(appliance)
	return ok
}

// identity is what a charter must say of this appliance.
func (r *room) identity(ctx context.Context) (*seal.InitResult, error) {
	key, err := r.ledgerKey(ctx)
	if err != nil {
		return nil, err
	}
	wrapping, err := r.wrapping(ctx)
	if err != nil {
		return nil, err
	}
	checks := map[string]string{}
	for _, id := range []string{r.ledgerKeyID(), wrapping, canaryKey} {
		if checks[id], err = r.token.CheckValue(ctx, id); err != nil {
			return nil, hsmError(err)
		}
	}
	return &seal.InitResult{LedgerKey: key, UnsealKey: r.unsealKey,
		Token: seal.Token{Serial: r.token.Serial(), CheckValues: checks}}, nil
}

// ours refuses a charter that says of this appliance what is not so.
func (r *room) ours(ctx context.Context, c *policy.Charter) error {
	a, ok := c.Appliance(r.appliance)
	if !ok {
		return seal.Errorf(seal.KindInvalid, "appliance %s is not in the charter", r.appliance)
	}
	me, err := r.identity(ctx)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		what string
		same bool
	}{
		{"ledger key", a.LedgerKey == me.LedgerKey},
		{"unseal key", bytes.Equal(a.UnsealKey, me.UnsealKey)},
		{"token serial", a.Token.Serial == me.Token.Serial},
		{"key check values", maps.Equal(a.Token.CheckValues, me.Token.CheckValues) || r.saidBefore(a)},
	} {
		if !f.same {
			return seal.Errorf(seal.KindInvalid, "the charter says another %s of appliance %s than init does", f.what, r.appliance)
		}
	}
	if err := r.production(c); err != nil {
		return seal.Errorf(seal.KindInvalid, "%v", err)
	}
	if c.Environment == policy.Production && r.custody.bareKey {
		r.log.Warn("the unseal key stands unencrypted in the state directory: with the disk and a recorded unsealing somebody has the shares ([unseal] key_credential in seal.toml)")
	}
	return nil
}

// saidBefore is true of check values that the charter in force has, too: the wrapping
// key may have been rotated since they were so, and a charter that leaves them says
// nothing new. Whoever changes them says what is so.
func (r *room) saidBefore(a *policy.Appliance) bool {
	fold := r.known().fold
	if fold == nil || headOf(fold) == 0 {
		return false
	}
	c, _ := fold.Charter()
	was, ok := c.Appliance(a.ID)
	return ok && maps.Equal(was.Token.CheckValues, a.Token.CheckValues)
}

func headOf(f *ledger.Fold) uint64 {
	sequence, _ := f.Head()
	return sequence
}

// Status answers whatever state the seal is in. A token that cannot be used has a
// label and no serial; the log, and every request that needs it, says why.
func (r *room) Status(ctx context.Context) (*seal.Status, error) {
	known := r.known()
	s := &seal.Status{Sealed: r.sealed(), ApplianceID: r.appliance, Author: known.author, Version: r.version,
		HSM: seal.HSM{Label: r.tokenLabel}, Head: policy.NoDigest}
	if r.token != nil {
		s.HSM.Serial = r.token.Serial()
	}
	if s.Sealed {
		s.Why, s.Unsealing = r.unsealing(ctx)
	} else if r.tokenFault != nil {
		s.Why = fmt.Sprintf("the token cannot be used: %v", r.tokenFault)
	}
	if f := known.fold; f != nil {
		s.Sequence, s.Head = f.Head()
		s.Term, s.Instance = f.Term(), f.Instance()
		s.Initialized = s.Sequence > 0
		s.Doubt = known.doubtOf(f)
	}
	return s, nil
}
