package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// answersFile is where answers given at the terminal are kept, so that a ceremony
// that is run again does not ask twice.
const answersFile = "ceremony.toml"

// askCeremony asks for what a ceremony's file holds, and writes it to
// ceremony.toml in the current directory.
func (c *cli) askCeremony(ctx context.Context) (path string, err error) {
	if !c.terminal() {
		return "", usagef("%w; name a file with --config", errNoTerminal)
	}
	if exists(answersFile) {
		return "", usagef("%s is there from an earlier run; go on with --config %s, or take it away", answersFile, answersFile)
	}
	c.people().printf("What you answer is written to %s, where you can change it before anything is done.\n\n", answersFile)
	y := &ceremony{}
	for _, part := range []func(context.Context, *ceremony) error{c.askInstance, c.askNetworks, c.askCustodians, c.askPersons, c.askGroups, c.askPlaces} {
		if err := part(ctx, y); err != nil {
			return "", err
		}
	}
	if err := y.check(); err != nil {
		return "", usage(err)
	}
	text, err := toml.Marshal(y)
	if err != nil {
		return "", err
	}
	if err := writeWhole(answersFile, text, 0o644, nil); err != nil {
		return "", err
	}
	path, err = filepath.Abs(answersFile)
	if err != nil {
		return "", err
	}
	c.people().printf("\n")
	said, err := c.typed(ctx, path+" is written. Look at it. Type yes to begin:")
	if err != nil {
		return "", err
	}
	if said != "yes" {
		return "", refused("nothing was begun; go on later with --config %s", path)
	}
	return path, nil
}

func (c *cli) askInstance(ctx context.Context, y *ceremony) (err error) {
	if y.Instance, err = c.answer(ctx, "Name of the instance, for ever, such as acme-1", "", policy.CheckName); err != nil {
		return err
	}
	if y.Tenant, err = c.answer(ctx, "Name of the organization", "", policy.CheckName); err != nil {
		return err
	}
	environment, err := c.answer(ctx, "Environment, for ever: production or dev", string(policy.Production), oneOfWords(string(policy.Production), string(policy.Dev)))
	if err != nil {
		return err
	}
	y.Environment = policy.Environment(environment)
	return nil
}

func oneOfWords(words ...string) func(string) error {
	return func(s string) error {
		if !slices.Contains(words, s) {
			return fmt.Errorf("want one of %s", list(words))
		}
		return nil
	}
}

func amountAnswer(s string) error {
	_, err := policy.ParseAmount(s)
	return err
}

func numberAnswer(s string) error {
	if n, err := strconv.ParseUint(s, 10, 53); err != nil || n == 0 {
		return errors.New("want a whole number above 0")
	}
	return nil
}

// more asks for the next of several; an empty answer ends them.
func (c *cli) more(ctx context.Context, prompt string, have int, check func(string) error) (string, bool, error) {
	if have > 0 {
		prompt += " (Enter: no more)"
	}
	said, err := c.answer(ctx, prompt, "", func(s string) error {
		if s == "" && have > 0 {
			return nil
		}
		return check(s)
	})
	return said, said != "", err
}

func (c *cli) askNetworks(ctx context.Context, y *ceremony) error {
	for {
		name, more, err := c.more(ctx, "Name of a network, such as quantum-chain", len(y.Networks), policy.CheckName)
		if err != nil || !more {
			return err
		}
		n := ceremonyNetwork{Name: name}
		for _, q := range []struct {
			prompt, ifEmpty string
			check           func(string) error
			take            func(string)
		}{
			{"  its chain id", "", numberAnswer, func(s string) { n.ChainID, _ = strconv.ParseUint(s, 10, 64) }},
			{"  scheme of its wallets: dilithium3, ml-dsa-65 or secp256k1", string(tx.Dilithium3), schemeAnswer, func(s string) { n.Scheme = tx.Scheme(s); n.Kind = n.Scheme.Kind() }},
			{"  symbol of its currency", "QC", notEmpty, func(s string) { n.Currency = s }},
			{"  most that one operation may cost, in wei", "1000000000000000000", amountAnswer, func(s string) { n.DefaultMaxFee, _ = policy.ParseAmount(s) }},
			{"  most that one wallet may spend on fees a day, in wei", "100000000000000000000", amountAnswer, func(s string) { n.DailyFee, _ = policy.ParseAmount(s) }},
		} {
			said, err := c.answer(ctx, q.prompt, q.ifEmpty, q.check)
			if err != nil {
				return err
			}
			q.take(said)
		}
		y.Networks = append(y.Networks, n)
	}
}

func schemeAnswer(s string) error {
	if !tx.Scheme(s).Valid() {
		return fmt.Errorf("%q is no scheme", s)
	}
	return nil
}

func notEmpty(s string) error {
	if s == "" {
		return errors.New("an answer is needed")
	}
	return nil
}

// keyPlaces takes PEM files that are there, and pkcs11: URIs, with commas between.
func keyPlaces(s string) error {
	for _, place := range splitPlaces(s) {
		if isPKCS11(place) {
			continue
		}
		if _, err := os.Stat(place); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no file %s", place)
		} else if err != nil {
			return err
		}
	}
	if len(splitPlaces(s)) == 0 {
		return errors.New("want a PEM file or a pkcs11: URI")
	}
	return nil
}

func splitPlaces(s string) []string {
	var out []string
	for place := range strings.SplitSeq(s, ",") {
		if place = strings.TrimSpace(place); place != "" {
			out = append(out, place)
		}
	}
	return out
}

func (c *cli) askCustodians(ctx context.Context, y *ceremony) error {
	for {
		name, more, err := c.more(ctx, "Name of a custodian", len(y.Custodians.Members), policy.CheckName)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		m := ceremonyCustodian{Name: name}
		keys, err := c.answer(ctx, "  their public keys: PEM files or pkcs11: URIs", "", keyPlaces)
		if err != nil {
			return err
		}
		m.PublicKeys = splitPlaces(keys)
		if m.Key, err = c.answer(ctx, "  where they sign here: a PEM file or a pkcs11: URI (Enter: elsewhere)", "", func(s string) error {
			if s == "" {
				return nil
			}
			return keyPlaces(s)
		}); err != nil {
			return err
		}
		y.Custodians.Members = append(y.Custodians.Members, m)
	}
	threshold, err := c.answer(ctx, fmt.Sprintf("How many of these %d sign a change, and unseal", len(y.Custodians.Members)), "2", numberAnswer)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(threshold, 10, 32)
	y.Custodians.Threshold = uint32(n)
	return err
}

func (c *cli) askPersons(ctx context.Context, y *ceremony) error {
	for {
		name, more, err := c.more(ctx, "Name of a person who approves", len(y.Persons), policy.CheckName)
		if err != nil || !more {
			return err
		}
		keys, err := c.answer(ctx, "  their public keys: PEM files or pkcs11: URIs", "", keyPlaces)
		if err != nil {
			return err
		}
		y.Persons = append(y.Persons, ceremonyPerson{Name: name, PublicKeys: splitPlaces(keys)})
	}
}

func (c *cli) askGroups(ctx context.Context, y *ceremony) error {
	y.Groups = map[string][]string{}
	var all []string
	for _, p := range y.Persons {
		all = append(all, p.Name)
	}
	for {
		name, more, err := c.more(ctx, "Name of a group of them, such as approvers", len(y.Groups), policy.CheckName)
		if err != nil || !more {
			return err
		}
		members, err := c.answer(ctx, "  who is of it", strings.Join(all, ","), func(s string) error {
			for _, m := range splitPlaces(s) {
				if !slices.Contains(all, m) {
					return fmt.Errorf("%q is none of %s", m, list(all))
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		y.Groups[name] = splitPlaces(members)
	}
}

func (c *cli) askPlaces(ctx context.Context, y *ceremony) error {
	for _, q := range []struct {
		prompt, ifEmpty string
		check           func(string) error
		take            func(string)
	}{
		{"The seal's configuration", "/etc/mintwarden/seal.toml", keyPlaces, func(s string) { y.SealConfig = s }},
		{"serve's configuration (Enter: none yet)", "", func(string) error { return nil }, func(s string) { y.ServeConfig = s }},
		{"Where the first users go", "/etc/mintwarden/bootstrap.json", notEmpty, func(s string) { y.Bootstrap = s }},
		{"Name of the admin", "admin", policy.CheckName, func(s string) { y.Admin = s }},
		{"Where certificates go", "/etc/mintwarden/tls", notEmpty, func(s string) { y.TLS.Dir = s }},
		{"Names and addresses of the API, with commas between (Enter: it has certificates)", "", func(string) error { return nil }, func(s string) { y.TLS.Hosts = splitPlaces(s) }},
		{"Is the token software (SoftHSM2)? yes or no", "no", oneOfWords("yes", "no"), func(s string) { y.Flags.SoftwareTokenAccepted = s == "yes" }},
	} {
		said, err := c.answer(ctx, q.prompt, q.ifEmpty, q.check)
		if err != nil {
			return err
		}
		q.take(said)
	}
	return nil
}
