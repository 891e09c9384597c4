package seal

import (
	"crypto/cipher"
	"fmt"
	"maps"
	"runtime"
	"runtime/secret"
	"slices"

	"github.com/awnumar/memguard"
	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"
)

// ShareError names a custodian whose share does not do, and why.
type ShareError struct {
	Custodian string
	Why       string
}

func (e *ShareError) Error() string { return fmt.Sprintf("custodian %s: %s", e.Custodian, e.Why) }

// Unwrap is ErrShare.
func (e *ShareError) Unwrap() error { return ErrShare }

// CheckShare is nil if s is the custodian's own share of this custody; else a *ShareError says whose
// it is, or that it is nobody's here.
func (c *Custody) CheckShare(custodian string, s Share) error {
	m, ok := c.Member(custodian)
	if !ok {
		return &ShareError{custodian, "holds no share of this custody"}
	}
	if s.IsZero() {
		return &ShareError{custodian, "the share is empty"}
	}
	digest := s.Digest()
	if digest == m.ShareDigest {
		return nil
	}
	for _, other := range c.Members {
		if digest == other.ShareDigest {
			return &ShareError{custodian, "the share is " + other.Name + "'s"}
		}
	}
	return &ShareError{custodian, "the share is foreign: it was altered, or belongs to another appliance or an earlier ceremony"}
}

// Open gives both PINs in locked memory, which the caller destroys. shares are by custodian's name, at
// least Threshold of them; they stay the caller's. A share that is not its custodian's own is named
// by a *ShareError. Errors wrap ErrShare or ErrCustody.
func (c *Custody) Open(shares map[string]Share) (userPIN, soPIN *memguard.LockedBuffer, err error) {
	now, before, err := c.OpenAll(shares)
	if err != nil {
		return nil, nil, err
	}
	before.Destroy()
	return now.User, now.SO, nil
}

// OpenAll is Open, and the PINs that the token may have still, where a renewal is not
// finished; nil otherwise.
func (c *Custody) OpenAll(shares map[string]Share) (now, before *PINs, err error) {
	if err := c.check(); err != nil {
		return nil, nil, err
	}
	// Recover gives nonsense for a wrong share and panics on a repeated one: what it is given was
	// told apart before, by digests that are all different or of different members.
	var chosen []Share
	numbers := map[byte]string{}
	for _, name := range slices.Sorted(maps.Keys(shares)) {
		if err := c.CheckShare(name, shares[name]); err != nil {
			return nil, nil, err
		}
		number := shares[name].b.Bytes()[0]
		if other, ok := numbers[number]; ok {
			return nil, nil, &ShareError{name, "the share has the number of " + other + "'s"}
		}
		numbers[number] = name
		chosen = append(chosen, shares[name])
	}
	if len(chosen) < c.Threshold {
		return nil, nil, fmt.Errorf("%w: %d shares, want %d", ErrShare, len(chosen), c.Threshold)
	}
	key := memguard.NewBuffer(keySize)
	defer key.Destroy()
	secret.Do(func() { err = c.combine(chosen, key.Bytes()) })
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrCustody, err)
	}
	defer runtime.GC() // what they leave on the heap is erased when it is collected
	if now, err = c.decrypt(key.Bytes(), c.Sealed, nowPINs); err != nil || len(c.Before) == 0 {
		return now, nil, err
	}
	if before, err = c.decrypt(key.Bytes(), c.Before, beforePINs); err != nil {
		now.Destroy()
		return nil, nil, err
	}
	return now, before, nil
}

// combine makes the key again.
func (c *Custody) combine(chosen []Share, key []byte) error {
	var parts []secretsharing.Share
	for _, s := range chosen[:c.Threshold] {
		part := secretsharing.Share{ID: group.Ristretto255.NewScalar(), Value: group.Ristretto255.NewScalar()}
		part.ID.SetUint64(uint64(s.b.Bytes()[0]))
		if err := part.Value.UnmarshalBinary(s.b.Bytes()[1:]); err != nil {
			return err
		}
		parts = append(parts, part)
	}
	whole, err := secretsharing.Recover(uint(c.Threshold-1), parts)
	if err != nil {
		return err
	}
	return c.keyOf(whole, key)
}

func (c *Custody) decrypt(key, sealed []byte, which whichPINs) (_ *PINs, err error) {
	plain := memguard.NewBuffer(2 * pinPlace)
	defer plain.Destroy()
	secret.Do(func() { // for the key's schedule
		var aead cipher.AEAD
		var bound []byte
		if aead, bound, err = c.cipher(key, which); err != nil {
			return
		}
		n := aead.NonceSize()
		_, err = aead.Open(plain.Bytes()[:0], sealed[:n], sealed[n:], bound)
	})
	if err != nil {
		return nil, fmt.Errorf("%w: the file was altered: the PINs do not decrypt with shares that are right", ErrCustody)
	}
	var pins [2]*memguard.LockedBuffer
	for i := range pins {
		place := plain.Bytes()[i*pinPlace:][:pinPlace]
		pins[i] = memguard.NewBuffer(int(place[0]))
		pins[i].Copy(place[1:])
	}
	return &PINs{pins[0], pins[1]}, nil
}
