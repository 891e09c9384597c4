package sealed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// changeTries is how often in a row the token is asked to take its new PINs; later it
// is asked at the next unsealing.
const changeTries = 5

// change gives the token new PINs. No worker runs meanwhile.
//
// The old PINs are tried first: nothing begins with PINs that are wrong. Then
// custody.json is replaced, in one rename, by the new one, which holds the old PINs,
// too: from there on the new shares count, whatever the token takes, and the old ones
// open nothing. Then the token's PINs change, the security officer's first; at last the
// old ones are dropped from custody.json. Dying before the rename leaves the old shares
// as they were; dying after it leaves a change that the next unsealing goes on with.
func (k *keeper) change(ctx context.Context, c *change) {
	defer c.destroy()
	if err := k.begin(ctx, c); err != nil {
		k.renewal.ended("the token's PINs were not touched, and the new shares are void: " + err.Error())
		k.log.Error("renewal", "error", err)
		return
	}
	err := k.changeInToken(ctx, c)
	switch {
	case err == nil:
		// Before the old PINs are dropped: until then only a quorum unseals, and does this again.
		outcome := "shares were renewed, and the token's PINs changed" + k.startsBy(c)
		if err := k.finish(c); err != nil { // the next unsealing finds the change done, and drops them
			k.log.Error("the token's old PINs are not dropped from custody.json yet", "error", err)
			outcome += "; the old ones are not dropped yet: " + err.Error()
		}
		k.log.Warn("shares are renewed and the token's PINs changed", "custodians", len(c.custody.Members), "threshold", c.custody.Threshold)
		k.renewal.ended(outcome)
		k.takePIN(c, c.now)
	case ctx.Err() != nil: // whoever unseals next goes on
	default:
		k.log.Error("shares are renewed, but the token's PINs are not changed yet", "error", err)
		k.renewal.ended("shares were renewed, but the token's PINs are not changed yet; the next unsealing goes on: " + err.Error())
		k.whichever(ctx, c)
	}
}

// begin puts the new custody in place, unless it is there.
func (k *keeper) begin(ctx context.Context, c *change) error {
	if c.begun {
		return nil
	}
	if err := k.pinJob(ctx, pinsTry, c.before, c.now); err != nil {
		return fmt.Errorf("the PINs that the shares give: %w", err)
	}
	if err := seal.ReplaceCustody(k.cfg.State, c.custody); err != nil {
		have, again := seal.ReadCustody(k.cfg.State)
		if again != nil || custodyPIN(have) != custodyPIN(c.custody) {
			return fmt.Errorf("custody: %w", err)
		}
		// It is there, and may or may not last: only what lasts may be acted upon.
		if err := syncDir(k.cfg.State); err != nil {
			return fmt.Errorf("custody: the new one is in place, but may not last; sealed and unsealed, the appliance goes on with whichever does: %w", err)
		}
	}
	c.begun = true
	k.quorum.reset()
	return nil
}

// changeInToken asks the token until it did, or refused, or was asked often enough.
func (k *keeper) changeInToken(ctx context.Context, c *change) (err error) {
	id := "change to " + custodyPIN(c.custody)
	if k.refused(id) {
		return fmt.Errorf("%w before, and is not asked again", errPINs)
	}
	defer func() {
		if errors.Is(err, errPINs) {
			err = errors.Join(err, k.noteRefused(id))
		}
	}()
	pause := firstBackoff
	for range changeTries {
		if err = k.pinJob(ctx, pinsChange, c.before, c.now); err == nil || errors.Is(err, errPINs) {
			return err
		}
		k.log.Error("the token's PINs are not changed; trying again", "error", err, "after", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(4*pause, lastBackoff)
	}
	return err
}

// startsBy leaves the new PIN for the next starts, where the appliance has a credential
// for that, and says how it will start.
func (k *keeper) startsBy(c *change) string {
	switch k.cfg.PIN.source() {
	case pinQuorum:
		return ""
	case pinFile:
		return "; the PIN file is stale: custodians unseal until it holds the new PIN"
	}
	if err := k.keepPIN(c.now); err != nil {
		k.log.Warn("the new PIN is not left for the next starts", "error", err)
		return "; the PIN credential is stale, and custodians unseal from now on: " + err.Error()
	}
	return "; the next start goes by the new PIN without anybody's help"
}

// finish drops the old PINs. The file or credential that held the user's is stale from
// here on: it is noted as refused first, so that no start offers it to the token.
func (k *keeper) finish(c *change) error {
	if id, err := k.sourceID(); err != nil {
		k.log.Warn("which PIN file or credential is stale now cannot be noted", "error", err)
	} else if id != "" {
		if err := k.noteRefused(id); err != nil {
			return err
		}
	}
	c.custody = c.custody.Finished()
	if err := seal.ReplaceCustody(k.cfg.State, c.custody); err != nil {
		return fmt.Errorf("custody: %w", err)
	}
	k.quorum.reset()
	return nil
}

// takePIN makes the user's the PIN that the next worker gets, where one is to be
// logged in.
func (k *keeper) takePIN(c *change, pins *seal.PINs) {
	select {
	case <-k.signals: // it came while the token was busy
		_ = k.mark()
		k.sealed(sealedBySignal)
	default:
	}
	if _, err := os.Stat(k.marker(sealedMarker)); !c.unseal || !errors.Is(err, fs.ErrNotExist) {
		return // it was sealed meanwhile, and a quorum has not unsealed it since
	}
	k.forget("")
	k.pin, pins.User = pins.User, nil
	k.pinID = custodyPIN(c.custody)
}

// whichever takes the PIN that the token takes now. Where it takes neither, neither is
// offered to it again.
func (k *keeper) whichever(ctx context.Context, c *change) {
	if !c.unseal {
		return
	}
	refused := 0
	for _, pins := range []*seal.PINs{c.before, c.now} {
		err := k.pinJob(ctx, pinsTryOne, pins, c.now)
		switch {
		case err == nil:
			k.takePIN(c, pins)
			return
		case errors.Is(err, errPINs):
			refused++
		default:
			k.log.Error("which PIN the token takes is not known", "error", err)
		}
	}
	k.forget("the token's PINs are not changed, and which it takes is not known: custodians try again by their new shares")
	if refused == 2 {
		k.forget("the token takes neither its old PIN nor the new one")
		if err := k.noteRefused(custodyPIN(c.custody)); err != nil {
			k.log.Error("sealed", "reason", k.why, "error", err)
		}
	}
}

// custodyPIN names the PIN of a custody, without saying anything of it.
func custodyPIN(c *seal.Custody) string {
	text, err := c.Encode()
	if err != nil { // it was read, or is about to be written
		return "custody"
	}
	return "custody " + string(policy.DigestOf(text))
}
