package main

import (
	"crypto/hpke"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// TestAttack_ARequestWithAnotherUnsealKey: nobody signs a request of the first ceremony, so whoever sends a custodian one
// with an unseal key of his own could open the share. It is given to no key to which the custodian did not say yes, or
// that is another than the appliance's terminal shows.
func TestAttack_ARequestWithAnotherUnsealKey(t *testing.T) {
	dir := t.TempDir()
	private, err := hpke.MLKEM768X25519().GenerateKey()
	require.NoError(t, err)
	_, shares, err := seal.NewCustody("dev-1", "appliance-1", charter().Custodians, []byte("12345678"), []byte("87654321"), time.Now())
	require.NoError(t, err)
	defer destroyShares(shares)
	mine := shares["custodian-1"]
	require.NoError(t, os.WriteFile(shareFile(dir, "custodian-1"), mine.Encode(), 0o600))
	q := &unsealRequest{Format: policy.Format, Instance: "dev-1", ApplianceID: "appliance-1", Nonce: []byte("sixteen or more!"), UnsealKey: private.PublicKey().Bytes()}
	require.NoError(t, replace(dir, "unseal.json", q))
	out := filepath.Join(dir, "out.json")
	signed := []string{"unseal", "--key", keyFileOf(t, "custodian-1"), "--share", shareFile(dir, "custodian-1")}
	asked := slices.Concat(signed, []string{"--request", filepath.Join(dir, "unseal.json"), "--name", "custodian-1", "--out", out})

	for _, tt := range []struct {
		more []string
		code int
		says string
	}{
		{nil, exitUsage, "nobody can be asked; use --yes --expect-digest"},
		{[]string{"--yes"}, exitUsage, "--yes needs --expect-digest, with the digest that the appliance's terminal shows"},
		{[]string{"--yes", "--expect-digest", "sha256:12"}, exitUsage, "want sha256: and 64 hex digits"},
		{[]string{"--yes", "--expect-digest", string(policy.DigestOf([]byte("the appliance's")))}, exitUnverified, "this has digest " + string(q.digest())},
	} {
		got := mintwarden(t, slices.Concat(asked, tt.more)...)
		require.Equal(t, tt.code, got.code, got.err)
		require.Contains(t, got.err, tt.says)
		require.NoFileExists(t, out)
	}

	atTerminal := func(answer string) int {
		k := newTerminal(t)
		c := &cli{in: k.slave, out: &printer{w: k.slave}, err: &printer{w: k.slave}}
		ended := make(chan int, 1)
		go func() { ended <- c.run(t.Context(), asked) }()
		require.Contains(t, k.answer("Give the share of custodian-1 to that key? Type yes to sign:", answer), string(q.digest()))
		return k.code(ended)
	}
	require.Equal(t, exitRefused, atTerminal("no"))
	require.NoFileExists(t, out)
	require.Equal(t, exitDone, atTerminal("yes"))
	e, err := readEnvelope(out)
	require.NoError(t, err)
	d, err := policy.ParseUnseal(e.Payload)
	require.NoError(t, err)
	opened, err := seal.OpenShare(private, seal.Binding{Instance: "dev-1", ApplianceID: "appliance-1", Custodian: "custodian-1", Nonce: q.Nonce}, d.Share)
	require.NoError(t, err)
	defer opened.Destroy()
	require.Equal(t, mine.Digest(), opened.Digest())

	// Where there is a charter, nothing is said beforehand, for nothing is asked.
	got := mintwarden(t, slices.Concat(signed, []string{"--yes"})...)
	require.Equal(t, exitUsage, got.code, got.err)
	require.Contains(t, got.err, "are for --request")
}
