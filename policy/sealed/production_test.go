package sealed

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// produced is charter 1 of a production instance on the house's token, changed,
// and what the seal says to it.
func produced(t *testing.T, source pinSource, state string, who *people, change func(*policy.Charter)) (*room, *policy.Envelope, error) {
	t.Helper()
	emptyLog(t)
	o := roomOptions{state: state, source: source}
	before := newTestRoom(t, "", o)
	me, err := before.Init(t.Context())
	require.NoError(t, err)
	require.NoError(t, before.journal.close())
	payload, err := who.charter(me, func(c *policy.Charter) {
		c.Environment = policy.Production
		c.Flags = policy.Flags{SoftwareTokenAccepted: true}
		if change != nil {
			change(c)
		}
	}).Encode()
	e := sign(t, policy.DocCharter, payload, err, who.custodians...)
	r := newTestRoom(t, e.PayloadDigest(), o)
	start(t, r)
	_, err = r.CharterApply(t.Context(), e)
	return r, e, err
}

// Under a production charter the seal refuses what its signers were promised not
// to be on this machine, each by its name; the same with the flag is taken.
func TestWhatAProductionCharterDoesNotTake(t *testing.T) {
	who := newPeople(t)
	with := func(keys ...policy.PublicKey) string {
		dir := t.TempDir()
		require.NoError(t, seal.NoteMadeHere(dir, keys...))
		return dir
	}
	broken := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(broken, seal.MadeHereFile), []byte("x\n"), 0o600))
	for name, x := range map[string]struct {
		source pinSource
		state  string
		change func(*policy.Charter)
		want   string // empty: taken
	}{
		"a quorum":                      {source: pinQuorum},
		"a credential under a TPM":      {source: pinTPM},
		"a PIN file":                    {source: pinFile, want: "does not take a PIN file"},
		"a PIN of unknown origin":       {source: "", want: "does not take a PIN file"},
		"a credential under the host":   {source: pinHost, want: "hostKeyAccepted"},
		"the same, accepted":            {source: pinHost, change: func(c *policy.Charter) { c.Flags.HostKeyAccepted = true }},
		"a software token":              {source: pinQuorum, change: func(c *policy.Charter) { c.Flags.SoftwareTokenAccepted = false }, want: "the token is software (SoftHSM"},
		"a custodian's key made here":   {source: pinQuorum, state: with(who.custodians[1].Public()), want: "custodian custodian-2: key sha256:"},
		"a person's key made here":      {source: pinQuorum, state: with(who.approvers[2].Public()), want: "person approver-3: key sha256:"},
		"somebody else's key made here": {source: pinQuorum, state: with(newPeople(t).approvers[2].Public())},
		"a list that cannot be read":    {source: pinQuorum, state: broken, want: "cannot be told"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, err := produced(t, x.source, x.state, who, x.change)
			if x.want == "" {
				require.NoError(t, err)
				return
			}
			requireKind(t, seal.KindInvalid, err)
			require.ErrorContains(t, err, x.want)
			status, err := r.Status(t.Context())
			require.NoError(t, err)
			require.False(t, status.Initialized, "nothing was recorded")
		})
	}
}

// A threshold of one is no charter under production, whoever wrote the JSON.
func TestAProductionThresholdOfOneIsRefused(t *testing.T) {
	who := newPeople(t)
	emptyLog(t)
	o := roomOptions{state: t.TempDir(), source: pinQuorum}
	before := newTestRoom(t, "", o)
	me, err := before.Init(t.Context())
	require.NoError(t, err)
	require.NoError(t, before.journal.close())
	c := who.charter(me, func(c *policy.Charter) {
		c.Environment, c.Flags.SoftwareTokenAccepted = policy.Production, true
	})
	good, err := c.Encode()
	require.NoError(t, err)
	text := strings.Replace(string(good), `"threshold":2`, `"threshold":1`, 1)
	require.NotEqual(t, string(good), text)
	requireNotTaken(t, o, who, []byte(text), "threshold")
	c.Custodians.Threshold = 1
	require.ErrorContains(t, before.production(c), "threshold of at least 2")
}

// Under a dev charter the seal signs for devnet chain ids alone: a dev charter
// with any other is refused.
func TestADevCharterIsForDevnetsAlone(t *testing.T) {
	who := newPeople(t)
	emptyLog(t)
	o := roomOptions{state: t.TempDir()}
	before := newTestRoom(t, "", o)
	me, err := before.Init(t.Context())
	require.NoError(t, err)
	require.NoError(t, before.journal.close())
	good, err := who.charter(me, nil).Encode()
	require.NoError(t, err)
	for _, id := range []string{"1", "137", "20803", "2080378", "11155111"} {
		text := strings.Replace(string(good), `"chainId":2080377`, `"chainId":`+id, 1)
		require.NotEqual(t, string(good), text)
		requireNotTaken(t, o, who, []byte(text), id)
	}
}

func requireNotTaken(t *testing.T, o roomOptions, who *people, payload []byte, want string) {
	t.Helper()
	e := sign(t, policy.DocCharter, payload, nil, who.custodians...)
	r := newTestRoom(t, e.PayloadDigest(), o)
	stop := start(t, r)
	_, err := r.CharterApply(t.Context(), e)
	requireKind(t, seal.KindInvalid, err)
	require.ErrorContains(t, err, want)
	require.NoError(t, stop())
	require.NoError(t, r.journal.close())
}

// Promises hold for as long as the charter does: a seal whose configuration was
// changed to a PIN file afterwards signs nothing.
func TestAPINFileAfterTheCeremonyIsRefusedToo(t *testing.T) {
	who := newPeople(t)
	state := t.TempDir()
	r, e, err := produced(t, pinQuorum, state, who, nil)
	require.NoError(t, err)
	i := &instance{t: t, door: r, people: who, digest: e.PayloadDigest()}
	i.charter, _ = policy.ParseCharter(e.Payload)
	i.furnish()
	r.custody.source = pinFile
	_, err = r.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "x"})
	requireKind(t, seal.KindSealed, err)
	require.ErrorContains(t, err, "PIN file")
	r.custody.source = pinTPM
	_, err = r.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "x"})
	require.NoError(t, err)
}

// A credential of systemd's own making, under the host's key, is known for one;
// those in which a TPM takes part are known by their headers.
func TestWhatSealsACredential(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "pin")
	require.NoError(t, os.WriteFile(text, []byte("1234"), 0o600))
	out := filepath.Join(dir, "pin.cred")
	cmd := exec.Command("systemd-creds", "encrypt", "--with-key=host", "--name=pin", text, out)
	cmd.Env = append(os.Environ(), "SYSTEMD_CREDENTIAL_SECRET="+filepath.Join(dir, "secret"))
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)
	kind, id, err := credentialKind(out)
	require.NoError(t, err)
	require.Equal(t, pinHost, kind)
	require.NotEmpty(t, id)

	for header, want := range map[string]pinSource{
		"5a1c6a86df9d4096b1d5a65e0862f19a": pinHost, "55b9ed1d38594d43a8319d2ebb332ac6": pinHost,
		"0c7cc07b117645919c4b0bea08bc20fe": pinTPM, "faf7eb9341e3412ca1a436f95a29362f": pinTPM,
		"93a894094874449090caf2fc93cab553": pinTPM, "ef4ac13679a9480ea7db68897f9f165d": pinTPM,
		"af4950a849134eb1a73846304ff30c05": pinTPM, "adbc4ca3efb64201ba881b6f2e4095ea": pinTPM,
		"058469daf6f543248005 49da0f8ea2fb": pinHost, "00000000000000000000000000000000": pinHost,
	} {
		raw := unhex(t, strings.ReplaceAll(header, " ", ""))
		encoded := base64.StdEncoding.EncodeToString(append(raw, make([]byte, 100)...))
		require.NoError(t, os.WriteFile(out, []byte(encoded[:76]+"\n"+encoded[76:]+"\n"), 0o600))
		kind, other, err := credentialKind(out)
		require.NoError(t, err)
		require.Equal(t, want, kind, header)
		require.NotEqual(t, id, other)
	}
	for _, bad := range []string{"", "AAAA", "not base64 at all!"} {
		require.NoError(t, os.WriteFile(out, []byte(bad), 0o600))
		_, _, err := credentialKind(out)
		require.ErrorContains(t, err, "no encrypted systemd credential")
	}
	_, _, err = credentialKind(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// With a credential nobody has to unseal; one whose PIN the token refused is not
// tried again, in this life or the next, until it is another.
func TestACredentialUnseals(t *testing.T) {
	p := newProcess(t)
	in := func(name string) string { return filepath.Join(p.dir, name) }
	encrypted := func(first byte) {
		raw := append(unhex(t, "0c7cc07b117645919c4b0bea08bc20fe"), first)
		require.NoError(t, os.WriteFile(in("pin.cred"), []byte(base64.StdEncoding.EncodeToString(raw)), 0o600))
	}
	p.pin = "credential = \"credential\"\ncredential_source = \"pin.cred\""
	p.throughShim("")
	encrypted(1)
	require.NoError(t, os.WriteFile(in("credential"), []byte("wrong"), 0o440))
	p.launch()
	require.Equal(t, "the token refused the PIN", p.await("sealed").Reason)
	p.await("seal answers")
	p.stop()
	// systemd decrypts into a fresh file at each start: that is no other PIN.
	require.NoError(t, os.Remove(in("credential")))
	require.NoError(t, os.WriteFile(in("credential"), []byte("wrong"), 0o440))
	p.launch()
	require.Contains(t, p.await("sealed").Reason, "refused the PIN of this file before")
	p.await("seal answers")
	p.stop()
	text, err := os.ReadFile(in("logins"))
	require.NoError(t, err)
	require.Equal(t, "L", strings.ReplaceAll(string(text), "F", ""))

	encrypted(2)
	require.NoError(t, os.Remove(in("credential")))
	require.NoError(t, os.WriteFile(in("credential"), []byte(processPIN+"\n"), 0o440))
	c := p.start()
	s, err := c.Status(t.Context())
	require.NoError(t, err)
	require.False(t, s.Sealed, s.Why)

	p.stop()
	require.NoError(t, os.Chmod(in("credential"), 0o444))
	p.launch()
	require.Contains(t, p.await("keeper ends").Error, "owner only")
}

func FuzzCredentialKind(f *testing.F) {
	f.Add([]byte("DHzAexF2RZGcSwvqCLwg/gAA\n"))
	f.Add([]byte("WhxqJt+dQJax1aZeCGLxmg=="))
	f.Add([]byte("\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if kind, err := credentialKindOf(text); err == nil {
			require.Contains(t, []pinSource{pinTPM, pinHost}, kind)
		}
	})
}
