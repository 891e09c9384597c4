package backup

import (
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// Verify reads all of a backup: each part against the manifest, and the ledger from charter 1 on, offline. It
// changes nothing. Errors are ErrUnverified, save those of the disk.
func (b *File) Verify(charter1 policy.Digest) (*Manifest, error) {
	fold := ledger.NewFold(charter1)
	apply := func(value []byte) error {
		if _, err := fold.Apply(value); err != nil {
			return unverified("the ledger in it: %w", err)
		}
		return nil
	}
	// What the store has let go of comes first in the ledger, and last in the file, for it is read last.
	if _, err := b.walk(visit{row: func(part, key string, value []byte) error {
		if part != "ledger" {
			return nil
		}
		if sequence, ok := ledger.ParseKey(key); !ok || sequence != next(fold) {
			return unverified("%q comes where batch %d was to come", key, next(fold))
		}
		return apply(value)
	}}); err != nil {
		return nil, err
	}
	last := ""
	m, err := b.walk(visit{row: func(part, key string, value []byte) error {
		if part != "store" {
			return nil
		}
		if key <= last && !(last < store.SealRoot && key > store.SealRoot) {
			return unverified("the key %q comes after %q", key, last)
		}
		last = key
		sequence, ok := ledger.ParseKey(key)
		if !ok {
			return nil
		}
		if sequence != next(fold) {
			return unverified("batch %d comes where batch %d was to come", sequence, next(fold))
		}
		return apply(value)
	}})
	if err != nil {
		return nil, err
	}
	sequence, head := fold.Head()
	if m.Charter1 != charter1 {
		return nil, unverified("it is of charter 1 %s, not of %s", m.Charter1, charter1)
	}
	if m.Ledger != (Point{sequence, head}) {
		return nil, unverified("its ledger ends with batch %d, %s; its manifest says %d, %s", sequence, head, m.Ledger.Sequence, m.Ledger.Head)
	}
	b.verified = m
	return m, nil
}

func next(f *ledger.Fold) uint64 {
	sequence, _ := f.Head()
	return sequence + 1
}
