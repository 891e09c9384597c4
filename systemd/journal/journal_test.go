package journal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEachLineHasItsPriority(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(slog.NewJSONHandler(ranked{&b}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	log.Debug("a")
	log.Info(`"level":"ERROR"`, "level", "ERROR")
	log.With("level", "DEBUG").Warn("c\n<0>d")
	log.Error("e")
	log.Log(t.Context(), slog.LevelError+4, "f")
	log.Log(t.Context(), slog.LevelInfo+1, "g")
	var got []string
	for l := range strings.Lines(b.String()) {
		require.Equal(t, `>{"time":`, l[2:11])
		got = append(got, l[:3])
	}
	require.Equal(t, []string{"<7>", "<6>", "<4>", "<3>", "<3>", "<6>"}, got)
}

// A process knows by itself whether its standard error is the journal's.
func TestOnlyTheJournalsStream(t *testing.T) {
	if os.Getenv("JOURNAL_TEST") != "" {
		slog.New(slog.NewJSONHandler(Stderr(), nil)).Warn("x")
		End("mintwardend", errors.New("no disk"))
		return
	}
	file, err := os.Create(t.TempDir() + "/stderr")
	require.NoError(t, err)
	defer file.Close()
	var at syscall.Stat_t
	require.NoError(t, syscall.Fstat(int(file.Fd()), &at))
	said := func(stream string) string {
		require.NoError(t, file.Truncate(0))
		_, err := file.Seek(0, 0)
		require.NoError(t, err)
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env, cmd.Stderr = append(os.Environ(), "JOURNAL_TEST=1", "JOURNAL_STREAM="+stream), file
		require.NoError(t, cmd.Run())
		b, err := os.ReadFile(file.Name())
		require.NoError(t, err)
		return string(b)
	}
	require.Regexp(t, `^<4>\{"time".*"level":"WARN".*\n<3>\{.*"level":"ERROR","msg":"mintwardend ends","error":"no disk"\}\n$`, said(fmt.Sprintf("%d:%d", at.Dev, at.Ino)))
	for _, stream := range []string{"", "nonsense", fmt.Sprintf("%d:%d", at.Dev, at.Ino+1)} {
		require.Regexp(t, `^\{"time".*"level":"WARN".*\nmintwardend: no disk\n$`, said(stream))
	}
}

// Nothing that a library writes to either stream gets into a log on standard output.
func TestStandardOutputIsTheLogsAlone(t *testing.T) {
	if os.Getenv("JOURNAL_TEST") != "" {
		log, err := Stdout()
		require.NoError(t, err)
		fmt.Print("o")
		fmt.Fprint(os.Stderr, "e")
		slog.New(slog.NewJSONHandler(log, nil)).Warn("x")
		os.Exit(0)
	}
	file, err := os.Create(t.TempDir() + "/stdout")
	require.NoError(t, err)
	defer file.Close()
	var at syscall.Stat_t
	require.NoError(t, syscall.Fstat(int(file.Fd()), &at))
	for stream, want := range map[string]string{fmt.Sprintf("%d:%d", at.Dev, at.Ino): "<4>{", "": "{"} {
		require.NoError(t, file.Truncate(0))
		_, err := file.Seek(0, 0)
		require.NoError(t, err)
		var rest bytes.Buffer
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), "JOURNAL_TEST=1", "JOURNAL_STREAM="+stream), file, &rest
		require.NoError(t, cmd.Run())
		b, err := os.ReadFile(file.Name())
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(b), want), "%s", b)
		require.Equal(t, 1, bytes.Count(b, []byte("\n")), "%s", b)
		require.Equal(t, "oe", rest.String())
	}
}
