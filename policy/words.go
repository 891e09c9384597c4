package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CurrencyDecimals is of the native currency of every network: 10^18 wei are one unit.
const CurrencyDecimals = 18

// Glossary is what Words needs beside the intent.
type Glossary struct {
	Currency string     // symbol of the network's native currency
	Policies []*InForce // versions that the reader has verified
}

// Words is the intent in one paragraph for a person who decides on it: every address in full,
// amounts in units and base units, the fee cap in the network's currency, the policies in words.
// Nothing in it is unprintable, and the headline is what spec/formats.md shows.
func (i *Intent) Words(g Glossary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on %s, fee at most %s %s, asked by %s", i.act(), Printable(i.Network),
		Units(i.FeeCap, CurrencyDecimals), Word(g.Currency), Printable(i.Requester))
	var details []string
	unasked := passesUnasked(i.OperationType, slices.DeleteFunc(slices.Clone(g.Policies), func(p *InForce) bool { return p == nil || p.Policy == nil }))
	for _, ref := range i.Policies {
		n := slices.IndexFunc(g.Policies, func(p *InForce) bool { return p != nil && p.Policy != nil && p.Ref() == ref })
		if n < 0 {
			fmt.Fprintf(&b, ", policy %s v%d: not verified here", Printable(ref.ID), ref.Version)
			continue
		}
		p := g.Policies[n].Policy
		ask, rest := p.words(i, unasked)
		fmt.Fprintf(&b, ", policy %s v%d: %s", Word(p.Name), p.Version, ask)
		if rest != "" {
			details = append(details, fmt.Sprintf("Policy %s v%d also says: %s.", Word(p.Name), p.Version, rest))
		}
	}
	fmt.Fprintf(&b, ". Sent by %s (%s), chain id %d.", Printable(i.Performer.WalletID), i.Performer.Address, i.ChainID)
	if i.OperationType != OpCancel {
		fmt.Fprintf(&b, " Token %s, template %s,", Printable(i.Token.ID), Printable(i.Token.TemplateID))
		if i.Token.ContractAddress != nil {
			fmt.Fprintf(&b, " contract %s.", i.Token.ContractAddress)
		} else {
			b.WriteString(" not deployed yet.")
		}
	}
	for _, d := range details {
		b.WriteString(" " + d)
	}
	if i.Replaces != "" {
		fmt.Fprintf(&b, " It does again what %s failed to do.", Printable(i.Replaces))
	}
	fmt.Fprintf(&b, " Operation %s, good from %s until %s.", Printable(i.OperationID), utc(i.NotBefore), utc(i.ExpiresAt))
	return b.String()
}

// act is what the operation does, with whom.
func (i *Intent) act() string {
	p := &i.Params
	symbol := Word(i.Token.Symbol)
	switch i.OperationType {
	case OpMint:
		return fmt.Sprintf("Mint %s to %s", i.quantity(p.Amount), text(p.Recipient))
	case OpBurn:
		return fmt.Sprintf("Burn %s of %s", i.quantity(p.Amount), text(p.Source))
	case OpTransfer:
		return fmt.Sprintf("Transfer %s from %s to %s", i.quantity(p.Amount), text(p.Source), text(p.Recipient))
	case OpGrantRole:
		return fmt.Sprintf("Grant %s of %s to %s", Printable(string(p.Role)), symbol, text(p.Subject))
	case OpRevokeRole:
		return fmt.Sprintf("Revoke %s of %s from %s", Printable(string(p.Role)), symbol, text(p.Subject))
	case OpPause:
		return fmt.Sprintf("Pause %s: nobody can move it", symbol)
	case OpUnpause:
		return fmt.Sprintf("Unpause %s: everybody can move it again", symbol)
	case OpFreeze:
		return fmt.Sprintf("Freeze %s of %s", symbol, text(p.Subject))
	case OpUnfreeze:
		return fmt.Sprintf("Unfreeze %s of %s", symbol, text(p.Subject))
	case OpAllowlistAdd:
		return fmt.Sprintf("Put %s on the allowlist of %s", text(p.Subject), symbol)
	case OpAllowlistRemove:
		return fmt.Sprintf("Take %s off the allowlist of %s", text(p.Subject), symbol)
	case OpCancel:
		if p.Nonce != nil {
			return fmt.Sprintf("Cancel nonce %s of %s by sending nothing to itself", Printable(*p.Nonce), i.Performer.Address)
		}
	case OpDeployToken:
		return i.deploys()
	}
	return fmt.Sprintf("Unknown operation %s", Printable(string(i.OperationType)))
}

func (i *Intent) deploys() string {
	p := &i.Params
	if p.Name == nil || p.Symbol == nil || p.Decimals == nil || p.Cap == nil || p.Mintable == nil || p.Burnable == nil || p.InitcodeKeccak == nil {
		return "Unknown deployment"
	}
	supply := "no cap"
	if !p.Cap.Is0() {
		supply = "at most " + i.quantity(p.Cap) + " ever"
	}
	can := func(yes bool, what string) string {
		if yes {
			return what
		}
		return "not " + what
	}
	return fmt.Sprintf("Deploy token %s (%s, %d decimals, %s, %s, %s), %s and every role to %s, creation code %s", quote(*p.Name),
		Word(*p.Symbol), *p.Decimals, supply, can(*p.Mintable, "mintable"), can(*p.Burnable, "burnable"), i.quantity(p.InitialSupply),
		text(p.Admin), p.InitcodeKeccak)
}

// quantity is “1,000 EIT (1000000000000000000000)”.
func (i *Intent) quantity(a *Amount) string {
	if a == nil {
		return "an unknown amount"
	}
	return fmt.Sprintf("%s %s (%s)", Units(*a, i.Token.Decimals), Word(i.Token.Symbol), a)
}

func text[T any, P interface {
	*T
	fmt.Stringer
}](p P) string {
	if p == nil {
		return "nobody"
	}
	return p.String()
}

// Units is an amount of base units in units of 10^decimals, with thousands separators and without
// trailing zeros: “1,234.5”.
func Units(a Amount, decimals uint8) string {
	digits := a.String()
	if pad := int(decimals) + 1 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	whole, fraction := digits[:len(digits)-int(decimals)], strings.TrimRight(digits[len(digits)-int(decimals):], "0")
	var b strings.Builder
	for n, c := range whole {
		if n > 0 && (len(whole)-n)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	if fraction != "" {
		b.WriteString("." + fraction)
	}
	return b.String()
}

// Word is s as one word of a sentence: as it is if it is one, quoted and escaped otherwise, so that a
// symbol or a name cannot read as a part of what is said about it.
func Word(s string) string {
	if wordShape.MatchString(s) {
		return s
	}
	return quote(s)
}

var wordShape = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

func quote(s string) string { return `"` + strings.ReplaceAll(Printable(s), `"`, `\"`) + `"` }

// Printable is s with everything that does not show as itself escaped as Go does, \u202e for
// example: control and format characters, spaces other than the plain one, broken UTF-8, and the
// backslash, so that an escape is never forged.
func Printable(s string) string {
	plain := func(r rune) bool { return r != '\\' && r != utf8.RuneError && unicode.IsPrint(r) }
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for n, r := range s {
		switch {
		case plain(r):
			b.WriteRune(r)
		case r == '\\':
			b.WriteString(`\\`)
		case r == utf8.RuneError && s[n] != 0xEF: // a byte that is no UTF-8, not U+FFFD written out
			fmt.Fprintf(&b, `\x%02x`, s[n])
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}
