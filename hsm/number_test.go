package hsm_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
)

// After a reconnect a number that was kept may name another key. Whether its id is
// read back first or it is used as it is, the right key signs in the end, and the
// caller does not notice.
func TestANumberThatNamesAnotherKey(t *testing.T) {
	tok, noticed := openNoticing(t)
	ctx := t.Context()
	public := map[string]ed25519.PublicKey{}
	for _, id := range []string{"ed-a", "ed-b", "ed-c"} {
		p, err := tok.GenerateEd25519(ctx, "ed", id)
		require.NoError(t, err)
		public[id] = p
	}
	for _, id := range []string{"aes-a", "aes-b"} {
		require.NoError(t, tok.GenerateAESWrappingKey(ctx, "aes", id))
	}
	_, err := tok.CreateSeedKey(ctx, "wlt-shuffled", hsm.Dilithium3, "aes-a")
	require.NoError(t, err)
	for _, id := range []string{"secp-a", "secp-b"} {
		_, err = tok.GenerateSecp256k1(ctx, "secp", id)
		require.NoError(t, err)
	}
	for at, call := range []string{"C_GetAttributeValue", "C_SignInit", "C_Sign", "C_DecryptInit", "C_Decrypt"} {
		t.Run(call, func(t *testing.T) {
			*noticed = 0
			for n := range 12 { // by how many places every number moves
				if !long() && (n+at)%2 == 1 {
					continue // each call meets half of them, and each of them half of the calls
				}
				sign := func() {
					sig, err := tok.SignEd25519(ctx, "ed-a", []byte("m"))
					require.NoError(t, err)
					require.True(t, ed25519.Verify(public["ed-a"], []byte("m"), sig))
				}
				signSeed := func() {
					_, err := tok.SignSeed(ctx, "wlt-shuffled", [32]byte{1})
					require.NoError(t, err)
				}
				signSecp := func() { // verified by recovering the key
					_, err := tok.SignSecp256k1(ctx, "secp-a", [32]byte{1})
					require.NoError(t, err)
				}
				for _, use := range []func(){sign, signSeed, signSecp} {
					// Twice: a number that names what is gone makes every handle doubtful, and
					// the next use of each reads it back, which must not be the one that counts.
					for range 2 {
						sign()
						signSeed()
						signSecp()
					}
					if call == "C_GetAttributeValue" {
						doubt(t, tok)
					}
					tell(t, fmt.Sprint(call, " shuffle ", n))
					use()
					use() // the shim may have moved the numbers behind the first one's Init
				}
				sign()
				signSeed()
				signSecp()
				require.NoFileExists(t, control)
			}
			require.GreaterOrEqual(t, *noticed, 12)
		})
	}
	require.False(t, broken(tok))
}

// What is encrypted shows no key: a seed that went under another one than the
// envelope says gets no name.
func TestASeedWrappedByAnotherKey(t *testing.T) {
	tok, noticed := openNoticing(t)
	ctx := t.Context()
	for _, id := range []string{"aes-d", "aes-e", "aes-f"} {
		require.NoError(t, tok.GenerateAESWrappingKey(ctx, "aes", id))
	}
	refused := 0
	for n := range 6 {
		for _, call := range []string{"C_GenerateRandom", "C_EncryptInit"} { // before the look, and after it
			id := fresh("wlt")
			tell(t, fmt.Sprint(call, " shuffle ", n))
			_, err := tok.CreateSeedKey(ctx, id, hsm.MLDSA65, "aes-d")
			require.NoFileExists(t, control)
			if err != nil {
				require.Equal(t, "C_EncryptInit", call)
				refused++
				_, _, err = tok.SeedPublic(ctx, id)
				require.ErrorIs(t, err, hsm.ErrNotFound)
				continue
			}
			doubt(t, tok)
			_, err = tok.SignSeed(ctx, id, [32]byte{1})
			require.NoError(t, err)
		}
	}
	require.NotZero(t, refused)
	require.NotZero(t, *noticed)
}

// openNoticing counts how often the token noticed that a number names another key.
func openNoticing(t *testing.T) (*hsm.Token, *int) {
	t.Helper()
	cfg := token.Config()
	cfg.Module = shim
	noticed := new(int)
	count := logged(func(line []byte) (int, error) {
		if bytes.Contains(line, []byte("to another object")) {
			*noticed++
		}
		return len(line), nil
	})
	tok, err := hsm.Open(t.Context(), cfg, []byte(userPIN), slog.New(slog.NewTextHandler(count, nil)), nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = os.Remove(control)
		require.NoError(t, tok.Close())
	})
	return tok, noticed
}

type logged func([]byte) (int, error)

func (l logged) Write(line []byte) (int, error) { return l(line) }
