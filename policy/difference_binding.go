package policy

import (
	"reflect"
	"strconv"
)

// BindingDifference is what changes from old to new in words, a sentence each, for the custodians who
// sign new: what the token id is to mean, and who sends its operations. old is nil for a token that is
// not bound. It is empty exactly if both documents are the same.
func BindingDifference(old, new *Binding) []string {
	if new == nil {
		return nil
	}
	d := changes{fresh: old == nil}
	if old == nil {
		old = &Binding{}
		d.say("A new binding.")
	}
	d.value("Format", strconv.Itoa(old.Format), strconv.Itoa(new.Format))
	d.value("Instance", Printable(old.Instance), Printable(new.Instance))
	d.value("Version", strconv.FormatUint(old.Version, 10), strconv.FormatUint(new.Version, 10))
	d.value("It replaces", replacesWords(old.Replaces), replacesWords(new.Replaces))
	d.value("Token", Printable(old.TokenID), Printable(new.TokenID))
	d.value("Network", Word(old.Network), Word(new.Network))
	d.value("Chain id", strconv.FormatUint(old.ChainID, 10), strconv.FormatUint(new.ChainID, 10))
	d.value("Contract", old.ContractAddress.String(), new.ContractAddress.String())
	d.value("Template", Word(old.TemplateID), Word(new.TemplateID))
	d.value("Symbol", Word(old.Symbol), Word(new.Symbol))
	d.value("Decimals", strconv.FormatUint(uint64(old.Decimals), 10), strconv.FormatUint(uint64(new.Decimals), 10))
	d.value("Policy", Printable(old.PolicyID), Printable(new.PolicyID))
	d.names("Wallets that send its operations", words(old.Performers), words(new.Performers))
	d.names("Accounts of others that hold a role", addressesText(old.External), addressesText(new.External))
	d.value("Verified", yesNo(old.Verified), yesNo(new.Verified))
	d.value("Written at", timeWords(old.CreatedAt), timeWords(new.CreatedAt))
	return d.written(reflect.DeepEqual(old, new))
}
