package sealed

import (
	"bytes"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// mark is one line of the journal: the newest batch that this appliance
// believes, and the clocks when it came to believe it.
type mark struct {
	Format   int           `json:"format"`
	Sequence uint64        `json:"seq"`
	Head     policy.Digest `json:"head"`
	Wall     time.Time     `json:"wall"`
	Boot     int64         `json:"boot"` // CLOCK_BOOTTIME in nanoseconds
	BootID   string        `json:"bootId"`
}

func (m mark) instant() instant {
	return instant{m.Wall, time.Duration(m.Boot), m.BootID}
}

// journal is a file of marks, one a line, the last one counts. An append and
// one fdatasync make a mark durable; the good path is
//
//	write(fd, line), fdatasync(fd)
//
// and, when the file has grown past journalLimit or is opened,
//
//	write(new), fdatasync(new), rename(new, journal), fsync(directory)
//
// A line that a crash tore is the last one and has no newline; what it was to
// say was never acted upon.
type journal struct {
	path string
	f    *os.File
	size int64
	last mark
}

const (
	journalFormat = 1
	journalLimit  = 1 << 20 // bytes; some 5,000 marks
)

// openJournal reads what stands there and leaves a file with one line. No
// file is the empty journal: sequence 0.
func openJournal(dir string) (*journal, error) {
	j := &journal{path: filepath.Join(dir, "journal")}
	text, err := os.ReadFile(j.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		if j.last, err = parseJournal(text); err != nil {
			return nil, fmt.Errorf("%s: %w", j.path, err)
		}
	}
	return j, j.compact()
}

func parseJournal(text []byte) (mark, error) {
	end := bytes.LastIndexByte(text, '\n')
	if end < 0 {
		if len(text) == 0 {
			return mark{}, nil
		}
		// The first line is written by rename, so it cannot be torn.
		return mark{}, fmt.Errorf("first line has no end")
	}
	lines := bytes.Split(text[:end], []byte{'\n'})
	var last mark
	for i, line := range lines {
		var m mark
		if err := json.Unmarshal(line, &m, json.RejectUnknownMembers(true)); err != nil {
			return mark{}, fmt.Errorf("line %d: %w", i+1, err)
		}
		if m.Format != journalFormat || m.Sequence > 0 && !m.Head.Valid() || m.Sequence < last.Sequence {
			return mark{}, fmt.Errorf("line %d: format %d, sequence %d after %d, head %q", i+1, m.Format, m.Sequence, last.Sequence, m.Head)
		}
		last = m
	}
	return last, nil
}

// write makes m the newest mark. When it returns nil, m survives a crash. After
// an error nothing may be signed any more: the file's state is unknown.
func (j *journal) write(m mark) error {
	m.Format = journalFormat
	if j.size > journalLimit {
		j.last = m
		return j.compact()
	}
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	// gofail: var journalBeforeWrite struct{}
	n, err := j.f.Write(append(line, '\n'))
	j.size += int64(n)
	if err != nil {
		return err
	}
	// gofail: var journalBeforeSync struct{}
	if err := fdatasync(j.f); err != nil {
		return err
	}
	// gofail: var journalAfterSync struct{}
	j.last = m
	return nil
}

func (j *journal) compact() error {
	j.last.Format = journalFormat
	line, err := json.Marshal(j.last)
	if err != nil {
		return err
	}
	f, err := writeDurably(j.path, append(line, '\n'))
	if err != nil {
		return err
	}
	if j.f != nil {
		_ = j.f.Close() // replaced, and synced before
	}
	j.f, j.size = f, int64(len(line)+1)
	return nil
}

func (j *journal) close() error { return j.f.Close() }
