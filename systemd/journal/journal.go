// Package journal has systemd's journal know how grave a line of our log is, so
// that “journalctl -p warning” shows what was logged at warn and error.
//
// It promises that a line reaches the journal as it is, with that priority
// beside it. It promises nothing of lines that go elsewhere: they stay as they
// are, too.
package journal

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/sys/unix"
)

// Stderr is standard error, for a log of JSON lines by log/slog. Where it is a
// stream of the journal, each line is led by “<N>”, its priority as
// sd-daemon(3) has it, which the journal takes off.
func Stderr() io.Writer {
	if is, err := journal.StderrIsJournalStream(); err != nil || !is {
		return os.Stderr
	}
	return ranked{os.Stderr}
}

// Stdout is standard output, for the log of a program of whose standard error nothing is to reach the journal. It
// is the log's alone from then on: who else writes to standard output, such as a library in C, writes to standard
// error. It is called once, before anything else is opened.
func Stdout() (io.Writer, error) {
	is, err := journal.StdoutIsJournalStream()
	fd, duplicated := unix.FcntlInt(uintptr(unix.Stdout), unix.F_DUPFD_CLOEXEC, apart)
	if duplicated == nil {
		duplicated = unix.Dup3(unix.Stderr, unix.Stdout, 0)
	}
	if duplicated != nil {
		return nil, fmt.Errorf("standard output is not the log's alone: %w", duplicated)
	}
	log := os.NewFile(uintptr(fd), "log")
	if err != nil || !is {
		return log, nil
	}
	return ranked{log}, nil
}

// apart is the least descriptor that the log takes: those below may be a parent's gifts.
const apart = 16

// End says why a program ends: to the journal as a line of the log, to anybody
// else in words.
func End(program string, err error) {
	w := Stderr()
	if w == io.Writer(os.Stderr) {
		fmt.Fprintf(w, "%s: %v\n", program, err)
		return
	}
	slog.New(slog.NewJSONHandler(w, nil)).Error(program+" ends", "error", err)
}

// ranked writes each line with its priority. Safe for concurrent use where what
// is below is; slog's handlers write a line at once.
type ranked struct{ w io.Writer }

func (r ranked) Write(line []byte) (int, error) {
	led := append([]byte{'<', '0' + byte(priority(line)), '>'}, line...)
	n, err := r.w.Write(led)
	return max(0, n-3), err
}

// priority is that of the line's level. Whatever else is in a line stands behind
// its level, and its quotes are escaped.
func priority(line []byte) journal.Priority {
	_, rest, _ := bytes.Cut(line, []byte(`"`+slog.LevelKey+`":"`))
	level, _, _ := bytes.Cut(rest, []byte(`"`))
	var l slog.Level
	if l.UnmarshalText(level) != nil {
		return journal.PriInfo
	}
	switch {
	case l >= slog.LevelError:
		return journal.PriErr
	case l >= slog.LevelWarn:
		return journal.PriWarning
	case l >= slog.LevelInfo:
		return journal.PriInfo
	}
	return journal.PriDebug
}
