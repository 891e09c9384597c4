package policy

import (
	"errors"
	"fmt"
	"slices"
)

const (
	maxPeople     = 256 // persons, and members of a group
	maxKeys       = 8   // of one person
	maxGroups     = 64
	maxNetworks   = 32
	maxAppliances = 32
)

// devChains are all the chain ids that a dev charter takes, so that what is signed for play counts
// on no chain that anybody else uses. It is a list of what may pass and not of what may not: any
// number is some public chain's tomorrow, and ids that are derived from a hash fall anywhere up to
// 2^53-1, so that no range is kept for private devnets either. Whoever needs two of one kind runs
// each under a charter of its own.
var devChains = map[uint64]bool{
	1337:    true, // go-ethereum: geth --dev and ethclient/simulated
	31337:   true, // Hardhat, Anvil
	2080377: true, // our own devnet, chain/devnet.DefaultChainID
}

// PublicChain is true of a chain id that a dev charter does not take: of every one that is not known
// to be a devnet's.
func PublicChain(id uint64) bool { return !devChains[id] }

// Check is nil if the charter is consistent in itself. Errors wrap ErrDocument.
func (c *Charter) Check() error {
	if err := c.check(); err != nil {
		return refused("charter", err)
	}
	return nil
}

func (c *Charter) check() error {
	if err := first(checkFormat(c.Format), CheckName(c.Instance), checkReplaces(c.Version, c.Replaces), CheckName(c.TenantID)); err != nil {
		return err
	}
	if c.Environment != Dev && c.Environment != Production {
		return fmt.Errorf("environment %.40q, want dev or production", c.Environment)
	}
	for _, check := range []func() error{c.checkNetworks, c.checkCustodians, c.checkPersons, c.checkGroups, c.checkAppliances, c.checkKeys, c.Limits.check} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Charter) checkNetworks() error {
	if len(c.Networks) == 0 || len(c.Networks) > maxNetworks {
		return fmt.Errorf("%d networks, want 1 to %d", len(c.Networks), maxNetworks)
	}
	names, ids := map[string]bool{}, map[uint64]bool{}
	for _, n := range c.Networks {
		if err := first(CheckName(n.Name), checkInteger("chainId", n.ChainID), CheckText(n.Currency, maxSymbol)); err != nil {
			return fmt.Errorf("network: %w", err)
		}
		switch {
		case names[n.Name]:
			return fmt.Errorf("network %s twice", n.Name)
		case n.ChainID == 0 || ids[n.ChainID]:
			return fmt.Errorf("network %s: chain id %d is 0 or another network's", n.Name, n.ChainID)
		case !n.Kind.Valid() || n.Scheme.Kind() != n.Kind:
			return fmt.Errorf("network %s: kind %.20q with scheme %.20q", n.Name, n.Kind, n.Scheme)
		case n.Currency == "":
			return fmt.Errorf("network %s: no currency", n.Name)
		case c.Environment == Dev && PublicChain(n.ChainID):
			return fmt.Errorf("network %s: chain id %d may be a public chain's; a dev charter takes the devnets' alone, 1337, 31337 and 2080377", n.Name, n.ChainID)
		}
		names[n.Name], ids[n.ChainID] = true, true
	}
	return nil
}

func (c *Charter) checkCustodians() error {
	members := c.Custodians.Members
	// Each signs charter 1, and an envelope holds no more signatures.
	if len(members) == 0 || len(members) > MaxSignatures {
		return fmt.Errorf("%d custodians, want 1 to %d", len(members), MaxSignatures)
	}
	if c.Custodians.Threshold == 0 || int(c.Custodians.Threshold) > len(members) {
		return fmt.Errorf("custodian threshold %d of %d", c.Custodians.Threshold, len(members))
	}
	if c.Environment == Production && c.Custodians.Threshold < 2 {
		return errors.New("custodian threshold 1 under a production charter, want at least 2")
	}
	names := map[string]bool{}
	for _, m := range members {
		if err := CheckName(m.Name); err != nil {
			return fmt.Errorf("custodian: %w", err)
		}
		if names[m.Name] {
			return fmt.Errorf("custodian %s twice", m.Name)
		}
		if len(m.Keys) == 0 || len(m.Keys) > maxKeys {
			return fmt.Errorf("custodian %s: %d keys, want 1 to %d", m.Name, len(m.Keys), maxKeys)
		}
		names[m.Name] = true
	}
	return nil
}

func (c *Charter) checkPersons() error {
	if len(c.Persons) > maxPeople {
		return fmt.Errorf("%d persons, at most %d", len(c.Persons), maxPeople)
	}
	names, users := map[string]bool{}, map[string]bool{}
	for _, p := range c.Persons {
		if err := CheckName(p.Name); err != nil {
			return fmt.Errorf("person: %w", err)
		}
		if names[p.Name] {
			return fmt.Errorf("person %s twice", p.Name)
		}
		if len(p.Keys) > maxKeys {
			return fmt.Errorf("person %s: %d keys, at most %d", p.Name, len(p.Keys), maxKeys)
		}
		names[p.Name] = true
		for _, u := range p.Users {
			if err := CheckID("user", u); err != nil {
				return fmt.Errorf("person %s: %w", p.Name, err)
			}
			if users[u] {
				return fmt.Errorf("person %s: user %s twice", p.Name, u)
			}
			users[u] = true
		}
	}
	return nil
}

func (c *Charter) checkGroups() error {
	if len(c.Groups) > maxGroups {
		return fmt.Errorf("%d groups, at most %d", len(c.Groups), maxGroups)
	}
	for name, members := range c.Groups {
		if err := CheckName(name); err != nil {
			return fmt.Errorf("group: %w", err)
		}
		for n, person := range members {
			if _, ok := c.Person(person); !ok {
				return fmt.Errorf("group %s: person %.64q is not in the charter", name, person)
			}
			if slices.Contains(members[:n], person) {
				return fmt.Errorf("group %s: person %s twice", name, person)
			}
		}
	}
	return nil
}

func (c *Charter) checkAppliances() error {
	if len(c.Appliances) == 0 || len(c.Appliances) > maxAppliances {
		return fmt.Errorf("%d appliances, want 1 to %d", len(c.Appliances), maxAppliances)
	}
	ids := map[string]bool{}
	for _, a := range c.Appliances {
		if err := first(CheckName(a.ID), CheckText(a.Token.Serial, 64)); err != nil {
			return fmt.Errorf("appliance: %w", err)
		}
		if ids[a.ID] {
			return fmt.Errorf("appliance %s twice", a.ID)
		}
		ids[a.ID] = true
		if a.LedgerKey.Algorithm() != Ed25519 {
			return fmt.Errorf("appliance %s: ledger key %q is not Ed25519", a.ID, a.LedgerKey.Algorithm())
		}
		if len(a.UnsealKey) == 0 || len(a.UnsealKey) > maxSPKI {
			return fmt.Errorf("appliance %s: unseal key of %d bytes, want 1 to %d", a.ID, len(a.UnsealKey), maxSPKI)
		}
		for name, value := range a.Token.CheckValues {
			if err := first(CheckName(name), CheckText(value, 128)); err != nil {
				return fmt.Errorf("appliance %s: check value: %w", a.ID, err)
			}
		}
	}
	return nil
}

// checkKeys holds each key to one name and one job: somebody who is custodian and person goes by
// the same name, and an appliance's key is nobody's.
func (c *Charter) checkKeys() error {
	owner := map[PublicKey]string{}
	take := func(job, name string, keys []PublicKey) error {
		seen := map[PublicKey]bool{}
		for _, k := range keys {
			if k.IsZero() {
				return fmt.Errorf("%s %s: %w: empty", job, name, ErrKey)
			}
			if seen[k] {
				return fmt.Errorf("%s %s: key %s twice", job, name, k)
			}
			if other, ok := owner[k]; ok && other != name {
				return fmt.Errorf("%s %s: key %s is %s's too", job, name, k, other)
			}
			if c.Flags.RequirePostQuantum && !k.Algorithm().PostQuantum() {
				return fmt.Errorf("%s %s: key %s is %s, the charter asks for %s", job, name, k, k.Algorithm(), MLDSA65)
			}
			owner[k], seen[k] = name, true
		}
		return nil
	}
	custodians := map[PublicKey]bool{}
	for _, m := range c.Custodians.Members {
		for _, k := range m.Keys {
			if custodians[k] {
				return fmt.Errorf("custodian %s: key %s twice", m.Name, k)
			}
			custodians[k] = true
		}
		if err := take("custodian", m.Name, m.Keys); err != nil {
			return err
		}
	}
	for _, p := range c.Persons {
		if err := take("person", p.Name, p.Keys); err != nil {
			return err
		}
	}
	for _, a := range c.Appliances {
		if other, ok := owner[a.LedgerKey]; ok {
			return fmt.Errorf("appliance %s: ledger key is %s's too", a.ID, other)
		}
		owner[a.LedgerKey] = a.ID
	}
	return nil
}

func (l *Limits) check() error {
	for _, f := range []struct {
		name   string
		n, max uint64
	}{
		{"maxIntentLifetime", l.MaxIntentLifetime, maxDelay},
		{"maxOutstanding", l.MaxOutstanding, 4096},
		{"maxClockSkew", l.MaxClockSkew, 3600},
		{"walletsPerHour", l.WalletsPerHour, 1_000_000},
		{"walletsTotal", l.WalletsTotal, 1_000_000_000},
	} {
		if f.n > f.max {
			return fmt.Errorf("limits: %s %d, at most %d", f.name, f.n, f.max)
		}
	}
	return nil
}
