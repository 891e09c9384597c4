package archive

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	format = 1
	// BlockItems is how many things a block has at most: what one read of a cold one takes from the disk.
	BlockItems = 100
	// maxBlock bounds a block in the store, in bytes: it is written in one transaction.
	maxBlock = store.MaxTxBytes / 2
	// maxLines bounds a file's things, uncompressed, in bytes.
	maxLines = 64 << 20
	suffix   = ".jsonl.gz"
	genesis  = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
)

// ErrDamaged says that the archive is not what was written.
var ErrDamaged = errors.New("archive: it is damaged or was tampered with")

// block is one link of the archive, as it stands in the store and, byte for byte, in its file.
type block struct {
	Format   int       `json:"format"`
	Number   uint64    `json:"number"`   // from 1
	Previous string    `json:"previous"` // digest of the block before
	At       time.Time `json:"at"`
	Items    []heading `json:"items"`
}

// heading is what a block says of a thing.
type heading struct {
	ID       string         `json:"id"`
	Digest   string         `json:"digest"`   // of its line
	Revision int64          `json:"revision"` // of its guard, at which it was so
	Summary  jsontext.Value `json:"summary"`
	Names    []string       `json:"names,omitzero"`
}

// line is a thing in a file.
type line struct {
	ID   string `json:"id"`
	Keys []pair `json:"keys"`
}

// pair is a key and its value: as text, or as bytes where it is none.
type pair struct {
	Key   string  `json:"key"`
	Value *string `json:"value,omitzero"`
	Bytes []byte  `json:"bytes,omitzero"`
}

func (p *pair) bytes() []byte {
	if p.Value != nil {
		return []byte(*p.Value)
	}
	return p.Bytes
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// encode is the item's line, without its end.
func (i *Item) encode() ([]byte, error) {
	l := line{ID: i.ID}
	for _, kv := range i.Keys {
		if utf8.Valid(kv.Value) {
			l.Keys = append(l.Keys, pair{Key: kv.Key, Value: new(string(kv.Value))})
		} else {
			l.Keys = append(l.Keys, pair{Key: kv.Key, Bytes: kv.Value})
		}
	}
	return json.Marshal(l)
}

// fitting is the item's line, if one transaction can take it out of the store and bring it back.
func (i *Item) fitting() ([]byte, error) {
	const others = 4 // the fence, and what else stands in the transaction
	if n := len(i.Keys) + len(i.Derived) + others; n > store.MaxTxOps {
		return nil, fmt.Errorf("archive: %s has %d keys", i.ID, n-others)
	}
	l, err := i.encode()
	if err == nil && len(l) > maxBlock {
		err = fmt.Errorf("archive: %s has %d bytes", i.ID, len(l))
	}
	return l, err
}

func parseLine(b []byte) (*line, error) {
	var l line
	if err := json.Unmarshal(b, &l, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	for _, p := range l.Keys {
		if p.Key == "" || (p.Value == nil) == (p.Bytes == nil) {
			return nil, fmt.Errorf("%w: %s: key %.80q has not one value", ErrDamaged, l.ID, p.Key)
		}
	}
	return &l, nil
}

// parseBlock reads a block strictly. Errors wrap ErrDamaged.
func parseBlock(b []byte) (*block, error) {
	if len(b) > maxBlock {
		return nil, fmt.Errorf("%w: a block of %d bytes", ErrDamaged, len(b))
	}
	var k block
	if err := json.Unmarshal(b, &k, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: a block: %w", ErrDamaged, err)
	}
	if k.Format != format || k.Number == 0 || len(k.Items) == 0 || len(k.Items) > BlockItems || len(k.Previous) != len(genesis) {
		return nil, fmt.Errorf("%w: block %d of format %d with %d things", ErrDamaged, k.Number, k.Format, len(k.Items))
	}
	for _, h := range k.Items {
		if h.ID == "" || len(h.Digest) != len(genesis) || h.Revision <= 0 {
			return nil, fmt.Errorf("%w: block %d: thing %.80q", ErrDamaged, k.Number, h.ID)
		}
	}
	return &k, nil
}

func fileName(n uint64) string { return fmt.Sprintf("%020d%s", n, suffix) }

// fileNumber is the number of the block that a file is named after; ok is false for a file of another kind.
func fileNumber(name string) (n uint64, ok bool, err error) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return 0, false, nil
	}
	if n, err = strconv.ParseUint(digits, 10, 64); err != nil || fileName(n) != name {
		return 0, false, fmt.Errorf("%w: %s is no name of an archive's file", ErrDamaged, name)
	}
	return n, true, nil
}

// encodeFile is a block's file: the block, the ids of those of its things that are not in the file because they
// had changed by the time, and in a part of their own the lines of the others.
func encodeFile(raw []byte, absent []string, lines [][]byte) ([]byte, error) {
	if absent == nil {
		absent = []string{}
	}
	missing, err := json.Marshal(absent)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, part := range [][][]byte{{raw, missing}, lines} {
		z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
		if err != nil {
			return nil, err
		}
		for _, l := range part {
			if _, err := z.Write(append(l[:len(l):len(l)], '\n')); err != nil {
				return nil, err
			}
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// file is a block's file as it is read.
type file struct {
	block  *block
	digest string
	absent map[string]bool
	lines  map[string]*line // nil unless asked for
}

// readFile reads a block's file, its things only if they are asked for, which are then verified. Errors wrap
// ErrDamaged, but for those of the disk.
func readFile(path string, things bool) (*file, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b := bufio.NewReader(f)
	z, err := gzip.NewReader(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	z.Multistream(false)
	head, err := io.ReadAll(io.LimitReader(z, 2*maxBlock))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	raw, rest, ok := bytes.Cut(head, []byte{'\n'})
	if !ok {
		return nil, fmt.Errorf("%w: %s has no block", ErrDamaged, path)
	}
	out := &file{digest: digestOf(raw), absent: map[string]bool{}}
	if out.block, err = parseBlock(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var absent []string
	if err := json.Unmarshal(rest, &absent); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	for _, id := range absent {
		out.absent[id] = true
	}
	if !things {
		return out, nil
	}
	if err := z.Reset(b); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	z.Multistream(false)
	text, err := io.ReadAll(io.LimitReader(z, maxLines))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	if out.lines, err = out.verified(text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// verified holds the lines to the digests in the block.
func (f *file) verified(text []byte) (map[string]*line, error) {
	lines := map[string]*line{}
	for _, h := range f.block.Items {
		if f.absent[h.ID] {
			continue
		}
		b, rest, ok := bytes.Cut(text, []byte{'\n'})
		if !ok || digestOf(b) != h.Digest {
			return nil, fmt.Errorf("%w: %s in block %d is not what was written", ErrDamaged, h.ID, f.block.Number)
		}
		l, err := parseLine(b)
		if err != nil {
			return nil, err
		}
		lines[h.ID], text = l, rest
	}
	if len(text) > 0 {
		return nil, fmt.Errorf("%w: block %d has more than it says", ErrDamaged, f.block.Number)
	}
	return lines, nil
}
