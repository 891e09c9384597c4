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
// believes, and the newest reading of the clocks that it found good.
type mark struct {
	Format   int           `json:"format"`
	Sequence uint64        `json:"seq"`
	Head     policy.Digest `json:"head"`
	Wall     time.Time     `json:"wall"`
	Boot     int64         `json:"boot"` // CLOCK_BOOTTIME in nanoseconds
	BootID   string        `json:"bootId"`
	// Anchor is the first good reading of this boot. A line of an earlier build
	// has none: then it is the line's own.
	Anchor      *markAnchor `json:"anchor,omitzero"`
	Unexplained int64       `json:"unexplained,omitzero"` // nanoseconds; see baseline
	// Epoch is the batch's; a line of an earlier build has none.
	Epoch uint64 `json:"epoch,omitzero"`
	// Offered is the batch 1 that this appliance signed, as long as nothing says
	// that it got in: without it, a crash there would look like a lost memory.
	Offered policy.Digest `json:"offered,omitzero"`
}

type markAnchor struct {
	Wall time.Time `json:"wall"`
	Boot int64     `json:"boot"`
}

func newMark(sequence uint64, head policy.Digest, b baseline) mark {
	m := mark{Sequence: sequence, Head: head, Wall: b.last.wall, Boot: int64(b.last.boot), BootID: b.last.id, Unexplained: int64(b.unexplained)}
	if b.last.id != "" {
		m.Anchor = &markAnchor{b.anchor.wall, int64(b.anchor.boot)}
	}
	return m
}

func (m mark) baseline() baseline {
	last := instant{m.Wall, time.Duration(m.Boot), m.BootID}
	b := baseline{last: last, anchor: last, unexplained: time.Duration(m.Unexplained)}
	if m.Anchor != nil {
		b.anchor.wall, b.anchor.boot = m.Anchor.Wall, time.Duration(m.Anchor.Boot)
	}
	return b
}

// check is nil if the mark is one that may stand behind last.
func (m mark) check(last mark) error {
	switch {
	case m.Format != journalFormat || m.Sequence > 0 && !m.Head.Valid() || m.Offered != "" && (m.Sequence > 0 || !m.Offered.Valid()):
		return fmt.Errorf("format %d, sequence %d, head %q, offered %q", m.Format, m.Sequence, m.Head, m.Offered)
	case m.Sequence < last.Sequence && m.Epoch <= last.Epoch:
		return fmt.Errorf("sequence %d of epoch %d after %d of epoch %d: only a recover goes back", m.Sequence, m.Epoch, last.Sequence, last.Epoch)
	case m.Unexplained < 0 || m.Anchor != nil && (m.Anchor.Boot < 0 || m.Anchor.Boot > m.Boot):
		return fmt.Errorf("boot clock %d, anchor %+v, unexplained %d", m.Boot, m.Anchor, m.Unexplained)
	}
	return nil
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
	journalLimit  = 1 << 20 // bytes; some 3,000 marks
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
		if err := m.check(last); err != nil {
			return mark{}, fmt.Errorf("line %d: %w", i+1, err)
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
