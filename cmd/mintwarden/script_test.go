package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// tidy takes away what the tests share when they are over.
type tidy struct{ *testing.M }

func (m tidy) Run() int {
	code := m.M.Run()
	if sealDir != "" {
		_ = os.RemoveAll(sealDir) // in the system's temporary directory at worst
	}
	return code
}

func TestMain(m *testing.M) {
	testscript.Main(tidy{m}, map[string]func(){
		"mintwarden": func() { os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the sessions in testdata. Beside testscript's own commands
// they have:
//
//	exits CODE COMMAND ARG…   the command ends with exactly that code
//	appliance                 serves a ledger and the mint $OP (digest $DIGEST), which ann (key $WORK/ann.key)
//	                          may approve
//	nobody                    the environment names an address where nobody listens
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_STATE_HOME", e.WorkDir+"/state")
			// Under the race detector every program waits a second before it ends, for
			// races in what goes on beside its end.
			e.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": func(ts *testscript.TestScript, neg bool, args []string) {
				want, err := strconv.Atoi(args[0])
				if err != nil || neg {
					ts.Fatalf("usage: exits CODE COMMAND ARG…")
				}
				got := 0
				var ended *exec.ExitError
				if err := ts.Exec(args[1], args[2:]...); errors.As(err, &ended) {
					got = ended.ExitCode()
				} else if err != nil {
					ts.Fatalf("%v", err)
				}
				if got != want {
					ts.Fatalf("exit code %d, want %d", got, want)
				}
			},
			"appliance": func(ts *testscript.TestScript, _ bool, _ []string) { begin(t, ts, "") },
			"nobody":    func(ts *testscript.TestScript, _ bool, _ []string) { begin(t, ts, closedPort(t)) },
		},
	})
}

// begin starts an appliance for a script, and points the script at it or else
// at another address.
func begin(t *testing.T, ts *testscript.TestScript, address string) {
	w := newWorld(t)
	a := newAppliance(t, w)
	for name, value := range a.start() {
		ts.Setenv(name, value)
	}
	if address != "" {
		ts.Setenv("MINTWARDEN_URL", "https://"+address)
	}
	i := w.mint(1)
	op := a.offer(i)
	ts.Setenv("OP", i.OperationID)
	ts.Setenv("DIGEST", op.IntentDigest)
	ts.Setenv("CHARTER1", string(w.root))
	for _, name := range []string{"ann", "custodian-1"} {
		key, err := os.ReadFile(keyFileOf(t, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(fmt.Sprintf("%s/%s.key", ts.Getenv("WORK"), name), key, 0o600))
	}
}
