package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json/v2"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// etcd is the site's store, as its seal reaches it.
func (s *site) etcd() *clientv3.Client {
	s.t.Helper()
	cert, err := tls.LoadX509KeyPair(s.store.CertFile, s.store.KeyFile)
	require.NoError(s.t, err)
	ca, err := os.ReadFile(s.store.CAFile)
	require.NoError(s.t, err)
	roots := x509.NewCertPool()
	require.True(s.t, roots.AppendCertsFromPEM(ca))
	c, err := clientv3.New(clientv3.Config{Endpoints: s.store.Endpoints, DialTimeout: 10 * time.Second,
		TLS: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, RootCAs: roots, ServerName: s.store.ServerName}})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// batches are the store's, in their order.
func (s *site) batches() [][]byte {
	s.t.Helper()
	got, err := s.etcd().Get(s.t.Context(), "/seal/log/", clientv3.WithPrefix())
	require.NoError(s.t, err)
	var out [][]byte
	for _, kv := range got.Kvs {
		out = append(out, kv.Value)
	}
	return out
}

// api serves the store's ledger as serve does, and points the environment at it.
func (s *site) api(root policy.Digest) *appliance {
	a := serve(s.t, &world{t: s.t, root: root})
	a.values = s.batches()
	return a
}

func (s *site) door() *seal.Client {
	s.t.Helper()
	door, err := seal.Dial(s.t.Context(), s.path("seal.sock"))
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = door.Close() })
	return door
}

// by signs a document with custodians' keys.
func (s *site) by(kind string, document []byte, custodians ...string) *policy.Envelope {
	s.t.Helper()
	e := &policy.Envelope{PayloadType: policy.PayloadType(kind), Payload: document}
	for _, name := range custodians {
		signer, err := policy.LoadSignerPEM([]byte(s.read(name + ".key")))
		require.NoError(s.t, err)
		require.NoError(s.t, e.AddSignature(signer))
	}
	return e
}

// furnish makes a wallet and the next charter, changed, each a batch.
func (s *site) furnish(change func(*policy.Charter)) (wallet string) {
	s.t.Helper()
	wallet = newID("wallet")
	door := s.door()
	_, err := door.WalletCreate(s.t.Context(), seal.WalletCreateRequest{WalletID: wallet, VaultAccountID: newID("vault"), Network: "quantum-chain", Scheme: tx.Dilithium3, Label: "hot"})
	require.NoError(s.t, err)
	charter, err := policy.ParseCharter([]byte(s.read("ceremony/charter1.json")))
	require.NoError(s.t, err)
	next := nextCharter(charter, policy.DigestOf([]byte(s.read("ceremony/charter1.json"))))
	change(next)
	document, err := next.Encode()
	require.NoError(s.t, err)
	_, err = door.CharterApply(s.t.Context(), s.by(policy.DocCharter, document, "carol", "dave"))
	require.NoError(s.t, err)
	return wallet
}

// TestRecover: the store lost its newest batch. The seal refuses it, custodians accept
// it, and what the lost ledger knew of nonces is not forgotten.
func TestRecover(t *testing.T) {
	s := newSite(t)
	s.start()
	got := s.init(nil, s.filed()...)
	require.Equal(t, exitDone, got.code, got.err)
	root := s.begun()
	wallet := s.furnish(func(c *policy.Charter) { c.Groups["desk"] = []string{"ann"} })
	whole := s.api(root)
	require.Equal(t, exitDone, mintwarden(t, "charter", "show", "--next").code) // this machine's copy has all three batches
	require.Len(t, whole.values, 3)

	_, err := s.etcd().Delete(t.Context(), fmt.Sprintf("/seal/log/%020d", 3))
	require.NoError(t, err)
	s.stop()
	s.start()
	s.unsealBy(root, "carol", "erin")
	s.await(func(st *seal.Status) bool { return st.Doubt != nil && st.Doubt.Known != nil })
	whole.mu.Lock()
	whole.values = whole.values[:2]
	whole.mu.Unlock()
	require.Equal(t, exitUnverified, mintwarden(t, "charter", "show", "--next").code, "the copy does not go back")

	file := s.path("recover.json")
	recover := func(more ...string) result {
		return mintwarden(t, append([]string{"recover", "--document", file, "--yes"}, more...)...)
	}
	got = recover("--key", s.path("carol.key"))
	require.Equal(t, exitUsage, got.code, got.err)
	require.Contains(t, got.err, "it is begun on the appliance")
	got = recover("--socket", s.path("seal.sock"), "--lane", wallet+"=7", "--key", s.path("carol.key"))
	require.Equal(t, exitUsage, got.code, got.err) // production: --yes needs a digest
	for _, words := range []string{"goes on from batch 2", "up to batch 3", "1 batches", "Epoch 2 begins", "Wallet " + wallet + " goes on at nonce 7; the accepted ledger is at 0"} {
		require.Contains(t, got.out, words)
	}
	// What is typed later does not go into a document that is there, and is not passed over either.
	got = recover("--socket", s.path("seal.sock"), "--lane", wallet+"=9", "--key", s.path("carol.key"))
	require.Equal(t, exitUsage, got.code, got.err)
	require.Contains(t, got.err, "--lane "+wallet+"=9: the document of before does not say that")
	require.Contains(t, got.err, file+draftEnding)
	document := s.read("recover.json" + draftEnding)
	digest := policy.DigestOf([]byte(document))
	d, err := ledger.ParseRecover([]byte(document))
	require.NoError(t, err)
	require.NotNil(t, d.Usage, "all of the lost ledger is known here")
	for _, name := range []string{"carol", "dave"} { // custodians sign where they are
		got = recover("--key", s.path(name+".key"), "--expect-digest", string(digest))
		require.Equal(t, exitDone, got.code, got.err)
	}
	require.Contains(t, got.out, "That is enough")
	got = recover("--socket", s.path("seal.sock"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "Recovered: batch 3")

	fold := ledger.NewFold(root)
	for _, value := range s.batches() {
		_, err := fold.Apply(value)
		require.NoError(t, err)
	}
	require.Equal(t, uint64(2), fold.Epoch())
	require.Equal(t, uint64(7), fold.NextNonce(wallet))
	whole.mu.Lock()
	whole.values = s.batches()
	whole.mu.Unlock()
	s.await(func(st *seal.Status) bool { return !st.Sealed && st.Doubt == nil })
	got = mintwarden(t, "recover", "--document", s.path("again.json"), "--socket", s.path("seal.sock"), "--yes", "--key", s.path("carol.key"))
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "nothing to recover")
}

// TestInitJoin: a second appliance that shares the token joins; its PINs come from the
// first one's custody, its custodians get shares of its own.
func TestInitJoin(t *testing.T) {
	one := newSite(t)
	one.start()
	got := one.init(nil, one.filed()...)
	require.Equal(t, exitDone, got.code, got.err)
	root := one.begun()

	two := one.second(root)
	two.start()
	a := one.api(root)
	join := func() result {
		return two.init(nil, append(two.filed(), "--join", "--custody", one.path("state/custody.json"), "--old-shares", one.path("shares"))...)
	}
	got = join()
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "has no appliance appliance-2 with these keys")

	// The custodians put its entry into the charter.
	var entry policy.Appliance
	require.NoError(t, readStored(two.path("ceremony"), "appliance.json", &entry))
	one.furnish(func(c *policy.Charter) { c.Appliances = append(c.Appliances, entry) })
	a.mu.Lock()
	a.values = one.batches()
	a.mu.Unlock()
	got = join()
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "mintwarden charter admit")

	// The first appliance writes the ledger: there it is handed in.
	admit := mintwarden(t, "charter", "admit", "--document", two.path("ceremony/join.json"), "--socket", one.path("seal.sock"))
	require.Equal(t, exitDone, admit.code, admit.err)
	require.Contains(t, admit.out, "Recorded in batch 4")
	a.mu.Lock()
	a.values = one.batches()
	a.mu.Unlock()
	got = join()
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "takes part already")
	status := two.await(func(st *seal.Status) bool { return st.Sequence == 4 && st.Doubt == nil })
	require.Equal(t, "acme-1", status.Instance)
	require.NotEqual(t, one.read("shares/carol.share"), two.read("shares/carol.share"))
}

// TestAnApplianceThatForgetsTwiceJoinsTwice: a join stands in for one loss of memory. The
// appliance wrote batches since, and its disk is lost once more.
func TestAnApplianceThatForgetsTwiceJoinsTwice(t *testing.T) {
	s := newSite(t)
	s.start()
	got := s.init(nil, s.filed()...)
	require.Equal(t, exitDone, got.code, got.err)
	root := s.begun()
	a := s.api(root)
	caughtUp := func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.values = s.batches()
	}
	forget := func() {
		s.stop()
		require.NoError(t, os.Remove(s.path("state/journal")))
		s.start()
		s.unsealBy(root, "carol", "erin")
		s.await(func(st *seal.Status) bool { return st.Doubt != nil && st.Doubt.Kind == "stranger" })
		caughtUp()
	}
	remembers := func(st *seal.Status) bool { return !st.Sealed && st.Doubt == nil }
	join := func() result { return s.init(nil, append(s.filed(), "--join")...) }

	forget()
	got = join()
	require.Equal(t, exitDone, got.code, got.err+s.read("seal.log"))
	require.Contains(t, got.out, "takes part since batch 2")
	caughtUp()
	got = join()
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "takes part already")
	got = s.init(nil, append(s.filed(), "--join", "--json")...)
	require.Equal(t, exitDone, got.code, got.err)
	var joined begunInstance
	require.NoError(t, json.Unmarshal([]byte(got.out), &joined), got.out)
	require.Equal(t, begunInstance{Instance: "acme-1", ApplianceID: "appliance-1", Charter1: root}, joined)
	s.furnish(func(c *policy.Charter) { c.Groups["desk"] = []string{"ann"} })

	forget()
	got = join()
	require.Equal(t, exitRefused, got.code, got.out+got.err)
	require.Contains(t, got.err, "was recorded in batch 2, and the appliance has lost its memory since")
	for _, ending := range []string{"", draftEnding} {
		require.Contains(t, got.err, s.path("ceremony/join.json"+ending))
		require.NoError(t, os.Remove(s.path("ceremony/join.json"+ending)))
	}
	got = join()
	require.Equal(t, exitDone, got.code, got.err+s.read("seal.log"))
	require.Contains(t, got.out, "takes part since batch 5")
	s.await(remembers)
}

// second is another appliance of the same instance, with the same store and token.
func (s *site) second(root policy.Digest) *site {
	s.t.Helper()
	dir, err := os.MkdirTemp("", "mw")
	require.NoError(s.t, err)
	two := &site{t: s.t, dir: dir, store: s.store}
	s.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config := s.read("seal.toml")
	require.Contains(s.t, config, string(root))
	two.write("seal.toml", strings.ReplaceAll(config, "appliance-1", "appliance-2"))
	two.write("ceremony.toml", s.read("ceremony.toml"))
	for _, name := range append(append([]string{}, planCustodians...), planPersons...) {
		two.write(name+".key", s.read(name+".key"))
		two.write(name+".pub", s.read(name+".pub"))
	}
	return two
}
