package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json/v2"
	"errors"
	"fmt"
	"hash"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// maxManifest is the largest manifest, in bytes: as for every document.
const maxManifest = 64 << 10

// ErrUnverified says that a file is not a backup as it was written, or that the ledger in it does not verify.
var ErrUnverified = errors.New("the backup does not verify")

func unverified(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnverified, fmt.Errorf(format, args...))
}

// partNames are a backup's parts, in the order in which they stand in it.
var partNames = []string{"audit", "store", "ledger", "seal"}

// Manifest says what is in a backup.
type Manifest struct {
	Format    int           `json:"format"`
	Instance  string        `json:"instance"`
	Appliance string        `json:"appliance"` // whose disk it is of
	Charter1  policy.Digest `json:"charter1"`
	CreatedAt time.Time     `json:"createdAt"`
	Revision  int64         `json:"revision"` // etcd's, at which the store was read
	Ledger    Point         `json:"ledger"`   // its head
	Parts     []Part        `json:"parts"`
}

// Point is a place in the ledger.
type Point struct {
	Sequence uint64        `json:"sequence"`
	Head     policy.Digest `json:"head"`
}

// Part is what stands under one name in the file.
type Part struct {
	Name    string        `json:"name"`
	Entries uint64        `json:"entries"` // files in the tar
	Bytes   uint64        `json:"bytes"`   // of their content
	Digest  policy.Digest `json:"digest"`  // over each file's name, size and content
}

// parseManifest is strict.
func parseManifest(b []byte) (*Manifest, error) {
	if len(b) > maxManifest {
		return nil, unverified("a manifest of %d bytes, at most %d", len(b), maxManifest)
	}
	var m Manifest
	if err := json.Unmarshal(b, &m, json.RejectUnknownMembers(true)); err != nil {
		return nil, unverified("its manifest: %w", err)
	}
	if m.Format != policy.Format {
		return nil, unverified("its manifest has format %d, want %d", m.Format, policy.Format)
	}
	if !m.Charter1.Valid() || !m.Ledger.Head.Valid() || m.Ledger.Sequence == 0 || m.Revision <= 0 || m.Instance == "" || m.Appliance == "" || m.CreatedAt.IsZero() {
		return nil, unverified("its manifest leaves something out")
	}
	if len(m.Parts) != len(partNames) {
		return nil, unverified("%d parts, want %d", len(m.Parts), len(partNames))
	}
	for i, p := range m.Parts {
		if p.Name != partNames[i] || !p.Digest.Valid() {
			return nil, unverified("part %d is %q with digest %q, want %q", i, p.Name, p.Digest, partNames[i])
		}
	}
	return &m, nil
}

func (m *Manifest) encode() ([]byte, error) { return json.Marshal(m, json.Deterministic(true)) }

// sums adds a part up as its files pass.
type sums struct {
	Part
	hash hash.Hash
}

func newSums() []*sums {
	var all []*sums
	for _, name := range partNames {
		all = append(all, &sums{Part{Name: name}, sha256.New()})
	}
	return all
}

func (s *sums) file(name string, size int64) {
	s.Entries++
	s.Bytes += uint64(size)
	head := binary.BigEndian.AppendUint32(nil, uint32(len(name)))
	s.hash.Write(binary.BigEndian.AppendUint64(append(head, name...), uint64(size)))
}

func (s *sums) part() Part {
	p := s.Part
	p.Digest = policy.Digest("sha256:" + hex.EncodeToString(s.hash.Sum(nil)))
	return p
}
