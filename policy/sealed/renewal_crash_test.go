package sealed

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// ready takes a seal whose token can be told to misbehave to a renewal that lacks only
// the last custodian's word.
func ready(t *testing.T, pin string) (*process, *ceremony, remote, *instance, *handover, func()) {
	t.Helper()
	return readyBy(t, pin, nil)
}

// readyBy is ready where prepare put the PIN's sources in place.
func readyBy(t *testing.T, pin string, prepare func(*process)) (*process, *ceremony, remote, *instance, *handover, func()) {
	t.Helper()
	p := newProcess(t)
	p.pin = pin
	if prepare != nil {
		prepare(p)
	}
	p.throughShim("")
	require.NoError(t, os.Mkdir(filepath.Join(p.dir, "state"), 0o700))
	c := &ceremony{t: t, who: newPeople(t)}
	_, c.shares = split(t, filepath.Join(p.dir, "state"), c.who, processPIN)
	door := p.start()
	if pin == "-" {
		c.unsealed(p, door, 0, 1)
	}
	i := c.begun(p, door)
	i.furnish()
	i.deploy()
	h := c.handover(door)
	r := h.split(0, 1)
	last := h.to[2]
	for _, s := range h.to[:2] {
		h.submit(h.receipt(r, s))
	}
	word := h.receipt(r, last)
	return p, c, door, i, h, func() {
		t.Helper()
		if _, err := door.Renew(t.Context(), word); err != nil {
			require.ErrorIs(t, err, seal.ErrUnreachable) // its answer may be lost with the worker
		}
	}
}

// tried is how often somebody logged in.
func (p *process) tried() int {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "logins"))
	require.NoError(p.t, err)
	return strings.Count(string(text), "L")
}

// Keeper and helper die together before and after each step. Before custody.json was
// replaced the old shares unseal, and only they; afterwards the new ones, and only they,
// whatever PINs the token had taken by then.
func TestAttack_ARenewalThatDiesAtEachStepLeavesOldSharesOrNew(t *testing.T) {
	for name, x := range map[string]struct {
		dies string
		old  bool // the old shares count
	}{
		"before the old PINs were tried":           {"C_Login orphan", true},
		"before the officer's PIN":                 {"C_SetPIN1 orphan", false},
		"behind the officer's PIN":                 {"C_SetPIN1.done orphan", false},
		"before the user's PIN":                    {"C_SetPIN2 orphan", false},
		"behind the user's PIN":                    {"C_SetPIN2.done orphan", false},
		"not at all, but it is killed right after": {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			p, c, door, i, h, finish := ready(t, "-")
			if x.dies != "" {
				p.tell(x.dies)
			}
			finish()
			if x.dies == "" {
				p.await(changed)
				require.NoError(t, p.cmd.Process.Kill())
			}
			_ = p.ended()
			p.gone()
			p.launch()
			p.back(door)
			good, bad := h.renewed(), c
			if x.old {
				good, bad = bad, good
			}
			s, err := door.Status(t.Context())
			require.NoError(t, err)
			require.True(t, s.Sealed)
			_, err = bad.handIn(door, bad.document(s.Unsealing, 0, nil))
			requireKind(t, seal.KindInvalid, err)
			require.ErrorContains(t, err, "foreign")
			before := p.tried()
			good.unsealed(p, door, 1, 2)
			mints(t, i, door)
			require.LessOrEqual(t, p.tried()-before, 5, "each PIN once, each new one to confirm it, and the worker's own")
			r := h.look()
			require.False(t, r.Held.Unfinished)
			custody, err := seal.ReadCustody(filepath.Join(p.dir, "state"))
			require.NoError(t, err)
			require.Empty(t, custody.Before)
			// It lasts.
			p.stop()
			p.launch()
			p.back(door)
			good.unsealed(p, door, 0, 1)
			mints(t, i, door)
		})
	}
}

// The process that changes the PINs dies; the keeper has another go on.
func TestARenewalWhoseHelperDiesGoesOn(t *testing.T) {
	p, _, door, i, h, finish := ready(t, "-")
	p.tell("C_SetPIN2.done abort")
	finish()
	p.await(changed)
	p.back(door)
	mints(t, i, door)
	require.False(t, h.look().Held.Unfinished)
}

// A token that does not take new PINs serves on with the old ones, which the new shares
// give; once it takes them, the next unsealing finishes.
func TestATokenThatDoesNotTakeNewPINs(t *testing.T) {
	p, _, door, i, h, finish := ready(t, "-")
	p.tell("C_SetPIN1 0xA1 keep")
	finish()
	p.await(notChanged)
	p.back(door)
	mints(t, i, door)
	_, err := door.Renew(t.Context(), nil)
	requireKind(t, seal.KindConflict, err)
	require.ErrorContains(t, err, "is not finished")
	require.NoError(t, os.Remove(p.control()))
	_, err = door.Seal(t.Context(), nil)
	require.NoError(t, err)
	p.back(door)
	next := h.renewed()
	next.unsealed(p, door, 0, 2)
	require.False(t, h.look().Held.Unfinished)
	mints(t, i, door)
}

// Where the old shares give PINs that the token does not take, nothing begins.
func TestARenewalOfPINsThatTheTokenDoesNotTakeChangesNothing(t *testing.T) {
	p, c, door, i, h, finish := ready(t, "-")
	p.tell("C_Login 0xA0")
	finish()
	require.Contains(t, p.await("renewal").Error, "refused the PINs")
	p.back(door)
	mints(t, i, door)
	require.Contains(t, h.look().Outcome, "PINs were not touched, and the new shares are void")
	_, err := door.Seal(t.Context(), nil)
	require.NoError(t, err)
	p.back(door)
	c.unsealed(p, door, 0, 1)
}

// A PIN file, or credential, from before the renewal is stale: no start offers it to the
// token, which might count that and lock.
func TestAStaleCredentialIsNotTried(t *testing.T) {
	p, _, door, i, h, finish := ready(t, "")
	finish()
	p.await(changed)
	p.back(door)
	mints(t, i, door)
	p.stop()
	before := p.tried()
	p.launch()
	p.back(door)
	s, err := door.Status(t.Context())
	require.NoError(t, err)
	require.True(t, s.Sealed)
	require.Contains(t, s.Why, "refused the PIN of this file before")
	require.Equal(t, before, p.tried(), "it is not even tried")
	h.renewed().unsealed(p, door, 0, 1)
	mints(t, i, door)
}

// Nor is it while a renewal is not finished, for nobody knows which PIN the token has.
func TestACredentialIsNotTriedWhileARenewalIsNotFinished(t *testing.T) {
	p, _, door, i, h, finish := ready(t, "")
	p.tell("C_SetPIN2 orphan")
	finish()
	_ = p.ended()
	p.gone()
	before := p.tried()
	p.launch()
	p.back(door)
	s, err := door.Status(t.Context())
	require.NoError(t, err)
	require.True(t, s.Sealed)
	require.Contains(t, s.Why, "is not finished")
	require.Equal(t, before, p.tried())
	h.renewed().unsealed(p, door, 0, 1)
	mints(t, i, door)
}

// An appliance that starts by a credential, and has a second one for that, starts by
// itself behind a renewal, too; the first one is not tried. Sealed it stays sealed, and
// what stands on the disk is of no use without the second.
func TestARenewedPINIsKeptForTheNextStarts(t *testing.T) {
	for name, x := range map[string]struct {
		pin, key string // kinds of the encrypted credentials
		wrong    bool   // the key is another one at the next start
		why      string // it stays sealed; empty: it does not
	}{
		"a TPM seals both":          {pin: "0c7cc07b117645919c4b0bea08bc20fe", key: "0c7cc07b117645919c4b0bea08bc20fe"},
		"a TPM seals the PIN alone": {pin: "0c7cc07b117645919c4b0bea08bc20fe", key: "5a1c6a86df9d40968e1d5b16f1b1b1b1", why: "refused the PIN of this file before"},
		"another key":               {pin: "5a1c6a86df9d40968e1d5b16f1b1b1b1", key: "5a1c6a86df9d40968e1d5b16f1b1b1b1", wrong: true, why: "refused the PIN of this file before"},
	} {
		t.Run(name, func(t *testing.T) {
			var p *process
			in := func(name string) string { return filepath.Join(p.dir, name) }
			p, _, door, i, h, finish := readyBy(t, "credential = \"credential\"\ncredential_source = \"pin.cred\"\nkey_credential = \"key\"\nkey_credential_source = \"key.cred\"", func(made *process) {
				p = made
				for file, kind := range map[string]string{"pin.cred": x.pin, "key.cred": x.key} {
					require.NoError(t, os.WriteFile(in(file), []byte(base64.StdEncoding.EncodeToString(append(unhex(t, kind), 1))), 0o600))
				}
				require.NoError(t, os.WriteFile(in("credential"), []byte(processPIN), 0o440))
				require.NoError(t, os.WriteFile(in("key"), bytes.Repeat([]byte{7}, 32), 0o440))
			})
			finish()
			p.await(changed)
			p.back(door)
			mints(t, i, door)
			p.stop()
			if x.wrong {
				require.NoError(t, os.Remove(in("key")))
				require.NoError(t, os.WriteFile(in("key"), bytes.Repeat([]byte{8}, 32), 0o440))
			}
			before := p.tried()
			p.launch()
			p.back(door)
			s, err := door.Status(t.Context())
			require.NoError(t, err)
			if x.why != "" {
				require.True(t, s.Sealed)
				require.Contains(t, s.Why, x.why)
				require.Equal(t, before, p.tried(), "nothing is tried")
				h.renewed().unsealed(p, door, 0, 1)
				mints(t, i, door)
				return
			}
			require.False(t, s.Sealed, s.Why)
			require.Equal(t, before+1, p.tried())
			mints(t, i, door)
			kept, err := os.ReadFile(in("state/pin.encrypted"))
			require.NoError(t, err)
			require.NotContains(t, string(kept), processPIN)
			_, err = door.Seal(t.Context(), nil)
			require.NoError(t, err)
			p.back(door)
			p.stop()
			p.launch()
			p.back(door)
			s, err = door.Status(t.Context())
			require.NoError(t, err)
			require.True(t, s.Sealed, "sealing lasts over starts, whatever is kept")
			h.renewed().unsealed(p, door, 0, 1)
		})
	}
}
