package sealed

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Whoever kept a seal document cannot undo with it what a quorum did since, nor
// disturb a quorum that is coming together: it counts once, over restarts.
func TestAttack_ASealDocumentPlayedAgain(t *testing.T) {
	p, c := newQuorumProcess(t)
	door := p.start()
	c.unsealed(p, door, 0, 1)
	c.begun(p, door)
	document := func(reason string) *policy.Envelope {
		d := policy.Seal{Format: 1, Instance: "test", ApplianceID: testAppliance, Reason: reason, CreatedAt: policy.Seconds(time.Now())}
		payload, err := d.Encode()
		return sign(t, policy.DocSeal, payload, err, c.who.custodians[0])
	}
	first := document("drill")
	_, err := door.Seal(t.Context(), first)
	require.NoError(t, err)
	p.back(door)
	s, err := door.Status(t.Context())
	require.NoError(t, err)
	_, err = c.handIn(door, c.document(s.Unsealing, 0, nil))
	require.NoError(t, err)
	s, err = door.Seal(t.Context(), first)
	require.NoError(t, err, "the same document again gets the same answer")
	require.True(t, s.Sealed)
	require.Equal(t, []string{"custodian-1"}, s.Unsealing.Shares, "and takes no share back")
	_, err = c.handIn(door, c.document(s.Unsealing, 1, nil))
	require.NoError(t, err)
	p.await("unsealed by a quorum of custodians")
	p.back(door)
	p.awaitLedger(door)
	_, err = door.Seal(t.Context(), first)
	requireKind(t, seal.KindDuplicate, err)
	s, err = door.Status(t.Context())
	require.NoError(t, err)
	require.False(t, s.Sealed)

	p.stop()
	p.launch()
	p.back(door)
	c.unsealed(p, door, 0, 2)
	p.awaitLedger(door)
	_, err = door.Seal(t.Context(), first)
	requireKind(t, seal.KindDuplicate, err)
	s, err = door.Seal(t.Context(), document("another"))
	require.NoError(t, err)
	require.True(t, s.Sealed)
}

// What cannot be remembered, or read, stops nobody from stopping.
func TestDocumentsThatCounted(t *testing.T) {
	u := usedDocuments{filepath.Join(t.TempDir(), "seals")}
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	a, b := policy.DigestOf([]byte("a")), policy.DigestOf([]byte("b"))
	for _, x := range []struct {
		d    policy.Digest
		at   time.Time
		used bool
	}{{a, now, false}, {a, now.Add(time.Hour), true}, {b, now.Add(25 * time.Hour), false}, {b, now.Add(26 * time.Hour), true}} {
		used, err := u.counted(x.d)
		require.NoError(t, err)
		require.Equal(t, x.used, used)
		require.NoError(t, u.note(x.d, x.at.Add(sealingLife), x.at))
	}
	known, err := u.read()
	require.NoError(t, err)
	require.Len(t, known, 1, "what is over is forgotten")
	for _, bad := range []string{"", "[]", `{"x":"2026-11-21T09:00:00Z"}`, string(make([]byte, maxUsed+1))} {
		require.NoError(t, os.WriteFile(u.path, []byte(bad), 0o600))
		used, err := u.counted(a)
		require.Error(t, err)
		require.False(t, used)
		require.Error(t, u.note(a, now, now))
		used, err = u.counted(a)
		require.NoError(t, err)
		require.True(t, used)
	}
	require.Error(t, usedDocuments{filepath.Join(t.TempDir(), "none", "seals")}.note(a, now, now))
}

func FuzzParseUsed(f *testing.F) {
	f.Add([]byte(`{"` + string(policy.NoDigest) + `":"2026-11-21T09:00:00Z"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		known, err := parseUsed(text)
		for d := range known {
			require.NoError(t, err)
			require.True(t, d.Valid())
		}
	})
}
