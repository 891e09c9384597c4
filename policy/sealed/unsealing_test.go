package sealed

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const processPIN = "pin-5678"

// custodians are those of a test's people, as a charter has them.
func (p *people) seats(threshold int) policy.Custodians {
	c := policy.Custodians{Threshold: uint32(threshold)}
	for i, n := range names {
		c.Members = append(c.Members, policy.Custodian{Name: "custodian-" + n, Keys: []policy.PublicKey{p.custodians[i].Public()}})
	}
	return c
}

// split makes a custody of the PIN in the state directory, and gives its shares.
func split(t *testing.T, state string, who *people, pin string) (*seal.Custody, map[string]seal.Share) {
	t.Helper()
	c, shares, err := seal.NewCustody("test", testAppliance, who.seats(2), []byte(pin), []byte("so-pin-1"), time.Now())
	require.NoError(t, err)
	require.NoError(t, seal.WriteCustody(state, c))
	t.Cleanup(func() {
		for _, s := range shares {
			s.Destroy()
		}
	})
	return c, shares
}

// ceremony is what unseals a test's seal.
type ceremony struct {
	t      *testing.T
	who    *people
	shares map[string]seal.Share
}

// document is the n-th custodian's share, for what status says; change alters
// what is signed.
func (c *ceremony) document(u *seal.Unsealing, n int, change func(*policy.Unseal, *seal.Binding)) *policy.Envelope {
	c.t.Helper()
	name := "custodian-" + names[n]
	b := seal.Binding{Instance: u.Instance, ApplianceID: testAppliance, Custodian: name, Nonce: u.Nonce}
	d := &policy.Unseal{Format: 1, Instance: u.Instance, ApplianceID: testAppliance, Nonce: u.Nonce, CreatedAt: policy.Seconds(time.Now())}
	if change != nil {
		change(d, &b)
	}
	var err error
	if d.Share == nil {
		d.Share, err = seal.SealShare(u.UnsealKey, b, c.shares[b.Custodian])
		require.NoError(c.t, err)
	}
	payload, err := d.Encode()
	return sign(c.t, policy.DocUnseal, payload, err, c.who.custodians[n])
}

// handIn hands in a share, again while the seal says that it did not read the
// ledger to its end yet.
func (c *ceremony) handIn(door remote, e *policy.Envelope) (*seal.Status, error) {
	c.t.Helper()
	for limit := time.Now().Add(patience); ; {
		s, err := door.Unseal(c.t.Context(), e)
		if kind, _ := seal.KindOf(err); kind != seal.KindStore || time.Now().After(limit) {
			return s, err
		}
	}
}

// unsealed hands in shares until the seal has a login.
func (c *ceremony) unsealed(p *process, door remote, by ...int) {
	c.t.Helper()
	for _, n := range by {
		s, err := door.Status(c.t.Context())
		require.NoError(c.t, err)
		require.True(c.t, s.Sealed)
		require.NotNil(c.t, s.Unsealing, s.Why)
		_, err = c.handIn(door, c.document(s.Unsealing, n, nil))
		require.NoError(c.t, err)
	}
	p.await("unsealed by a quorum of custodians")
	p.back(door)
	s, err := door.Status(c.t.Context())
	require.NoError(c.t, err)
	require.False(c.t, s.Sealed, s.Why)
	require.Nil(c.t, s.Unsealing)
	require.Empty(c.t, s.Why)
}

// newQuorumProcess is a seal that has no PIN but what custodians share.
func newQuorumProcess(t *testing.T) (*process, *ceremony) {
	t.Helper()
	p := newProcess(t)
	p.pin = "-"
	p.configure("")
	state := filepath.Join(p.dir, "state")
	require.NoError(t, os.Mkdir(state, 0o700))
	c := &ceremony{t: t, who: newPeople(t)}
	_, c.shares = split(t, state, c.who, processPIN)
	return p, c
}

// begun takes a process through the first start with the people of a ceremony.
func (c *ceremony) begun(p *process, door remote) *instance {
	c.t.Helper()
	me, err := door.Init(c.t.Context())
	require.NoError(c.t, err)
	charter := c.who.charter(me, nil)
	payload, err := charter.Encode()
	e := sign(c.t, policy.DocCharter, payload, err, c.who.custodians...)
	p.configure(e.PayloadDigest())
	_, err = door.CharterApply(c.t.Context(), e)
	require.NoError(c.t, err)
	return &instance{t: c.t, door: door, people: c.who, charter: charter, digest: e.PayloadDigest(), first: e}
}

// The first ceremony: before there is a charter the custody says who the
// custodians are, and their quorum's login makes the keys that charter 1 names.
// Afterwards the charter says it, over restarts, sealing and the worker's death.
func TestAQuorumUnseals(t *testing.T) {
	p, c := newQuorumProcess(t)
	door := p.start()
	_, err := door.Init(t.Context())
	requireKind(t, seal.KindSealed, err)
	c.unsealed(p, door, 0, 2)
	i := c.begun(p, door)
	i.furnish()
	i.deploy()

	sealed, err := door.Seal(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, sealed.Sealed)
	p.back(door)
	c.unsealed(p, door, 1, 0)
	in := i.mint("7")
	i.approve(in, 0, 1)
	out, err := door.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
	i.verified(out)

	require.NoError(t, p.kill(p.worker))
	p.await("worker ended; starting another")
	p.back(door)
	s, err := door.Status(t.Context())
	require.NoError(t, err)
	require.False(t, s.Sealed, "the worker's death wakes no custodian")

	p.stop()
	p.launch()
	p.back(door)
	s, err = door.Status(t.Context())
	require.NoError(t, err)
	require.True(t, s.Sealed, "the keeper's does")
	require.Equal(t, whyQuorum, s.Why)
	c.unsealed(p, door, 1, 2)
}

// Sealed on request it stays sealed over restarts although there is a PIN file,
// until a quorum unseals; then the file counts again.
func TestSealedSurvivesARestartUntilAQuorumUnseals(t *testing.T) {
	p, c := newQuorumProcess(t)
	p.pin = ""
	p.configure("")
	door := p.start()
	c.begun(p, door)
	_, err := door.Seal(t.Context(), nil)
	require.NoError(t, err)
	p.stop()
	p.launch()
	p.back(door)
	s, err := door.Status(t.Context())
	require.NoError(t, err)
	require.True(t, s.Sealed)
	require.Equal(t, "sealed on request", s.Why)
	c.unsealed(p, door, 0, 1)
	require.NoFileExists(t, filepath.Join(p.dir, "state", "sealed"))
	p.stop()
	p.launch()
	p.back(door)
	s, err = door.Status(t.Context())
	require.NoError(t, err)
	require.False(t, s.Sealed)
	p.awaitLedger(door)
}

// Every share that does not do is refused by name and reason, counts for
// nothing, and takes nothing from those that did.
func TestSharesThatDoNotDoAreNamed(t *testing.T) {
	p, c := newQuorumProcess(t)
	door := p.start()
	s, err := door.Status(t.Context())
	require.NoError(t, err)
	u := s.Unsealing
	require.Equal(t, 2, u.Need)
	require.Empty(t, u.Shares)
	require.Len(t, u.Nonce, nonceSize)
	first := c.document(u, 0, nil)
	s, err = door.Unseal(t.Context(), first)
	require.NoError(t, err)
	require.True(t, s.Sealed)
	require.Equal(t, []string{"custodian-1"}, s.Unsealing.Shares)
	s, err = door.Unseal(t.Context(), first)
	require.NoError(t, err, "the same bytes again give the same answer")
	require.Equal(t, []string{"custodian-1"}, s.Unsealing.Shares)

	stranger := newPeople(t)
	_, foreign := split(t, t.TempDir(), c.who, processPIN)
	both := c.document(u, 1, nil)
	require.NoError(t, both.AddSignature(c.who.custodians[2]))
	for name, x := range map[string]struct {
		e    *policy.Envelope
		kind seal.Kind
		want []string
	}{
		"repeated": {c.document(u, 0, nil), seal.KindDuplicate, []string{"custodian-1", "given already"}},
		"another custodian's": {c.document(u, 1, func(d *policy.Unseal, b *seal.Binding) {
			d.Share, err = seal.SealShare(u.UnsealKey, *b, c.shares["custodian-1"])
		}), seal.KindInvalid, []string{"custodian-2", "is custodian-1's"}},
		"foreign": {c.document(u, 1, func(d *policy.Unseal, b *seal.Binding) {
			d.Share, err = seal.SealShare(u.UnsealKey, *b, foreign["custodian-2"])
		}), seal.KindInvalid, []string{"custodian-2", "foreign"}},
		"stale": {c.document(u, 1, func(d *policy.Unseal, b *seal.Binding) {
			d.Nonce = bytes.Repeat([]byte{7}, nonceSize)
			b.Nonce = d.Nonce
		}), seal.KindInvalid, []string{"custodian-2", "stale", "0707"}},
		"nonce changed on the way": {c.document(u, 1, func(_ *policy.Unseal, b *seal.Binding) {
			b.Nonce = bytes.Repeat([]byte{7}, nonceSize)
		}), seal.KindInvalid, []string{"custodian-2", "does not decrypt"}},
		"sealed by another custodian": {c.document(u, 1, func(_ *policy.Unseal, b *seal.Binding) {
			b.Custodian = "custodian-3"
		}), seal.KindInvalid, []string{"custodian-2", "does not decrypt"}},
		"to another key": {c.document(u, 1, func(d *policy.Unseal, b *seal.Binding) {
			other, err := unsealKeyFile{state: t.TempDir()}.public()
			require.NoError(t, err)
			d.Share, err = seal.SealShare(other, *b, c.shares["custodian-2"])
			require.NoError(t, err)
		}), seal.KindInvalid, []string{"custodian-2", "does not decrypt"}},
		"no ciphertext": {c.document(u, 1, func(d *policy.Unseal, _ *seal.Binding) { d.Share = []byte("hello") }),
			seal.KindInvalid, []string{"custodian-2", "5 bytes"}},
		"another appliance": {c.document(u, 1, func(d *policy.Unseal, _ *seal.Binding) { d.ApplianceID = "appliance-9" }),
			seal.KindInvalid, []string{"custodian-2", "appliance-9"}},
		"another instance": {c.document(u, 1, func(d *policy.Unseal, _ *seal.Binding) { d.Instance = "other" }),
			seal.KindInvalid, []string{"custodian-2", "other"}},
		"a stranger":        {(&ceremony{t, stranger, c.shares}).document(u, 1, nil), seal.KindInvalid, []string{"not known"}},
		"two in one":        {both, seal.KindInvalid, []string{"custodian-2 custodian-3"}},
		"another document":  {sign(t, policy.DocSeal, first.Payload, nil, c.who.custodians[1]), seal.KindInvalid, []string{"payload type"}},
		"a changed payload": {&policy.Envelope{PayloadType: first.PayloadType, Payload: append(bytes.Clone(first.Payload), ' '), Signatures: first.Signatures}, seal.KindInvalid, []string{"does not hold"}},
	} {
		require.NoError(t, err)
		_, err := door.Unseal(t.Context(), x.e)
		requireKind(t, x.kind, err)
		for _, want := range x.want {
			require.ErrorContains(t, err, want, name)
		}
		s, err := door.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, u.Nonce, s.Unsealing.Nonce, name)
		require.Equal(t, []string{"custodian-1"}, s.Unsealing.Shares, name)
	}
	c.unsealed(p, door, 2)
	s, err = door.Unseal(t.Context(), first)
	require.NoError(t, err, "there is nothing left to unseal")
	require.False(t, s.Sealed)
}

// Who unseals is who the charter in force says: a custodian that it removed has a
// share and no voice, one whose key it replaced speaks with the new one alone.
func TestWhoUnsealsTheCharterSays(t *testing.T) {
	p, c := newQuorumProcess(t)
	door := p.start()
	c.unsealed(p, door, 0, 1)
	i := c.begun(p, door)
	next := *i.charter
	next.Version, next.Replaces = 2, &i.digest
	next.Custodians = c.who.seats(2)
	fresh := newPeople(t)
	next.Custodians.Members[0] = policy.Custodian{Name: "custodian-4", Keys: []policy.PublicKey{fresh.custodians[0].Public()}}
	next.Custodians.Members[1].Keys = []policy.PublicKey{fresh.custodians[1].Public()}
	payload, err := next.Encode()
	_, err = door.CharterApply(t.Context(), sign(t, policy.DocCharter, payload, err, c.who.custodians[:2]...))
	require.NoError(t, err)
	_, err = door.Seal(t.Context(), nil)
	require.NoError(t, err)
	p.back(door)
	s, err := door.Status(t.Context())
	require.NoError(t, err)
	for _, n := range []int{0, 1} { // removed; with the old key
		_, err = c.handIn(door, c.document(s.Unsealing, n, nil))
		requireKind(t, seal.KindInvalid, err)
		require.ErrorContains(t, err, "not known")
	}
	c.who.custodians = []*policy.Signer{fresh.custodians[0], fresh.custodians[1], c.who.custodians[2]}
	_, err = door.Unseal(t.Context(), c.document(s.Unsealing, 0, nil)) // signs as custodian-4, with custodian-1's share
	requireKind(t, seal.KindInvalid, err)
	require.ErrorContains(t, err, "custodian-4")
	c.unsealed(p, door, 1, 2)
}

// While the ledger cannot be read nobody unseals, for who the custodians are is
// in it; where the store is empty that was not, the custody says it, so that
// somebody can log in to recover: and nothing is signed over that store.
func TestUnsealingOverAStoreThatCannotBeGoneBy(t *testing.T) {
	p, c := newQuorumProcess(t)
	w, forwarded := newWire(t)
	p.store = &forwarded
	p.configure("")
	door := p.start()
	c.unsealed(p, door, 0, 1)
	i := c.begun(p, door)
	p.stop()
	w.set(true, true)
	w.cut()
	p.launch()
	p.back(door)
	s, err := door.Status(t.Context())
	require.NoError(t, err)
	require.True(t, s.Sealed)
	require.NotNil(t, s.Unsealing, "who is asked can be told all the same")
	_, err = door.Unseal(t.Context(), c.document(s.Unsealing, 0, nil))
	requireKind(t, seal.KindStore, err)
	require.ErrorContains(t, err, "was not read yet")

	_, err = openLog(t, house.store).c.Delete(t.Context(), "/seal/", clientv3.WithPrefix())
	require.NoError(t, err)
	w.set(false, false)
	c.unsealed(p, door, 0, 2)
	_, err = door.CharterApply(t.Context(), i.first)
	requireKind(t, seal.KindStore, err)
	_, err = door.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "x"})
	requireKind(t, seal.KindStore, err)
}

// Sealing, by whatever way, takes back what custodians gave, and what they sent
// before is stale.
func TestSealingWipesWhatWasCollected(t *testing.T) {
	p, c := newQuorumProcess(t)
	door := p.start()
	for _, way := range []string{"root", "signal"} {
		s, err := door.Status(t.Context())
		require.NoError(t, err)
		first, second := c.document(s.Unsealing, 0, nil), c.document(s.Unsealing, 1, nil)
		_, err = door.Unseal(t.Context(), first)
		require.NoError(t, err)
		if way == "root" {
			s, err := door.Seal(t.Context(), nil)
			require.NoError(t, err)
			require.Empty(t, s.Unsealing.Shares)
		} else {
			require.NoError(t, p.signal())
			p.await("sealed")
			p.back(door)
		}
		for _, e := range []*policy.Envelope{second, first} {
			_, err = door.Unseal(t.Context(), e)
			requireKind(t, seal.KindInvalid, err)
			require.ErrorContains(t, err, "stale")
		}
		require.FileExists(t, filepath.Join(p.dir, "state", "sealed"))
	}
	c.unsealed(p, door, 1, 2)
	require.NoFileExists(t, filepath.Join(p.dir, "state", "sealed"))
}

// A PIN that decrypts is tried once: where the token refuses it nobody's shares
// are taken any more, in this life and the next, until a person says so.
func TestAPINFromCustodyIsTriedOnce(t *testing.T) {
	p := newProcess(t)
	p.pin = "-"
	p.throughShim("")
	p.configure("")
	state := filepath.Join(p.dir, "state")
	require.NoError(t, os.Mkdir(state, 0o700))
	c := &ceremony{t: t, who: newPeople(t)}
	_, c.shares = split(t, state, c.who, "another")
	door := p.start()
	s, err := door.Status(t.Context())
	require.NoError(t, err)
	var last *policy.Envelope
	for _, n := range []int{0, 1} {
		last = c.document(s.Unsealing, n, nil)
		_, err = door.Unseal(t.Context(), last)
		require.NoError(t, err)
	}
	for p.await("sealed").Reason != "the token refused the PIN" {
	}
	logins := func() string {
		text, err := os.ReadFile(filepath.Join(p.dir, "logins"))
		require.NoError(t, err)
		return strings.ReplaceAll(string(text), "F", "")
	}
	refused := func() {
		t.Helper()
		p.back(door)
		s, err := door.Status(t.Context())
		require.NoError(t, err)
		require.True(t, s.Sealed)
		require.Equal(t, whyRefused, s.Why)
		_, err = door.Unseal(t.Context(), c.document(s.Unsealing, 0, nil))
		requireKind(t, seal.KindHSM, err)
		require.Equal(t, "L", logins())
	}
	refused()
	p.stop()
	p.launch()
	refused()
	require.NoError(t, os.Remove(filepath.Join(state, "pin-refused")))
	_, err = door.Unseal(t.Context(), last)
	requireKind(t, seal.KindInvalid, err)
	require.ErrorContains(t, err, "stale")
}

// Init writes custody.json, and makes the token, while the seal runs: it takes
// both as they come.
func TestCustodyAndTokenComeWhileTheSealRuns(t *testing.T) {
	p := newProcess(t)
	p.pin, p.label = "-", "later"
	p.configure("")
	door := p.start()
	s, err := door.Status(t.Context())
	require.NoError(t, err)
	require.True(t, s.Sealed)
	require.Nil(t, s.Unsealing)
	require.Contains(t, s.Why, "mintwarden init")
	c := &ceremony{t: t, who: newPeople(t)}
	u := &seal.Unsealing{Instance: "test", Nonce: bytes.Repeat([]byte{1}, 32)}
	early := c.document(u, 0, func(d *policy.Unseal, _ *seal.Binding) { d.Share = []byte("x") })
	_, err = door.Unseal(t.Context(), early)
	requireKind(t, seal.KindInvalid, err)
	require.ErrorContains(t, err, "no custody")

	_, c.shares = split(t, filepath.Join(p.dir, "state"), c.who, processPIN)
	s, err = door.Status(t.Context())
	require.NoError(t, err)
	require.NotNil(t, s.Unsealing)
	for _, n := range []int{0, 1} {
		_, err = door.Unseal(t.Context(), c.document(s.Unsealing, n, nil))
		require.NoError(t, err)
	}
	// The PIN is here, the token is not: it is tried again, and the seal answers.
	p.await("trying the token again")
	p.back(door)
	s, err = door.Status(t.Context())
	require.NoError(t, err)
	require.False(t, s.Sealed)
	require.Contains(t, s.Why, "the token cannot be used")
	p.makeToken("later", processPIN)
	p.ready(door)
	_, err = door.Init(t.Context())
	require.NoError(t, err)
}

// What an adversary holds who recorded every byte that ever passed the callers'
// socket: neither the PIN nor a share nor the key is in it, and played again to a
// fresh collection it counts for nothing.
func TestARecordingOfAnUnsealingIsOfNoUse(t *testing.T) {
	p, c := newQuorumProcess(t)
	p.start()
	rec := newRecorder(t, filepath.Join(p.dir, "seal.sock"))
	client, err := seal.Dial(t.Context(), rec.path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	door := remote{client}
	c.unsealed(p, door, 0, 1)

	said := rec.bytes()
	require.Contains(t, string(said), `"op":"unseal"`)
	custody, err := seal.ReadCustody(filepath.Join(p.dir, "state"))
	require.NoError(t, err)
	private, err := unsealKeyFile{state: filepath.Join(p.dir, "state")}.private()
	require.NoError(t, err)
	raw, err := private.Bytes()
	require.NoError(t, err)
	secrets := map[string][]byte{"PIN": []byte(processPIN), "SO PIN": []byte("so-pin-1"), "unseal key": raw}
	for name, s := range c.shares {
		text := s.Encode()
		secrets[name+"'s share"] = text
		secrets[name+"'s share, raw"] = rawShare(t, text)
	}
	for name, s := range secrets {
		for form, x := range spellings(s) {
			require.False(t, bytes.Contains(said, x), "%s (%s) passed the socket", name, form)
		}
	}
	require.True(t, bytes.Contains(said, []byte(custody.Instance)), "the search finds what is there")

	// Fresh collections: of the same keeper, and of the next.
	for _, again := range []func(){
		func() { _, err := door.Seal(t.Context(), nil); require.NoError(t, err); p.back(door) },
		func() { p.stop(); p.launch(); p.back(door) },
	} {
		again()
		answers := rec.replay(said)
		require.Len(t, answers, 2)
		for _, a := range answers {
			require.Contains(t, a, "stale")
		}
		s, err := door.Status(t.Context())
		require.NoError(t, err)
		require.True(t, s.Sealed)
		require.Empty(t, s.Unsealing.Shares)
	}
}
