package auditlog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/disk"
)

// errArchive says that the archive is not what was written.
var errArchive = errors.New("auditlog: the archive is damaged or was tampered with")

const (
	archiveSuffix = ".jsonl"
	// archiveEntries is how many entries a file holds: what a reader opens at once.
	archiveEntries = 50_000
	// archiveLine bounds a line, in bytes.
	archiveLine = audit.MaxEntrySize + 1
)

// archive is entries on this appliance's disk: files named by the number of their first entry, an entry a
// line, in the form that is hashed, so that jq reads them and the chain itself says whether they are whole.
// An append is write, fsync; a line that a crash tore is the last one, has no end, and is cut off when the
// archive is opened. Safe for concurrent use; one goroutine appends.
type archive struct {
	dir string

	mu    sync.RWMutex
	files []*archiveFile
	last  audit.Entry // the newest; its number is 0 where there is none
}

type archiveFile struct {
	path    string
	first   uint64
	offsets []int64 // where each line begins, and where the last one ends
}

func (f *archiveFile) lines() uint64 { return uint64(len(f.offsets)) - 1 }

// openArchive reads every line's place, and verifies the last line alone: all reads verify the rest.
func openArchive(dir string) (*archive, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	a := &archive{dir: dir}
	for _, n := range names {
		digits, ok := strings.CutSuffix(n.Name(), archiveSuffix)
		if !ok {
			continue
		}
		first, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || archiveName(first) != n.Name() {
			return nil, fmt.Errorf("%w: %s is no name of an archive's file", errArchive, n.Name())
		}
		a.files = append(a.files, &archiveFile{path: filepath.Join(dir, n.Name()), first: first})
	}
	slices.SortFunc(a.files, func(x, y *archiveFile) int { return int(int64(x.first) - int64(y.first)) })
	next := uint64(1)
	for i, f := range a.files {
		if f.first != next {
			return nil, fmt.Errorf("%w: %s comes where entry %d was to come", errArchive, f.path, next)
		}
		if err := f.read(i == len(a.files)-1); err != nil {
			return nil, err
		}
		next += f.lines()
	}
	if next > 1 {
		e, err := a.entry(next - 1)
		if err != nil {
			return nil, err
		}
		a.last = *e
	}
	return a, nil
}

func archiveName(first uint64) string { return fmt.Sprintf("%020d%s", first, archiveSuffix) }

// read finds the lines of a file. What a crash left behind the last whole line of the last file is cut.
func (f *archiveFile) read(last bool) error {
	file, err := os.OpenFile(f.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	f.offsets = []int64{0}
	b := bufio.NewReaderSize(file, 1<<20)
	var at int64
	for {
		line, err := b.ReadSlice('\n')
		if err == nil {
			at += int64(len(line))
			f.offsets = append(f.offsets, at)
			continue
		}
		if !errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: %s: %w", errArchive, f.path, err)
		}
		if len(line) == 0 {
			return nil
		}
		if !last {
			return fmt.Errorf("%w: %s ends within a line", errArchive, f.path)
		}
		return errors.Join(file.Truncate(at), file.Sync())
	}
}

// newest is the number of the newest entry, 0 if there is none, or no archive.
func (a *archive) newest() uint64 {
	if a == nil {
		return 0
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return uint64(a.last.Seq)
}

// newestHash is that of the newest entry.
func (a *archive) newestHash() string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.last.EntryHash
}

// append writes entries that follow the newest one, each linked to the one before, and returns once they
// are on the disk.
func (a *archive) append(entries []*audit.Entry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(entries) > 0 {
		files := a.files
		if n := len(files); n == 0 || files[n-1].lines() >= archiveEntries {
			first := uint64(a.last.Seq) + 1
			files = append(files, &archiveFile{path: filepath.Join(a.dir, archiveName(first)), first: first, offsets: []int64{0}})
		}
		f := files[len(files)-1]
		part := entries[:min(len(entries), int(archiveEntries-f.lines()))]
		var text bytes.Buffer
		last, offsets := a.last, slices.Clone(f.offsets[len(f.offsets)-1:])
		for _, e := range part {
			if err := follows(&last, e); err != nil {
				return err
			}
			b, err := e.Encode()
			if err != nil {
				return err
			}
			text.Write(append(b, '\n'))
			offsets = append(offsets, offsets[0]+int64(text.Len()))
			last = *e
		}
		if err := appendTo(f.path, text.Bytes(), offsets[0]); err != nil {
			return err
		}
		// A file that could not be made is none, or whoever reads all of it would miss it.
		a.files, f.offsets, a.last, entries = files, append(f.offsets, offsets[1:]...), last, entries[len(part):]
	}
	return nil
}

// follows is nil if e is the link behind last.
func follows(last, e *audit.Entry) error {
	prev := last.EntryHash
	if last.Seq == 0 {
		prev = audit.Genesis
	}
	if h, err := e.Hash(); err != nil || e.Seq != last.Seq+1 || e.PrevHash != prev || h != e.EntryHash {
		return fmt.Errorf("%w: entry %d does not follow entry %d", errArchive, e.Seq, last.Seq)
	}
	return nil
}

// appendTo writes at a file's end, where earlier attempts that failed may have left something.
func appendTo(path string, text []byte, at int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(text, at)
	if err == nil {
		err = f.Truncate(at + int64(len(text)))
	}
	// gofail: var archiveBeforeSync struct{}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return disk.Sync(filepath.Dir(path))
}

// entry reads one, and checks its hash.
func (a *archive) entry(seq uint64) (*audit.Entry, error) {
	a.mu.RLock()
	i, found := slices.BinarySearchFunc(a.files, seq, func(f *archiveFile, seq uint64) int {
		switch {
		case seq < f.first:
			return 1
		case seq >= f.first+f.lines():
			return -1
		}
		return 0
	})
	if !found {
		a.mu.RUnlock()
		return nil, fmt.Errorf("%w: entry %d is not there", errArchive, seq)
	}
	f := a.files[i]
	from, to := f.offsets[seq-f.first], f.offsets[seq-f.first+1]
	a.mu.RUnlock()
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if to-from > archiveLine {
		return nil, fmt.Errorf("%w: entry %d has %d bytes", errArchive, seq, to-from)
	}
	b := make([]byte, to-from)
	if _, err := file.ReadAt(b, from); err != nil {
		return nil, fmt.Errorf("%w: entry %d: %w", errArchive, seq, err)
	}
	return parseLine(b, seq)
}

func parseLine(b []byte, seq uint64) (*audit.Entry, error) {
	e, err := audit.Parse(bytes.TrimSuffix(b, []byte{'\n'}))
	if err != nil {
		return nil, fmt.Errorf("%w: entry %d: %w", errArchive, seq, err)
	}
	if h, err := e.Hash(); err != nil || h != e.EntryHash || uint64(e.Seq) != seq {
		return nil, fmt.Errorf("%w: what stands as entry %d is entry %d with another hash", errArchive, seq, e.Seq)
	}
	return e, nil
}

// all is every entry, in order, each linked to the one before. An error ends it.
func (a *archive) all() iter.Seq2[*audit.Entry, error] {
	return func(yield func(*audit.Entry, error) bool) {
		a.mu.RLock()
		files, newest := slices.Clone(a.files), uint64(a.last.Seq)
		a.mu.RUnlock()
		var last audit.Entry
		for _, f := range files {
			file, err := os.Open(f.path)
			if err != nil {
				yield(nil, err)
				return
			}
			b := bufio.NewReaderSize(file, 1<<20)
			for uint64(last.Seq) < newest {
				line, err := b.ReadSlice('\n')
				if errors.Is(err, io.EOF) && len(line) == 0 {
					break
				}
				var e *audit.Entry
				if err == nil {
					e, err = parseLine(line, uint64(last.Seq)+1)
				} else {
					err = fmt.Errorf("%w: %s: %w", errArchive, f.path, err)
				}
				if err == nil {
					err = follows(&last, e)
				}
				if err != nil {
					_ = file.Close()
					yield(nil, err)
					return
				}
				if last = *e; !yield(e, nil) {
					_ = file.Close()
					return
				}
			}
			_ = file.Close()
		}
		if uint64(last.Seq) != newest {
			yield(nil, fmt.Errorf("%w: it ends with entry %d, and held %d", errArchive, last.Seq, newest))
		}
	}
}
