package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/secret"
	"time"

	"github.com/awnumar/memguard"
	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"

	"github.com/mintwarden/mintwarden/policy"
)

const (
	// custodyFormat is the one format of custody.json.
	custodyFormat = 1
	// maxCustody bounds custody.json in bytes: 16 custodians with 8 keys of 2 KiB each in base64.
	maxCustody = 512 << 10
	// maxPIN bounds a PIN in bytes; SoftHSM2's own limit, larger than any token's.
	maxPIN = 255
	// pinPlace is what a PIN takes in the plaintext, its length first, so that the ciphertext does
	// not tell how long it is.
	pinPlace = 1 + maxPIN
	// custodyInfo is the domain of the key that the PINs are encrypted under.
	custodyInfo = "mintwarden/custody/v1"
	// keySize is AES-256's, in bytes.
	keySize = 32
)

// ErrCustody says that a custody file, or what is to become one, does not hold.
var ErrCustody = errors.New("custody refused")

// Custody is state/custody.json: the token's PINs, encrypted under a 256-bit key that nobody holds,
// for it follows from a secret that is split among the custodians. Everything but Sealed is public.
type Custody struct {
	Format      int             `json:"format"`
	Instance    string          `json:"instance"`
	ApplianceID string          `json:"applianceId"`
	Threshold   int             `json:"threshold"` // shares that make the key
	Members     []CustodyMember `json:"members"`   // in the order of their shares
	Sealed      []byte          `json:"sealed"`    // AES-256-GCM: nonce, then both PINs, with all but itself and Before as associated data
	// Before is there while a renewal is not finished: the PINs that the token had,
	// encrypted in the same way. Which ones it takes is not known then.
	Before    []byte    `json:"before,omitzero"`
	CreatedAt time.Time `json:"createdAt"` // whole seconds
}

// PINs are a token's, in locked memory until Destroy.
type PINs struct{ User, SO *memguard.LockedBuffer }

// Destroy wipes them. That there are none is nothing to do.
func (p *PINs) Destroy() {
	if p == nil {
		return
	}
	for _, pin := range []*memguard.LockedBuffer{p.User, p.SO} {
		if pin != nil {
			pin.Destroy()
		}
	}
}

// CustodyMember is a custodian and what tells his share from any other.
type CustodyMember struct {
	Name        string             `json:"name"`
	Keys        []policy.PublicKey `json:"keys"`        // whose signature counts before there is a charter
	ShareDigest policy.Digest      `json:"shareDigest"` // of the share's text
}

// NewCustody draws a secret, encrypts both PINs under the key that follows from it, splits it so that
// c.Threshold custodians together make it again and fewer learn nothing, and forgets it. The shares
// are by custodian's name; whoever called destroys them, and wipes the PINs, which are 1 to 255
// bytes. Errors wrap ErrCustody and hold nothing secret.
func NewCustody(instance, appliance string, c policy.Custodians, userPIN, soPIN []byte, now time.Time) (*Custody, map[string]Share, error) {
	return newCustody(instance, appliance, c, [][]byte{userPIN, soPIN}, now)
}

// RenewCustody is NewCustody for a token that has other PINs still: the custody holds
// those, too, until Finished.
func RenewCustody(instance, appliance string, c policy.Custodians, pins, before *PINs, now time.Time) (*Custody, map[string]Share, error) {
	return newCustody(instance, appliance, c, [][]byte{pins.User.Bytes(), pins.SO.Bytes(), before.User.Bytes(), before.SO.Bytes()}, now)
}

// Finished is the custody once its token has its PINs.
func (c *Custody) Finished() *Custody {
	out := *c
	out.Before = nil
	return &out
}

// newCustody takes the PINs, the user's first, and those before them, if there were others.
func newCustody(instance, appliance string, c policy.Custodians, pins [][]byte, now time.Time) (*Custody, map[string]Share, error) {
	custody := &Custody{Format: custodyFormat, Instance: instance, ApplianceID: appliance, Threshold: int(c.Threshold),
		CreatedAt: policy.Seconds(now)}
	for _, m := range c.Members {
		custody.Members = append(custody.Members, CustodyMember{Name: m.Name, Keys: m.Keys, ShareDigest: policy.NoDigest})
	}
	custody.Sealed = make([]byte, sealedSize)
	if err := custody.check(); err != nil {
		return nil, nil, err
	}
	for _, pin := range pins {
		if len(pin) == 0 || len(pin) > maxPIN {
			return nil, nil, fmt.Errorf("%w: a PIN of %d bytes, want 1 to %d", ErrCustody, len(pin), maxPIN)
		}
	}
	key := memguard.NewBuffer(keySize)
	defer key.Destroy()
	places := make([]*memguard.LockedBuffer, len(custody.Members))
	for i := range places {
		places[i] = memguard.NewBuffer(shareSize)
	}
	var failed error
	secret.Do(func() { failed = custody.draw(key.Bytes(), places) }) // what it leaves on the heap is erased when it is collected
	shares := map[string]Share{}
	for i := range custody.Members {
		s := Share{places[i]}
		custody.Members[i].ShareDigest = s.Digest()
		shares[custody.Members[i].Name] = s
	}
	if failed == nil {
		custody.Sealed, failed = custody.encrypt(key.Bytes(), pins[0], pins[1], nowPINs)
	}
	if failed == nil && len(pins) > 2 {
		custody.Before, failed = custody.encrypt(key.Bytes(), pins[2], pins[3], beforePINs)
	}
	if failed == nil {
		failed = custody.check()
	}
	if failed != nil {
		for _, s := range shares {
			s.Destroy()
		}
		return nil, nil, fmt.Errorf("%w: %w", ErrCustody, failed)
	}
	return custody, shares, nil
}

// draw fills key and every place of a share. circl's New takes the number of shares that do not
// suffice.
func (c *Custody) draw(key []byte, places []*memguard.LockedBuffer) error {
	whole := group.Ristretto255.RandomNonZeroScalar(rand.Reader)
	if err := c.keyOf(whole, key); err != nil {
		return err
	}
	for i, s := range secretsharing.New(rand.Reader, uint(c.Threshold-1), whole).Share(uint(len(places))) {
		value, err := s.Value.MarshalBinary()
		if err != nil {
			return err
		}
		places[i].Bytes()[0] = byte(i + 1)
		copy(places[i].Bytes()[1:], value)
	}
	return nil
}

// keyOf derives the key from the secret that is split: a scalar of Ristretto255 has 252 bits, and
// not every 32 bytes are one.
func (c *Custody) keyOf(whole group.Scalar, key []byte) error {
	raw, err := whole.MarshalBinary()
	if err != nil {
		return err
	}
	derived, err := hkdf.Key(sha256.New, raw, nil, custodyInfo, keySize)
	if err != nil {
		return err
	}
	copy(key, derived)
	return nil
}

// whichPINs tells the two ciphertexts of a custody apart: they are under one key.
type whichPINs string

const (
	nowPINs    whichPINs = ""
	beforePINs whichPINs = "mintwarden/custody/before/v1"
)

// associated is what a ciphertext is bound to: all that the file says beside the two,
// and which of them it is.
func (c *Custody) associated(which whichPINs) ([]byte, error) {
	open := *c
	open.Sealed, open.Before = nil, nil
	text, err := json.Marshal(&open, json.Deterministic(true))
	return append(text, which...), err
}

// sealedSize is the ciphertext's, in bytes.
const sealedSize = 12 + 2*pinPlace + 16

func (c *Custody) encrypt(key, userPIN, soPIN []byte, which whichPINs) ([]byte, error) {
	plain := memguard.NewBuffer(2 * pinPlace)
	defer plain.Destroy()
	for i, pin := range [][]byte{userPIN, soPIN} {
		place := plain.Bytes()[i*pinPlace:]
		place[0] = byte(len(pin))
		copy(place[1:], pin)
	}
	out := make([]byte, 12, sealedSize) // the nonce first
	var err error
	secret.Do(func() { // for the key's schedule
		var aead cipher.AEAD
		var bound []byte
		if aead, bound, err = c.cipher(key, which); err != nil {
			return
		}
		if _, err = rand.Read(out); err == nil {
			out = aead.Seal(out, out, plain.Bytes(), bound)
		}
	})
	runtime.GC()
	return out, err
}

func (c *Custody) cipher(key []byte, which whichPINs) (cipher.AEAD, []byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, nil, err
	}
	bound, err := c.associated(which)
	return aead, bound, err
}

// Encode gives the file's text. Errors wrap ErrCustody.
func (c *Custody) Encode() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(c, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCustody, err)
	}
	return append(text, '\n'), nil
}

// ParseCustody takes exactly what Encode gives. Errors wrap ErrCustody.
func ParseCustody(text []byte) (*Custody, error) {
	if len(text) > maxCustody {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrCustody, len(text), maxCustody)
	}
	var c Custody
	if err := json.Unmarshal(text, &c, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCustody, err)
	}
	again, err := c.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(text, again) {
		return nil, fmt.Errorf("%w: not as it was written: a member is missing, or spelled in another way", ErrCustody)
	}
	return &c, nil
}

func (c *Custody) check() error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", ErrCustody, fmt.Errorf(format, args...))
	}
	if c.Format != custodyFormat {
		return refuse("format %d, want %d", c.Format, custodyFormat)
	}
	for _, name := range []string{c.Instance, c.ApplianceID} {
		if err := policy.CheckName(name); err != nil {
			return refuse("instance or appliance: %w", err)
		}
	}
	if len(c.Members) == 0 || len(c.Members) > policy.MaxSignatures {
		return refuse("%d custodians, want 1 to %d", len(c.Members), policy.MaxSignatures)
	}
	if c.Threshold < 1 || c.Threshold > len(c.Members) {
		return refuse("threshold %d of %d", c.Threshold, len(c.Members))
	}
	if len(c.Sealed) != sealedSize {
		return refuse("sealed holds %d bytes, want %d", len(c.Sealed), sealedSize)
	}
	if len(c.Before) != 0 && len(c.Before) != sealedSize {
		return refuse("before holds %d bytes, want %d", len(c.Before), sealedSize)
	}
	if c.CreatedAt.IsZero() || c.CreatedAt != policy.Seconds(c.CreatedAt) {
		return refuse("createdAt is no whole second in UTC")
	}
	return c.checkMembers(refuse)
}

func (c *Custody) checkMembers(refuse func(string, ...any) error) error {
	names, keys := map[string]bool{}, map[policy.PublicKey]bool{}
	for _, m := range c.Members {
		if err := policy.CheckName(m.Name); err != nil {
			return refuse("custodian: %w", err)
		}
		if names[m.Name] {
			return refuse("custodian %s twice", m.Name)
		}
		if !m.ShareDigest.Valid() {
			return refuse("custodian %s: no digest of a share", m.Name)
		}
		if len(m.Keys) == 0 || len(m.Keys) > maxMemberKeys {
			return refuse("custodian %s: %d keys, want 1 to %d", m.Name, len(m.Keys), maxMemberKeys)
		}
		names[m.Name] = true
		for _, k := range m.Keys {
			if k.IsZero() || keys[k] {
				return refuse("custodian %s: key %s is empty or listed twice", m.Name, k)
			}
			keys[k] = true
		}
	}
	return nil
}

// maxMemberKeys is how many keys a custodian has at most, as in a charter.
const maxMemberKeys = 8

// Member finds a custodian by name.
func (c *Custody) Member(name string) (*CustodyMember, bool) {
	for i := range c.Members {
		if c.Members[i].Name == name {
			return &c.Members[i], true
		}
	}
	return nil, false
}

// MemberByKey finds the custodian whose key has the key id.
func (c *Custody) MemberByKey(keyid string) (*CustodyMember, policy.PublicKey, bool) {
	for i := range c.Members {
		for _, k := range c.Members[i].Keys {
			if k.KeyID() == keyid {
				return &c.Members[i], k, true
			}
		}
	}
	return nil, policy.PublicKey{}, false
}

// DrawPIN gives a new PIN of n characters, digits and letters that nobody takes for another, in
// locked memory; the caller destroys it. Each character is worth 5 bits. Tokens differ in what they
// take: opencryptoki at most 8, SoftHSM2 4 to 255.
func DrawPIN(n int) (*memguard.LockedBuffer, error) {
	if n < 4 || n > maxPIN {
		return nil, fmt.Errorf("%w: a PIN of %d characters, want 4 to %d", ErrCustody, n, maxPIN)
	}
	pin := memguard.NewBuffer(n)
	if _, err := io.ReadFull(rand.Reader, pin.Bytes()); err != nil {
		pin.Destroy()
		return nil, err
	}
	for i, b := range pin.Bytes() {
		pin.Bytes()[i] = pinAlphabet[b%byte(len(pinAlphabet))]
	}
	return pin, nil
}

// pinAlphabet has 32 characters, so that a byte's remainder is drawn evenly.
const pinAlphabet = "abcdefghijkmnpqrstuvwxyz23456789"
