package hsm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/hsm/softhsm"
)

// pinJob, in a child's environment, is what it does with the PINs of its token: the
// library reads its configuration once a process, and some children die.
const (
	pinJob    = "HSM_TEST_PINS"
	pinModule = "HSM_TEST_PIN_MODULE"
)

// pinRefused is how the child ends where the token refused a PIN.
const pinRefused = 7

var (
	oldPINs = hsm.PINs{User: []byte("user-old"), SO: []byte("so-old-1")}
	newPINs = hsm.PINs{User: []byte("user-new"), SO: []byte("so-new-1")}
)

// doPINJob is the child.
func doPINJob(what, module string) int {
	ctx, log := context.Background(), slog.New(slog.NewTextHandler(os.Stderr, nil))
	jobs := map[string]func() error{
		"change": func() error { return hsm.ChangePINs(ctx, module, "pins", "", oldPINs, newPINs, log) },
		"too short": func() error {
			return hsm.ChangePINs(ctx, module, "pins", "", oldPINs, hsm.PINs{User: []byte("abc"), SO: newPINs.SO}, log)
		},
		"another serial": func() error { return hsm.ChangePINs(ctx, module, "pins", "none", oldPINs, newPINs, log) },
		"wrong": func() error {
			return hsm.ChangePINs(ctx, module, "pins", "", hsm.PINs{User: []byte("nobodys1"), SO: []byte("nobodys2")}, newPINs, log)
		},
		"try old": func() error { return hsm.TryPINs(ctx, module, "pins", "", oldPINs) },
		"try new": func() error { return hsm.TryPINs(ctx, module, "pins", "", newPINs) },
	}
	err := jobs[what]()
	if errors.Is(err, hsm.ErrWrongPIN) {
		return pinRefused
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// pinToken is a token of a test's own whose PINs may change.
type pinToken struct {
	t     *testing.T
	dir   string
	token *softhsm.Token
}

func newPINToken(t *testing.T) *pinToken {
	t.Helper()
	dir := t.TempDir()
	tok, err := softhsm.Create(t.Context(), dir, "pins", oldPINs.SO, oldPINs.User)
	require.NoError(t, err)
	return &pinToken{t, dir, tok}
}

// do has a child do the job, through a module that misbehaves as told. It gives how
// the child ended and how often it logged in.
func (p *pinToken) do(what, told string) (code, tried int, out string) {
	p.t.Helper()
	ctl, log := filepath.Join(p.dir, "control"), filepath.Join(p.dir, "logins")
	require.NoError(p.t, os.RemoveAll(log))
	if told != "" {
		require.NoError(p.t, os.WriteFile(ctl, []byte(told+"\n"), 0o600))
	}
	cmd := exec.CommandContext(p.t.Context(), "/proc/self/exe", "-test.run=^$")
	cmd.Env = append(os.Environ(), p.token.Env(), pinJob+"="+what, pinModule+"="+shim, "SHIM_CONTROL="+ctl, "SHIM_LOGINS="+log, "SHIM_MODULE="+p.token.ModulePath)
	text, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		require.NoError(p.t, err)
	}
	logins, err := os.ReadFile(log)
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(p.t, err)
	}
	for _, b := range logins {
		if b == 'L' {
			tried++
		}
	}
	require.NotContains(p.t, string(text), "user-old")
	require.NotContains(p.t, string(text), "user-new")
	return cmd.ProcessState.ExitCode(), tried, string(text)
}

func TestPINsAreChanged(t *testing.T) {
	p := newPINToken(t)
	code, _, out := p.do("try old", "")
	require.Zero(t, code, out)
	code, _, out = p.do("another serial", "")
	require.Equal(t, 1, code)
	require.Contains(t, out, "serial")
	code, tried, out := p.do("too short", "")
	require.Equal(t, 1, code)
	require.Contains(t, out, "user PIN has 3 bytes")
	require.Zero(t, tried, "refused before anything is changed")
	code, tried, _ = p.do("wrong", "")
	require.Equal(t, pinRefused, code)
	require.Equal(t, 2, tried, "each of the two once")
	code, _, out = p.do("change", "")
	require.Zero(t, code, out)
	code, _, _ = p.do("try old", "")
	require.Equal(t, pinRefused, code)
	code, _, out = p.do("try new", "")
	require.Zero(t, code, out)
	code, tried, out = p.do("change", "")
	require.Zero(t, code, "again it finds itself done: %s", out)
	require.Equal(t, 4, tried)
}

// The process dies before and after each step: run again, the change finishes.
func TestAChangeOfPINsThatDiesFinishes(t *testing.T) {
	for _, at := range []string{"C_Login abort", "C_SetPIN1 abort", "C_SetPIN1.done abort", "C_SetPIN2 abort", "C_SetPIN2.done abort", "C_Finalize abort"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			p := newPINToken(t)
			code, _, out := p.do("change", at)
			require.NotZero(t, code)
			require.Contains(t, out, "SIGABRT", "it died")
			code, tried, out := p.do("change", "")
			require.Zero(t, code, out)
			require.LessOrEqual(t, tried, 4, "each PIN is tried once")
			code, _, out = p.do("try new", "")
			require.Zero(t, code, out)
			code, _, _ = p.do("try old", "")
			require.Equal(t, pinRefused, code)
		})
	}
}

// A PIN that is locked is not tried further, nor is the other one in its place.
func TestALockedPINIsNotTriedFurther(t *testing.T) {
	p := newPINToken(t)
	code, tried, _ := p.do("change", "C_Login 0xA4")
	require.Equal(t, pinRefused, code)
	require.Equal(t, 1, tried)
	code, _, out := p.do("try old", "")
	require.Zero(t, code, out)
}

// A token that does not change PINs, for whatever reason, keeps the old ones.
func TestATokenThatRefusesNewPINs(t *testing.T) {
	p := newPINToken(t)
	code, _, out := p.do("change", "C_SetPIN1 0xA1")
	require.Equal(t, 1, code)
	require.Contains(t, out, "C_SetPIN returned 0xa1")
	code, _, out = p.do("try old", "")
	require.Zero(t, code, out)
}
