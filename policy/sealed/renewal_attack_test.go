package sealed

import (
	"crypto/hpke"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/awnumar/memguard"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// renewingKeeper is a keeper whose PIN is split among the people, its public key for shares, and the shares.
func renewingKeeper(t *testing.T) (k *keeper, who *people, public []byte, shares map[string]seal.Share) {
	t.Helper()
	dir := t.TempDir()
	who = newPeople(t)
	_, shares = split(t, dir, who, processPIN)
	file := unsealKeyFile{state: dir}
	public, err := file.public()
	require.NoError(t, err)
	k = &keeper{log: slog.New(slog.DiscardHandler), asked: make(chan struct{}, 1)}
	k.cfg = &Config{State: dir, Appliance: testAppliance}
	k.quorum = &collection{state: dir, appliance: testAppliance, life: time.Hour, unsealKey: file.private, refused: func(string) bool { return false }}
	k.renewal = &renewing{state: dir, appliance: testAppliance, unsealKey: file.private, now: time.Now}
	k.documents.path = k.marker("seals")
	return k, who, public, shares
}

// nearlyRenewed has the quorum give its shares and everybody a key. What it returns has everybody say that he has his new
// share, and tells whether that completed the renewal.
func nearlyRenewed(t *testing.T, k *keeper, who *people, public []byte, shares map[string]seal.Share) (complete func() (open bool)) {
	t.Helper()
	charter := policy.DigestOf([]byte("charter"))
	part := func() *renewPart { return &renewPart{Charter: charter, Instance: "test", Custodians: who.seats(2)} }
	r, _, err := k.renew(part())
	require.NoError(t, err)
	n := 0
	give := func(custodian string, fill func(p *renewPart)) (open bool) {
		t.Helper()
		p := part()
		n++
		p.Custodian, p.Nonce, p.Document = custodian, r.Nonce, policy.DigestOf([]byte{byte(n)})
		fill(p)
		r, open, err = k.renew(p)
		require.NoError(t, err)
		return open
	}
	for _, name := range []string{"custodian-1", "custodian-2"} {
		text, err := seal.SealShare(public, seal.Binding{Purpose: seal.ForRenewal, Instance: "test", ApplianceID: testAppliance, Custodian: name, Nonce: r.Nonce}, shares[name])
		require.NoError(t, err)
		give(name, func(p *renewPart) { p.Share = text })
	}
	keys := map[string]hpke.PrivateKey{}
	for _, x := range names {
		key, err := hpke.MLKEM768X25519().GenerateKey()
		require.NoError(t, err)
		keys["custodian-"+x] = key
		give("custodian-"+x, func(p *renewPart) { p.ReceiveKey = key.PublicKey().Bytes() })
	}
	return func() (open bool) {
		t.Helper()
		parcels, nonce := r.Parcels, r.Nonce
		for _, x := range names {
			name := "custodian-" + x
			s, err := seal.OpenShare(keys[name], seal.Binding{Purpose: seal.ForCustodian, Instance: "test", ApplianceID: testAppliance, Custodian: name, Nonce: nonce}, parcels[name])
			require.NoError(t, err)
			open = give(name, func(p *renewPart) { p.Received = s.Digest() })
		}
		return open
	}
}

// A custodian's document seals the appliance while a renewal that was just completed waits for its worker to end. The
// renewal may finish; it gives nobody a login.
func TestAttack_ARenewalThatCompletesUndoesASealing(t *testing.T) {
	k, who, public, shares := renewingKeeper(t)
	k.pin = memguard.NewBufferFromBytes([]byte(processPIN))
	complete := nearlyRenewed(t, k, who, public, shares)
	require.True(t, complete())
	require.NoError(t, k.sealOn(asking{}), "behind it on the pipe, before the worker ends")
	_, err := os.Stat(k.marker("sealed"))
	require.NoError(t, err)
	require.Nil(t, k.pin)

	c := k.due() // what keep does then
	require.NotNil(t, c)
	defer c.destroy()
	k.takePIN(c, c.now)
	require.Nil(t, k.pin, "sealed until a quorum unseals it")
}

// A renewal of a sealed appliance is completed, and in the same breath a quorum unseals it by the shares that are about
// to be worthless: the PIN that the next worker gets must be none that the token does not take any more.
func TestAttack_AnUnsealingByOldSharesBehindACompletedRenewal(t *testing.T) {
	k, who, public, shares := renewingKeeper(t)
	complete := nearlyRenewed(t, k, who, public, shares)
	p0, err := k.quorum.look()
	require.NoError(t, err)
	unseal := func(name string) (bool, error) {
		text, err := seal.SealShare(public, seal.Binding{Instance: "test", ApplianceID: testAppliance, Custodian: name, Nonce: p0.Nonce}, shares[name])
		require.NoError(t, err)
		return k.share(asking{Custodian: name, Instance: "test", Nonce: p0.Nonce, Share: text})
	}
	open, err := unseal("custodian-1")
	require.NoError(t, err)
	require.False(t, open)
	require.True(t, complete())
	open, err = unseal("custodian-2") // behind it on the pipe, before the worker ends
	requireKind(t, seal.KindConflict, err)
	require.False(t, open)
	c := k.due()
	require.NotNil(t, c)
	c.destroy()
	require.Nil(t, k.pin, "else the next worker logs in with a PIN that the token takes no more")
}

// A custodian is removed while a renewal comes together: what was given for the charter before counts for nothing, and
// whoever is no custodian any more gets no share.
func TestAttack_ARenewalGoesOnUnderAnotherCharter(t *testing.T) {
	k, who, public, shares := renewingKeeper(t)
	one, two := policy.DigestOf([]byte("charter 1")), policy.DigestOf([]byte("charter 2"))
	before, _, err := k.renew(&renewPart{Charter: one, Instance: "test", Custodians: who.seats(2)})
	require.NoError(t, err)
	text, err := seal.SealShare(public, seal.Binding{Purpose: seal.ForRenewal, Instance: "test", ApplianceID: testAppliance, Custodian: "custodian-1", Nonce: before.Nonce}, shares["custodian-1"])
	require.NoError(t, err)
	given, _, err := k.renew(&renewPart{Charter: one, Instance: "test", Custodians: who.seats(2), Custodian: "custodian-1", Nonce: before.Nonce, Document: two, Share: text})
	require.NoError(t, err)
	require.Equal(t, []string{"custodian-1"}, given.Given)
	fewer := who.seats(2)
	fewer.Members = fewer.Members[:2]
	after, _, err := k.renew(&renewPart{Charter: two, Instance: "test", Custodians: fewer})
	require.NoError(t, err)
	require.NotEqual(t, before.Nonce, after.Nonce)
	require.Empty(t, after.Given)
	require.Equal(t, two, after.Charter)
	require.Len(t, after.Waiting, 2)
}

// A store shows a charter whose custodians were others: they get no shares where this appliance has seen a later one.
func TestAttack_ARenewalUnderAnOlderCharter(t *testing.T) {
	state := t.TempDir()
	i, r, _ := inProcess(t, roomOptions{state: state}, nil)
	fold := r.known().fold
	require.NoError(t, r.renewable(fold, i.charter))
	later := *i.charter
	later.Version = 2
	require.NoError(t, writeCustodians(state, &later))
	err := r.renewable(fold, i.charter)
	requireKind(t, seal.KindStore, err)
	require.ErrorContains(t, err, "has seen 2")
	require.NoError(t, os.WriteFile(filepath.Join(state, custodiansFile), []byte("{}"), 0o600))
	requireKind(t, seal.KindStore, r.renewable(fold, i.charter))
}

// The keeper asks for itself what its worker asked: who is no custodian gets no share, and the custody of another
// appliance or instance is not renewed.
func TestAttack_AWorkerThatAsksForAnybody(t *testing.T) {
	dir := t.TempDir()
	who := newPeople(t)
	split(t, dir, who, processPIN)
	file := unsealKeyFile{state: dir}
	_, err := file.public()
	require.NoError(t, err)
	key, err := hpke.MLKEM768X25519().GenerateKey()
	require.NoError(t, err)
	n := &renewing{state: dir, appliance: testAppliance, unsealKey: file.private, now: time.Now}
	part := renewPart{Charter: policy.DigestOf(nil), Instance: "test", Custodians: who.seats(2)}
	r, _, err := n.take(&part)
	require.NoError(t, err)
	receive := part
	receive.Nonce, receive.Document, receive.ReceiveKey = r.Nonce, policy.DigestOf([]byte("1")), key.PublicKey().Bytes()
	receive.Custodian = "stranger"
	_, _, err = n.take(&receive)
	requireKind(t, seal.KindInvalid, err)
	require.ErrorContains(t, err, "stranger is no custodian")
	receive.Custodian = "custodian-1"
	_, _, err = n.take(&receive)
	require.NoError(t, err)
	other := part
	other.Instance = "other"
	_, _, err = n.take(&other)
	requireKind(t, seal.KindInvalid, err)
	elsewhere := &renewing{state: dir, appliance: secondAppliance, unsealKey: file.private, now: time.Now}
	_, _, err = elsewhere.take(&part)
	requireKind(t, seal.KindInvalid, err)
}
