package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// ceremony is ceremony.toml: what people agreed on before an instance begins.
// It is strict, an unknown key refuses the file, and holds no secret. Paths that
// are not absolute are relative to the file's directory.
type ceremony struct {
	Instance    string             `toml:"instance"`
	Environment policy.Environment `toml:"environment"`
	Tenant      string             `toml:"tenant"`
	// SealConfig is the seal's own seal.toml, which names appliance, token, state
	// directory and socket, and into which the digest of charter 1 goes.
	SealConfig string `toml:"seal_config"`
	// ServeConfig is mintwarden.toml, into which the digest goes too; may be empty.
	ServeConfig string `toml:"serve_config,omitempty"`
	Bootstrap   string `toml:"bootstrap"` // where bootstrap.json goes, as mintwarden.toml names it
	// Work is where the ceremony keeps what is signed, and looks for signatures.
	Work string `toml:"work,omitempty"` // empty: "ceremony" beside the file
	// PINLength is of the PINs that are drawn, in characters; 0: 32. A token that
	// takes fewer, such as opencryptoki's with 4 to 8, needs it here.
	PINLength int `toml:"pin_length,omitempty"`

	Networks   []ceremonyNetwork   `toml:"network"`
	Custodians ceremonyCustodians  `toml:"custodians"`
	Persons    []ceremonyPerson    `toml:"person"`
	Groups     map[string][]string `toml:"groups"`
	Limits     ceremonyLimits      `toml:"limits,omitempty"`
	Flags      ceremonyFlags       `toml:"flags,omitempty"`
	Admin      string              `toml:"admin"` // name of the first user
	TLS        ceremonyTLS         `toml:"tls"`
}

// ceremonyNetwork is a chain as the charter names it.
type ceremonyNetwork struct {
	Name          string        `toml:"name"`
	Kind          tx.Kind       `toml:"kind"`
	ChainID       uint64        `toml:"chain_id"`
	Scheme        tx.Scheme     `toml:"scheme"`
	Currency      string        `toml:"currency"`
	DefaultMaxFee policy.Amount `toml:"default_max_fee"` // wei
	DailyFee      policy.Amount `toml:"daily_fee"`       // wei
}

type ceremonyCustodians struct {
	Threshold uint32              `toml:"threshold"`
	Members   []ceremonyCustodian `toml:"member"`
}

// ceremonyCustodian is one seat. PublicKeys are PEM files or pkcs11: URIs. Key
// is where this machine reaches a signing key of theirs, a PEM file or a pkcs11:
// URI; empty: they sign on a machine of their own and bring files.
type ceremonyCustodian struct {
	Name       string   `toml:"name"`
	PublicKeys []string `toml:"public_keys"`
	Key        string   `toml:"key,omitempty"`
}

type ceremonyPerson struct {
	Name       string   `toml:"name"`
	PublicKeys []string `toml:"public_keys"`
}

// ceremonyLimits are the charter's; what is absent takes the charter's default.
type ceremonyLimits struct {
	MaxIntentLifetime span   `toml:"max_intent_lifetime,omitempty"`
	MaxOutstanding    uint64 `toml:"max_outstanding,omitempty"`
	MaxClockSkew      span   `toml:"max_clock_skew,omitempty"`
	WalletsPerHour    uint64 `toml:"wallets_per_hour,omitempty"`
	WalletsTotal      uint64 `toml:"wallets_total,omitempty"`
}

type ceremonyFlags struct {
	SignedRequests        bool `toml:"signed_requests,omitempty"`
	RequirePostQuantum    bool `toml:"require_post_quantum,omitempty"`
	HostKeyAccepted       bool `toml:"host_key_accepted,omitempty"`
	SoftwareTokenAccepted bool `toml:"software_token_accepted,omitempty"`
}

// ceremonyTLS says where the roots are that the first client certificate chains
// to. They are made there if they are not.
type ceremonyTLS struct {
	Dir   string   `toml:"dir"`
	Hosts []string `toml:"hosts,omitempty"` // names and addresses of the API; empty: no server certificates are made
}

// span is a duration as Go writes it, "24h".
type span time.Duration

func (s *span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err == nil && (d < time.Second || d%time.Second != 0) {
		err = fmt.Errorf("%s: want whole seconds", text)
	}
	*s = span(d)
	return err
}

func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

func (s span) seconds() uint64 { return uint64(time.Duration(s) / time.Second) }

const (
	// maxCeremony bounds ceremony.toml in bytes: 256 persons in 64 groups.
	maxCeremony = 256 << 10
	// maxFirstUsers is how many users bootstrap.json takes.
	maxFirstUsers = 20
	// PINs are drawn from an alphabet that every token takes.
	defaultPIN = 32 // characters
	leastPIN   = 8
	mostPIN    = 64
)

// loadCeremony reads the file and checks it as far as it goes by itself.
func loadCeremony(path string) (*ceremony, error) {
	text, err := readBounded(path, maxCeremony)
	if err != nil {
		return nil, usagef("--config: %w", err)
	}
	y, err := parseCeremony(text)
	if err != nil {
		return nil, usagef("%s: %w", path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	y.resolve(dir)
	return y, nil
}

// readBounded reads a file that must not be larger.
func readBounded(path string, max int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > max {
		return nil, fmt.Errorf("%s has more than %d bytes", path, max)
	}
	return text, nil
}

func parseCeremony(text []byte) (*ceremony, error) {
	if len(text) > maxCeremony {
		return nil, fmt.Errorf("%d bytes, at most %d", len(text), maxCeremony)
	}
	var y ceremony
	d := toml.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&y); err != nil {
		return nil, tomlError(err)
	}
	return &y, y.check()
}

// tomlError says where a TOML file is wrong.
func tomlError(err error) error {
	var unknown *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case errors.As(err, &unknown) && len(unknown.Errors) > 0:
		row, _ := unknown.Errors[0].Position()
		return fmt.Errorf("line %d: unknown key %s", row, strings.Join(unknown.Errors[0].Key(), "."))
	case errors.As(err, &wrong):
		row, _ := wrong.Position()
		return fmt.Errorf("line %d: %w", row, err)
	}
	return err
}

func (y *ceremony) check() error {
	for _, f := range []struct{ name, value string }{{"instance", y.Instance}, {"tenant", y.Tenant}, {"admin", y.Admin}} {
		if err := policy.CheckName(f.value); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	for _, f := range []struct{ name, value string }{{"seal_config", y.SealConfig}, {"bootstrap", y.Bootstrap}, {"tls.dir", y.TLS.Dir}} {
		if f.value == "" {
			return fmt.Errorf("%s is missing", f.name)
		}
	}
	if y.Environment != policy.Dev && y.Environment != policy.Production {
		return fmt.Errorf("environment %q, want dev or production", y.Environment)
	}
	if y.PINLength == 0 {
		y.PINLength = defaultPIN
	}
	if y.PINLength < leastPIN || y.PINLength > mostPIN {
		return fmt.Errorf("pin_length %d, want %d to %d", y.PINLength, leastPIN, mostPIN)
	}
	return y.checkPeople()
}

// checkPeople: everybody has one name and one user, so one role.
func (y *ceremony) checkPeople() error {
	c := y.Custodians
	switch {
	case len(c.Members) == 0 || c.Threshold == 0 || int(c.Threshold) > len(c.Members):
		return fmt.Errorf("custodians: threshold %d of %d", c.Threshold, len(c.Members))
	case y.Environment == policy.Production && c.Threshold < 2:
		return fmt.Errorf("custodians: threshold %d under a production charter, want at least 2", c.Threshold)
	}
	names := map[string]string{y.Admin: "the admin"}
	take := func(name, what string, keys []string) error {
		if err := policy.CheckName(name); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if other, ok := names[name]; ok {
			return fmt.Errorf("%s %s is %s too; a person has one role, so name a second seat apart, with a key of its own", what, name, other)
		}
		if len(keys) == 0 || slices.Contains(keys, "") {
			return fmt.Errorf("%s %s: public_keys is missing or holds an empty one", what, name)
		}
		names[name] = "a " + what
		return nil
	}
	for _, m := range c.Members {
		if err := take(m.Name, "custodian", m.PublicKeys); err != nil {
			return err
		}
	}
	for _, p := range y.Persons {
		if err := take(p.Name, "person", p.PublicKeys); err != nil {
			return err
		}
	}
	if len(names) > maxFirstUsers {
		return fmt.Errorf("admin, custodians and persons are %d, at most %d begin; a later charter adds the others", len(names), maxFirstUsers)
	}
	return nil
}

// resolve makes every path absolute.
func (y *ceremony) resolve(dir string) {
	if y.Work == "" {
		y.Work = "ceremony"
	}
	paths := []*string{&y.SealConfig, &y.ServeConfig, &y.Bootstrap, &y.Work, &y.TLS.Dir}
	for n := range y.Custodians.Members {
		m := &y.Custodians.Members[n]
		paths = append(paths, &m.Key)
		for k := range m.PublicKeys {
			paths = append(paths, &m.PublicKeys[k])
		}
	}
	for n := range y.Persons {
		for k := range y.Persons[n].PublicKeys {
			paths = append(paths, &y.Persons[n].PublicKeys[k])
		}
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) && !isPKCS11(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// network is the charter's form of a network.
func (n *ceremonyNetwork) network() policy.Network {
	return policy.Network{Name: n.Name, Kind: n.Kind, ChainID: n.ChainID, Scheme: n.Scheme, Currency: n.Currency,
		DefaultMaxFee: n.DefaultMaxFee, DailyFee: n.DailyFee}
}

func (l *ceremonyLimits) limits() policy.Limits {
	return policy.Limits{MaxIntentLifetime: l.MaxIntentLifetime.seconds(), MaxOutstanding: l.MaxOutstanding,
		MaxClockSkew: l.MaxClockSkew.seconds(), WalletsPerHour: l.WalletsPerHour, WalletsTotal: l.WalletsTotal}
}

func (f *ceremonyFlags) flags() policy.Flags {
	return policy.Flags{SignedRequests: f.SignedRequests, RequirePostQuantum: f.RequirePostQuantum,
		HostKeyAccepted: f.HostKeyAccepted, SoftwareTokenAccepted: f.SoftwareTokenAccepted}
}
