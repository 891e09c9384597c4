package main

import (
	"crypto/hpke"
	"encoding/json/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// charterFile is the next charter, changed, as a person edits it.
func charterFile(t *testing.T, change func(*policy.Charter)) string {
	t.Helper()
	got := mintwarden(t, "charter", "show", "--next")
	require.Equal(t, exitDone, got.code, got.err)
	c, err := policy.ParseCharter([]byte(got.out))
	require.NoError(t, err)
	change(c)
	text, err := json.Marshal(c)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "charter.json")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}

func TestCharterProposeAndSign(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	file := charterFile(t, func(c *policy.Charter) { c.Groups["approvers"] = []string{"ann", "bob", "dan"} })
	got := mintwarden(t, "charter", "propose", "--charter", file)
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "approvers")
	require.Contains(t, got.out, "dan")
	require.Contains(t, got.out, "It waits for the signatures of 2 custodians")

	got = mintwarden(t, "charter", "show")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "proposed version 2")

	got = mintwarden(t, "charter", "sign", "--yes", "--key", keyFileOf(t, "custodian-1"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "Against version 1, which is in force")
	require.Contains(t, got.out, "cat")
	require.Contains(t, got.out, "Signed: 1 of 2")
	inForce, digest := w.fold.Charter()
	require.Len(t, a.sent(), 1)
	names, err := inForce.VerifyCustodians(policy.DocCharter, a.sent()[0])
	require.NoError(t, err)
	require.Equal(t, []string{"custodian-1"}, names)
	next, err := policy.ParseCharter(a.sent()[0].Payload)
	require.NoError(t, err)
	require.Equal(t, digest, *next.Replaces)

	got = mintwarden(t, "charter", "sign", "--yes", "--key", keyFileOf(t, "custodian-1"))
	require.Contains(t, got.out, "Already signed by custodian-1")
	got = mintwarden(t, "charter", "sign", "--yes", "--key", keyFileOf(t, "custodian-1"), "--json")
	require.Contains(t, got.out, string(a.sent()[0].PayloadDigest()), "programs are told, too")
	got = mintwarden(t, "charter", "sign", "--yes", "--key", keyFileOf(t, "ann"))
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, "ann is no custodian")
	require.Len(t, a.sent(), 1)
}

func TestCharterSignRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*policy.Charter)
		says   string
	}{
		"another version":   {func(c *policy.Charter) { c.Version = 3 }, "the next one is version 2"},
		"another base":      {func(c *policy.Charter) { d := policy.NoDigest; c.Replaces = &d }, "and replaces"},
		"another instance":  {func(c *policy.Charter) { c.Instance = "dev-2" }, "none of these ever changes"},
		"another tenant":    {func(c *policy.Charter) { c.TenantID = "evil" }, "none of these ever changes"},
		"nothing proposed":  {nil, "no such charter is proposed"},
		"no charter at all": {func(c *policy.Charter) { c.Custodians.Threshold = 9 }, "is none"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := serve(t, w)
			charter, digest := w.fold.Charter()
			next := nextCharter(charter, digest)
			if c.change != nil {
				c.change(next)
				document, err := json.Marshal(next)
				require.NoError(t, err)
				a.proposeCharter(document)
			}
			got := mintwarden(t, "charter", "sign", "--yes", "--key", keyFileOf(t, "custodian-1"))
			require.NotEqual(t, exitDone, got.code)
			require.Contains(t, got.err, c.says)
			require.Empty(t, a.sent())
		})
	}
}

// TestFreeze: one custodian stops, two let it go on.
func TestFreeze(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	got := mintwarden(t, "charter", "freeze", "--person", "bob", "--yes", "--key", keyFileOf(t, "custodian-2"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "person bob is stopped")
	require.True(t, w.fold.Frozen(policy.Subject{Person: "bob"}))

	again := mintwarden(t, "charter", "freeze", "--person", "bob", "--yes", "--key", keyFileOf(t, "custodian-2"))
	require.Equal(t, exitRefused, again.code)
	require.Contains(t, again.err, "person bob is stopped already")
	stranger := mintwarden(t, "charter", "freeze", "--person", "mallory", "--yes", "--key", keyFileOf(t, "custodian-2"))
	require.Equal(t, exitUsage, stranger.code)
	require.Contains(t, stranger.err, `no person "mallory"`)
	require.Len(t, a.sent(), 1)
}

// stopped is a world in which a custodian suspended bob a minute ago: documents about
// one subject have a moment each.
func stopped(t *testing.T) *world {
	w := newWorld(t)
	w.commit(ledger.Record{Freeze: signed(t, policy.DocFreeze, &policy.Freeze{Format: policy.Format, Instance: "dev-1",
		Subject: policy.Subject{Person: "bob"}, Frozen: true, CreatedAt: w.now}, "custodian-3")})
	return w
}

// TestUnfreeze: lifting takes the threshold, in a file that goes round.
func TestUnfreeze(t *testing.T) {
	w := stopped(t)
	a := serve(t, w)
	file := filepath.Join(t.TempDir(), "lift.json")
	none := mintwarden(t, "charter", "unfreeze", "--person", "bob", "--yes", "--key", keyFileOf(t, "custodian-2"))
	require.Equal(t, exitUsage, none.code)
	require.Contains(t, none.err, "--document FILE")
	first := mintwarden(t, "charter", "unfreeze", "--person", "bob", "--document", file, "--yes", "--key", keyFileOf(t, "custodian-2"))
	require.Equal(t, exitDone, first.code, first.err)
	require.Contains(t, first.out, "Signed: 1 of 2")
	same := mintwarden(t, "charter", "unfreeze", "--document", file, "--yes", "--key", keyFileOf(t, "custodian-2"))
	require.Contains(t, same.out, "Signed: 1 of 2")
	require.True(t, w.fold.Frozen(policy.Subject{Person: "bob"}))
	other := mintwarden(t, "charter", "unfreeze", "--person", "ann", "--document", file, "--yes", "--key", keyFileOf(t, "custodian-1"))
	require.Equal(t, exitUnverified, other.code)
	last := mintwarden(t, "charter", "unfreeze", "--document", file, "--yes", "--key", keyFileOf(t, "custodian-1"))
	require.Equal(t, exitDone, last.code, last.err)
	require.Contains(t, last.out, "person bob is free again")
	require.False(t, w.fold.Frozen(policy.Subject{Person: "bob"}))
	require.Len(t, a.sent(), 1)
}

// TestForgedSignatureInADocument: whoever changes the file on its way makes it
// worthless.
func TestForgedSignatureInADocument(t *testing.T) {
	w := stopped(t)
	serve(t, w)
	file := filepath.Join(t.TempDir(), "lift.json")
	require.Equal(t, exitDone, mintwarden(t, "charter", "unfreeze", "--person", "bob", "--document", file, "--yes", "--key", keyFileOf(t, "custodian-2")).code)
	e, err := readEnvelope(file)
	require.NoError(t, err)
	e.Payload = []byte(strings.Replace(string(e.Payload), "bob", "ann", 1))
	require.NoError(t, os.WriteFile(file, e.Encode(), 0o600))
	got := mintwarden(t, "charter", "unfreeze", "--document", file, "--yes", "--key", keyFileOf(t, "custodian-1"))
	require.Equal(t, exitUnverified, got.code, got.err)
}

func TestSealBySignature(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	a.seal = &client.Seal{Reachable: true, Initialized: true, ApplianceID: ptr("appliance-1")}
	got := mintwarden(t, "seal", "--reason", "drill", "--yes", "--key", keyFileOf(t, "custodian-3"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "appliance-1 is sealed")
	d, err := policy.ParseSeal(a.sent()[0].Payload)
	require.NoError(t, err)
	require.Equal(t, "drill", d.Reason)
	require.Equal(t, "appliance-1", d.ApplianceID)
	a.seal.ApplianceID = ptr("appliance-9")
	got = mintwarden(t, "seal", "--yes", "--key", keyFileOf(t, "custodian-3"))
	require.Equal(t, exitUnverified, got.code)
}

// TestCommandsOfTheBook holds the commands to the list of spec/formats.md. Those
// that are not there yet belong to rooms that are not either.
func TestCommandsOfTheBook(t *testing.T) {
	root := (&cli{}).command()
	for line := range strings.Lines(`token create list show deploy mint burn grant revoke roles
operation list show watch cancel
approve
reject
policy list show propose sign simulate
charter show propose sign
vault create list show
wallet create list show
credential
audit list verify
explain
init
unseal
seal
recover`) {
		words := strings.Fields(line)
		cmd, _, err := root.Find(words[:1])
		require.NoError(t, err)
		require.Equal(t, words[0], cmd.Name())
		for _, sub := range words[1:] {
			found, _, err := cmd.Find([]string{sub})
			require.NoError(t, err)
			require.Equal(t, sub, found.Name(), words[0])
		}
	}
}

// TestUnsealThroughTheAPI: the share goes out encrypted to the unseal key of the
// verified charter, bound to custodian and nonce, whatever key the API names.
func TestUnsealThroughTheAPI(t *testing.T) {
	private, err := hpke.MLKEM768X25519().GenerateKey()
	require.NoError(t, err)
	w := newWorld(t, func(c *policy.Charter) { c.Appliances[0].UnsealKey = private.PublicKey().Bytes() })
	a := serve(t, w)
	charter, _ := w.fold.Charter()
	custody, shares, err := seal.NewCustody("dev-1", "appliance-1", charter.Custodians, []byte("pin-1234"), []byte("so-pin-12"), time.Now())
	require.NoError(t, err)
	dir := t.TempDir()
	for name, s := range shares {
		require.NoError(t, os.WriteFile(shareFile(dir, name), append(s.Encode(), '\n'), 0o600))
	}
	evil, err := hpke.MLKEM768X25519().GenerateKey()
	require.NoError(t, err)
	nonce := []byte("a nonce of thirty-two bytes ....")
	a.seal = &client.Seal{Reachable: true, Initialized: true, Sealed: true, ApplianceID: ptr("appliance-1"),
		Unsealing: &client.Unsealing{Need: 2, Nonce: nonce, Shares: []string{}, UnsealKey: ptr(evil.PublicKey().Bytes())}}
	unseal := func(name string, more ...string) result {
		return mintwarden(t, append([]string{"unseal", "--key", keyFileOf(t, name), "--share", shareFile(dir, name)}, more...)...)
	}
	got := unseal("custodian-2")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "Your share is taken: 1 of 2 (custodian-2)")
	got = unseal("custodian-3")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "Given so far: 1 of 2 (custodian-2)")
	require.Contains(t, got.out, "the appliance is unsealed")
	got = unseal("custodian-3")
	require.Contains(t, got.out, "is not sealed")

	back := map[string]seal.Share{}
	for n, name := range []string{"custodian-2", "custodian-3"} {
		d, err := policy.ParseUnseal(a.sent()[n].Payload)
		require.NoError(t, err)
		require.NotContains(t, string(a.sent()[n].Encode()), strings.TrimSpace(string(shares[name].Encode())))
		back[name], err = seal.OpenShare(private, seal.Binding{Instance: "dev-1", ApplianceID: "appliance-1", Custodian: name, Nonce: nonce}, d.Share)
		require.NoError(t, err)
	}
	pin, _, err := custody.Open(back)
	require.NoError(t, err)
	require.Equal(t, "pin-1234", string(pin.Bytes()))

	// A file that others can read, and no share at all.
	a.seal.Sealed, a.seal.Unsealing = true, &client.Unsealing{Need: 2, Nonce: nonce, Shares: []string{}}
	require.NoError(t, os.Chmod(shareFile(dir, "custodian-1"), 0o644))
	got = unseal("custodian-1")
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.err, "can be read by others")
	require.NoError(t, os.WriteFile(shareFile(dir, "custodian-1"), []byte("mwshare1-nonsense"), 0o600))
	require.NoError(t, os.Chmod(shareFile(dir, "custodian-1"), 0o600))
	require.Equal(t, exitUsage, unseal("custodian-1").code)
	got = mintwarden(t, "unseal", "--key", keyFileOf(t, "custodian-1"))
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.err, "no terminal")
}
