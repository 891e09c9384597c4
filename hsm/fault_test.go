package hsm_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
)

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

// hang is after what time a call counts as stuck where a test lets one hang: longer
// than any that does not, also on a busy machine.
const hang = 3 * time.Second

// A call that hangs, as for 30 s: its caller is told, the pool of one grows a new
// session, others go on, and when it comes back after all the token is whole.
//
// In long mode a call does hang for 30 s, and the default is what notices.
func TestACallThatHangs(t *testing.T) {
	tok, reg := open(t, func(c *hsm.Config) {
		c.Module, c.Sessions, c.MaxStuck = shim, 1, 3
		c.CallTimeout, c.Wait = hang, time.Minute
		if long() {
			c.CallTimeout = 0
		}
	})
	_, err := tok.GenerateEd25519(t.Context(), "ed", "ed-stuck")
	require.NoError(t, err)
	tell(t, "C_Sign hang")
	most := 2.0
	if long() { // one: it would be back before a second one counts as stuck
		tell(t, "C_Sign 30s")
		most = 1
	}
	for stuck := 1.0; stuck <= most; stuck++ {
		began := time.Now()
		_, err := tok.SignEd25519(t.Context(), "ed-stuck", []byte("m"))
		require.ErrorIs(t, err, hsm.ErrStuck)
		if long() {
			require.GreaterOrEqual(t, time.Since(began), 20*time.Second, "the default")
		}
		require.Equal(t, stuck, gauge(t, reg, "mintwarden_hsm_stuck_calls_count"))
		_, err = tok.Object(t.Context(), "none") // nobody waits for the stuck one
		require.ErrorIs(t, err, hsm.ErrNotFound)
		require.Equal(t, stuck+2, gauge(t, reg, "mintwarden_hsm_sessions_count"), "one new, the stuck ones, the login's")
	}
	require.False(t, broken(tok))
	if !long() {
		require.NoError(t, os.Remove(control))
	}
	require.Eventually(t, func() bool { return gauge(t, reg, "mintwarden_hsm_stuck_calls_count") == 0 }, patience, time.Millisecond)
	_, err = tok.SignEd25519(t.Context(), "ed-stuck", []byte("m"))
	require.NoError(t, err)
	require.False(t, broken(tok))
}

func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// So many stuck calls ask for a new process; closing does not wait for them, and
// leaves the module that they are in alone.
func TestTooManyStuckCalls(t *testing.T) {
	tok, _ := open(t, func(c *hsm.Config) {
		c.Module, c.Sessions, c.MaxStuck = shim, 1, 2
		c.CallTimeout, c.Wait = hang, time.Minute
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
	require.ErrorIs(t, soon(t, left, "the end of the call"), context.Canceled, "a caller can leave a call that hangs")
	for range 2 { // the first of them may be the one whose caller left
		_, err = tok.SignEd25519(t.Context(), "ed-stuck", []byte("m"))
		require.Error(t, err)
	}
	soon(t, tok.Broken(), "the login's end")
	_, err = tok.SignEd25519(t.Context(), "ed-stuck", []byte("m"))
	require.ErrorIs(t, err, hsm.ErrBroken)
	require.ErrorIs(t, tok.Close(), hsm.ErrStuck)
}

// Making objects waits behind a stuck call that makes one, and only that does.
func TestTheLockOfAStuckChange(t *testing.T) {
	tok, _ := open(t, func(c *hsm.Config) {
		c.Module, c.CallTimeout, c.MaxStuck = shim, hang, 10
		c.Wait = 2 * time.Second // much longer than the caller waits who leaves, below
	})
	_, err := tok.GenerateEd25519(t.Context(), "ed", "ed-lock")
	require.NoError(t, err)
	name := fresh("stuck")
	tell(t, "C_CreateObject hang")
	require.ErrorIs(t, tok.PutObject(t.Context(), name, []byte("value")), hsm.ErrStuck)
	_, err = tok.Object(t.Context(), fresh("none"))
	require.ErrorIs(t, err, hsm.ErrBusy, "whether there is none cannot be said, in bounded time")
	_, err = tok.SignEd25519(t.Context(), "ed-lock", []byte("m"))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, tok.PutObject(ctx, "other", []byte("value")), context.DeadlineExceeded)
	require.NoError(t, os.Remove(control))
	require.NoError(t, tok.PutObject(t.Context(), name, []byte("value")), "what was stuck did happen, and is found")
}

// Whoever makes an object behind a call that hangs with the lock would wait as long as that, which may be for ever: one
// stuck call of that kind is enough for a new process, though others go on.
func TestAChangeThatHangsForGood(t *testing.T) {
	tok, _ := open(t, func(c *hsm.Config) {
		c.Module, c.CallTimeout, c.MaxStuck = shim, hang, 10
	})
	_, err := tok.GenerateEd25519(t.Context(), "ed", "ed-behind")
	require.NoError(t, err)
	tell(t, "C_CreateObject hang")
	require.ErrorIs(t, tok.PutObject(t.Context(), fresh("stuck"), []byte("value")), hsm.ErrStuck)
	_, err = tok.SignEd25519(t.Context(), "ed-behind", []byte("m"))
	require.NoError(t, err)
	require.False(t, broken(tok))
	behind := make(chan error, 1)
	name := fresh("behind")
	go func() { behind <- tok.PutObject(t.Context(), name, []byte("value")) }()
	require.ErrorIs(t, soon(t, behind, "the end of who waits behind it"), hsm.ErrBroken)
	require.True(t, broken(tok))
}

// A module that hangs while it is opened holds nobody: the caller leaves, and a
// login that comes too late is undone.
func TestOpeningThatHangs(t *testing.T) {
	for _, call := range []string{"C_Initialize", "C_GetSlotList", "C_OpenSession", "C_Login"} {
		t.Run(call, func(t *testing.T) {
			cfg := token.Config()
			cfg.Module, cfg.OpenTimeout = shim, 50*time.Millisecond
			require.NoError(t, os.RemoveAll(logins))
			tell(t, call+" hang")
			_, err := hsm.Open(t.Context(), cfg, []byte(userPIN), quiet, nil)
			require.ErrorIs(t, err, hsm.ErrStuck)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = hsm.Open(ctx, cfg, []byte(userPIN), quiet, nil)
			require.ErrorIs(t, err, context.Canceled)
			require.NoError(t, os.Remove(control))
			require.Eventually(t, func() bool { b, _ := os.ReadFile(logins); return string(b) == "LF" }, patience, time.Millisecond)
			tok, _ := open(t, nil)
			require.NoError(t, tok.Close())
		})
	}
}

// Sessions that are gone, every one of them: new ones are opened.
func TestIdleSessionsThatAreGone(t *testing.T) {
	tok, reg := open(t, throughShim)
	_, err := tok.GenerateEd25519(t.Context(), "ed", "ed-idle")
	require.NoError(t, err)
	var wg sync.WaitGroup
	tell(t, "C_Sign hang")
	for range 4 {
		wg.Go(func() {
			if _, err := tok.SignEd25519(t.Context(), "ed-idle", []byte("m")); err != nil {
				t.Error(err)
			}
		})
	}
	require.Eventually(t, func() bool { return gauge(t, reg, "mintwarden_hsm_sessions_count") == 5 }, patience, time.Millisecond)
	require.NoError(t, os.Remove(control))
	wg.Wait()
	tell(t, "C_SignInit 0xB3")
	_, err = tok.SignEd25519(t.Context(), "ed-idle", []byte("m"))
	require.NoError(t, err)
	require.Equal(t, 2.0, gauge(t, reg, "mintwarden_hsm_sessions_count"), "the new one and the login's")
}

// A login that is gone is noticed at whatever comes next, also where the token
// just says that there is no such object.
func TestLostLogin(t *testing.T) {
	for name, c := range map[string]struct {
		tell  string
		looks bool // at the handle first
		use   func(context.Context, *hsm.Token) error
	}{
		"sign":                  {"C_SignInit logout", false, signed},
		"sign, after the look":  {"C_SignInit logout", true, signed},
		"sign, before the look": {"C_GetAttributeValue logout", true, signed},
		"sessions closed":       {"C_SignInit closeall", false, signed},
		"read":                  {"C_GetAttributeValue logout", false, func(ctx context.Context, tok *hsm.Token) error { _, err := tok.Object(ctx, "object-login"); return err }},
		"read nothing":          {"C_FindObjectsInit logout", false, func(ctx context.Context, tok *hsm.Token) error { _, err := tok.Object(ctx, "nothing"); return err }},
		"make": {"C_FindObjectsInit logout", false, func(ctx context.Context, tok *hsm.Token) error {
			_, err := tok.GenerateEd25519(ctx, "ed", "ed-new")
			return err
		}},
		"unwrap": {"C_DecryptInit logout", false, func(ctx context.Context, tok *hsm.Token) error {
			_, err := tok.SignSeed(ctx, "wlt-login", [32]byte{})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			tok, _ := open(t, throughShim)
			_, err := tok.GenerateEd25519(t.Context(), "ed", "ed-login")
			require.NoError(t, err)
			require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), "aes", "aes-login"))
			_, err = tok.CreateSeedKey(t.Context(), "wlt-login", hsm.Dilithium3, "aes-login")
			require.NoError(t, err)
			require.NoError(t, tok.PutObject(t.Context(), "object-login", []byte("value")))
			if c.looks {
				doubt(t, tok)
			}
			tell(t, c.tell)
			err = c.use(t.Context(), tok)
			require.NoFileExists(t, control)
			require.Error(t, err)
			require.NotErrorIs(t, err, hsm.ErrNotFound)
			require.True(t, broken(tok), "%v", err)
		})
	}
}

func signed(ctx context.Context, tok *hsm.Token) error {
	_, err := tok.SignEd25519(ctx, "ed-login", []byte("m"))
	return err
}

// The device goes in the middle, and comes back: only a new start of the module
// helps, and one without the device says that there is no token.
func TestDeviceGoneAndBack(t *testing.T) {
	tok, _ := open(t, throughShim)
	pub, err := tok.GenerateEd25519(t.Context(), "ed", "ed-gone")
	require.NoError(t, err)
	tell(t, "* gone")
	_, err = tok.SignEd25519(t.Context(), "ed-gone", []byte("m"))
	require.Error(t, err)
	require.True(t, broken(tok))
	_ = tok.Close()
	cfg := token.Config()
	cfg.Module = shim
	_, err = hsm.Open(t.Context(), cfg, []byte(userPIN), quiet, nil)
	var none *hsm.TokenError
	require.ErrorAs(t, err, &none)
	require.Zero(t, none.Slots)
	require.NoError(t, os.Remove(control))
	tok, _ = open(t, throughShim)
	again, err := tok.Ed25519Public(t.Context(), "ed-gone")
	require.NoError(t, err)
	require.Equal(t, pub, again)
	require.NoError(t, tok.Canary(t.Context(), "ed-gone"))
}

// A crash between a pair's two halves leaves a public one; the id is usable all
// the same. A private half alone is nothing to touch.
func TestHalfAPair(t *testing.T) {
	tok, _ := open(t, nil)
	half, private := fresh("ed-half"), fresh("ed-private")
	halfPair(t, pkcs11.CKO_PUBLIC_KEY, half)
	pub, err := tok.GenerateEd25519(t.Context(), "ed", half)
	require.NoError(t, err)
	sig, err := tok.SignEd25519(t.Context(), half, []byte("m"))
	require.NoError(t, err)
	require.True(t, ed25519.Verify(pub, []byte("m"), sig))

	halfPair(t, pkcs11.CKO_PRIVATE_KEY, private)
	_, err = tok.GenerateEd25519(t.Context(), "ed", private)
	require.ErrorIs(t, err, hsm.ErrMismatch)
}

// halfPair makes a pair of which one half is no token object, with a session
// beside the token's own.
func halfPair(t *testing.T, keep uint, id string) {
	t.Helper()
	p := pkcs11.New(token.ModulePath)
	s := sessionBeside(t, p)
	half := func(class uint, more ...*pkcs11.Attribute) []*pkcs11.Attribute {
		return append([]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, 0x40),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, class == keep), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id))}, more...)
	}
	_, _, err := p.GenerateKeyPair(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(0x1055, nil)},
		half(pkcs11.CKO_PUBLIC_KEY, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, []byte{0x06, 0x03, 0x2b, 0x65, 0x70})),
		half(pkcs11.CKO_PRIVATE_KEY, pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
			pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true)))
	require.NoError(t, err)
	require.NoError(t, p.CloseSession(s))
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
		err := hsm.ErrBusy // the look below may be first, and take longer than the wait
		for errors.Is(err, hsm.ErrBusy) {
			_, err = tok.SignEd25519(t.Context(), "ed-busy", []byte("m"))
		}
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
	require.NoError(t, soon(t, held, "the call that was held"), "what was held ends well")
}

func isNotFound(err error) bool { return errors.Is(err, hsm.ErrNotFound) }
