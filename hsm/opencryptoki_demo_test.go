package hsm_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	ockSeal      = "HSM_TEST_SEAL"       // root that mintwarden-seal is to run in
	ockSealEnter = "HSM_TEST_SEAL_ENTER" // the same, in its namespaces
	ockSealPath  = "/mintwarden-seal"    // in the root
)

// TestDemoOnOpencryptoki is the main job, start to end, as `make demo` does it, on
// a token that has ML-DSA of its own: the appliance and its users are outside, and
// its real seal, whose library finds the token by its own daemon and by shared
// memory, runs in the root. Inside it makes the token.
func TestDemoOnOpencryptoki(t *testing.T) {
	if os.Getenv(ockInside) != "" {
		ockStart(t)
		return
	}
	if !long() {
		t.Skip("opencryptoki: with MINTWARDEN_LONG=1, for it downloads 17 MB")
	}
	root, bin := ockRoot(t), t.TempDir()
	ockRun(t, root, "TestDemoOnOpencryptoki")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", "github.com/mintwarden/mintwarden/cmd/mintwardend",
		"github.com/mintwarden/mintwarden/cmd/mintwarden-seal", "github.com/mintwarden/mintwarden/cmd/mintwarden",
		"github.com/mintwarden/mintwarden/cmd/demo").CombinedOutput()
	require.NoError(t, err, "%s", out)
	ockCopy(t, filepath.Join(bin, "mintwarden-seal"), filepath.Join(root, ockSealPath))
	pin, officer, seal := filepath.Join(bin, "pin"), filepath.Join(bin, "so-pin"), filepath.Join(bin, "seal-in-root")
	require.NoError(t, os.WriteFile(pin, []byte(ockPIN), 0o600))
	require.NoError(t, os.WriteFile(officer, []byte(ockSOPIN), 0o600))
	require.NoError(t, os.WriteFile(seal, fmt.Appendf(nil, "#!/bin/sh\nexec env %s='%s' '%s' \"$@\"\n", ockSeal, root, os.Args[0]), 0o700))

	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "demo"), "--bin", bin, "--", "--scheme", "ml-dsa-65", "--seal", seal,
		"--hsm-module", ockModule, "--hsm-token", ockLabel, "--hsm-pin", pin, "--hsm-so-pin", officer,
		"--hsm-paths", "/var/lib/opencryptoki,/var/log/opencryptoki,/run/lock/opencryptoki,/run/opencryptoki,/etc/opencryptoki,/dev/shm")
	cmd.WaitDelay = time.Minute
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "hsm-wrapped")
	require.Regexp(t, `treasury, wallet 0x[0-9a-fA-F]{40} \(ml-dsa-65, hsm-native\)`, string(out))
	require.Regexp(t, `minting-desk, wallet 0x[0-9a-fA-F]{40} \(ml-dsa-65, hsm-native\)`, string(out))
	t.Logf("%s", out)
}

// ockSealOutside runs the seal in the root, in namespaces of its own, as long as
// this process lives, and returns its exit code.
func ockSealOutside(root string) int {
	runtime.LockOSThread() // its death is the signal
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), ockSeal+"=", ockSealEnter+"="+root)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = ockNamespaces()
	err := cmd.Run()
	var ended *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "seal in", root+":", err)
	return 1
}

// ockSealInside makes this process the seal, with the slot daemon beside it.
func ockSealInside(root string) error {
	if err := errors.Join(ockMount(root, os.TempDir()), os.Unsetenv(ockSeal), os.Unsetenv(ockSealEnter)); err != nil {
		return err
	}
	if err := ockSlots(); err != nil {
		return err
	}
	return syscall.Exec(ockSealPath, append([]string{ockSealPath}, os.Args[1:]...), os.Environ())
}
