package softhsm_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm/softhsm"
)

func TestCreateIsDoneOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "token")
	first, err := softhsm.Create(t.Context(), dir, "label", []byte("so-pin-1"), []byte("user-pin"))
	require.NoError(t, err)
	require.Equal(t, "SOFTHSM2_CONF="+filepath.Join(dir, "softhsm2.conf"), first.Env())
	require.Equal(t, "label", first.Config().TokenLabel)
	tokens := filepath.Join(dir, "tokens")
	before, err := os.ReadDir(tokens)
	require.NoError(t, err)
	require.Len(t, before, 1)

	again, err := softhsm.Create(t.Context(), dir, "label", []byte("so-pin-1"), []byte("user-pin"))
	require.NoError(t, err)
	require.Equal(t, first, again)
	after, err := os.ReadDir(tokens)
	require.NoError(t, err)
	require.Equal(t, before[0].Name(), after[0].Name(), "the keys are still there")

	_, err = softhsm.Create(t.Context(), dir, "other", []byte("so-pin-1"), []byte("user-pin"))
	require.ErrorContains(t, err, "other")
}

// What an attempt left that did not end is no token of ours.
func TestCreateAfterACrash(t *testing.T) {
	dir := t.TempDir()
	half := filepath.Join(dir, "tokens", "half")
	require.NoError(t, os.MkdirAll(half, 0o700))
	_, err := softhsm.Create(t.Context(), dir, "label", []byte("so-pin-1"), []byte("user-pin"))
	require.NoError(t, err)
	require.NoDirExists(t, half)
}

func TestCreateSaysWhy(t *testing.T) {
	_, err := softhsm.Create(t.Context(), t.TempDir(), "label", []byte("so-pin-1"), []byte("1"))
	require.ErrorContains(t, err, "softhsm2-util")
	require.NotContains(t, err.Error(), "so-pin-1")
}
