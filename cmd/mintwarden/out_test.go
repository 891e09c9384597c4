package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// TestWhatIsWrittenOutReplacesNoKey: a custodian's fingers slip, and --out names the key that signs.
func TestWhatIsWrittenOutReplacesNoKey(t *testing.T) {
	dir := t.TempDir()
	key := keyFileOf(t, "custodian-1")
	kept, err := os.ReadFile(key)
	require.NoError(t, err)
	document, err := charter().Encode()
	require.NoError(t, err)
	first := dir + "/charter1.json"
	require.NoError(t, os.WriteFile(first, document, 0o600))

	unsealKey, _, err := seal.NewKey(func(raw []byte) ([]byte, error) { return []byte("kept"), nil })
	require.NoError(t, err)
	custody, shares, err := seal.NewCustody("dev-1", "appliance-1", charter().Custodians, []byte("12345678"), []byte("87654321"), time.Now())
	require.NoError(t, err)
	require.NotEmpty(t, custody.Members)
	defer destroyShares(shares)
	share := dir + "/custodian-1.share"
	require.NoError(t, os.WriteFile(share, shares["custodian-1"].Encode(), 0o600))
	q := &unsealRequest{Format: policy.Format, Instance: "dev-1", ApplianceID: "appliance-1", Nonce: make([]byte, 16), UnsealKey: unsealKey}
	require.NoError(t, replace(dir, "unseal.json", q))

	for name, args := range map[string][]string{
		"charter sign": {"charter", "sign", "--first", first, "--key", key, "--yes"},
		"unseal":       {"unseal", "--request", dir + "/unseal.json", "--name", "custodian-1", "--key", key, "--share", share, "--yes", "--expect-digest", string(q.digest())},
	} {
		t.Run(name, func(t *testing.T) {
			got := mintwarden(t, append(args, "--out", key)...)
			require.Equal(t, exitUsage, got.code, got.err)
			require.Contains(t, got.err, "something else is there, and is not written over")
			now, err := os.ReadFile(key)
			require.NoError(t, err)
			require.Equal(t, string(kept), string(now))
			out := t.TempDir() + "/out.json"
			for range 2 { // what an earlier run left is written over
				got = mintwarden(t, append(args, "--out", out)...)
				require.Equal(t, exitDone, got.code, got.err)
			}
			got = mintwarden(t, append(args, "--out", out, "--json")...)
			require.Equal(t, exitDone, got.code, got.err)
			now, err = os.ReadFile(out)
			require.NoError(t, err)
			require.JSONEq(t, string(now), got.out)
		})
	}
}
