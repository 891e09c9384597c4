package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/mintwarden/mintwarden/api/client"
)

// routes are the API's hints, and what TLS says of its own, in the words of this program.
var routes = []struct {
	said *regexp.Regexp
	here string
}{
	{regexp.MustCompile(`POST /v1/vault/accounts/(\w+)/wallets makes one`), "'mintwarden wallet create --vault $1' makes one"},
	{regexp.MustCompile(`GET /v1/vault/accounts/\S+/wallets lists a vault account's`), "'mintwarden wallet list' shows all"},
	{regexp.MustCompile(`GET /v1/vault/accounts lists them`), "'mintwarden vault list' shows them"},
	{regexp.MustCompile(`GET /v1/token-operations lists them`), "'mintwarden operation list' shows them"},
	{regexp.MustCompile(`GET /v1/tokens lists them`), "'mintwarden token list' shows them"},
	{regexp.MustCompile(`GET /v1/policies lists them`), "'mintwarden policy list' shows them"},
	{regexp.MustCompile(`GET /v1/users lists them`), "'mintwarden user list' shows them"},
	{regexp.MustCompile(`GET /v1/credentials lists them`), "'mintwarden credential list' shows them"},
	{regexp.MustCompile(`the document that GET /v1/policies/(\w+) shows`), "what 'mintwarden policy sign $1' shows"},
	{regexp.MustCompile(`GET /v1/token-templates lists them`), "there is " + list(templateIDs())},
	{regexp.MustCompile(`remote error: tls: (.*\bcertificate\b.*)`), "it does not take the certificate that MINTWARDEN_CERT names ($1); 'mintwarden cert show FILE' says whose it is and when it ends"},
}

// typed are the flag parsers' complaints in words that help.
var typed = []struct {
	said *regexp.Regexp
	here string
}{
	{regexp.MustCompile(`^invalid argument (".*") for "(?:-\w, )?(--[\w-]+)" flag: strconv\.Parse(?:Int|Uint).*$`), "$2 $1: want a whole number"},
	{regexp.MustCompile(`^invalid argument (".*") for "(?:-\w, )?(--[\w-]+)" flag: strconv\.ParseBool.*$`), "$2 $1: want true or false"},
	{regexp.MustCompile(`^invalid argument (".*") for "(?:-\w, )?(--[\w-]+)" flag: time: .*$`), "$2 $1: want a duration such as 30s or 5m"},
}

var (
	oneOf  = regexp.MustCompile(`^at least one of the flags in the group \[(.*)\] is required$`)
	notAll = regexp.MustCompile(`^if any flags in the group \[.*\] are set none of the others can be; \[(.*)\] were all set$`)
)

// plain says a complaint about what was typed without the parser's jargon.
func plain(said string) string {
	for _, t := range typed {
		said = t.said.ReplaceAllString(said, t.here)
	}
	flags := func(names string) []string {
		out := strings.Fields(names)
		for n := range out {
			out[n] = "--" + out[n]
		}
		return out
	}
	if m := oneOf.FindStringSubmatch(said); m != nil {
		return "one of " + list(flags(m[1])) + " is needed"
	}
	if m := notAll.FindStringSubmatch(said); m != nil {
		return list(flags(m[1])) + " exclude each other"
	}
	return said
}

// spoken is an error as a person at the terminal reads it.
func spoken(err error) string {
	said := err.Error()
	for _, r := range routes {
		said = r.said.ReplaceAllString(said, r.here)
	}
	return said
}

// unitsError is the appliance's refusal of a command about a token, with its
// amounts in whole tokens.
type unitsError struct {
	err  *client.Error
	unit unit
}

func (e *unitsError) Unwrap() error { return e.err }

func (e *unitsError) Error() string {
	said := *e.err
	said.Message = e.unit.in(said.Message, amountsOf(e.err.Type, e.err.Details))
	return said.Error()
}

// amountsOf are the amounts of the token that a refusal's details hold, as
// decimal numbers of base units.
func amountsOf(kind string, details map[string]any) map[string]bool {
	var members []string
	switch kind {
	case "TOKEN_SUPPLY_EXCEEDED":
		members = []string{"maxSupply", "totalSupply", "pending", "requested"}
	case "TOKEN_INVALID_AMOUNT":
		members = []string{"available", "requested"}
	case "POLICY_DENIED":
		switch details["rule"] {
		case "MAX_AMOUNT", "DAILY_LIMIT", "TOKEN_MINT_LIMIT", "TOKEN_BURN_LIMIT":
			members = []string{"limit", "used", "requested"}
		}
	}
	out := map[string]bool{}
	for _, m := range members {
		if s, ok := details[m].(string); ok && s != "" {
			out[s] = true
		}
	}
	return out
}

var number = regexp.MustCompile(`[\w.]*[0-9]+[\w.]*( base units)?`)

// in says the message with the amounts in whole tokens. Other numbers, such as a
// policy's version, stay.
func (u unit) in(message string, amounts map[string]bool) string {
	var b strings.Builder
	at := 0
	for _, m := range number.FindAllStringIndex(message, -1) {
		word := strings.TrimSuffix(message[m[0]:m[1]], " base units")
		b.WriteString(message[at:m[0]])
		at = m[1]
		if !amounts[word] || strings.HasSuffix(message[:m[0]], "version ") {
			b.WriteString(message[m[0]:m[1]])
			continue
		}
		fmt.Fprintf(&b, "%s", u.of(word))
	}
	b.WriteString(message[at:])
	return b.String()
}
