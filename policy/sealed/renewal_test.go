package sealed

import (
	"crypto/hpke"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// handover is a renewal as its custodians see it: the old ones of a ceremony give their
// shares up, the new ones get theirs.
type handover struct {
	t      *testing.T
	door   remote
	from   *ceremony
	to     []successor
	keys   map[string]hpke.PrivateKey
	shares map[string]seal.Share // new
}

// successor is a custodian of the charter in force.
type successor struct {
	name   string
	signer *policy.Signer
}

func (c *ceremony) handover(door remote, to ...successor) *handover {
	if to == nil {
		for n, s := range c.who.custodians {
			to = append(to, successor{"custodian-" + names[n], s})
		}
	}
	h := &handover{t: c.t, door: door, from: c, to: to, keys: map[string]hpke.PrivateKey{}, shares: map[string]seal.Share{}}
	c.t.Cleanup(func() {
		for _, s := range h.shares {
			s.Destroy()
		}
	})
	return h
}

func (h *handover) look() *seal.Renewal {
	h.t.Helper()
	for limit := time.Now().Add(patience); ; {
		r, err := h.door.Renew(h.t.Context(), nil)
		if kind, _ := seal.KindOf(err); kind == seal.KindStore && time.Now().Before(limit) {
			continue // the ledger is being read
		}
		require.NoError(h.t, err)
		return r
	}
}

// document is what somebody signs for the renewal that is.
func (h *handover) document(by *policy.Signer, r *seal.Renewal, fill func(*policy.Renew)) *policy.Envelope {
	h.t.Helper()
	d := &policy.Renew{Format: 1, Instance: r.Instance, ApplianceID: r.ApplianceID, Nonce: r.Nonce, Charter: r.Charter, CreatedAt: policy.Seconds(time.Now())}
	fill(d)
	payload, err := d.Encode()
	return sign(h.t, policy.DocRenew, payload, err, by)
}

// old gives up the n-th old custodian's share.
func (h *handover) old(r *seal.Renewal, n int, share seal.Share) *policy.Envelope {
	h.t.Helper()
	name := "custodian-" + names[n]
	text, err := seal.SealShare(r.UnsealKey, seal.Binding{Purpose: seal.ForRenewal, Instance: r.Instance, ApplianceID: r.ApplianceID, Custodian: name, Nonce: r.Nonce}, share)
	require.NoError(h.t, err)
	return h.document(h.from.who.custodians[n], r, func(d *policy.Renew) { d.Share = text })
}

// key gives a new custodian's receive key.
func (h *handover) key(r *seal.Renewal, s successor) *policy.Envelope {
	h.t.Helper()
	key, err := hpke.MLKEM768X25519().GenerateKey()
	require.NoError(h.t, err)
	h.keys[s.name] = key
	return h.document(s.signer, r, func(d *policy.Renew) { d.ReceiveKey = key.PublicKey().Bytes() })
}

// receipt opens a new custodian's parcel and says so.
func (h *handover) receipt(r *seal.Renewal, s successor) *policy.Envelope {
	h.t.Helper()
	share, err := seal.OpenShare(h.keys[s.name], seal.Binding{Purpose: seal.ForCustodian, Instance: r.Instance, ApplianceID: r.ApplianceID, Custodian: s.name, Nonce: r.Nonce}, r.Parcels[s.name])
	require.NoError(h.t, err)
	h.shares[s.name] = share
	return h.document(s.signer, r, func(d *policy.Renew) { d.Received = share.Digest() })
}

func (h *handover) submit(e *policy.Envelope) *seal.Renewal {
	h.t.Helper()
	r, err := h.door.Renew(h.t.Context(), e)
	require.NoError(h.t, err)
	return r
}

// split goes as far as the new shares, on the shares of those old custodians.
func (h *handover) split(by ...int) *seal.Renewal {
	h.t.Helper()
	r := h.look()
	for _, n := range by {
		r = h.submit(h.old(r, n, h.from.shares["custodian-"+names[n]]))
	}
	for _, s := range h.to {
		require.Empty(h.t, r.Parcels)
		r = h.submit(h.key(r, s))
	}
	require.Len(h.t, r.Parcels, len(h.to))
	return r
}

// received says for everybody that the new shares are there; the last word ends the
// worker.
func (h *handover) received(r *seal.Renewal) {
	h.t.Helper()
	for n, s := range h.to {
		out, err := h.door.Renew(h.t.Context(), h.receipt(r, s))
		if n == len(h.to)-1 && err != nil {
			require.ErrorIs(h.t, err, seal.ErrUnreachable) // its answer may be lost with it
			continue
		}
		require.NoError(h.t, err)
		require.Len(h.t, out.Received, n+1)
	}
}

// renewed is the ceremony of those who hold the new shares.
func (h *handover) renewed() *ceremony {
	who := &people{approvers: h.from.who.approvers}
	shares := map[string]seal.Share{}
	for n, s := range h.to { // by the names that a ceremony's custodians have
		who.custodians = append(who.custodians, s.signer)
		shares["custodian-"+names[n]] = h.shares[s.name]
	}
	return &ceremony{h.t, who, shares}
}

const (
	changed    = "shares are renewed and the token's PINs changed"
	goesOn     = "a renewal that was cut short goes on"
	notChanged = "shares are renewed, but the token's PINs are not changed yet"
)

// mints shows that the appliance signs.
func mints(t *testing.T, i *instance, door remote) {
	t.Helper()
	in := i.mint("7")
	i.approve(in, 0, 1)
	out, err := door.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
	i.verified(out)
}

// Custodians want new shares: with a threshold of the old ones, and every custodian's
// word that he has his new one, the token gets new PINs. The appliance signs on without
// being unsealed; afterwards the new shares unseal it and the old ones do not.
func TestSharesAreRenewed(t *testing.T) {
	p, c := newQuorumProcess(t)
	door := p.start()
	c.unsealed(p, door, 0, 1)
	i := c.begun(p, door)
	i.furnish()
	i.deploy()
	before, err := os.ReadFile(filepath.Join(p.dir, "state", seal.CustodyFile))
	require.NoError(t, err)

	h := c.handover(door)
	r := h.look()
	require.Equal(t, seal.HeldShares{Threshold: 2, Members: []string{"custodian-1", "custodian-2", "custodian-3"}, CreatedAt: r.Held.CreatedAt}, r.Held)
	require.Equal(t, []string{"custodian-1", "custodian-2", "custodian-3"}, r.Waiting)
	r = h.split(2, 0)
	h.received(r)
	p.await(changed)
	p.back(door)
	s, err := door.Status(t.Context())
	require.NoError(t, err)
	require.False(t, s.Sealed, "nobody was woken")
	mints(t, i, door)
	again := h.look()
	require.Equal(t, "shares were renewed, and the token's PINs changed", again.Outcome)
	require.NotEqual(t, r.Nonce, again.Nonce)
	require.False(t, again.Held.Unfinished)

	_, err = door.Seal(t.Context(), nil)
	require.NoError(t, err)
	p.back(door)
	s, err = door.Status(t.Context())
	require.NoError(t, err)
	_, err = c.handIn(door, c.document(s.Unsealing, 0, nil))
	requireKind(t, seal.KindInvalid, err)
	require.ErrorContains(t, err, "foreign")
	next := h.renewed()
	_, err = next.handIn(door, next.document(s.Unsealing, 0, nil))
	require.NoError(t, err)
	_, err = c.handIn(door, c.document(s.Unsealing, 1, nil)) // one of before beside one of after
	requireKind(t, seal.KindInvalid, err)
	require.ErrorContains(t, err, "foreign")
	next.unsealed(p, door, 2)
	mints(t, i, door)

	// Who has the old file and the old shares has PINs that the token takes no more.
	_, err = door.Seal(t.Context(), nil)
	require.NoError(t, err)
	p.back(door)
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "state", seal.CustodyFile), before, 0o600))
	for _, n := range []int{0, 1} {
		s, err = door.Status(t.Context())
		require.NoError(t, err)
		_, err = c.handIn(door, c.document(s.Unsealing, n, nil))
		require.NoError(t, err)
	}
	for p.await("sealed").Reason != "the token refused the PIN" {
	}
}

// Custodians change: the charter's new ones get shares, on the old ones' shares, who
// are custodians no more and could not unseal.
func TestSharesGoToNewCustodians(t *testing.T) {
	p, c := newQuorumProcess(t)
	door := p.start()
	c.unsealed(p, door, 0, 1)
	i := c.begun(p, door)
	i.furnish()
	i.deploy()
	fresh := newPeople(t)
	var to []successor
	next := *i.charter
	next.Version, next.Replaces = 2, &i.digest
	next.Custodians = policy.Custodians{Threshold: 3}
	for n, name := range []string{"dave", "erin", "frank"} {
		next.Custodians.Members = append(next.Custodians.Members, policy.Custodian{Name: name, Keys: []policy.PublicKey{fresh.custodians[n].Public()}})
		to = append(to, successor{name, fresh.custodians[n]})
	}
	payload, err := next.Encode()
	_, err = door.CharterApply(t.Context(), sign(t, policy.DocCharter, payload, err, c.who.custodians[:2]...))
	require.NoError(t, err)
	_, err = door.Seal(t.Context(), nil)
	require.NoError(t, err)
	p.back(door)
	h := c.handover(door, to...)
	r := h.look()
	require.Equal(t, []string{"dave", "erin", "frank"}, r.Waiting)

	// An old custodian is none any more: he gives, and gets nothing.
	key, err := hpke.MLKEM768X25519().GenerateKey()
	require.NoError(t, err)
	_, err = door.Renew(t.Context(), h.document(c.who.custodians[0], r, func(d *policy.Renew) { d.ReceiveKey = key.PublicKey().Bytes() }))
	requireKind(t, seal.KindInvalid, err)
	require.ErrorContains(t, err, "gets none")

	h.received(h.split(0, 2))
	p.await(changed)
	p.back(door)
	s, err := door.Status(t.Context())
	require.NoError(t, err)
	require.True(t, s.Sealed, "a renewal unseals nothing")
	require.Equal(t, 3, s.Unsealing.Need)
	for _, x := range to {
		d := &policy.Unseal{Format: 1, Instance: "test", ApplianceID: testAppliance, Nonce: s.Unsealing.Nonce, CreatedAt: policy.Seconds(time.Now())}
		d.Share, err = seal.SealShare(s.Unsealing.UnsealKey, seal.Binding{Instance: "test", ApplianceID: testAppliance, Custodian: x.name, Nonce: d.Nonce}, h.shares[x.name])
		require.NoError(t, err)
		payload, err := d.Encode()
		_, err = c.handIn(door, sign(t, policy.DocUnseal, payload, err, x.signer))
		require.NoError(t, err)
	}
	p.await("unsealed by a quorum of custodians")
	p.back(door)
	mints(t, i, door)
}

// Fewer than the threshold of the old shares, or fewer than all of the new custodians,
// renew nothing; nor do shares and words that do not do.
func TestAttack_ARenewalByFewerThanItTakes(t *testing.T) {
	p, c := newQuorumProcess(t)
	door := p.start()
	c.unsealed(p, door, 0, 1)
	c.begun(p, door)
	h := c.handover(door)
	r := h.look()
	for _, s := range h.to {
		r = h.submit(h.key(r, s))
	}
	first := h.old(r, 0, c.shares["custodian-1"])
	h.submit(first)
	r = h.submit(first)
	require.Equal(t, []string{"custodian-1"}, r.Given, "the same document again is one share")
	require.Empty(t, r.Parcels, "one share of two")
	stranger := newPeople(t)
	_, foreign := split(t, t.TempDir(), c.who, processPIN)
	refused := func(e *policy.Envelope, kind seal.Kind, says string) {
		t.Helper()
		_, err := door.Renew(t.Context(), e)
		requireKind(t, kind, err)
		require.ErrorContains(t, err, says)
	}
	refused(h.old(r, 0, c.shares["custodian-1"]), seal.KindDuplicate, "already")
	refused(h.key(r, h.to[0]), seal.KindDuplicate, "already")
	refused(h.old(r, 1, c.shares["custodian-1"]), seal.KindInvalid, "is custodian-1's")
	refused(h.old(r, 1, foreign["custodian-2"]), seal.KindInvalid, "foreign")
	stale := *r
	stale.Nonce = make([]byte, 32)
	refused(h.old(&stale, 1, c.shares["custodian-2"]), seal.KindInvalid, "stale")
	other := *r
	other.Charter = policy.DigestOf([]byte("another"))
	refused(h.old(&other, 1, c.shares["custodian-2"]), seal.KindInvalid, "in force")
	other = *r
	other.ApplianceID = "appliance-2"
	refused(h.old(&other, 1, c.shares["custodian-2"]), seal.KindInvalid, "appliance-2")
	refused(h.document(stranger.custodians[0], r, func(d *policy.Renew) { d.ReceiveKey = make([]byte, 1216) }), seal.KindInvalid, "not known")
	two := h.old(r, 1, c.shares["custodian-2"])
	require.NoError(t, two.AddSignature(c.who.custodians[2]))
	refused(two, seal.KindInvalid, "one custodian's")
	refused(h.document(c.who.custodians[1], r, func(d *policy.Renew) { d.Received = policy.DigestOf([]byte("early")) }), seal.KindConflict, "no new shares")
	// A share that was sent to unseal by does not renew.
	unsealing, err := seal.SealShare(r.UnsealKey, seal.Binding{Instance: r.Instance, ApplianceID: r.ApplianceID, Custodian: "custodian-2", Nonce: r.Nonce}, c.shares["custodian-2"])
	require.NoError(t, err)
	refused(h.document(c.who.custodians[1], r, func(d *policy.Renew) { d.Share = unsealing }), seal.KindInvalid, "does not decrypt")

	r = h.submit(h.old(r, 1, c.shares["custodian-2"]))
	require.Len(t, r.Parcels, 3)
	h.keys = map[string]hpke.PrivateKey{} // those that were refused came later
	refused(h.document(c.who.custodians[0], r, func(d *policy.Renew) { d.Received = c.shares["custodian-1"].Digest() }), seal.KindInvalid, "is not the new share")
	refused(h.old(r, 2, c.shares["custodian-3"]), seal.KindConflict, "split already")

	// Nobody has said that he has his: the old shares are what they were.
	_, err = door.Seal(t.Context(), nil)
	require.NoError(t, err)
	p.back(door)
	require.Empty(t, h.look().Parcels, "sealing ends it")
	c.unsealed(p, door, 0, 1)
}
