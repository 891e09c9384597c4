package ledger

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// An archive is where batches go that a trim lets go of: a directory of files, each of batches that
// follow one another. A file's name is the sequence of its first batch in 20 digits and ".batches";
// it begins with archiveMagic; then comes, for each batch, its length in 4 bytes, big-endian, its
// SHA-256, and its bytes. Files only grow. A batch counts once its SHA-256 is right.
//
// A disk may keep any part of what was being written when the power went, and zeros for the rest. So
// batches that are appended together begin with the byte pending, which is on the disk before them
// and goes once they are there: what stands behind it never counted. What a crash left at the end of
// the last file is cut off when the archive is opened, for the store has it still: nothing is deleted
// there before Append returned. It is the end if nothing that is whole comes behind; damage in front
// of a whole batch is no crash's, and an error.
//
// The archive keeps bytes; whether they are a ledger says the fold, which reads them from batch 1.

// archiveMagic begins every file.
const archiveMagic = "mintwarden/archive/v1\n"

// archiveFile is how large a file may grow before the next one is begun, in bytes.
const archiveFile = 256 << 20

const archiveSuffix = ".batches"

// pending stands for the first byte of a length, which is 0 in every length up to MaxBatch.
const pending = 0xff

// entryHead is the length and the SHA-256 in front of a batch.
const entryHead = 4 + sha256.Size

// ArchiveError names where an archive is not what was written.
type ArchiveError struct {
	File     string
	Sequence uint64 // of the batch; 0 if it is the file itself
	Err      error
}

func (e *ArchiveError) Error() string {
	return fmt.Sprintf("archive %s at batch %d: %v", e.File, e.Sequence, e.Err)
}

func (e *ArchiveError) Unwrap() error { return e.Err }

// Archive appends to and reads one archive. One goroutine appends at a time; the caller keeps other
// processes from appending. Others may read beside that ([ReadArchive]).
type Archive struct {
	dir  string
	read bool     // only
	last uint64   // the newest batch; 0 if there is none
	file *os.File // that grows; nil until something is appended
	size int64
}

// OpenArchive opens the archive in a directory, which is made if it is not there (0700). It reads the
// last file whole and cuts off what was not written to its end.
func OpenArchive(dir string) (*Archive, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	a := &Archive{dir: dir}
	name, err := a.look()
	if err != nil || name == "" {
		return a, err
	}
	if a.file, err = os.OpenFile(name, os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	if err := errors.Join(a.file.Truncate(a.size), a.file.Sync()); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// ReadArchive opens an archive to be read: what is there now. It changes nothing, so that it may be
// one that somebody appends to, or one on a medium that cannot be written.
func ReadArchive(dir string) (*Archive, error) {
	a := &Archive{dir: dir, read: true}
	_, err := a.look()
	return a, err
}

// look reads the last file whole, to find the last batch and where the next one would stand.
func (a *Archive) look() (name string, err error) {
	firsts, err := a.files()
	if err != nil || len(firsts) == 0 {
		return "", err
	}
	first := firsts[len(firsts)-1]
	name = a.name(first)
	a.last = first - 1
	for value, err := range readArchive(name, first) {
		var broken *brokenError
		if errors.As(err, &broken) {
			whole, lost := false, error(nil)
			if !broken.end {
				whole, lost = wholeBehind(name, broken.at)
			}
			if lost != nil {
				return "", lost
			}
			if !whole {
				break
			}
		}
		if err != nil {
			return "", err
		}
		a.last++
		a.size += entryHead + int64(len(value))
	}
	if a.size > 0 {
		a.size += int64(len(archiveMagic))
	}
	return name, nil
}

// Close lets go of the file. What was appended is on the disk already.
func (a *Archive) Close() error {
	if a.file == nil {
		return nil
	}
	err := a.file.Close()
	a.file = nil
	return err
}

// Last is the sequence of the newest batch, 0 if there is none.
func (a *Archive) Last() uint64 { return a.last }

// Append writes batches that follow the last one, the first of which has the given sequence, and
// returns once they are on the disk. After an error the archive is to be opened again.
func (a *Archive) Append(first uint64, values ...[]byte) error {
	if a.read {
		return &ArchiveError{a.dir, first, errors.New("opened to be read only")}
	}
	if first != a.last+1 {
		return &ArchiveError{a.dir, first, fmt.Errorf("the next one is %d", a.last+1)}
	}
	if len(values) == 0 {
		return nil
	}
	for _, value := range values {
		if len(value) == 0 || len(value) > MaxBatch {
			return &ArchiveError{a.dir, first, fmt.Errorf("a batch of %d bytes, want 1 to %d", len(value), MaxBatch)}
		}
	}
	if err := a.grow(); err != nil {
		return err
	}
	b := entries(values)
	if err := a.pend(b); err != nil {
		return err
	}
	if err := a.write(b[:1], 0); err != nil {
		return err
	}
	a.size += int64(len(b))
	a.last += uint64(len(values))
	return nil
}

// entries is batches as a file holds them.
func entries(values [][]byte) (b []byte) {
	for _, value := range values {
		sum := sha256.Sum256(value)
		b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
		b = append(append(b, sum[:]...), value...)
	}
	return b
}

// pend puts entries on the disk that do not count yet.
func (a *Archive) pend(b []byte) error {
	if err := a.write([]byte{pending}, 0); err != nil {
		return err
	}
	return a.write(b[1:], 1)
}

// write returns once the bytes are on the disk, that far behind the last batch.
func (a *Archive) write(b []byte, behind int64) error {
	if _, err := a.file.WriteAt(b, a.size+behind); err != nil {
		return err
	}
	return a.file.Sync()
}

// grow makes sure that there is a file to append to.
func (a *Archive) grow() error {
	if a.file != nil && a.size > 0 && a.size < archiveFile {
		return nil
	}
	if err := a.Close(); err != nil {
		return err
	}
	f, err := os.OpenFile(a.name(a.last+1), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte(archiveMagic), 0); err != nil {
		return errors.Join(err, f.Close())
	}
	a.file, a.size = f, int64(len(archiveMagic))
	// The file's name must be there as surely as what it holds.
	dir, err := os.Open(a.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (a *Archive) name(first uint64) string {
	return filepath.Join(a.dir, fmt.Sprintf("%020d%s", first, archiveSuffix))
}

// files is the first sequences of the archive's files, ascending.
func (a *Archive) files() ([]uint64, error) {
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		return nil, err
	}
	var firsts []uint64
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), archiveSuffix)
		if !ok {
			continue
		}
		first, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || first == 0 || a.name(first) != filepath.Join(a.dir, e.Name()) {
			return nil, &ArchiveError{File: e.Name(), Err: errors.New("no archive's name")}
		}
		firsts = append(firsts, first)
	}
	slices.Sort(firsts)
	return firsts, nil
}

// Batches is every batch from the first to Last, each as long as its SHA-256 is right and none is
// missing. An error comes with a nil value and ends it.
func (a *Archive) Batches() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		firsts, err := a.files()
		if err != nil {
			yield(nil, err)
			return
		}
		next := FirstSequence
		for _, first := range firsts {
			if next > a.last {
				return
			}
			if first != next {
				yield(nil, &ArchiveError{a.name(first), next, errors.New("missing")})
				return
			}
			for value, err := range readArchive(a.name(first), first) {
				if !yield(value, err) || err != nil {
					return
				}
				if next++; next > a.last {
					return // what is behind was appended since, or never written to its end
				}
			}
		}
		if next != a.last+1 {
			yield(nil, &ArchiveError{a.dir, next, fmt.Errorf("missing; the last one is %d", a.last)})
		}
	}
}

// brokenError says that no whole entry begins at that place of a file.
type brokenError struct {
	error
	at  int64
	end bool // whatever comes behind does not count: the file ends, or was being written
}

func (e *brokenError) Unwrap() error { return e.error }

var errPending = errors.New("it was not written to its end")

// readArchive reads one file.
func readArchive(name string, first uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		sequence, at := uint64(0), int64(0)
		bad := func(err error) { yield(nil, &ArchiveError{name, sequence, err}) }
		damaged := func(format string, args ...any) {
			bad(&brokenError{error: fmt.Errorf(format, args...), at: at})
		}
		// unread marks an end of the file where more was to come.
		unread := func(err error) {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = &brokenError{error: io.ErrUnexpectedEOF, at: at, end: true}
			}
			bad(err)
		}
		f, err := os.Open(name)
		if err != nil {
			bad(err)
			return
		}
		defer func() { _ = f.Close() }()
		b := bufio.NewReaderSize(f, 1<<20)
		magic := make([]byte, len(archiveMagic))
		if _, err := io.ReadFull(b, magic); err != nil {
			unread(err)
			return
		}
		if string(magic) != archiveMagic {
			damaged("it begins with %q", magic)
			return
		}
		at = int64(len(archiveMagic))
		for sequence = first; ; sequence++ {
			var head [entryHead]byte
			if _, err := io.ReadFull(b, head[:]); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				unread(err)
				return
			}
			if head[0] == pending {
				bad(&brokenError{error: errPending, at: at, end: true})
				return
			}
			size := binary.BigEndian.Uint32(head[:4])
			if size == 0 || size > MaxBatch {
				damaged("a batch of %d bytes, want 1 to %d", size, MaxBatch)
				return
			}
			value := make([]byte, size)
			if _, err := io.ReadFull(b, value); err != nil {
				unread(err)
				return
			}
			if sha256.Sum256(value) != [sha256.Size]byte(head[4:]) {
				damaged("its SHA-256 is another")
				return
			}
			if !yield(value, nil) {
				return
			}
			at += entryHead + int64(size)
		}
	}
}

// wholeBehind is true if a batch with its SHA-256 begins anywhere behind that place of a file.
func wholeBehind(name string, at int64) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	b := bufio.NewReaderSize(io.NewSectionReader(f, at, math.MaxInt64-at), 1<<20)
	for ; ; at++ {
		head, err := b.Peek(entryHead)
		if errors.Is(err, io.EOF) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		if size := binary.BigEndian.Uint32(head); size > 0 && size <= MaxBatch {
			value := make([]byte, size)
			_, err := f.ReadAt(value, at+entryHead)
			if err == nil && sha256.Sum256(value) == [sha256.Size]byte(head[4:]) {
				return true, nil
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return false, err
			}
		}
		_, _ = b.Discard(1) // it was peeked at
	}
}
