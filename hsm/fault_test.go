package hsm_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
)

// Each return code that a token is known to give, once, and what follows.
func TestReturnCodes(t *testing.T) {
	tok, _ := open(t, throughShim)
	ctx := t.Context()
	_, err := tok.GenerateEd25519(ctx, "ed", "ed-codes")
	require.NoError(t, err)
	require.NoError(t, tok.GenerateAESWrappingKey(ctx, "wrapping", "aes-codes"))
	_, err = tok.CreateSeedKey(ctx, "wlt-codes", hsm.MLDSA65, "aes-codes")
	require.NoError(t, err)
	for _, c := range []struct {
		name, tell string
		class      hsm.Class // 0: the call succeeds all the same
	}{
		{"session gone", "C_Sign 0xB3", 0},
		{"session closed", "C_Sign 0xB0", 0},
		{"stale handle, SoftHSM2", "C_GetAttributeValue 0x82", 0},
		{"stale handle, opencryptoki", "C_Sign 0x60", 0},
		{"a passing general error", "C_Sign 0x05", hsm.ClassModule},
		{"refused input", "C_Sign 0x21", hsm.ClassInput},
		{"left active", "C_Sign 0x90", hsm.ClassInput},
	} {
		t.Run(c.name, func(t *testing.T) {
			tell(t, c.tell)
			_, err := tok.SignEd25519(ctx, "ed-codes", []byte("m"))
			if c.class == 0 {
				require.NoError(t, err)
			} else {
				var e *hsm.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, c.class, e.Class)
			}
			_, err = tok.SignEd25519(ctx, "ed-codes", []byte("m"))
			require.NoError(t, err, "no session with an open operation was pooled")
		})
	}
	for _, code := range []string{"0x05", "0x40"} {
		t.Run("tampered "+code, func(t *testing.T) {
			tell(t, "C_Decrypt "+code)
			_, err := tok.SignSeed(ctx, "wlt-codes", [32]byte{})
			require.ErrorIs(t, err, hsm.ErrNotAuthentic)
			_, err = tok.SignSeed(ctx, "wlt-codes", [32]byte{})
			require.NoError(t, err)
		})
	}
	select {
	case <-tok.Broken():
		t.Fatal("one fault of each kind must not break the token")
	default:
	}
}

func TestCodesThatNeedANewProcess(t *testing.T) {
	for name, c := range map[string]struct {
		tell  string
		calls int
	}{
		"login gone":            {"C_Sign 0x101", 1},
		"device error":          {"C_Sign 0x30", 1},
		"device removed":        {"C_Sign 0x32", 1},
		"not initialized":       {"C_Sign 0x190", 1},
		"general error, repeat": {"C_Sign 0x05 keep", 3},
	} {
		t.Run(name, func(t *testing.T) {
			tok, _ := open(t, throughShim)
			_, err := tok.GenerateEd25519(t.Context(), "ed", "ed-process")
			require.NoError(t, err)
			tell(t, c.tell)
			for range c.calls {
				_, err = tok.SignEd25519(t.Context(), "ed-process", []byte("m"))
				require.Error(t, err)
			}
			<-tok.Broken()
			_, err = tok.SignEd25519(t.Context(), "ed-process", []byte("m"))
			require.ErrorIs(t, err, hsm.ErrBroken)
		})
	}
}

func TestATokenThatLiesAboutAttributesIsRefused(t *testing.T) {
	tok, _ := open(t, throughShim)
	tell(t, "C_GetAttributeValue lie")
	require.ErrorIs(t, tok.GenerateAESWrappingKey(t.Context(), "wrapping", "aes-lie"), hsm.ErrMismatch)
	_, err := tok.GenerateEd25519(t.Context(), "ed", "ed-lie")
	require.ErrorIs(t, err, hsm.ErrMismatch)
	require.NoError(t, os.Remove(control))
	_, err = tok.Ed25519Public(t.Context(), "ed-lie")
	require.ErrorIs(t, err, hsm.ErrNotFound, "a refused key does not stay")
}

func TestStuckCall(t *testing.T) {
	tok, _ := open(t, func(c *hsm.Config) {
		c.Module, c.Sessions, c.MaxStuck = shim, 1, 2
		c.CallTimeout, c.Wait = 300*time.Millisecond, time.Minute
	})
	_, err := tok.GenerateEd25519(t.Context(), "ed", "ed-stuck")
	require.NoError(t, err)

	tell(t, "C_Sign hang")
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := tok.SignEd25519(ctx, "ed-stuck", []byte("m"))
		left <- err
	}()
	cancel()
	require.ErrorIs(t, <-left, context.Canceled, "a caller can leave a call that hangs")

	// The pool of one grows a new session once the first counts as stuck.
	_, err = tok.Ed25519Public(t.Context(), "ed-other")
	require.ErrorIs(t, err, hsm.ErrNotFound)
	for range 3 { // the first of them may be the one whose caller left
		_, err = tok.SignEd25519(t.Context(), "ed-stuck", []byte("m"))
		require.Error(t, err)
	}
	<-tok.Broken()
	require.NoError(t, os.Remove(control))
}

func TestWaitingIsBounded(t *testing.T) {
	tok, _ := open(t, func(c *hsm.Config) {
		c.Module, c.Sessions, c.Wait = shim, 1, 20*time.Millisecond
	})
	_, err := tok.GenerateEd25519(t.Context(), "ed", "ed-busy")
	require.NoError(t, err)
	tell(t, "C_Sign hang")
	held := make(chan error)
	go func() {
		_, err := tok.SignEd25519(t.Context(), "ed-busy", []byte("m"))
		held <- err
	}()
	for {
		_, err = tok.Ed25519Public(t.Context(), "ed-none")
		if !isNotFound(err) {
			break
		}
	}
	require.ErrorIs(t, err, hsm.ErrBusy)
	require.NoError(t, os.Remove(control))
	require.NoError(t, <-held, "what was held ends well")
}

func isNotFound(err error) bool { return errors.Is(err, hsm.ErrNotFound) }
