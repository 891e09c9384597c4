package seal_test

import (
	"crypto/mldsa"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

var aTree = seal.Checkpoint{Origin: seal.Origin("test"), Tree: seal.Tree{Size: 70000, Root: policy.DigestOf([]byte("root"))}}

func TestCheckpointTextHasOneSpelling(t *testing.T) {
	text, err := aTree.Text()
	require.NoError(t, err)
	back, err := seal.ParseCheckpoint(text)
	require.NoError(t, err)
	require.Equal(t, aTree, back)
	for name, bad := range map[string]string{
		"an extension line": text + "more\n", "no newline": strings.TrimSuffix(text, "\n"), "a zero in front": strings.Replace(text, "\n7", "\n07", 1),
		"a sign": strings.Replace(text, "\n7", "\n+7", 1), "negative": strings.Replace(text, "\n7", "\n-7", 1),
		"no origin": text[strings.Index(text, "\n"):], "a short root": strings.Replace(text, "=\n", "\n", 1), "empty": "",
	} {
		_, err := seal.ParseCheckpoint(bad)
		require.ErrorIs(t, err, seal.ErrCheckpoint, name)
	}
}

// TestCosignedMessageIsTheStandards spells out the bytes of C2SP's cosigned_message.
func TestCosignedMessageIsTheStandards(t *testing.T) {
	at := time.Unix(0x01020304, 0)
	got, err := seal.CosignedMessage("mintwarden/test/a", at, aTree)
	require.NoError(t, err)
	root, err := aTree.Tree.Hash()
	require.NoError(t, err)
	want := "subtree/v1\n\x00" + "\x11mintwarden/test/a" + "\x00\x00\x00\x00\x01\x02\x03\x04" + "\x0fmintwarden/test" +
		"\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x01\x11\x70" + string(root[:])
	require.Equal(t, want, string(got))
}

func TestACosignatureIsOfOneNameTimeAndTree(t *testing.T) {
	key, err := mldsa.GenerateKey(mldsa.MLDSA44())
	require.NoError(t, err)
	at := time.Unix(1764000000, 0)
	message, err := seal.CosignedMessage("mintwarden/test/a", at, aTree)
	require.NoError(t, err)
	signature, err := key.Sign(nil, message, nil)
	require.NoError(t, err)
	text, err := aTree.Text()
	require.NoError(t, err)
	v := seal.NewCosignatureVerifier("mintwarden/test/a", key.PublicKey())
	require.True(t, v.Verify([]byte(text), seal.Cosignature(at, signature)))
	require.False(t, v.Verify([]byte(text), seal.Cosignature(at.Add(time.Second), signature)), "another time")
	require.False(t, v.Verify([]byte(strings.Replace(text, "70000", "70001", 1)), seal.Cosignature(at, signature)), "another size")
	require.False(t, v.Verify([]byte(text), signature), "no time")
	other := seal.NewCosignatureVerifier("mintwarden/test/b", key.PublicKey())
	require.False(t, other.Verify([]byte(text), seal.Cosignature(at, signature)), "another cosigner of the same key")
	require.NotEqual(t, v.KeyHash(), other.KeyHash())
}

func FuzzParseCheckpoint(f *testing.F) {
	text, err := aTree.Text()
	require.NoError(f, err)
	f.Add(text)
	f.Add(text + "extension\n")
	f.Add("o\n0\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := seal.ParseCheckpoint(text)
		if err != nil {
			require.ErrorIs(t, err, seal.ErrCheckpoint)
			return
		}
		again, err := c.Text()
		require.NoError(t, err)
		require.Equal(t, text, again)
	})
}
