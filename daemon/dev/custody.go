package dev

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// makeCustody splits what opens the token's PINs among charter 1's custodians,
// unless that was done: with two of the shares custodian-1 to -3 a sealed
// appliance comes back. custody.json is written last: its presence says that the
// shares are whole. A directory of an earlier build gets it at its next start.
func (a *appliance) makeCustody(charter1 *policy.Envelope) error {
	if a.exists("seal", seal.CustodyFile) {
		return nil
	}
	c, err := policy.ParseCharter(charter1.Payload)
	if err != nil {
		return fmt.Errorf("dev: charter 1: %w", err)
	}
	pins := map[string][]byte{}
	for name, path := range a.pinFiles() {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("dev: %w", err)
		}
		defer clear(text)
		pins[name] = bytes.TrimSpace(text)
	}
	custody, shares, err := seal.NewCustody(c.Instance, applianceID, c.Custodians, pins["pin"], pins["so-pin"], time.Now().UTC().Truncate(time.Second))
	if err != nil {
		return fmt.Errorf("dev: custody of the PINs: %w", err)
	}
	for name, share := range shares {
		err := a.write(append(share.Encode(), '\n'), "custodians", name+".share")
		share.Destroy()
		if err != nil {
			return err
		}
	}
	return seal.WriteCustody(a.path("seal"), custody)
}
