package sealed

import (
	"bytes"
	"crypto/hpke"
	"crypto/rand"
	"errors"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// renewalLife is how long what was given waits for the rest. Parts may be carried by
// hand between places, so it is longer than an unsealing's; what waits is less than
// what an unsealed keeper has anyway.
const renewalLife = 24 * time.Hour

// renewPart is what a worker hands to its keeper of a renewal: who the custodians are
// and, where Custodian is not empty, one's part, whose signature was verified.
type renewPart struct {
	Charter    policy.Digest     `json:"charter"`
	Instance   string            `json:"instance"`
	Custodians policy.Custodians `json:"custodians"` // of that charter
	Custodian  string            `json:"custodian"`
	Document   policy.Digest     `json:"document,omitzero"`
	Nonce      []byte            `json:"nonce,omitzero"`
	Share      []byte            `json:"share,omitzero"`
	ReceiveKey []byte            `json:"receiveKey,omitzero"`
	Received   policy.Digest     `json:"received,omitzero"`
}

// renewing is the keeper's: a renewal that is coming together. First a threshold of the
// custody's shares and a receive key of every custodian of the charter; then new PINs
// are drawn and split, and each share waits, encrypted, for its custodian; once every
// one of them said that he has it, and not before, the PINs may change. Until then
// nothing lasts: whatever ends it (time, sealing, another charter or custody.json, the
// keeper's death) leaves the shares that are. Safe for concurrent use.
type renewing struct {
	state     string // directory
	appliance string
	unsealKey func() (privateKey, error)
	now       func() time.Time
	outcome   string // of the last one

	mu      sync.Mutex
	id      policy.Digest // of the custody.json that is given up
	custody *seal.Custody
	part    renewPart // whose charter it is for
	nonce   []byte
	taken   map[policy.Digest]bool // documents
	shares  map[string]seal.Share
	keys    map[string][]byte
	next    *change // once it is split
	parcels map[string][]byte
	got     map[string]bool
	timer   *time.Timer
	round   uint64
}

// change is new PINs, and the custody of them, on the way into the token. Whoever has
// it destroys it.
type change struct {
	custody     *seal.Custody // with Before
	now, before *seal.PINs
	begun       bool // the custody stands in the state directory: it goes on, whatever happens
	unseal      bool // who opened it wanted a login
}

func (c *change) destroy() {
	if c != nil {
		c.now.Destroy()
		c.before.Destroy()
	}
}

// take adds a part and tells how far it is. A change that is not nil is complete, and
// its caller's.
func (n *renewing) take(p *renewPart) (*seal.Renewal, *change, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer runtime.GC() // what it decrypted with is erased when it is collected
	if err := n.begin(p); err != nil {
		return nil, nil, err
	}
	if p.Custodian != "" && !n.taken[p.Document] {
		if err := n.add(p); err != nil {
			return nil, nil, err
		}
		n.taken[p.Document] = true
	}
	if n.next == nil && len(n.shares) >= n.custody.Threshold && len(n.keys) == len(n.part.Custodians.Members) {
		if err := n.split(); err != nil {
			n.wipe()
			return nil, nil, err
		}
	}
	out := n.progress()
	if n.next == nil || len(n.got) < len(n.part.Custodians.Members) {
		return out, nil, nil
	}
	done := n.next
	n.next = nil
	n.wipe()
	return out, done, nil
}

// begin makes sure that the renewal is of the custody and the charter that are.
func (n *renewing) begin(p *renewPart) error {
	custody, err := seal.ReadCustody(n.state)
	if errors.Is(err, fs.ErrNotExist) {
		return seal.Errorf(seal.KindInvalid, "this seal has no custody that could be renewed")
	}
	if err != nil {
		return err
	}
	text, err := custody.Encode()
	if err != nil {
		return err
	}
	switch id := policy.DigestOf(text); {
	case len(custody.Before) > 0:
		return seal.Errorf(seal.KindConflict, "the last renewal is not finished: seal the appliance, and unseal it by the new shares")
	case custody.ApplianceID != n.appliance || custody.Instance != p.Instance:
		return seal.Errorf(seal.KindInvalid, "%s is of appliance %s of %s, this is %s of %s", seal.CustodyFile, custody.ApplianceID, custody.Instance, n.appliance, p.Instance)
	case n.nonce != nil && id == n.id && p.Charter == n.part.Charter:
		return nil
	default:
		n.wipe()
		n.id, n.custody = id, custody
	}
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	n.nonce, n.part = nonce, renewPart{Charter: p.Charter, Instance: p.Instance, Custodians: p.Custodians}
	return nil
}

// add takes a part, or says what is wrong of it; then it changes nothing.
func (n *renewing) add(p *renewPart) error {
	invalid := func(format string, args ...any) error { return seal.Errorf(seal.KindInvalid, format, args...) }
	if !bytes.Equal(p.Nonce, n.nonce) {
		return invalid("custodian %s: the document is stale: it is for a renewal that is over (its nonce is %x, now it is %x)", p.Custodian, p.Nonce, n.nonce)
	}
	if p.Received != "" {
		return n.receipt(p)
	}
	if n.next != nil {
		return seal.Errorf(seal.KindConflict, "custodian %s: the new shares are split already", p.Custodian)
	}
	if len(p.ReceiveKey) > 0 {
		if !slices.ContainsFunc(n.part.Custodians.Members, func(m policy.Custodian) bool { return m.Name == p.Custodian }) {
			return invalid("%s is no custodian of the charter, and gets no share", p.Custodian)
		}
		if _, ok := n.keys[p.Custodian]; ok {
			return seal.Errorf(seal.KindDuplicate, "custodian %s gave a receive key already", p.Custodian)
		}
		if _, err := hpke.MLKEM768X25519().NewPublicKey(p.ReceiveKey); err != nil {
			return invalid("custodian %s: the receive key is none", p.Custodian)
		}
	}
	if len(p.Share) > 0 {
		if err := n.give(p); err != nil {
			return err
		}
	}
	if len(p.ReceiveKey) > 0 {
		n.keys[p.Custodian] = p.ReceiveKey
	}
	if n.timer == nil {
		round := n.round
		n.timer = time.AfterFunc(renewalLife, func() { n.expire(round) })
	}
	return nil
}

// give takes the share that is given up.
func (n *renewing) give(p *renewPart) error {
	if _, ok := n.shares[p.Custodian]; ok {
		return seal.Errorf(seal.KindDuplicate, "custodian %s gave the share already", p.Custodian)
	}
	key, err := n.unsealKey()
	if err != nil {
		return seal.Errorf(seal.KindStore, "unseal key: %v", err)
	}
	s, err := seal.OpenShare(key, seal.Binding{Purpose: seal.ForRenewal, Instance: n.part.Instance, ApplianceID: n.appliance, Custodian: p.Custodian, Nonce: n.nonce}, p.Share)
	if err != nil {
		return seal.Errorf(seal.KindInvalid, "custodian %s: %v", p.Custodian, err)
	}
	if err := n.custody.CheckShare(p.Custodian, s); err != nil {
		s.Destroy()
		return seal.Errorf(seal.KindInvalid, "%v", err)
	}
	n.shares[p.Custodian] = s
	return nil
}

// receipt takes a custodian's word that he has his new share.
func (n *renewing) receipt(p *renewPart) error {
	if n.next == nil {
		return seal.Errorf(seal.KindConflict, "custodian %s: no new shares are split yet", p.Custodian)
	}
	m, ok := n.next.custody.Member(p.Custodian)
	if !ok || m.ShareDigest != p.Received {
		return seal.Errorf(seal.KindInvalid, "custodian %s: what was received is not the new share", p.Custodian)
	}
	n.got[p.Custodian] = true
	return nil
}

// split opens the custody, draws new PINs as long as the old ones, which the token
// takes, and encrypts each custodian's share of them to him.
func (n *renewing) split() (err error) {
	defer func() {
		for _, s := range n.shares { // given up, whatever comes of it
			s.Destroy()
		}
	}()
	next := &change{}
	defer func() {
		if err != nil {
			next.destroy()
		}
	}()
	if next.before, _, err = n.custody.OpenAll(n.shares); err != nil {
		return seal.Errorf(seal.KindInvalid, "%v", err)
	}
	next.now = &seal.PINs{}
	if next.now.User, err = seal.DrawPIN(next.before.User.Size()); err != nil {
		return err
	}
	if next.now.SO, err = seal.DrawPIN(next.before.SO.Size()); err != nil {
		return err
	}
	custody, shares, err := seal.RenewCustody(n.part.Instance, n.appliance, n.part.Custodians, next.now, next.before, n.now())
	if err != nil {
		return err
	}
	parcels := map[string][]byte{}
	for name, s := range shares {
		var failed error
		parcels[name], failed = seal.SealShare(n.keys[name], n.parcel(name), s)
		err = errors.Join(err, failed)
		s.Destroy()
	}
	if err != nil {
		return err
	}
	next.custody = custody
	n.next, n.parcels = next, parcels
	return nil
}

// parcel is what a new share is bound to.
func (n *renewing) parcel(custodian string) seal.Binding {
	return seal.Binding{Purpose: seal.ForCustodian, Instance: n.part.Instance, ApplianceID: n.appliance, Custodian: custodian, Nonce: n.nonce}
}

func (n *renewing) progress() *seal.Renewal {
	held := seal.HeldShares{Threshold: n.custody.Threshold, CreatedAt: n.custody.CreatedAt}
	for _, m := range n.custody.Members {
		held.Members = append(held.Members, m.Name)
	}
	out := &seal.Renewal{Format: policy.Format, Instance: n.part.Instance, ApplianceID: n.appliance, Charter: n.part.Charter, Nonce: n.nonce, Held: held,
		Given: sorted(n.shares), Keys: sorted(n.keys), Waiting: []string{}, Parcels: map[string][]byte{}, Received: sorted(n.got), Outcome: n.outcome}
	maps.Copy(out.Parcels, n.parcels)
	for _, m := range n.part.Custodians.Members {
		if _, key := n.keys[m.Name]; !key || n.next != nil && !n.got[m.Name] {
			out.Waiting = append(out.Waiting, m.Name)
		}
	}
	return out
}

// sorted is the names of a map, none as an empty list.
func sorted[V any](of map[string]V) []string {
	return slices.AppendSeq(make([]string, 0, len(of)), maps.Keys(of))
}

// reset forgets what was given.
func (n *renewing) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wipe()
}

// ended notes what came of a renewal.
func (n *renewing) ended(outcome string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.outcome = outcome
}

func (n *renewing) wipe() {
	for _, s := range n.shares {
		s.Destroy()
	}
	n.next.destroy()
	if n.timer != nil {
		n.timer.Stop()
	}
	n.round++
	n.id, n.custody, n.part, n.nonce, n.next, n.timer, n.parcels = "", nil, renewPart{}, nil, nil, nil, nil
	n.taken, n.shares, n.keys, n.got = map[policy.Digest]bool{}, map[string]seal.Share{}, map[string][]byte{}, map[string]bool{}
}

func (n *renewing) expire(round uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if round == n.round {
		n.wipe()
	}
}
