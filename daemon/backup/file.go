package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

const (
	manifestName = "manifest.json"
	// chunkSize is how large a file of rows gets, in bytes; one row more may stand behind it.
	chunkSize = 1 << 20
	// maxRow is the largest key or value: etcd takes 1.5 MiB a request.
	maxRow = 2 << 20
	// maxChunk is the largest file of rows.
	maxChunk = chunkSize + 2*maxRow + 8
	// trailerSize is the last gzip member's: header 10, one stored block 5 + 32, CRC and length 8.
	trailerSize = 55
)

// trailer is a gzip member that holds a SHA-256 and nothing else, the same bytes for the same sum.
func trailer(sum []byte) []byte {
	b := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(sum)))
	b = binary.LittleEndian.AppendUint16(b, ^uint16(len(sum)))
	b = append(b, sum...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(sum))
	return binary.LittleEndian.AppendUint32(b, uint32(len(sum)))
}

// writer writes a backup's file. Parts come in their order.
type writer struct {
	f    *os.File
	sum  hash.Hash
	out  *bufio.Writer
	gz   *gzip.Writer
	tar  *tar.Writer
	now  time.Time
	sums []*sums

	kind  string // of the rows that are gathered
	rows  []byte
	count int
}

func newWriter(f *os.File, now time.Time) *writer {
	w := &writer{f: f, sum: sha256.New(), now: now, sums: newSums()}
	w.out = bufio.NewWriterSize(io.MultiWriter(f, w.sum), 1<<20)
	w.gz = gzip.NewWriter(w.out)
	w.tar = tar.NewWriter(w.gz)
	return w
}

// file adds size bytes of r as part/name.
func (w *writer) file(part, name string, size int64, r io.Reader) error {
	s := w.sums[slices.Index(partNames, part)]
	name = part + "/" + name
	if err := w.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: w.now, Format: tar.FormatPAX}); err != nil {
		return err
	}
	s.file(name, size)
	if n, err := io.CopyN(io.MultiWriter(w.tar, s.hash), r, size); err != nil {
		return fmt.Errorf("%s ends after %d of %d bytes: %w", name, n, size, err)
	}
	return nil
}

// row adds a key and its value to the rows of a part.
func (w *writer) row(part, key string, value []byte) error {
	if len(key) > maxRow || len(value) > maxRow {
		return fmt.Errorf("%s has %d bytes, at most %d", key, len(value), maxRow)
	}
	if w.kind != part {
		if err := w.flush(); err != nil {
			return err
		}
		w.kind, w.count = part, 0
	}
	for _, b := range [][]byte{[]byte(key), value} {
		w.rows = append(binary.BigEndian.AppendUint32(w.rows, uint32(len(b))), b...)
	}
	if len(w.rows) >= chunkSize {
		return w.flush()
	}
	return nil
}

// flush ends a file of rows.
func (w *writer) flush() error {
	if len(w.rows) == 0 {
		return nil
	}
	w.count++
	err := w.file(w.kind, fmt.Sprintf("%012d", w.count), int64(len(w.rows)), bytes.NewReader(w.rows))
	w.rows = w.rows[:0]
	return err
}

// end writes the manifest and the trailer, and brings all of it to the disk.
func (w *writer) end(m *Manifest) error {
	if err := w.flush(); err != nil {
		return err
	}
	for _, s := range w.sums {
		m.Parts = append(m.Parts, s.part())
	}
	text, err := m.encode()
	if err != nil {
		return err
	}
	if err := w.tar.WriteHeader(&tar.Header{Name: manifestName, Mode: 0o600, Size: int64(len(text)), ModTime: w.now, Format: tar.FormatPAX}); err != nil {
		return err
	}
	if _, err := w.tar.Write(text); err != nil {
		return err
	}
	if err := errors.Join(w.tar.Close(), w.gz.Close(), w.out.Flush()); err != nil {
		return err
	}
	if _, err := w.f.Write(trailer(w.sum.Sum(nil))); err != nil {
		return err
	}
	return w.f.Sync()
}

// visit is called for what stands in a backup. A file that is not read to its end is read for it.
type visit struct {
	file func(part, name string, size int64, r io.Reader) error
	row  func(part, key string, value []byte) error
}

// File is a backup's file, open to be read. One goroutine uses it.
type File struct {
	f    *os.File
	size int64 // without the trailer
	// Digest is of the whole file without its trailer: what this backup is called.
	Digest policy.Digest

	verified *Manifest // by Verify
}

// Open opens a backup and reads it once, to see that it is as it was written.
func Open(name string) (*File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	b := &File{f: f}
	if err := b.look(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return b, nil
}

// Close lets go of the file.
func (b *File) Close() error { return b.f.Close() }

func (b *File) look() error {
	info, err := b.f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() <= trailerSize {
		return unverified("%s is no backup", b.f.Name())
	}
	b.size = info.Size() - trailerSize
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(b.f, 0, b.size)); err != nil {
		return err
	}
	end := make([]byte, trailerSize)
	if _, err := b.f.ReadAt(end, b.size); err != nil {
		return err
	}
	if !bytes.Equal(end, trailer(sum.Sum(nil))) {
		return unverified("%s was damaged, or is not whole", b.f.Name())
	}
	b.Digest = policy.Digest(fmt.Sprintf("sha256:%x", sum.Sum(nil)))
	return nil
}

// walk reads the file once, holds every part against the manifest, which stands at the end, and calls v as it
// goes.
func (b *File) walk(v visit) (*Manifest, error) {
	gz, err := gzip.NewReader(bufio.NewReaderSize(io.NewSectionReader(b.f, 0, b.size), 1<<20))
	if err != nil {
		return nil, unverified("%s: %w", b.f.Name(), err)
	}
	t, all, at := tar.NewReader(gz), newSums(), 0
	for {
		h, err := t.Next()
		if err != nil {
			return nil, unverified("%s: %w", b.f.Name(), err)
		}
		if h.Name == manifestName {
			return b.manifest(t, h.Size, all)
		}
		part, name, _ := strings.Cut(h.Name, "/")
		i := slices.Index(partNames, part)
		if i < at || h.Typeflag != tar.TypeReg || name == "" || path.Clean("/"+name) != "/"+name {
			return nil, unverified("%q has no place in it", h.Name)
		}
		at = i
		all[i].file(h.Name, h.Size)
		r := io.TeeReader(t, all[i].hash)
		if err := v.pass(part, name, h.Size, r); err != nil {
			return nil, err
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			return nil, unverified("%s: %w", h.Name, err)
		}
	}
}

func (b *File) manifest(r io.Reader, size int64, all []*sums) (*Manifest, error) {
	if size > maxManifest {
		return nil, unverified("a manifest of %d bytes, at most %d", size, maxManifest)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, unverified("its manifest: %w", err)
	}
	m, err := parseManifest(text)
	if err != nil {
		return nil, err
	}
	for i, p := range m.Parts {
		if got := all[i].part(); got != p {
			return nil, unverified("part %s is not what the manifest says: %s of %d bytes, want %s of %d", p.Name, got.Digest, got.Bytes, p.Digest, p.Bytes)
		}
	}
	return m, nil
}

func (v visit) pass(part, name string, size int64, r io.Reader) error {
	if part == "audit" || part == "seal" {
		if v.file == nil {
			return nil
		}
		return v.file(part, name, size, r)
	}
	if v.row == nil {
		return nil
	}
	if size > maxChunk {
		return unverified("%s/%s has %d bytes, at most %d", part, name, size, maxChunk)
	}
	rows, err := io.ReadAll(r)
	if err != nil {
		return unverified("%s/%s: %w", part, name, err)
	}
	for len(rows) > 0 {
		var key, value []byte
		if key, rows, err = cut(rows); err == nil {
			value, rows, err = cut(rows)
		}
		if err != nil {
			return unverified("%s/%s: %w", part, name, err)
		}
		if err := v.row(part, string(key), value); err != nil {
			return err
		}
	}
	return nil
}

// cut is the first length and bytes of b, and what comes behind.
func cut(b []byte) (first, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, io.ErrUnexpectedEOF
	}
	n := binary.BigEndian.Uint32(b)
	if n > maxRow || int(n) > len(b)-4 {
		return nil, nil, fmt.Errorf("a row of %d bytes, %d are left", n, len(b)-4)
	}
	return b[4 : 4+n], b[4+n:], nil
}
