package softhsm_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
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
	for name, c := range map[string]struct{ label, so, user, want string }{
		"short PIN":    {"label", "so-pin-1", "1", "user PIN has 1 bytes"},
		"short SO PIN": {"label", "1", "user-pin", "officer's PIN has 1 bytes"},
		"long PIN":     {"label", "so-pin-1", strings.Repeat("long", 64), "256 bytes"},
		"no label":     {"", "so-pin-1", "user-pin", "label"},
		"long label":   {strings.Repeat("l", 33), "so-pin-1", "user-pin", "33 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := softhsm.Create(t.Context(), dir, c.label, []byte(c.so), []byte(c.user))
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "so-pin-1")
			require.NotContains(t, err.Error(), "long")
			require.NoFileExists(t, filepath.Join(dir, "label"), "what is not whole is not taken for a token")
		})
	}
}

// A process that uses one token makes another: the first is not disturbed, and
// both have the PINs that they were given.
func TestCreateBesideATokenInUse(t *testing.T) {
	make := func(label string) *softhsm.Token {
		tok, err := softhsm.Create(t.Context(), t.TempDir(), label, []byte("so-"+label), []byte("pin-"+label))
		require.NoError(t, err)
		return tok
	}
	use := func(tok *softhsm.Token, pin string) (*hsm.Token, error) {
		t.Setenv(softhsm.EnvConf, tok.ConfPath)
		return hsm.Open(t.Context(), tok.Config(), []byte(pin), slog.New(slog.DiscardHandler), nil)
	}
	first := make("first")
	used, err := use(first, "pin-first")
	require.NoError(t, err)
	second := make("second")
	require.NoError(t, used.PutObject(t.Context(), "object", []byte("value")))
	require.NoError(t, used.Close())

	_, err = use(second, "pin-first")
	require.ErrorIs(t, err, hsm.ErrWrongPIN)
	other, err := use(second, "pin-second")
	require.NoError(t, err)
	require.NotEqual(t, used.Serial(), other.Serial())
	_, err = other.Object(t.Context(), "object")
	require.ErrorIs(t, err, hsm.ErrNotFound)
	require.NoError(t, other.Close())
}
