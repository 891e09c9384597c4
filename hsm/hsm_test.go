package hsm_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/hsm/softhsm"
)

const userPIN = "1234-test"

// setup makes one token for the process (SoftHSM2 reads its configuration
// once) and a module in front of it that can be told to misbehave.
var token *softhsm.Token

// tokenOfParent names, in a test's child process, the parent's token.
const tokenOfParent = "HSM_TEST_TOKEN"

var control, logins, shim string

func TestMain(m *testing.M) {
	if root := os.Getenv(ockEnter); root != "" {
		panic(ockEnterRoot(root))
	}
	if root := os.Getenv(ockSeal); root != "" {
		os.Exit(ockSealOutside(root))
	}
	if root := os.Getenv(ockSealEnter); root != "" {
		panic(ockSealInside(root))
	}
	if os.Getenv(ockInside) != "" {
		os.Exit(m.Run())
	}
	if what := os.Getenv(pinJob); what != "" {
		os.Exit(doPINJob(what, os.Getenv(pinModule)))
	}
	dir, err := os.MkdirTemp("", "hsm")
	if err != nil {
		panic(err)
	}
	tokenDir := dir
	if conf := os.Getenv(tokenOfParent); conf != "" {
		tokenDir = filepath.Dir(conf)
	}
	token, err = softhsm.Create(context.Background(), tokenDir, "unit", []byte("so-pin-1"), []byte(userPIN))
	if err != nil {
		panic(err)
	}
	control, logins, shim = filepath.Join(dir, "control"), filepath.Join(dir, "logins"), filepath.Join(dir, "shim.so")
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", shim, "testdata/shim.c", "-ldl", "-lpthread").CombinedOutput(); err != nil {
		panic(string(out))
	}
	for k, v := range map[string]string{softhsm.EnvConf: token.ConfPath, "SHIM_CONTROL": control, "SHIM_LOGINS": logins, "SHIM_MODULE": token.ModulePath} {
		if err := os.Setenv(k, v); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// patience bounds what a test waits for.
const patience = 3 * time.Minute

// soon is what comes of c, which tells of what.
func soon[T any](t testing.TB, c <-chan T, what string) (got T) {
	t.Helper()
	select {
	case got = <-c:
	case <-time.After(patience):
		require.FailNow(t, "it does not come", what)
	}
	return got
}

func open(t *testing.T, change func(*hsm.Config)) (*hsm.Token, *prometheus.Registry) {
	t.Helper()
	cfg := token.Config()
	cfg.OpenTimeout = time.Minute // on a busy machine longer than what a test takes for stuck
	if change != nil {
		change(&cfg)
	}
	reg := prometheus.NewRegistry()
	tok, err := hsm.Open(t.Context(), cfg, []byte(userPIN), quiet, reg)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = os.Remove(control)
		// What hung ends now; the next test needs the module.
		require.Eventually(t, func() bool { return !errors.Is(tok.Close(), hsm.ErrStuck) }, patience, time.Millisecond)
	})
	return tok, reg
}

var quiet = slog.New(slog.DiscardHandler)

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

func isWrongPIN(err error) bool { return errors.Is(err, hsm.ErrWrongPIN) }

// long says that tests may take minutes.
func long() bool { return os.Getenv("MINTWARDEN_LONG") == "1" }

var freshIDs atomic.Int64

// fresh is an id that no test of this process, repeated or not, has used: the token
// keeps what they made.
func fresh(id string) string { return fmt.Sprint(id, "-", freshIDs.Add(1)) }

func throughShim(c *hsm.Config) { c.Module = shim }

func tell(t *testing.T, what string) {
	t.Helper()
	require.NoError(t, os.WriteFile(control+".new", []byte(what+"\n"), 0o600))
	require.NoError(t, os.Rename(control+".new", control))
}

func TestOpenWipesThePINAndTriesItOnce(t *testing.T) {
	require.NoError(t, os.RemoveAll(logins))
	cfg := token.Config()
	cfg.Module = shim
	pin := []byte("wrong-pin")
	_, err := hsm.Open(t.Context(), cfg, pin, quiet, nil)
	require.ErrorIs(t, err, hsm.ErrWrongPIN)
	require.Equal(t, "LF", string(read(t, logins)))
	var e *hsm.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, hsm.ClassOperator, e.Class)
	require.Equal(t, make([]byte, len(pin)), pin)
	require.NotContains(t, err.Error(), "wrong-pin")
}

func TestOpenRefuses(t *testing.T) {
	for name, change := range map[string]func(*hsm.Config){
		"unknown label":  func(c *hsm.Config) { c.TokenLabel = "other" },
		"unknown serial": func(c *hsm.Config) { c.TokenSerial = "0000" },
		"no module":      func(c *hsm.Config) { c.Module = "/nonexistent.so" },
		"no sessions":    func(c *hsm.Config) { c.Sessions = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := token.Config()
			change(&cfg)
			_, err := hsm.Open(t.Context(), cfg, []byte(userPIN), quiet, nil)
			require.Error(t, err)
		})
	}
}

func TestEd25519(t *testing.T) {
	tok, reg := open(t, nil)
	ctx := t.Context()
	_, err := tok.Ed25519Public(ctx, "ed-none")
	require.ErrorIs(t, err, hsm.ErrNotFound)
	pub, err := tok.GenerateEd25519(ctx, "ledger", "ed-1")
	require.NoError(t, err)
	again, err := tok.GenerateEd25519(ctx, "ledger", "ed-1")
	require.NoError(t, err)
	require.Equal(t, pub, again, "an id names one key")
	for i := range 20 {
		msg := fmt.Appendf(nil, "message %d", i)
		sig, err := tok.SignEd25519(ctx, "ed-1", msg)
		require.NoError(t, err)
		require.True(t, ed25519.Verify(pub, msg, sig))
	}
	require.NoError(t, tok.Canary(ctx, "ed-1"))
	require.Error(t, tok.Canary(ctx, "ed-none"))
	check, err := tok.CheckValue(ctx, "ed-1")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(pub)), check)
	require.NotZero(t, testutil.CollectAndCount(reg, "mintwarden_hsm_call_duration_seconds"))
}

func TestWrappedSeed(t *testing.T) {
	tok, _ := open(t, nil)
	ctx := t.Context()
	require.NoError(t, tok.GenerateAESWrappingKey(ctx, "wrapping", "aes-1"))
	require.NoError(t, tok.GenerateAESWrappingKey(ctx, "wrapping", "aes-1"))
	check, err := tok.CheckValue(ctx, "aes-1")
	require.NoError(t, err)
	require.Len(t, check, 6, "CKA_CHECK_VALUE is three bytes")
	digest := sha256.Sum256([]byte("a transaction"))
	for _, scheme := range []hsm.Scheme{hsm.Dilithium3, hsm.MLDSA65} {
		t.Run(string(scheme), func(t *testing.T) {
			id := "wlt-" + string(scheme)
			pub, err := tok.CreateSeedKey(ctx, id, scheme, "aes-1")
			require.NoError(t, err)
			again, err := tok.CreateSeedKey(ctx, id, scheme, "aes-1")
			require.NoError(t, err)
			require.Equal(t, pub, again)
			sig, err := tok.SignSeed(ctx, id, digest)
			require.NoError(t, err)
			if scheme == hsm.Dilithium3 {
				var pk mode3.PublicKey
				require.NoError(t, pk.UnmarshalBinary(pub))
				require.True(t, mode3.Verify(&pk, digest[:], sig))
			} else {
				var pk mldsa65.PublicKey
				require.NoError(t, pk.UnmarshalBinary(pub))
				require.True(t, mldsa65.Verify(&pk, digest[:], nil, sig))
			}
			_, err = tok.CreateSeedKey(ctx, id, other(scheme), "aes-1")
			require.ErrorIs(t, err, hsm.ErrMismatch, "an id keeps its scheme")
		})
	}
	_, err = tok.CreateSeedKey(ctx, "wlt-x", "secp256k1", "aes-1")
	require.ErrorContains(t, err, "secp256k1")
	_, err = tok.CreateSeedKey(ctx, "wlt-x", hsm.MLDSA65, "aes-none")
	require.ErrorIs(t, err, hsm.ErrNotFound)
	_, err = tok.SignSeed(ctx, "wlt-none", digest)
	require.ErrorIs(t, err, hsm.ErrNotFound)
}

// An envelope that was moved to another id, or whose fields were changed by who
// can write objects, signs nothing.
func TestForgedEnvelopes(t *testing.T) {
	tok, _ := open(t, nil)
	ctx := t.Context()
	require.NoError(t, tok.GenerateAESWrappingKey(ctx, "wrapping", "aes-f"))
	for _, id := range []string{"wlt-a", "wlt-b"} {
		_, err := tok.CreateSeedKey(ctx, id, hsm.MLDSA65, "aes-f")
		require.NoError(t, err)
	}
	a, err := tok.Object(ctx, "seed:wlt-a")
	require.NoError(t, err)
	b, err := tok.Object(ctx, "seed:wlt-b")
	require.NoError(t, err)
	type fields map[string]any
	decode := func(v []byte) (f fields) { require.NoError(t, json.Unmarshal(v, &f)); return f }
	for name, c := range map[string]struct {
		change func(fields)
		want   error
	}{
		"moved":            {func(fields) {}, hsm.ErrMismatch},
		"renamed":          {func(f fields) { f["id"] = "wlt-renamed" }, hsm.ErrNotAuthentic},
		"another scheme":   {func(f fields) { f["id"], f["scheme"] = "wlt-another scheme", "dilithium3" }, hsm.ErrNotAuthentic},
		"another's public": {func(f fields) { f["id"], f["publicKey"] = "wlt-another's public", decode(b)["publicKey"] }, hsm.ErrNotAuthentic},
		"another's seed": {func(f fields) {
			f["id"], f["iv"], f["ciphertext"] = "wlt-another's seed", decode(b)["iv"], decode(b)["ciphertext"]
		}, hsm.ErrNotAuthentic},
	} {
		t.Run(name, func(t *testing.T) {
			f := decode(a)
			c.change(f)
			forged, err := json.Marshal(f)
			require.NoError(t, err)
			require.NoError(t, tok.PutObject(ctx, "seed:wlt-"+name, forged))
			t.Cleanup(func() { _ = tok.DestroyObject(context.Background(), "seed:wlt-"+name) })
			_, err = tok.SignSeed(ctx, "wlt-"+name, [32]byte{})
			require.ErrorIs(t, err, c.want)
		})
	}
}

func other(s hsm.Scheme) hsm.Scheme {
	if s == hsm.MLDSA65 {
		return hsm.Dilithium3
	}
	return hsm.MLDSA65
}

func TestKeysOutliveTheProcess(t *testing.T) {
	tok, _ := open(t, nil)
	require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), "wrapping", "aes-2"))
	pub, err := tok.CreateSeedKey(t.Context(), "wlt-2", hsm.Dilithium3, "aes-2")
	require.NoError(t, err)
	require.NoError(t, tok.Close())
	_, err = tok.SignSeed(t.Context(), "wlt-2", [32]byte{})
	require.ErrorIs(t, err, hsm.ErrClosed)

	tok, _ = open(t, nil)
	again, scheme, err := tok.SeedPublic(t.Context(), "wlt-2")
	require.NoError(t, err)
	require.Equal(t, hsm.Dilithium3, scheme)
	require.Equal(t, pub, again)
	_, err = tok.SignSeed(t.Context(), "wlt-2", [32]byte{1})
	require.NoError(t, err)
}

func TestObjects(t *testing.T) {
	tok, _ := open(t, nil)
	ctx := t.Context()
	_, err := tok.Object(ctx, "anchor")
	require.ErrorIs(t, err, hsm.ErrNotFound)
	require.NoError(t, tok.PutObject(ctx, "anchor", []byte("one")))
	require.NoError(t, tok.PutObject(ctx, "anchor", []byte("one")))
	require.ErrorIs(t, tok.PutObject(ctx, "anchor", []byte("two")), hsm.ErrMismatch)
	got, err := tok.Object(ctx, "anchor")
	require.NoError(t, err)
	require.Equal(t, "one", string(got))
	require.NoError(t, tok.DestroyObject(ctx, "anchor"))
	require.ErrorIs(t, tok.DestroyObject(ctx, "anchor"), hsm.ErrNotFound)
}

func TestManyAtOnce(t *testing.T) {
	tok, _ := open(t, func(c *hsm.Config) { c.Sessions = 4; c.Wait = time.Minute })
	ctx := t.Context()
	require.NoError(t, tok.GenerateAESWrappingKey(ctx, "wrapping", "aes-many"))
	_, err := tok.GenerateEd25519(ctx, "ed", "ed-many")
	require.NoError(t, err)
	_, err = tok.CreateSeedKey(ctx, "wlt-many", hsm.Dilithium3, "aes-many")
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 10 {
				if _, err := tok.SignEd25519(ctx, "ed-many", fmt.Append(nil, i, j)); err != nil {
					t.Error(err)
				}
				if _, err := tok.SignSeed(ctx, "wlt-many", sha256.Sum256(fmt.Append(nil, i, j))); err != nil {
					t.Error(err)
				}
			}
			if _, err := tok.GenerateEd25519(ctx, "ed", fmt.Sprint("ed-many-", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
