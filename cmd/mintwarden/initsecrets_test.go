package main

import (
	"bytes"
	"encoding/json/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/pki"
	"github.com/mintwarden/mintwarden/policy"
)

// TestTheCeremonyWritesOverNobodysSecrets: the medium that shares go to holds carol's for another appliance, and the
// directory for keys the one that she signs with.
func TestTheCeremonyWritesOverNobodysSecrets(t *testing.T) {
	s := newSite(t)
	s.start()
	const another = "mwshare1-of-another-appliance\n"
	require.NoError(t, os.Mkdir(s.path("shares"), 0o700))
	s.write("shares/carol.share", another)
	got := s.init(nil, s.filed()...)
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, s.path("shares/carol.share")+" is there and is not of this ceremony")
	require.Contains(t, got.err, "--shares")
	require.Equal(t, another, s.read("shares/carol.share"))
	require.NoFileExists(t, s.path("shares/dave.share"))
	require.NoFileExists(t, s.path("state/custody.json"), "nothing has begun")

	signing := s.read("carol.key")
	args := []string{"--yes", "--shares", s.path("these"), "--keys", s.dir}
	got = s.init(nil, args...)
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, s.path("carol.key")+" is there and is not of this ceremony")
	require.Equal(t, signing, s.read("carol.key"))
	require.NoFileExists(t, s.path("bootstrap.json"))

	args[4] = s.path("keys")
	got = s.init(nil, args...)
	require.Equal(t, exitDone, got.code, got.err+s.read("seal.log"))
	s.begun()
	s.holdsOneBatch()
}

// TestInitFindsRootsThatCannotIssue before it begins, not when all else is done: the operator put ca.crt there, and keeps
// the roots' keys on another machine.
func TestInitFindsRootsThatCannotIssue(t *testing.T) {
	s := newSite(t)
	s.start()
	ca, err := pki.NewCA("acme", pki.ECDSAP256)
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(s.path("tls"), 0o755))
	s.write("tls/ca.crt", string(ca.Pair().Certificate))
	got := s.init(nil, s.filed()...)
	require.Equal(t, exitUsage, got.code, got.err)
	require.Contains(t, got.err, "tls.dir: "+s.path("tls")+" has ca.crt and cannot issue certificates")
	require.NoFileExists(t, s.path("state/custody.json"), "nothing has begun")

	// Nor does it take the place of a certificate that somebody else's root issued.
	require.NoError(t, os.Remove(s.path("tls/ca.crt")))
	pair, err := ca.IssueServer("api", []string{"127.0.0.1"}, pki.ECDSAP256)
	require.NoError(t, err)
	require.NoError(t, writePair(s.path("tls"), classicAPI, pair))
	got = s.init(nil, s.filed()...)
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "is not of the roots in that directory, and is not written over")
	require.Equal(t, string(pair.Key), s.read("tls/"+classicAPI+".key"))
	require.NoError(t, os.Remove(s.path("tls/"+classicAPI+".crt")))
	got = s.init(nil, s.filed()...)
	require.Equal(t, exitDone, got.code, got.err+s.read("seal.log"))
	s.begun()
}

// TestACredentialOfBeforeIsNotTakenForTheNewPINs: the seal would try a PIN that is wrong at each start, and a token
// takes few of those.
func TestACredentialOfBeforeIsNotTakenForTheNewPINs(t *testing.T) {
	s := newSite(t)
	s.start()
	s.write("pin", "of another ceremony")
	got := s.init(nil, append(s.filed(), "--credential", s.path("pin"))...)
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, s.path("pin")+" is there, and is not of this ceremony's PIN")
	require.NoFileExists(t, s.path("state/custody.json"), "nothing has begun")
}

// TestTheCredentialIsTheSealsToLookAt: root holds the ceremony, and the seal must see what the PIN is encrypted with.
func TestTheCredentialIsTheSealsToLookAt(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root alone gives files away")
	}
	if _, err := exec.LookPath("systemd-creds"); err != nil {
		t.Skip(err)
	}
	const nobody = 65534
	s := newSite(t)
	require.NoError(t, os.Mkdir(s.path("state"), 0o700))
	require.NoError(t, os.Chown(s.path("state"), nobody, nobody))
	config, err := loadSealConfig(s.path("seal.toml"))
	require.NoError(t, err)
	pins, err := drawPINs(8)
	require.NoError(t, err)
	defer pins.destroy()
	f := &founding{c: &cli{out: &printer{w: os.Stdout}, err: &printer{w: os.Stderr}, json: true}, plan: &ceremony{Environment: policy.Dev}, seal: config, pins: pins,
		opts: initFlags{credential: s.path("pin")}}
	require.NoError(t, f.writeCredential(t.Context()))
	info, err := os.Stat(s.path("pin"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Equal(t, &owner{nobody, nobody}, ownerOf(info))
}

// TestKeysThatCouldNotBeShownDoNotCount: a program holds the ceremony, and the disk that it writes the answer to is full.
// The first users' keys are shown once, so they count once they were.
func TestKeysThatCouldNotBeShownDoNotCount(t *testing.T) {
	s := newSite(t)
	s.start()
	full := &printer{w: writer(func([]byte) (int, error) { return 0, syscall.ENOSPC })}
	var said bytes.Buffer
	c := &cli{in: strings.NewReader(""), out: full, err: &printer{w: &said}}
	args := []string{"--yes", "--shares", s.path("shares"), "--json"}
	code := c.run(t.Context(), append([]string{"init", "--config", s.path("ceremony.toml"), "--token-backed-up"}, args...))
	require.Equal(t, exitRefused, code, said.String())
	require.Contains(t, said.String(), "no space left on device")
	require.NoFileExists(t, s.path("bootstrap.json"))

	got := s.init(nil, args...)
	require.Equal(t, exitDone, got.code, got.err)
	var begun begunInstance
	require.NoError(t, json.Unmarshal([]byte(got.out), &begun))
	require.Len(t, begun.Keys, 6)
	s.begun()
}
