package hsm_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/hsm/softhsm"
)

func TestReplaceObject(t *testing.T) {
	tok, _ := open(t, nil)
	ctx := t.Context()
	_, err := tok.Objects(ctx, "replaced")
	require.ErrorIs(t, err, hsm.ErrNotFound)
	for _, value := range []string{"one", "two", "two", "three"} {
		require.NoError(t, tok.ReplaceObject(ctx, "replaced", []byte(value)))
		got, err := tok.Object(ctx, "replaced")
		require.NoError(t, err)
		require.Equal(t, value, string(got))
		all, err := tok.Objects(ctx, "replaced")
		require.NoError(t, err)
		require.Equal(t, [][]byte{[]byte(value)}, all)
	}
	require.ErrorContains(t, tok.ReplaceObject(ctx, "replaced", nil), "0 bytes")
	require.ErrorContains(t, tok.ReplaceObject(ctx, "replaced", make([]byte, 16<<10+1)), "16385 bytes")
	require.NoError(t, tok.DestroyObject(ctx, "replaced"))
	_, err = tok.Object(ctx, "replaced")
	require.ErrorIs(t, err, hsm.ErrNotFound)
}

// An exchange takes away what it names, and nothing that stands beside it.
func TestExchangeObject(t *testing.T) {
	tok, _ := open(t, nil)
	ctx := t.Context()
	name := fresh("exchanged")
	stands := func(want ...string) {
		t.Helper()
		all, err := tok.Objects(ctx, name)
		require.NoError(t, err)
		var got []string
		for _, v := range all {
			got = append(got, string(v))
		}
		require.ElementsMatch(t, want, got)
	}
	same := func(value string) bool {
		t.Helper()
		same, err := tok.SameObject(ctx, name, []byte(value))
		require.NoError(t, err)
		return same
	}
	require.False(t, same("a"))
	require.NoError(t, tok.ExchangeObject(ctx, name, []byte("a")))
	stands("a")
	require.True(t, same("a"))
	require.NoError(t, tok.ExchangeObject(ctx, name, []byte("a"), []byte("a"), []byte("none")))
	stands("a")
	require.NoError(t, tok.ExchangeObject(ctx, name, []byte("b"), []byte("a")))
	stands("b")
	require.False(t, same("a"))
	require.True(t, same("b"))
	require.NoError(t, tok.ExchangeObject(ctx, name, []byte("c"), []byte("a")))
	stands("b", "c")
	require.NoError(t, tok.ExchangeObject(ctx, name, []byte("d"), []byte("c")))
	stands("b", "d")
	require.NoError(t, tok.ExchangeObject(ctx, name, []byte("d"), []byte("b")))
	stands("d")
	require.True(t, same("d"))
}

// A removal takes away what it names, and no more.
func TestRemoveObjects(t *testing.T) {
	tok, _ := open(t, nil)
	ctx := t.Context()
	name := fresh("removed")
	require.NoError(t, tok.RemoveObjects(ctx, name, []byte("a")))
	var want, all [][]byte
	var err error
	for _, value := range []string{"a", "b", "c"} {
		want = append(want, []byte(value))
		all, err = tok.AddObject(ctx, name, []byte(value))
		require.NoError(t, err)
		require.ElementsMatch(t, want, all)
	}
	newest, err := tok.SameObject(ctx, name, []byte("c"))
	require.NoError(t, err)
	require.True(t, newest)
	require.NoError(t, tok.RemoveObjects(ctx, name, []byte("a"), []byte("c"), []byte("d")))
	all, err = tok.Objects(ctx, name)
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("b")}, all)
	require.NoError(t, tok.RemoveObjects(ctx, name))
	value, err := tok.Object(ctx, name)
	require.NoError(t, err)
	require.Equal(t, "b", string(value))
}

// What AddObject saw is destroyed without another search, and only that: what is not there
// any more, or was not seen, has all looked for.
func TestRemovingWhatWasSeen(t *testing.T) {
	tok, _ := open(t, nil)
	ctx := t.Context()
	name := fresh("seen")
	add := func(values ...string) {
		t.Helper()
		for _, v := range values {
			_, err := tok.AddObject(ctx, name, []byte(v))
			require.NoError(t, err)
		}
	}
	stands := func(values ...string) {
		t.Helper()
		all, err := tok.Objects(ctx, name)
		require.NoError(t, err)
		var have []string
		for _, v := range all {
			have = append(have, string(v))
		}
		require.ElementsMatch(t, values, have)
	}
	add("a", "a", "b", "c")
	require.NoError(t, tok.RemoveObjects(ctx, name, []byte("a"), []byte("b")))
	stands("c")
	value, err := tok.Object(ctx, name)
	require.NoError(t, err)
	require.Equal(t, "c", string(value))

	add("d", "e")
	require.NoError(t, tok.ExchangeObject(ctx, name, []byte("f"), []byte("d")))
	require.NoError(t, tok.RemoveObjects(ctx, name, []byte("c"), []byte("d")))
	stands("e", "f")
	require.NoError(t, tok.RemoveObjects(ctx, name, []byte("e")))
	stands("f")
}

// A crash between C_InitToken and C_InitPIN leaves a token without a user PIN: the
// next attempt ends it, with the same security officer's PIN only.
func TestInitTokenAfterACrash(t *testing.T) {
	made, err := softhsm.Create(t.Context(), t.TempDir(), "first", []byte("so-first"), []byte("pin-first"))
	require.NoError(t, err)
	t.Setenv(softhsm.EnvConf, made.ConfPath)
	tell(t, "C_InitPIN 0x05")
	soPIN, userPIN := []byte("so-second"), []byte("pin-second")
	_, err = hsm.InitToken(t.Context(), shim, "second", soPIN, userPIN, quiet)
	require.Error(t, err)
	require.NoFileExists(t, control)
	serial, userSet, found, err := hsm.FindToken(t.Context(), made.ModulePath, "second")
	require.NoError(t, err)
	require.Equal(t, []bool{false, true}, []bool{userSet, found})

	_, err = hsm.InitToken(t.Context(), made.ModulePath, "second", []byte("so-wrong"), userPIN, quiet)
	require.Error(t, err)
	again, err := hsm.InitToken(t.Context(), made.ModulePath, "second", soPIN, userPIN, quiet)
	require.NoError(t, err)
	require.Equal(t, serial, again)
	tok, err := hsm.Open(t.Context(), hsm.Config{Module: made.ModulePath, TokenLabel: "second"}, []byte("pin-second"), quiet, nil)
	require.NoError(t, err)
	require.NoError(t, tok.Close())
}

// A module that hangs holds nobody who initializes.
func TestInitTokenThatHangs(t *testing.T) {
	made, err := softhsm.Create(t.Context(), t.TempDir(), "first", []byte("so-first"), []byte("pin-first"))
	require.NoError(t, err)
	t.Setenv(softhsm.EnvConf, made.ConfPath)
	require.NoError(t, os.RemoveAll(logins))
	tell(t, "C_GetSlotList hang")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, _, _, err = hsm.FindToken(ctx, shim, "first")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = hsm.InitToken(ctx, shim, "second", []byte("so-second"), []byte("pin-second"), quiet)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, os.Remove(control))
	require.Eventually(t, func() bool { b, _ := os.ReadFile(logins); return string(b) == "F" }, patience, time.Millisecond)
}

// A replacement that ended between its two halves leaves both: what reads one name
// says so, and the next replacement leaves one.
func TestAReplacementThatWasCutOff(t *testing.T) {
	tok, _ := open(t, throughShim)
	ctx := t.Context()
	require.NoError(t, tok.ReplaceObject(ctx, "cut", []byte("old")))
	tell(t, "C_DestroyObject 0x70")
	require.Error(t, tok.ReplaceObject(ctx, "cut", []byte("new")))
	all, err := tok.Objects(ctx, "cut")
	require.NoError(t, err)
	require.ElementsMatch(t, [][]byte{[]byte("old"), []byte("new")}, all)

	tok = reopen(t, tok) // with no handle kept
	_, err = tok.Object(ctx, "cut")
	require.ErrorIs(t, err, hsm.ErrSeveral)
	require.ErrorIs(t, err, hsm.ErrMismatch)
	require.NoError(t, tok.ReplaceObject(ctx, "cut", []byte("new")))
	all, err = tok.Objects(ctx, "cut")
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("new")}, all)
	tell(t, "C_DestroyObject 0x70")
	require.Error(t, tok.ReplaceObject(ctx, "cut", []byte("newer")))
	require.NoError(t, tok.DestroyObject(ctx, "cut"), "all of the name")
	_, err = tok.Objects(ctx, "cut")
	require.ErrorIs(t, err, hsm.ErrNotFound)
}

// Each code, once, at each call of a replacement, and whatever it was: either value
// stands there, never none.
func TestAReplacementLosesNothing(t *testing.T) {
	tok, _ := open(t, throughShim)
	ctx := t.Context()
	require.NoError(t, tok.ReplaceObject(ctx, "kept", []byte("0")))
	n := 0
	for _, call := range []string{"C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal", "C_CreateObject", "C_CopyObject", "C_GetAttributeValue", "C_DestroyObject"} {
		for _, c := range codes {
			n++
			require.NoError(t, tok.ReplaceObject(ctx, "copied", fmt.Append(nil, n))) // that a copy was refused is over
			tell(t, call+" "+c.code)
			_ = tok.ReplaceObject(ctx, "kept", fmt.Append(nil, n))
			require.NoFileExists(t, control)
			all, err := tok.Objects(ctx, "kept")
			require.NoError(t, err)
			for _, value := range all {
				require.Contains(t, []string{fmt.Sprint(n - 1), fmt.Sprint(n)}, string(value), "%s %s", call, c.code)
			}
			require.NoError(t, tok.ReplaceObject(ctx, "kept", fmt.Append(nil, n)))
			all, err = tok.Objects(ctx, "kept")
			require.NoError(t, err)
			require.Len(t, all, 1)
		}
	}
}

// A read beside a replacement of the same process finds one or the other.
func TestReadingBesideAReplacement(t *testing.T) {
	tok, _ := open(t, nil)
	ctx := t.Context()
	require.NoError(t, tok.ReplaceObject(ctx, "beside", []byte("value 0")))
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if got, err := tok.Object(ctx, "beside"); err != nil || !bytes.HasPrefix(got, []byte("value")) {
					t.Errorf("%q: %v", got, err)
				}
			}
		})
	}
	for n := range 30 {
		require.NoError(t, tok.ReplaceObject(ctx, "beside", fmt.Append(nil, "value ", n)))
	}
	close(done)
	wg.Wait()
}

// Another process replaces the object whose handle this one keeps.
func TestAnObjectThatAnotherProcessReplaced(t *testing.T) {
	if os.Getenv("REPLACE_OBJECT") != "" {
		tok, _ := open(t, nil)
		require.NoError(t, tok.ReplaceObject(t.Context(), "foreign", []byte(os.Getenv("REPLACE_OBJECT"))))
		return
	}
	tok, _ := open(t, nil)
	require.NoError(t, tok.ReplaceObject(t.Context(), "foreign", []byte("ours")))
	for _, value := range []string{"theirs", "theirs again"} {
		_, err := tok.Object(t.Context(), "foreign")
		require.NoError(t, err)
		child := exec.Command(os.Args[0], "-test.run=^TestAnObjectThatAnotherProcessReplaced$")
		child.Env = append(os.Environ(), "REPLACE_OBJECT="+value, tokenOfParent+"="+token.ConfPath)
		out, err := child.CombinedOutput()
		require.NoError(t, err, "%s", out)
		got, err := tok.Object(t.Context(), "foreign")
		require.NoError(t, err)
		require.Equal(t, value, string(got))
	}
}

// A kept number may name another object after a reconnect: what it names is read
// with the value.
func TestAnObjectsNumberThatNamesAnother(t *testing.T) {
	tok, _ := open(t, throughShim)
	ctx := t.Context()
	require.NoError(t, tok.GenerateAESWrappingKey(ctx, "aes", "aes-objects"))
	for _, name := range []string{"number-a", "number-b"} {
		require.NoError(t, tok.PutObject(ctx, name, []byte("value of "+name)))
	}
	for n := range 12 {
		got, err := tok.Object(ctx, "number-a")
		require.NoError(t, err)
		require.Equal(t, "value of number-a", string(got))
		tell(t, fmt.Sprint("C_GetAttributeValue shuffle ", n))
	}
}

func TestInitToken(t *testing.T) {
	dir := t.TempDir()
	made, err := softhsm.Create(t.Context(), dir, "first", []byte("so-first"), []byte("pin-first"))
	require.NoError(t, err)
	t.Setenv(softhsm.EnvConf, made.ConfPath)
	soPIN, userPIN := []byte("so-second"), []byte("pin-second")
	serial, err := hsm.InitToken(t.Context(), made.ModulePath, "second", soPIN, userPIN, quiet)
	require.NoError(t, err)
	require.Equal(t, "so-second pin-second", string(soPIN)+" "+string(userPIN), "the caller's to wipe")

	_, err = hsm.InitToken(t.Context(), made.ModulePath, "second", soPIN, userPIN, quiet)
	require.ErrorIs(t, err, hsm.ErrTokenExists)
	require.ErrorContains(t, err, serial)
	had, userSet, found, err := hsm.FindToken(t.Context(), made.ModulePath, "second")
	require.NoError(t, err)
	require.Equal(t, []any{serial, true, true}, []any{had, userSet, found})
	_, _, found, err = hsm.FindToken(t.Context(), made.ModulePath, "third")
	require.NoError(t, err)
	require.False(t, found)
	tok, err := hsm.Open(t.Context(), hsm.Config{Module: made.ModulePath, TokenLabel: "second", TokenSerial: serial}, userPIN, quiet, nil)
	require.NoError(t, err)
	info := tok.Info()
	require.Equal(t, hsm.Info{Label: "second", Serial: serial, Manufacturer: "SoftHSM project", Model: "SoftHSM v2",
		Library: "Implementation of PKCS11", LibraryMaker: "SoftHSM"}, info)
	require.True(t, info.Software())
	require.False(t, hsm.Info{Manufacturer: "Thales", Model: "Luna K7"}.Software())
	require.False(t, hsm.Info{Manufacturer: "IBM", Model: "EP11"}.Software())
	_, err = hsm.InitToken(t.Context(), made.ModulePath, "third", soPIN, []byte("pin-third"), quiet)
	var code *hsm.Error
	require.ErrorAs(t, err, &code, "the module is in use")
	require.Equal(t, uint(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED), code.Code)
	require.NoError(t, tok.Close())

	for name, c := range map[string]struct{ label, module, pin, want string }{
		"label":     {strings.Repeat("l", 33), made.ModulePath, "pin-third", "33 bytes"},
		"module":    {"third", filepath.Join(dir, "none.so"), "pin-third", "cannot load"},
		"short PIN": {"third", made.ModulePath, "1", "user PIN has 1 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err = hsm.InitToken(t.Context(), c.module, c.label, []byte("so-third"), []byte(c.pin), quiet)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "so-third")
		})
	}
	tokens, err := os.ReadDir(filepath.Join(dir, "tokens"))
	require.NoError(t, err)
	require.Len(t, tokens, 2, "what is refused makes nothing")
}

// A token keeps other bytes than it was given: who stores is told, and what stood before stands.
func TestAttack_WhatIsStoredIsNotWhatWasGiven(t *testing.T) {
	tok, _ := open(t, throughShim)
	ctx, old := t.Context(), []byte("old")
	for name, store := range map[string]func(name string) error{
		"put":      func(name string) error { return tok.PutObject(ctx, name+"-new", []byte("new")) },
		"replace":  func(name string) error { return tok.ReplaceObject(ctx, name, []byte("new")) },
		"exchange": func(name string) error { return tok.ExchangeObject(ctx, name, []byte("new"), old) },
		"add": func(name string) error {
			_, err := tok.AddObject(ctx, name, []byte("new"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			name := fresh("garbled")
			require.NoError(t, tok.PutObject(ctx, name, old))
			tell(t, "C_CreateObject garble")
			require.ErrorIs(t, store(name), hsm.ErrMismatch)
			require.NoError(t, os.Remove(control))
			all, err := tok.Objects(ctx, name)
			require.NoError(t, err)
			require.Contains(t, all, old)
		})
	}
}

// Vendors say in many ways that they make no copy of a session's object. Whatever is
// said of that call alone, objects are made, one each, and after a few it is not asked
// any more.
func TestATokenThatMakesNoCopies(t *testing.T) {
	refusals := []string{"C_CreateObject 0xD1 session", "C_CreateObject 0x05 session"} // of the session's object
	for _, code := range []string{"0x54", "0x1B", "0x10", "0xD1", "0xD0",              // not supported, prohibited, read only, template
		"0x12", "0x13", "0x82", "0x07", "0x31", "0x80000001", // attribute, the session's object, arguments, memory, a vendor's own
		"0x05", "0x06", "0x02"} { // failed
		refusals = append(refusals, "C_CopyObject "+code+" keep")
	}
	for _, why := range refusals {
		tok, _ := open(t, throughShim)
		ctx := t.Context()
		tell(t, why)
		name := fresh("uncopied")
		stands := func(want string) {
			t.Helper()
			all, err := tok.Objects(ctx, name)
			require.NoError(t, err, why)
			require.Equal(t, [][]byte{[]byte(want)}, all, why)
		}
		require.NoError(t, tok.PutObject(ctx, name, []byte("put")), why)
		stands("put")
		require.NoError(t, tok.ReplaceObject(ctx, name, []byte("replaced")), why)
		stands("replaced")
		require.NoError(t, tok.ExchangeObject(ctx, name, []byte("exchanged"), []byte("replaced")), why)
		stands("exchanged")
		all, err := tok.AddObject(ctx, name, []byte("added"))
		require.NoError(t, err, why)
		require.Len(t, all, 2, why)
		require.False(t, broken(tok), why)
		tell(t, "C_CopyObject abort")
		require.NoError(t, tok.ReplaceObject(ctx, name, []byte("last")), why)
		stands("last")
		require.FileExists(t, control, "%s: no copy is asked for any more", why)
		require.NoError(t, tok.Close())
	}
}

// What is said of the session, the login, the device or the PIN is no refusal of a copy:
// it is told, or mended, as at any other call; and a token that makes no object at all
// says so.
func TestAFailureIsNoRefusalOfACopy(t *testing.T) {
	ctx := t.Context()
	for code, class := range map[string]hsm.Class{"0x101": hsm.ClassLogin, "0x30": hsm.ClassModule, "0x32": hsm.ClassModule, "0x190": hsm.ClassModule,
		"0xA3": hsm.ClassOperator, "0xB3": hsm.ClassSession} {
		tok, _ := open(t, throughShim)
		name := fresh("failed")
		tell(t, "C_CopyObject "+code+" keep")
		var e *hsm.Error
		require.ErrorAs(t, tok.PutObject(ctx, name, []byte("value")), &e, code)
		require.Equal(t, class, e.Class, code)
		require.Equal(t, "C_CopyObject", e.Call, code)
		require.NoError(t, os.Remove(control))
		tok = reopen(t, tok)
		_, err := tok.Object(ctx, name)
		require.ErrorIs(t, err, hsm.ErrNotFound, code)
		require.NoError(t, tok.Close())
	}
	tok, _ := open(t, throughShim)
	name := fresh("failed")
	var e *hsm.Error
	tell(t, "C_CreateObject 0xE2 keep") // write protected
	require.ErrorAs(t, tok.PutObject(ctx, name, []byte("value")), &e)
	require.Equal(t, uint(0xE2), e.Code)
	require.NoError(t, os.Remove(control))
	require.NoError(t, tok.PutObject(ctx, name, []byte("value")))

	// A copy that was refused for a moment is asked for again.
	for range 5 {
		tell(t, "C_CopyObject 0x13")
		require.NoError(t, tok.ReplaceObject(ctx, name, []byte(fresh("value"))))
		require.NoFileExists(t, control)
		require.NoError(t, tok.ReplaceObject(ctx, name, []byte(fresh("value"))))
	}
}
