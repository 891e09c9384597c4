package hsm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
)

// A token that serves is asked for one more session, and refuses: whoever wanted it is told with the code's class, the
// next one gets a session, and only what says that login, device or module are gone needs a new process.
func TestEveryCodeAtASessionThatIsOpenedLater(t *testing.T) {
	sign := func(tok *hsm.Token) error {
		_, err := tok.SignEd25519(t.Context(), "ed-codes", []byte("m"))
		return err
	}
	serving := func(t *testing.T) *hsm.Token {
		tok, _ := open(t, throughShim)
		_, err := tok.GenerateEd25519(t.Context(), "ed", "ed-codes")
		require.NoError(t, err)
		return tok
	}
	// odd has the token give its only idle session up. After the first failure it opens one to look whether the key's
	// handle names another key; the second time it has looked before.
	odd := func(tok *hsm.Token) {
		for range 2 {
			tell(t, "C_Sign 0x21")
			require.Error(t, sign(tok))
			require.NoFileExists(t, control)
		}
	}
	t.Run("told, and over", func(t *testing.T) {
		tok := serving(t)
		for _, c := range []struct {
			code  string
			class hsm.Class
		}{{"0x02", hsm.ClassModule}, {"0x05", hsm.ClassModule}, {"0x06", hsm.ClassModule}, {"0x07", hsm.ClassInput}, {"0xB1", hsm.ClassInput},
			{"0xB3", hsm.ClassSession}, {"0xB4", hsm.ClassInput}, {"0x31", hsm.ClassInput}} {
			odd(tok)
			tell(t, "C_OpenSession "+c.code)
			err := sign(tok)
			require.NoFileExists(t, control, c.code)
			var e *hsm.Error
			require.ErrorAs(t, err, &e, c.code)
			require.Equal(t, "C_OpenSession", e.Call)
			require.Equal(t, c.class, e.Class, c.code)
			require.NoError(t, sign(tok), c.code)
		}
		require.False(t, broken(tok))
	})
	for _, code := range []string{"0x30", "0x32", "0x190", "0xE0", "0x03", "0x101"} {
		t.Run(code, func(t *testing.T) {
			tok := serving(t)
			odd(tok)
			tell(t, "C_OpenSession "+code)
			require.Error(t, sign(tok))
			require.True(t, broken(tok))
			require.ErrorIs(t, sign(tok), hsm.ErrBroken)
		})
	}
}
