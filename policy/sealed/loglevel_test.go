package sealed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// tuned reads the log until keeper and worker have both said that they log otherwise, whoever is first.
func (p *process) tuned(was, now string) {
	p.t.Helper()
	said := map[string]bool{}
	for len(said) < 2 {
		l := p.await("the level of the log is set")
		require.Equal(p.t, was+" "+now, l.Was+" "+l.Now, l.Process)
		said[l.Process] = true
	}
	require.True(p.t, said["keeper"] && said["worker"], "%v", said)
}

// The level of both processes follows seal.toml at each SIGHUP to the keeper, which ends neither of them, opens or
// closes nothing, and a later worker has it too. A file that is wrong anywhere changes nothing.
func TestTheLogsLevelChangesAtRunTime(t *testing.T) {
	p := newProcess(t)
	write := func(more string) {
		t.Helper()
		p.configure("")
		path := filepath.Join(p.dir, "seal.toml")
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		next := []byte(strings.Replace(string(text), "[hsm]", more+"\n[hsm]", 1))
		require.NoError(t, os.WriteFile(path+".next", next, 0o600))
		require.NoError(t, os.Rename(path+".next", path)) // as editors do
	}
	level := func(name string) string { return fmt.Sprintf("[log]\nlevel = %q\n", name) }
	c := p.start()
	before, err := c.Status(t.Context())
	require.NoError(t, err)
	worker := p.worker
	hup := func() {
		t.Helper()
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	}

	write(level("debug"))
	hup()
	p.tuned("INFO", "DEBUG")
	for name, wrong := range map[string]string{"a level that there is not": level("loud"), "a wrong file": level("error") + "[nonsense]\n"} {
		write(wrong)
		hup()
		l := p.await("the level of the log stays as it was")
		require.Equal(t, "keeper", l.Process, name)
		require.NotEmpty(t, l.Error, name)
	}
	write(level("error"))
	require.NoError(t, syscall.Kill(worker, syscall.SIGHUP), "to the worker it says nothing")
	hup()
	p.tuned("DEBUG", "ERROR")
	after, err := c.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, before.Sealed, after.Sealed)
	require.True(t, runs(worker))

	// The file says something else by now, which nobody asked for: the next worker logs as its keeper does.
	write(level("info"))
	require.NoError(t, syscall.Kill(worker, syscall.SIGKILL))
	require.Equal(t, "keeper", p.await("worker ended; starting another").Process)
	require.Eventually(t, func() bool { _, err := c.Status(t.Context()); return err == nil }, patience, patience/1000)
	hup()
	p.tuned("ERROR", "INFO")
}

// A worker that was stopped reads nothing of what it is told; that neither ends the keeper nor holds it up.
func TestAStoppedWorkerDoesNotHoldTheLevelUp(t *testing.T) {
	p := newProcess(t)
	c := p.start()
	require.NoError(t, syscall.Kill(p.worker, syscall.SIGSTOP))
	for range 100 {
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
		require.Equal(t, "keeper", p.await("the level of the log is set").Process)
	}
	require.NoError(t, syscall.Kill(p.worker, syscall.SIGKILL))
	p.await("worker ended; starting another")
	p.back(c)
}
