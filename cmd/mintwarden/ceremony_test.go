package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
)

// plan is a ceremony's file that holds; tests change one thing in it.
const plan = `instance = "acme-1"
environment = "production"
tenant = "acme"
seal_config = "seal.toml"
serve_config = "mintwarden.toml"
bootstrap = "bootstrap.json"
admin = "root"
pin_length = 8

[tls]
dir = "tls"
hosts = ["127.0.0.1"]

[[network]]
name = "quantum-chain"
kind = "quantum"
chain_id = 4242
scheme = "dilithium3"
currency = "QC"
default_max_fee = "1000000000000000000"
daily_fee = "100000000000000000000"

[custodians]
threshold = 2
[[custodians.member]]
name = "carol"
public_keys = ["carol.pub"]
key = "carol.key"
[[custodians.member]]
name = "dave"
public_keys = ["dave.pub"]
key = "dave.key"
[[custodians.member]]
name = "erin"
public_keys = ["erin.pub", "pkcs11:token=erin;object=sign"]

[[person]]
name = "ann"
public_keys = ["ann.pub"]
[[person]]
name = "bob"
public_keys = ["bob.pub"]

[groups]
approvers = ["ann", "bob"]

[limits]
max_intent_lifetime = "12h"

[flags]
software_token_accepted = true
`

func TestCeremonyFile(t *testing.T) {
	y, err := parseCeremony([]byte(plan))
	require.NoError(t, err)
	require.Equal(t, uint64(43200), y.Limits.limits().MaxIntentLifetime)
	require.True(t, y.Flags.flags().SoftwareTokenAccepted)
	require.Equal(t, "100000000000000000000", y.Networks[0].network().DailyFee.String())
	y.resolve("/etc/mintwarden")
	require.Equal(t, "/etc/mintwarden/ceremony", y.Work)
	require.Equal(t, []string{"/etc/mintwarden/erin.pub", "pkcs11:token=erin;object=sign"}, y.Custodians.Members[2].PublicKeys)
	require.Empty(t, y.Custodians.Members[2].Key)
}

func TestCeremonyFileRefuses(t *testing.T) {
	for name, c := range map[string]struct{ old, new, says string }{
		"an unknown key":          {`tenant = "acme"`, "tenant = \"acme\"\npin = \"1234\"", "line 4: unknown key pin"},
		"an unknown key within":   {"threshold = 2", "threshold = 2\nquorum = 1", "unknown key custodians.quorum"},
		"another type":            {"threshold = 2", `threshold = "2"`, "line 24"},
		"no environment":          {`"production"`, `"staging"`, "want dev or production"},
		"a threshold of one":      {"threshold = 2", "threshold = 1", "want at least 2"},
		"a threshold of none":     {"threshold = 2", "threshold = 0", "threshold 0 of 3"},
		"a threshold too high":    {"threshold = 2", "threshold = 4", "threshold 4 of 3"},
		"a name twice":            {`name = "dave"`, `name = "carol"`, "carol is a custodian too"},
		"custodian and approver":  {`name = "bob"`, `name = "dave"`, "a person has one role"},
		"an admin who approves":   {`admin = "root"`, `admin = "ann"`, "ann is the admin too"},
		"no public key":           {`public_keys = ["bob.pub"]`, `public_keys = []`, "person bob: public_keys is missing"},
		"a PIN too short":         {"pin_length = 8", "pin_length = 4", "want 8 to 64"},
		"half a second":           {`"12h"`, `"1.5s"`, "whole seconds"},
		"no bootstrap":            {`bootstrap = "bootstrap.json"`, "", "bootstrap is missing"},
		"a name that is none":     {`instance = "acme-1"`, `instance = "acme 1"`, "instance"},
		"a fee that is no amount": {`"1000000000000000000"`, `"1e18"`, "line"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, plan, c.old)
			_, err := parseCeremony([]byte(strings.Replace(plan, c.old, c.new, 1)))
			require.ErrorContains(t, err, c.says)
		})
	}
	_, err := parseCeremony(make([]byte, maxCeremony+1))
	require.ErrorContains(t, err, "at most")
	got := mintwarden(t, "init", "--config", filepath.Join(t.TempDir(), "none.toml"), "--token-backed-up")
	require.Equal(t, exitUsage, got.code)
	got = mintwarden(t, "init", "--config", "ceremony.toml")
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.err, "say --token-backed-up")
}

func FuzzCeremony(f *testing.F) {
	f.Add([]byte(plan))
	f.Add([]byte("[custodians]\nthreshold = 99999999999999999999"))
	f.Add([]byte("groups = 1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		y, err := parseCeremony(text)
		if err == nil {
			y.resolve("/") // what is taken can be used
			require.NoError(t, y.check())
		}
	})
}

const sealTOML = `# the seal's own
appliance = "appliance-1" # in the charter
state = "/var/lib/mintwarden-seal"
socket = "seal.sock"

[hsm]
module = "/usr/lib/token.so"
token = "mint"

[store]
endpoints = ["https://127.0.0.1:2379"]
charter1 = "not this one"
`

// TestCharterIsNamedOnce: nothing but one line of a configuration changes, and never
// a second time.
func TestCharterIsNamedOnce(t *testing.T) {
	digest := policy.DigestOf([]byte("charter"))
	for name, text := range map[string]string{
		"no line":       sealTOML,
		"an empty line": strings.Replace(sealTOML, "state =", "charter1 = \"\" # later\nstate =", 1),
	} {
		t.Run(name, func(t *testing.T) {
			out, err := withCharter1([]byte(text), digest)
			require.NoError(t, err)
			s, err := parseSealConfig(out)
			require.NoError(t, err)
			require.Equal(t, digest, s.Charter1)
			require.Contains(t, string(out), "# the seal's own")
			require.Contains(t, string(out), `charter1 = "not this one"`)
			again, err := withCharter1(out, digest)
			require.NoError(t, err)
			require.Equal(t, out, again)
			_, err = withCharter1(out, policy.DigestOf([]byte("another")))
			require.ErrorIs(t, err, errCharterNamed)
		})
	}
	_, err := withCharter1([]byte("charter1 = [\n"), digest)
	require.Error(t, err)
}

func FuzzSealConfig(f *testing.F) {
	f.Add([]byte(sealTOML))
	f.Add([]byte("charter1 = '''\n[x]'''\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		digest := policy.DigestOf(text)
		out, err := withCharter1(text, digest)
		if err != nil {
			return
		}
		again, err := withCharter1(out, digest)
		require.NoError(t, err)
		require.Equal(t, out, again)
	})
}

func FuzzUnsealRequest(f *testing.F) {
	f.Add([]byte(`{"format":1,"instance":"acme-1","applianceId":"appliance-1","nonce":"AAAAAAAAAAAAAAAAAAAAAA==","unsealKey":"AAAA"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if q, err := parseUnsealRequest(text); err == nil {
			require.NotEmpty(t, q.UnsealKey)
		}
	})
}
