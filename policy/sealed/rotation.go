package sealed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Wrapping keys have generations: the first is wrappingKey, the n-th has a hyphen and n
// behind that. The highest that the token holds is the one in use; that there is another
// beside it says that a rotation is not finished.

// generation is a wrapping key's, 0 of an id that is none.
func generation(id string) int {
	if id == wrappingKey {
		return 1
	}
	text, ok := strings.CutPrefix(id, wrappingKey+"-")
	n, err := strconv.Atoi(text)
	if !ok || err != nil || n < 2 || strconv.Itoa(n) != text {
		return 0
	}
	return n
}

func wrappingKeyOf(generation int) string {
	if generation < 2 {
		return wrappingKey
	}
	return fmt.Sprint(wrappingKey, "-", generation)
}

// wrappingKeys are those that the token holds, the one in use last.
func (r *room) wrappingKeys(ctx context.Context) ([]string, error) {
	ids, err := r.token.AESKeys(ctx, wrappingKey)
	if err != nil {
		return nil, hsmError(err)
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return generation(id) == 0 })
	slices.SortFunc(ids, func(a, b string) int { return generation(a) - generation(b) })
	return ids, nil
}

// wrapping is the one in use.
func (r *room) wrapping(ctx context.Context) (string, error) {
	ids, err := r.wrappingKeys(ctx)
	if err != nil {
		return "", err
	}
	if len(ids) == 0 { // init makes it; a token that does not show it is not gone by
		return "", seal.Errorf(seal.KindHSM, "the token shows no wrapping key")
	}
	return ids[len(ids)-1], nil
}

// Rotate wraps every key that the token keeps wrapped under a new key of the token, on a
// document of the threshold, and destroys the old one last. The document names the next
// generation, so it counts once; handed in again it finishes what was cut short, as does
// the next start. Wallets sign meanwhile.
func (r *room) Rotate(ctx context.Context, e *policy.Envelope) (_ *seal.Rotated, err error) {
	defer r.count(seal.OpRotate, &err)
	if r.token == nil {
		return nil, r.tokenError()
	}
	d, err := r.rotateDocument(e)
	if err != nil {
		return nil, err
	}
	if err := r.alone(ctx); err != nil {
		return nil, err
	}
	defer func() { <-r.creating }()
	ids, err := r.wrappingKeys(ctx)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, seal.Errorf(seal.KindInvalid, "the token holds no wrapping key")
	}
	current := ids[len(ids)-1]
	next := wrappingKeyOf(generation(current) + 1)
	switch {
	case d.WrappingKey == current && len(ids) > 1, d.WrappingKey == current && current != wrappingKey: // goes on, or is done
	case len(ids) > 1:
		return nil, seal.Errorf(seal.KindConflict, "the rotation to %s is not finished", current)
	case d.WrappingKey != next:
		return nil, seal.Errorf(seal.KindInvalid, "the wrapping key is %s, the document names %s; the next is %s", current, d.WrappingKey, next)
	default:
		if err := r.token.GenerateAESWrappingKey(ctx, next, next); err != nil {
			return nil, hsmError(err)
		}
		r.log.Warn("wrapping key rotates", "from", current, "to", next, "document", e.PayloadDigest())
	}
	return r.rewrapped(ctx)
}

// rotateDocument is what the threshold signed for this appliance.
func (r *room) rotateDocument(e *policy.Envelope) (*policy.Rotate, error) {
	known := r.known()
	if known.fold == nil || !known.ready {
		return nil, seal.Errorf(seal.KindStore, "who the custodians are is in the ledger, which is not read, or in doubt: %v", known.doubt)
	}
	c, digest := known.fold.Charter()
	if c == nil {
		return nil, errNoCharter
	}
	if _, err := c.VerifyThreshold(policy.DocRotate, e); err != nil {
		return nil, seal.Errorf(seal.KindInvalid, "%v", err)
	}
	d, err := policy.ParseRotate(e.Payload)
	switch {
	case err != nil:
		return nil, seal.Errorf(seal.KindInvalid, "%v", err)
	case d.Instance != c.Instance || d.ApplianceID != r.appliance:
		return nil, seal.Errorf(seal.KindInvalid, "the document is for appliance %s of instance %s, this is %s of %s", d.ApplianceID, d.Instance, r.appliance, c.Instance)
	case d.Charter != digest:
		return nil, seal.Errorf(seal.KindInvalid, "the document is of charter %s, in force is %s", d.Charter, digest)
	}
	// Another process could wrap a new wallet's key under the old one in the moment in
	// which that goes.
	other, err := r.usesToken(known.fold, c)
	if err == nil && other != "" {
		err = seal.Errorf(seal.KindInvalid, "appliance %s uses the same token, and could make a wallet's key under the old wrapping key meanwhile; a custodian suspends it first", other)
	}
	return d, err
}

// alone waits until no wallet is being made; who has it empties r.creating.
func (r *room) alone(ctx context.Context) error {
	select {
	case r.creating <- struct{}{}:
		return nil
	case <-ctx.Done():
		return seal.Errorf(seal.KindBusy, "a wallet is being made")
	}
}

// rewrapped wraps everything under the wrapping key in use, then destroys the others.
func (r *room) rewrapped(ctx context.Context) (*seal.Rotated, error) {
	ids, err := r.wrappingKeys(ctx)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, seal.Errorf(seal.KindHSM, "the token shows no wrapping key")
	}
	current := ids[len(ids)-1]
	n, err := r.token.Rewrap(ctx, current)
	if err != nil {
		return nil, hsmError(err)
	}
	if err := r.allUnder(ctx, current); err != nil {
		return nil, err
	}
	for _, id := range ids[:len(ids)-1] {
		if err := r.token.DestroyAESKey(ctx, id); err != nil {
			return nil, hsmError(err)
		}
		r.log.Warn("old wrapping key destroyed", "id", id)
	}
	check, err := r.token.CheckValue(ctx, current)
	if err != nil {
		return nil, hsmError(err)
	}
	return &seal.Rotated{WrappingKey: current, CheckValue: check, Rewrapped: n}, nil
}

// allUnder is nil if every wallet of the ledger, and the cosigning key, is found in the
// token and is under the wrapping key, or the token's own: what destroys rests on what
// was found, not on what was not.
func (r *room) allUnder(ctx context.Context, wrapping string) error {
	fold := r.known().fold
	if fold == nil || !r.known().ready {
		return seal.Errorf(seal.KindStore, "which wallets there are is not known yet")
	}
	ids := []string{}
	for _, w := range fold.Wallets() {
		ids = append(ids, w.WalletID)
	}
	switch _, _, err := r.token.SeedPublic(ctx, cosigningKeys+r.appliance); {
	case err == nil:
		ids = append(ids, cosigningKeys+r.appliance)
	case !errors.Is(err, hsm.ErrNotFound):
		return hsmError(err)
	}
	for _, id := range ids {
		_, _, protection, err := r.token.KeyPublic(ctx, id)
		if err != nil {
			return hsmError(err)
		}
		if protection != hsm.Wrapped {
			continue
		}
		under, err := r.token.WrappedUnder(ctx, id)
		if err != nil {
			return hsmError(err)
		}
		if under != wrapping {
			return seal.Errorf(seal.KindHSM, "key %s is under %s, not %s", id, under, wrapping)
		}
	}
	return nil
}

// halfRotated is true where a rotation may be unfinished. It is asked before anybody is
// answered, so that a token that goes then is missed by whoever needs it.
func (r *room) halfRotated(ctx context.Context) bool {
	ids, err := r.wrappingKeys(ctx)
	if err != nil || len(ids) < 2 {
		return err != nil
	}
	// A death between two envelopes of a key leaves both, and neither signs.
	if _, err := r.token.Rewrap(ctx, ids[len(ids)-1]); err != nil {
		r.log.Error("rotation of the wrapping key", "error", err)
	}
	return true
}

// finishRotation goes on with a rotation that a death cut short.
func (r *room) finishRotation(ctx context.Context) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for !r.known().ready { // which wallets there are is in the ledger
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
	if err := r.alone(ctx); err != nil {
		return
	}
	defer func() { <-r.creating }()
	ids, err := r.wrappingKeys(ctx)
	if err == nil && len(ids) > 1 {
		r.log.Warn("a rotation of the wrapping key that was cut short goes on", "to", ids[len(ids)-1])
		_, err = r.rewrapped(ctx)
	}
	if err != nil && ctx.Err() == nil {
		r.log.Error("rotation of the wrapping key", "error", err)
	}
}
