package hsm_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
)

// use is one thing that callers do, and the C functions that it goes through.
type use struct {
	name  string
	calls []string
	how   again
	run   func(n int) error
}

// again is what a use does by itself when it was refused.
type again int

const (
	no    again = iota
	makes       // objects: once more after a passing fault
	reads       // objects: once more after whatever one that is being replaced may look like
)

// uses are what a token is used for. Whatever they need stands in it; n is
// another number each time.
func uses(t *testing.T, tok *hsm.Token) []use {
	t.Helper()
	ctx := t.Context()
	_, err := tok.GenerateEd25519(ctx, "ed", "ed-codes")
	require.NoError(t, err)
	require.NoError(t, tok.GenerateAESWrappingKey(ctx, "wrapping", "aes-codes"))
	_, err = tok.CreateSeedKey(ctx, "wlt-codes", hsm.MLDSA65, "aes-codes")
	require.NoError(t, err)
	_, err = tok.SignSeed(ctx, "wlt-codes", [32]byte{})
	require.NoError(t, err)
	_, err = tok.GenerateSecp256k1(ctx, "secp", "secp-codes")
	require.NoError(t, err)
	require.NoError(t, tok.PutObject(ctx, "object-codes", []byte("value")))
	require.NoError(t, tok.ReplaceObject(ctx, "replaced-codes", []byte("value")))
	find := []string{"C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal"}
	return []use{
		{"sign", []string{"C_GetAttributeValue", "C_SignInit", "C_Sign"}, no, func(int) error {
			_, err := tok.SignEd25519(ctx, "ed-codes", []byte("m"))
			return err
		}},
		{"sign a transaction", []string{"C_GetAttributeValue", "C_SignInit", "C_Sign"}, no, func(int) error {
			_, err := tok.SignDigest(ctx, "secp-codes", [32]byte{})
			return err
		}},
		{"sign with a seed", []string{"C_GetAttributeValue", "C_DecryptInit", "C_Decrypt"}, no, func(int) error {
			_, err := tok.SignSeed(ctx, "wlt-codes", [32]byte{})
			return err
		}},
		{"read", []string{"C_GetAttributeValue"}, reads, func(int) error {
			_, err := tok.Object(ctx, "object-codes")
			return err
		}},
		{"read all", append([]string{"C_GetAttributeValue"}, find...), reads, func(int) error {
			_, err := tok.Objects(ctx, "object-codes")
			return err
		}},
		{"wrap", []string{"C_GenerateRandom", "C_EncryptInit", "C_Encrypt"}, no, func(n int) error {
			_, err := tok.CreateSeedKey(ctx, fmt.Sprint("wlt-codes-", n), hsm.Dilithium3, "aes-codes")
			return err
		}},
		{"put", []string{"C_CreateObject", "C_CopyObject"}, makes, func(n int) error {
			return tok.PutObject(ctx, fmt.Sprint("object-codes-", n), []byte("value"))
		}},
		{"replace", append([]string{"C_CreateObject", "C_CopyObject", "C_DestroyObject"}, find...), makes, func(n int) error {
			return tok.ReplaceObject(ctx, "replaced-codes", fmt.Append(nil, "value ", n))
		}},
		{"destroy", []string{"C_DestroyObject"}, makes, func(n int) error {
			name := fmt.Sprint("destroy-codes-", n)
			told, err := os.ReadFile(control)
			require.NoError(t, err)
			require.NoError(t, os.Remove(control))
			require.NoError(t, tok.PutObject(ctx, name, []byte("value")))
			tell(t, strings.TrimSpace(string(told)))
			return tok.DestroyObject(ctx, name)
		}},
		{"make an AES key", []string{"C_GenerateKey"}, makes, func(n int) error {
			return tok.GenerateAESWrappingKey(ctx, "aes", fmt.Sprint("aes-codes-", n))
		}},
		{"make a wallet's pair", []string{"C_GenerateKeyPair"}, makes, func(n int) error {
			_, _, err := tok.CreateKey(ctx, fmt.Sprint("secp-codes-", n), hsm.Secp256k1, "aes-codes")
			return err
		}},
		{"make a pair", []string{"C_GenerateKeyPair"}, makes, func(n int) error {
			_, err := tok.GenerateEd25519(ctx, "ed", fmt.Sprint("ed-codes-", n))
			return err
		}},
		{"find nothing", []string{"C_GetSessionInfo"}, reads, func(int) error {
			_, err := tok.Object(ctx, "nothing")
			if isNotFound(err) {
				return nil
			}
			return err
		}},
	}
}

// many numbers are more than the tests of codes use in one run.
const many = 10_000

var codes = []struct {
	code  string
	class hsm.Class // 0: the call succeeds all the same
}{
	{"0xB3", 0}, {"0xB0", 0}, // a new session
	{"0x82", 0}, {"0x60", 0}, // found again
	{"0x02", hsm.ClassModule}, {"0x05", hsm.ClassModule}, {"0x06", hsm.ClassModule}, // once: a passing fault
	{"0x90", hsm.ClassInput}, {"0x91", hsm.ClassInput}, {"0x21", hsm.ClassInput}, {"0x70", hsm.ClassInput},
	{"0x31", hsm.ClassInput}, {"0xB1", hsm.ClassInput},
}

// Each return code, once, at each call; and whatever it was, the next use of the
// token finds no session with an open operation.
func TestEveryCodeAtEveryCall(t *testing.T) {
	tok, _ := open(t, throughShim)
	n := int(freshIDs.Add(many))
	for _, u := range uses(t, tok) {
		for _, call := range u.calls {
			for _, c := range codes {
				n++
				if call == "C_GetAttributeValue" {
					doubt(t, tok)
				}
				// That a copy was refused is over with the next that is made.
				require.NoError(t, tok.ReplaceObject(t.Context(), "copied-codes", fmt.Append(nil, n)))
				tell(t, call+" "+c.code)
				err := u.run(n)
				require.NoFileExists(t, control, "%s calls %s", u.name, call)
				why := fmt.Sprintf("%s: %s %s", u.name, call, c.code)
				var e *hsm.Error
				switch {
				case call == "C_Decrypt" && c.code == "0x05":
					require.ErrorIs(t, err, hsm.ErrNotAuthentic, why)
				case c.class == 0, c.class == hsm.ClassModule && u.how == makes, u.how == reads, u.name == "make a pair",
					call == "C_CreateObject", call == "C_CopyObject":
					// A pair is tried with the curve's other name, too, and an object without a copy.
					require.NoError(t, err, why)
				default:
					require.ErrorAs(t, err, &e, why)
					require.Equal(t, c.class, e.Class, why)
					require.Equal(t, call, e.Call, why)
				}
				require.NoError(t, u.run0(t, n), why)
			}
		}
	}
	require.False(t, broken(tok), "one fault of each kind does not break the token")
}

// doubt gives the token, through the shim, an odd code: the next use of a key reads
// its handle back.
func doubt(t *testing.T, tok *hsm.Token) {
	t.Helper()
	tell(t, "C_FindObjectsInit 0x31")
	_, err := tok.Object(t.Context(), "nothing")
	require.ErrorIs(t, err, hsm.ErrNotFound)
	require.NoFileExists(t, control)
}

// run0 is run without a fault.
func (u use) run0(t *testing.T, n int) error {
	if u.name == "destroy" {
		tell(t, "none 0")
		defer os.Remove(control)
	}
	return u.run(n)
}

func broken(tok *hsm.Token) bool {
	select {
	case <-tok.Broken():
		return true
	default:
		return false
	}
}

// What says that login, device or module are gone breaks the token, at whatever
// call it comes up: nothing is used any more until the process is a new one.
func TestEveryCodeThatNeedsANewProcess(t *testing.T) {
	var first *hsm.Token
	t.Run("prepare", func(t *testing.T) { first, _ = open(t, throughShim); uses(t, first) })
	public := map[string]bool{}
	n := int(freshIDs.Add(many))
	for nth, code := range []string{"0x101", "0x30", "0x32", "0x190", "0xE0", "0x03"} {
		t.Run(code, func(t *testing.T) {
			for at := 0; ; at++ {
				if !long() && (at+nth)%2 == 1 {
					continue // each call meets half of the codes, and each code half of the calls
				}
				var calls []string
				t.Run("", func(t *testing.T) {
					tok, _ := open(t, throughShim)
					all := uses(t, tok)
					for _, u := range all {
						for _, call := range u.calls {
							calls = append(calls, u.name+"/"+call)
							if len(calls) != at+1 {
								continue
							}
							n++
							if call == "C_GetAttributeValue" {
								doubt(t, tok)
							}
							tell(t, call+" "+code)
							require.Error(t, u.run(n), calls[at])
							require.NoFileExists(t, control)
							require.True(t, broken(tok), calls[at])
						}
					}
					_, err := tok.SignEd25519(t.Context(), "ed-codes", []byte("m"))
					if at < len(calls) {
						require.ErrorIs(t, err, hsm.ErrBroken)
					}
					again, err := tok.Ed25519Public(t.Context(), "ed-codes")
					require.NoError(t, err)
					public[string(again)] = true
				})
				if at+1 >= len(calls) {
					break
				}
			}
		})
	}
	require.Len(t, public, 1, "each process finds the same key")
}

// A general error that repeats is the module's, also where it could mean a bad
// tag: an envelope that was authentic before is not what changed.
func TestFaultsThatRepeat(t *testing.T) {
	for _, tellIt := range []string{"C_Sign 0x05 keep", "C_Sign 0x06 keep", "C_Sign 0x02 keep", "C_Decrypt 0x05 keep"} {
		t.Run(tellIt, func(t *testing.T) {
			tok, _ := open(t, throughShim)
			all := uses(t, tok)
			tell(t, tellIt)
			u := all[slices.IndexFunc(all, func(u use) bool { return slices.Contains(u.calls, strings.Fields(tellIt)[0]) })]
			for i := range 3 {
				require.False(t, broken(tok), i)
				require.Error(t, u.run(i))
			}
			require.True(t, broken(tok))
		})
	}
	t.Run("not in a row", func(t *testing.T) {
		tok, _ := open(t, throughShim)
		u := uses(t, tok)[0]
		for range 5 {
			tell(t, "C_Sign 0x05")
			require.Error(t, u.run(0))
			require.NoError(t, u.run(0))
		}
		require.False(t, broken(tok))
	})
	t.Run("a forged envelope breaks nothing", func(t *testing.T) {
		tok, _ := open(t, throughShim)
		uses(t, tok)
		tok2 := reopen(t, tok)
		tell(t, "C_Decrypt 0x05 keep")
		for range 5 {
			_, err := tok2.SignSeed(t.Context(), "wlt-codes", [32]byte{})
			require.ErrorIs(t, err, hsm.ErrNotAuthentic)
		}
		require.False(t, broken(tok2))
	})
}

func reopen(t *testing.T, tok *hsm.Token) *hsm.Token {
	t.Helper()
	require.NoError(t, tok.Close())
	again, _ := open(t, throughShim)
	return again
}

// The codes of opening: what the PIN is refused with is told apart, and nothing
// that fails leaves the module started.
func TestEveryCodeOfOpening(t *testing.T) {
	for _, call := range []string{"C_Initialize", "C_GetSlotList", "C_GetTokenInfo", "C_OpenSession", "C_Login"} {
		for _, code := range []string{"0x05", "0x30", "0xA0", "0xA1", "0xA2", "0xA3", "0xA4", "0xE0", "0x102"} {
			cfg := token.Config()
			cfg.Module = shim
			require.NoError(t, os.RemoveAll(logins))
			tell(t, call+" "+code)
			_, err := hsm.Open(t.Context(), cfg, []byte(userPIN), quiet, nil)
			require.NoFileExists(t, control)
			why := call + " " + code
			var e *hsm.Error
			require.ErrorAs(t, err, &e, why)
			require.Equal(t, call, e.Call)
			operator := strings.HasPrefix(code, "0xA")
			require.Equal(t, operator, e.Class == hsm.ClassOperator, why)
			if call == "C_Login" {
				require.Equal(t, operator, isWrongPIN(err), why)
				require.Equal(t, "LF", string(read(t, logins)), "one attempt")
			} else {
				b, _ := os.ReadFile(logins)
				require.NotContains(t, string(b), "L", "no attempt")
			}
			tok, _ := open(t, throughShim)
			require.NoError(t, tok.Close(), why)
		}
	}
}
