package sealed

import (
	"errors"
	"fmt"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// production says why this process must not serve a production charter, nil for
// any other: the charter's promises to those who signed it must hold on this
// machine, when it takes effect and whenever something is decided, for the
// machine's configuration is not theirs.
func (r *room) production(c *policy.Charter) error {
	if c.Environment != policy.Production {
		return nil
	}
	if c.Custodians.Threshold < 2 {
		return fmt.Errorf("a production charter has a custodian threshold of at least 2, this one of %d", c.Custodians.Threshold)
	}
	switch r.custody.source {
	case pinQuorum, pinTPM:
	case pinHost:
		if !c.Flags.HostKeyAccepted {
			return errors.New("the PIN's credential is not sealed to a TPM, and the production charter does not say hostKeyAccepted")
		}
	default:
		return errors.New("a production charter does not take a PIN file: the PIN comes from a credential or a quorum of custodians")
	}
	if r.token.Info().Software() && !c.Flags.SoftwareTokenAccepted {
		info := r.token.Info()
		return fmt.Errorf("the token is software (%s %s), and the production charter does not say softwareTokenAccepted", info.Manufacturer, info.Model)
	}
	return r.strangers(c)
}

// strangers refuses people's keys that were made on this appliance: who was on it
// then may have them.
func (r *room) strangers(c *policy.Charter) error {
	made, err := seal.MadeHere(r.custody.state)
	if err != nil {
		return fmt.Errorf("which keys were made here cannot be told: %w", err)
	}
	for _, m := range c.Custodians.Members {
		for _, k := range m.Keys {
			if made[k.KeyID()] {
				return fmt.Errorf("custodian %s: key %s was made on this appliance, which a production charter does not take", m.Name, k)
			}
		}
	}
	for _, p := range c.Persons {
		for _, k := range p.Keys {
			if made[k.KeyID()] {
				return fmt.Errorf("person %s: key %s was made on this appliance, which a production charter does not take", p.Name, k)
			}
		}
	}
	return nil
}
