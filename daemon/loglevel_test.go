package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lines is a log whose lines a test waits for.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

func (l lines) next(t *testing.T, want string) {
	t.Helper()
	select {
	case line := <-l:
		require.Contains(t, line, want)
	case <-time.After(time.Minute):
		t.Fatalf("nothing was logged; want %q", want)
	}
}

// The level follows the file at each SIGHUP, which ends no process; a file that is wrong anywhere changes nothing.
func TestTheLogsLevelChangesAtRunTime(t *testing.T) {
	shipped, err := os.ReadFile("../systemd/config/mintwarden.toml")
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "mintwarden.toml")
	write := func(more string) {
		t.Helper()
		text := strings.Replace(string(shipped), "# charter1 = \"sha256:…\"", "charter1 = \"sha256:"+strings.Repeat("0", 64)+"\" #", 1) + more
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	said := make(lines, 16)
	var level slog.LevelVar
	log := slog.New(slog.NewJSONHandler(said, &slog.HandlerOptions{Level: &level}))
	end := followLevel(t.Context(), path, &level, log)
	defer end()
	hup := func(want string) {
		t.Helper()
		require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
		said.next(t, want)
	}
	debug := func() int {
		before := len(said)
		log.Debug("x")
		return len(said) - before
	}

	write("[log]\nlevel = \"debug\"\n")
	hup(`"was":"INFO","now":"DEBUG"`)
	require.Eventually(t, func() bool { return level.Level() == slog.LevelDebug }, time.Minute, time.Millisecond)
	require.Equal(t, 1, debug())
	said.next(t, "x")

	write("[log]\nlevel = \"loud\"\n")
	hup("log.level")
	require.Equal(t, slog.LevelDebug, level.Level())
	write("[log]\nlevel = \"error\"\n[nonsense]\n")
	hup("nonsense")
	require.Equal(t, slog.LevelDebug, level.Level())

	write("[log]\nlevel = \"error\"\n")
	hup(`"was":"DEBUG","now":"ERROR"`)
	require.Eventually(t, func() bool { return level.Level() == slog.LevelError }, time.Minute, time.Millisecond)
	require.Zero(t, debug())
	write("")
	hup(`"was":"ERROR","now":"INFO"`)
}
