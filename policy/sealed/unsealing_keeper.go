package sealed

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	// collectionLife is how long shares wait for the others: custodians act
	// together, and what waits is a part of the key.
	collectionLife = time.Hour
	// nonceSize is in bytes; an unseal document takes 16 to 64.
	nonceSize = 32
)

// collection is the keeper's: the shares of a quorum that is coming together.
// Whatever ends it (enough shares, a custody that does not open, sealing, time,
// another custody.json) wipes the shares and draws another nonce, so that no
// share counts twice. Safe for concurrent use.
type collection struct {
	state     string // directory
	appliance string
	life      time.Duration
	unsealKey func() (privateKey, error)
	refused   func(pinID string) bool // the token refused that PIN before

	mu      sync.Mutex
	id      policy.Digest // of the custody.json that it is for
	custody *seal.Custody // nil: none there
	nonce   []byte
	shares  map[string]seal.Share
	taken   map[string]policy.Digest // by custodian, of the ciphertext: the same again is no other share
	timer   *time.Timer              // ends it; nil before the first share
	round   uint64                   // counts nonces, for a timer that runs already
}

// look says how far it is; nil where there is no custody.
func (c *collection) look() (*progress, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.read(); err != nil || c.custody == nil {
		return nil, err
	}
	return c.progress(), nil
}

func (c *collection) progress() *progress {
	p := &progress{Instance: c.custody.Instance, Nonce: c.nonce, Need: c.custody.Threshold,
		Shares: slices.Sorted(maps.Keys(c.shares))}
	if c.refused(c.pinID()) {
		p.Why = whyRefused
	}
	return p
}

const whyRefused = "the token refused the PIN that these custodians' shares give, and it is not tried again; " +
	"once the token takes it, remove pin-refused from the seal's state directory"

// pinID names the PIN of this custody, without saying anything of it.
func (c *collection) pinID() string { return "custody " + string(c.id) }

// read looks for custody.json, which init writes while we run.
func (c *collection) read() error {
	custody, err := seal.ReadCustody(c.state)
	if errors.Is(err, fs.ErrNotExist) {
		if c.custody == nil {
			return nil
		}
		c.custody, c.id = nil, ""
		return c.wipe()
	}
	if err != nil {
		return err
	}
	text, err := custody.Encode()
	if err != nil {
		return err
	}
	id := policy.DigestOf(text)
	if id == c.id {
		return nil
	}
	if custody.ApplianceID != c.appliance {
		return fmt.Errorf("%s is of appliance %s, this is %s", seal.CustodyFile, custody.ApplianceID, c.appliance)
	}
	c.custody, c.id = custody, id
	return c.wipe()
}

// reset forgets every share.
func (c *collection) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.wipe()
}

// wipe starts over. Without a nonce nothing is taken.
func (c *collection) wipe() error {
	for _, s := range c.shares {
		s.Destroy()
	}
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	c.shares, c.taken, c.nonce = map[string]seal.Share{}, map[string]policy.Digest{}, nil
	c.round++
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	c.nonce = nonce
	return nil
}

// take opens one custodian's share; who sent it was verified. With the last one
// that is needed it gives the PINs in locked memory. A share that does not do is
// refused with its reason and changes nothing.
func (c *collection) take(q asking) (*change, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer runtime.GC() // the unseal key, and what it decrypted with, are erased when they are collected
	if err := c.read(); err != nil {
		return nil, seal.Errorf(seal.KindStore, "custody: %v", err)
	}
	if c.custody == nil {
		return nil, seal.Errorf(seal.KindInvalid, "this seal has no custody: there is no %s in its state directory", seal.CustodyFile)
	}
	if c.refused(c.pinID()) {
		return nil, seal.Errorf(seal.KindHSM, "%s", whyRefused)
	}
	if err := c.place(q); err != nil {
		return nil, err
	}
	if len(c.shares) < c.custody.Threshold {
		if c.timer == nil {
			round := c.round
			c.timer = time.AfterFunc(c.life, func() { c.expire(round) })
		}
		return nil, nil
	}
	defer func() { _ = c.wipe() }()
	now, before, err := c.custody.OpenAll(c.shares)
	if err != nil {
		return nil, seal.Errorf(seal.KindInvalid, "%v; the shares are forgotten", err)
	}
	return &change{custody: c.custody, now: now, before: before, begun: true, unseal: true}, nil
}

// place puts a share among the others, or says what is wrong of it.
func (c *collection) place(q asking) error {
	invalid := func(format string, args ...any) error { return seal.Errorf(seal.KindInvalid, format, args...) }
	switch {
	case q.Instance != c.custody.Instance:
		return invalid("custodian %s: the share is for instance %s, this is %s", q.Custodian, q.Instance, c.custody.Instance)
	case !bytes.Equal(q.Nonce, c.nonce):
		return invalid("custodian %s: the share is stale: it is for a collection that is over (its nonce is %x, now it is %x)", q.Custodian, q.Nonce, c.nonce)
	}
	digest := policy.DigestOf(q.Share)
	if before, ok := c.taken[q.Custodian]; ok && before == digest {
		return nil // the same document again
	} else if ok {
		return seal.Errorf(seal.KindDuplicate, "custodian %s: the share was given already", q.Custodian)
	}
	key, err := c.unsealKey()
	if err != nil {
		return seal.Errorf(seal.KindStore, "unseal key: %v", err)
	}
	s, err := seal.OpenShare(key, seal.Binding{Instance: q.Instance, ApplianceID: c.appliance, Custodian: q.Custodian, Nonce: q.Nonce}, q.Share)
	if err != nil {
		return invalid("custodian %s: %v", q.Custodian, err)
	}
	if err := c.custody.CheckShare(q.Custodian, s); err != nil {
		s.Destroy()
		return invalid("%v", err)
	}
	c.shares[q.Custodian], c.taken[q.Custodian] = s, digest
	return nil
}

// expire ends a collection that did not come together.
func (c *collection) expire(round uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if round == c.round {
		_ = c.wipe()
	}
}
