package policy

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
)

// CharterDifference is what changes from old to new in words, a sentence each, for the custodians who
// sign new: who and what is added, gone or changed, keys by their ids, limits and flags in words. old
// is nil for charter 1. It is empty exactly if both documents are the same.
func CharterDifference(old, new *Charter) []string {
	if new == nil {
		return nil
	}
	d := changes{fresh: old == nil}
	if old == nil {
		old = &Charter{}
		d.say("The first charter.")
	}
	d.value("Format", strconv.Itoa(old.Format), strconv.Itoa(new.Format))
	d.value("Instance", Printable(old.Instance), Printable(new.Instance))
	d.value("Version", strconv.FormatUint(old.Version, 10), strconv.FormatUint(new.Version, 10))
	d.value("It replaces", replacesWords(old.Replaces), replacesWords(new.Replaces))
	d.value("Environment", Printable(string(old.Environment)), Printable(string(new.Environment)))
	d.value("Tenant", Printable(old.TenantID), Printable(new.TenantID))
	d.networks(old.Networks, new.Networks)
	d.custodians(&old.Custodians, &new.Custodians)
	d.persons(old.Persons, new.Persons)
	d.groups(old.Groups, new.Groups)
	d.appliances(old.Appliances, new.Appliances)
	d.limits(old, new)
	d.flags(old.Flags, new.Flags)
	return d.written(reflect.DeepEqual(old, new))
}

func (d *changes) order(what string, moved bool) {
	if moved {
		d.say("The %s stand in another order.", what)
	}
}

func (d *changes) networks(old, new []Network) {
	gone, added, both, moved := pairs(old, new, func(n *Network) string { return n.Name })
	for _, n := range gone {
		d.say("Network %s, chain id %d, is gone: nothing is signed for it any more.", Word(n.Name), n.ChainID)
	}
	for _, n := range added {
		d.say("Network %s is new: kind %s, chain id %d, keys %s, currency %s, a fee of at most %s an operation where no policy says otherwise and %s a wallet and day.",
			Word(n.Name), Word(string(n.Kind)), n.ChainID, Word(string(n.Scheme)), Word(n.Currency), feeWords(n.DefaultMaxFee, n.Currency), feeWords(n.DailyFee, n.Currency))
	}
	for _, p := range both {
		was, is := p[0], p[1]
		what := "Network " + Word(is.Name)
		d.value(what+", kind", Word(string(was.Kind)), Word(string(is.Kind)))
		d.value(what+", chain id", strconv.FormatUint(was.ChainID, 10), strconv.FormatUint(is.ChainID, 10))
		d.value(what+", keys", Word(string(was.Scheme)), Word(string(is.Scheme)))
		d.value(what+", currency", Word(was.Currency), Word(is.Currency))
		d.value(what+", fee of an operation where no policy says otherwise", feeWords(was.DefaultMaxFee, is.Currency), feeWords(is.DefaultMaxFee, is.Currency))
		d.value(what+", fees of a wallet and day", feeWords(was.DailyFee, is.Currency), feeWords(is.DailyFee, is.Currency))
	}
	d.order("networks", moved)
}

func feeWords(a Amount, currency string) string {
	return fmt.Sprintf("%s %s (%s wei)", Units(a, CurrencyDecimals), Word(currency), a)
}

func keyWords(keys []PublicKey) []string {
	out := make([]string, len(keys))
	for n, k := range keys {
		out[n] = fmt.Sprintf("%s key %s", k.Algorithm(), k)
	}
	return out
}

func (d *changes) custodians(old, new *Custodians) {
	d.value("Custodians who must sign", strconv.FormatUint(uint64(old.Threshold), 10), strconv.FormatUint(uint64(new.Threshold), 10))
	gone, added, both, moved := pairs(old.Members, new.Members, func(c *Custodian) string { return c.Name })
	for _, c := range gone {
		d.say("Custodian %s is gone.", Word(c.Name))
	}
	for _, c := range added {
		d.say("Custodian %s is new.", Word(c.Name))
		d.names("Custodian "+Word(c.Name), nil, keyWords(c.Keys))
	}
	for _, p := range both {
		d.names("Custodian "+Word(p[1].Name), keyWords(p[0].Keys), keyWords(p[1].Keys))
	}
	d.order("custodians", moved)
}

func (d *changes) persons(old, new []Person) {
	gone, added, both, moved := pairs(old, new, func(p *Person) string { return p.Name })
	for _, p := range gone {
		d.say("Person %s is gone.", Word(p.Name))
	}
	for _, p := range added {
		d.say("Person %s is new.", Word(p.Name))
		d.person(&Person{Name: p.Name}, p)
	}
	for _, p := range both {
		d.person(p[0], p[1])
	}
	d.order("persons", moved)
}

func (d *changes) person(was, is *Person) {
	d.names("Person "+Word(is.Name), keyWords(was.Keys), keyWords(is.Keys))
	d.names("Person "+Word(is.Name)+", users", words(was.Users), words(is.Users))
}

func (d *changes) groups(old, new map[string][]string) {
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if _, ok := new[name]; !ok {
			d.say("Group %s is gone.", Word(name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(new)) {
		was, ok := old[name]
		if !ok {
			d.say("Group %s is new.", Word(name))
		}
		d.names("Group "+Word(name), words(was), words(new[name]))
	}
}

func (d *changes) appliances(old, new []Appliance) {
	gone, added, both, moved := pairs(old, new, func(a *Appliance) string { return a.ID })
	for _, a := range gone {
		d.say("Appliance %s is gone.", Word(a.ID))
	}
	for _, a := range added {
		d.say("Appliance %s is new: ledger key %s, unseal key %s, HSM token %s.", Word(a.ID), a.LedgerKey, DigestOf(a.UnsealKey), Word(a.Token.Serial))
		d.checkValues("Appliance "+Word(a.ID), nil, a.Token.CheckValues)
	}
	for _, p := range both {
		was, is := p[0], p[1]
		what := "Appliance " + Word(is.ID)
		d.value(what+", ledger key", was.LedgerKey.String(), is.LedgerKey.String())
		d.value(what+", unseal key", string(DigestOf(was.UnsealKey)), string(DigestOf(is.UnsealKey)))
		d.value(what+", HSM token", Word(was.Token.Serial), Word(is.Token.Serial))
		d.checkValues(what, was.Token.CheckValues, is.Token.CheckValues)
	}
	d.order("appliances", moved)
}

func (d *changes) checkValues(what string, old, new map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if _, ok := new[name]; !ok {
			d.say("%s, check value of %s: %s is gone.", what, Word(name), Word(old[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(new)) {
		switch was, ok := old[name]; {
		case !ok:
			d.say("%s, check value of %s: %s is added.", what, Word(name), Word(new[name]))
		case was != new[name]:
			d.say("%s, check value of %s: %s becomes %s.", what, Word(name), Word(was), Word(new[name]))
		}
	}
}

// limits are said as they hold: an absent one has a default.
func (d *changes) limits(old, new *Charter) {
	for _, l := range []struct {
		name    string
		was, is uint64 // as written, 0 where absent
		absent  uint64
		unit    string
	}{
		{"longest life of an intent", old.Limits.MaxIntentLifetime, new.Limits.MaxIntentLifetime, defaultIntentLifetime, " seconds"},
		{"authorizations of a wallet that may wait for a confirmation", old.Limits.MaxOutstanding, new.Limits.MaxOutstanding, defaultOutstanding, ""},
		{"how far a clock may be off", old.Limits.MaxClockSkew, new.Limits.MaxClockSkew, defaultClockSkew, " seconds"},
		{"new wallets an hour", old.Limits.WalletsPerHour, new.Limits.WalletsPerHour, defaultWalletsPerHour, ""},
		{"wallets in all", old.Limits.WalletsTotal, new.Limits.WalletsTotal, defaultWalletsTotal, ""},
	} {
		said := func(n uint64) string {
			if n == 0 {
				return fmt.Sprintf("%d%s (not said)", l.absent, l.unit)
			}
			return fmt.Sprintf("%d%s", n, l.unit)
		}
		d.value("Limit, "+l.name, said(l.was), said(l.is))
	}
}

func (d *changes) flags(old, new Flags) {
	for _, f := range []struct {
		what    string
		was, is bool
	}{
		{"Requesters sign what they ask for", old.SignedRequests, new.SignedRequests},
		{"Every person's and custodian's key is post-quantum", old.RequirePostQuantum, new.RequirePostQuantum},
		{"A PIN that no TPM seals may unseal the appliance", old.HostKeyAccepted, new.HostKeyAccepted},
		{"A software token may stand in for an HSM", old.SoftwareTokenAccepted, new.SoftwareTokenAccepted},
	} {
		d.value(f.what, yesNo(f.was), yesNo(f.is))
	}
}
