package policy

import (
	"encoding/json/v2"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// changes collects in words what changes from one document to the next, for people who sign the
// next: every changed member, every address and key in full, nothing that does not show as itself.
type changes struct {
	lines []string
	fresh bool // there is no document before
}

func (d *changes) say(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

// value says a member that has one value. Both texts are shown as they are.
func (d *changes) value(name, was, is string) {
	switch {
	case d.fresh && is != "":
		d.say("%s: %s.", name, is)
	case d.fresh || was == is:
	default:
		d.say("%s: %s becomes %s.", name, orNothing(was), orNothing(is))
	}
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// written closes a difference: two documents that are not the same never have none.
func (d *changes) written(same bool) []string {
	if len(d.lines) == 0 && !same {
		d.say("It says the same as before, written in another way.")
	}
	return d.lines
}

// pairs matches two lists by name.
func pairs[T any](old, new []T, name func(*T) string) (gone, added []*T, both [][2]*T, moved bool) {
	find := func(all []T, n string) *T {
		at := slices.IndexFunc(all, func(t T) bool { return name(&t) == n })
		if at < 0 {
			return nil
		}
		return &all[at]
	}
	for i := range old {
		if is := find(new, name(&old[i])); is != nil {
			both = append(both, [2]*T{&old[i], is})
		} else {
			gone = append(gone, &old[i])
		}
	}
	var order []string
	for i := range new {
		if find(old, name(&new[i])) == nil {
			added = append(added, &new[i])
		} else {
			order = append(order, name(&new[i]))
		}
	}
	for i, p := range both {
		moved = moved || i >= len(order) || order[i] != name(p[0])
	}
	return gone, added, both, moved || len(order) != len(both)
}

// names says a list of names or other texts, each of which is shown as it is.
func (d *changes) names(what string, old, new []string) {
	same := func(s *string) string { return *s }
	gone, added, _, moved := pairs(old, new, same)
	for _, s := range gone {
		d.say("%s: %s is taken off.", what, *s)
	}
	for _, s := range added {
		d.say("%s: %s is added.", what, *s)
	}
	if moved {
		d.say("%s: they stand in another order.", what)
	}
}

func words(all []string) []string {
	out := make([]string, len(all))
	for n, s := range all {
		out[n] = Word(s)
	}
	return out
}

func replacesWords(d *Digest) string {
	if d == nil {
		return ""
	}
	return Printable(string(*d))
}

func timeWords(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// PolicyDifference is what changes from old to new in words, a sentence each, for the custodians who
// sign new: name, scope, every rule that is new, gone or changed, in the words of [Rule.Words] with
// amounts in base units. old is nil for a policy that is new. It is empty exactly if both documents
// are the same.
func PolicyDifference(old, new *Policy) []string {
	if new == nil {
		return nil
	}
	d := changes{fresh: old == nil}
	if old == nil {
		old = &Policy{}
		d.say("A new policy.")
	}
	d.value("Format", strconv.Itoa(old.Format), strconv.Itoa(new.Format))
	d.value("Instance", Printable(old.Instance), Printable(new.Instance))
	d.value("Policy", Printable(old.ID), Printable(new.ID))
	d.value("Version", strconv.FormatUint(old.Version, 10), strconv.FormatUint(new.Version, 10))
	d.value("It replaces", replacesWords(old.Replaces), replacesWords(new.Replaces))
	d.value("Name", quote(old.Name), quote(new.Name))
	d.value("It covers", old.Scope.words(), new.Scope.words())
	switch {
	case new.Retired && !old.Retired:
		d.say("It is retired: it judges nothing any more.")
	case old.Retired && !new.Retired:
		d.say("It was retired and judges again.")
	}
	d.rules(old.Rules, new.Rules)
	d.value("Written at", timeWords(old.CreatedAt), timeWords(new.CreatedAt))
	return d.written(reflect.DeepEqual(old, new))
}

func (s Scope) words() string {
	var covers []string
	if s.All {
		covers = append(covers, "every token and vault account")
	}
	if s.VaultAccountID != "" {
		covers = append(covers, "what vault account "+Printable(s.VaultAccountID)+" performs or pays")
	}
	if s.TokenID != "" {
		covers = append(covers, "token "+Printable(s.TokenID))
	}
	return strings.Join(covers, " and ")
}

// rules says which rules are new, gone or changed. A rule is matched with itself first, then with one
// of its type, in order.
func (d *changes) rules(old, new []Rule) {
	was, is := slices.Clone(old), slices.Clone(new)
	same := 0
	was = slices.DeleteFunc(was, func(r Rule) bool {
		at := slices.IndexFunc(is, func(n Rule) bool { return sameRule(&r, &n) })
		if at >= 0 {
			is = slices.Delete(is, at, at+1)
			same++
		}
		return at >= 0
	})
	if same == len(old) && same == len(new) && !slices.EqualFunc(old, new, func(a, b Rule) bool { return sameRule(&a, &b) }) {
		d.say("The rules stand in another order.")
	}
	for n := range was {
		at := slices.IndexFunc(is, func(r Rule) bool { return r.Type == was[n].Type })
		if at < 0 {
			d.say("Rule gone: %s.", was[n].sentence())
			continue
		}
		d.rule(&was[n], &is[at])
		is = slices.Delete(is, at, at+1)
	}
	for n := range is {
		if d.fresh {
			d.say("Rule: %s.", is[n].sentence())
		} else {
			d.say("New rule: %s.", is[n].sentence())
		}
	}
}

// sentence names a rule by its type and says it.
func (r *Rule) sentence() string { return Word(string(r.Type)) + ", " + r.Words("", 0) }

// rule says what changes in one rule.
func (d *changes) rule(was, is *Rule) {
	rest := *is
	rest.Addresses = was.Addresses
	if (is.Type == RuleWhitelistAddress || is.Type == RuleBlacklistAddress) && sameRule(was, &rest) {
		d.names("Rule "+string(is.Type), addressesText(was.Addresses), addressesText(is.Addresses))
		return
	}
	from, to := was.sentence(), is.sentence()
	if from == to {
		// Two spellings of one thing: “UTC” and no time zone, or a quorum of one leaf.
		from, to = was.raw(), is.raw()
	}
	d.say("Rule changed: %s becomes %s.", from, to)
}

func addressesText(all []tx.Address) []string {
	out := make([]string, len(all))
	for n, a := range all {
		out[n] = a.String()
	}
	return out
}

// raw is the rule as the document spells it.
func (r *Rule) raw() string {
	b, err := json.Marshal(r, json.Deterministic(true))
	if err != nil {
		return "a rule that cannot be written" // text that is no UTF-8
	}
	return Printable(string(b))
}
