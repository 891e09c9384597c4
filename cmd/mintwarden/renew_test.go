package main

import (
	"encoding/json/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// ledgerOf serves the site's ledger as its API would.
func (s *site) ledgerOf(root policy.Digest) {
	s.t.Helper()
	got, err := s.etcd().Get(s.t.Context(), "/seal/log/", clientv3.WithPrefix())
	require.NoError(s.t, err)
	w := &world{t: s.t, root: root}
	for _, kv := range got.Kvs {
		w.values = append(w.values, kv.Value)
	}
	serve(s.t, w)
}

// A whole renewal by the commands, on a real appliance: two custodians at its terminal,
// one on a machine of her own with files that a courier carries. Afterwards the new
// shares unseal it and the old ones do not.
func TestRenew(t *testing.T) {
	s := newSite(t)
	s.start()
	got := s.init(nil, s.filed()...)
	require.Equal(t, exitDone, got.code, got.err+s.read("seal.log"))
	root := s.begun()
	s.ledgerOf(root)
	socket := s.path("seal.sock")
	renew := func(args ...string) result {
		t.Helper()
		return mintwarden(t, append([]string{"renew"}, args...)...)
	}
	done := func(args ...string) result {
		t.Helper()
		got := renew(append(args, "--charter1", string(root))...)
		require.Equal(t, exitDone, got.code, got.err+s.read("seal.log"))
		return got
	}
	mine := func(name string) []string {
		return []string{"--key", s.path(name + ".key"), "--receive", s.path(name + ".receive")}
	}
	old := func(name string) string { return s.path("shares/" + name + ".share") }

	got = done("show", "--socket", socket, "--out", s.path("renewal.json"))
	require.Contains(t, got.out, "Good now: the shares of carol, dave and erin")
	got = renew(append(mine("carol"), "take", "--charter1", string(root), "--socket", socket, "--keep", s.path("carol.new"))...)
	require.NotEqual(t, exitDone, got.code, "nothing is split")
	require.NoFileExists(t, s.path("carol.new"))
	for _, args := range [][]string{{"show", "--socket", socket}, append(mine("erin"), "give", "--request", s.path("renewal.json"), "--share", old("erin"))} {
		key := s.read("erin.key")
		got = renew(append(args, "--charter1", string(root), "--out", s.path("erin.key"))...)
		require.Equal(t, exitUsage, got.code, got.err)
		require.Contains(t, got.err, "something else is there")
		require.Equal(t, key, s.read("erin.key"))
		require.NoFileExists(t, s.path("erin.receive"))
	}

	got = renew(append(mine("carol"), "give", "--charter1", string(root), "--socket", socket, "--share", old("dave"))...)
	require.Equal(t, exitRefused, got.code, got.err)
	require.NoFileExists(t, s.path("carol.receive"), "what the seal refused leaves nothing in the way")
	for _, name := range []string{"carol", "dave"} {
		done(append(mine(name), "give", "--socket", socket, "--share", old(name))...)
	}
	got = renew(append(mine("carol"), "give", "--charter1", string(root), "--socket", socket, "--share", old("carol"))...)
	require.NotEqual(t, exitDone, got.code)
	require.Contains(t, got.err, "exists; keep it if you gave already", "a key that is waited for is not replaced")
	got = done(append(mine("erin"), "give", "--request", s.path("renewal.json"), "--share", old("erin"), "--out", s.path("erin.json"), "--json")...)
	require.JSONEq(t, s.read("erin.json"), got.out)
	got = done("submit", "--socket", socket, "--document", s.path("erin.json"))
	require.Contains(t, got.out, "The new shares are split")

	done("show", "--socket", socket, "--out", s.path("renewal.json"))
	stolen := renew("take", "--charter1", string(root), "--request", s.path("renewal.json"), "--key", s.path("dave.key"), "--receive", s.path("carol.receive"), "--keep", s.path("x"), "--out", s.path("y"))
	require.NotEqual(t, exitDone, stolen.code)
	require.Contains(t, stolen.err, "does not decrypt")
	done(append(mine("erin"), "take", "--request", s.path("renewal.json"), "--keep", s.path("erin.new"), "--out", s.path("erin.json"))...)
	done("submit", "--socket", socket, "--document", s.path("erin.json"))
	for _, name := range []string{"carol", "dave"} {
		done(append(mine(name), "take", "--socket", socket, "--keep", s.path(name+".new"))...)
	}
	s.await(func(st *seal.Status) bool { return !st.Sealed })
	got = done("show", "--socket", socket)
	require.Contains(t, got.out, "shares were renewed, and the token's PINs changed")
	for _, name := range planCustodians {
		info, err := os.Stat(s.path(name + ".new"))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		require.NotContains(t, s.read("seal.log")+s.read("renewal.json"), s.read(name+".new"))
	}

	require.Equal(t, exitDone, mintwarden(t, "seal", "--socket", socket).code)
	s.await(func(st *seal.Status) bool { return st.Sealed && st.Unsealing != nil })
	refused := mintwarden(t, "unseal", "--charter1", string(root), "--socket", socket, "--key", s.path("carol.key"), "--share", old("carol"))
	require.Equal(t, exitRefused, refused.code, refused.err)
	require.Contains(t, refused.err, "foreign")
	for _, name := range []string{"erin", "dave"} {
		require.NoError(t, os.Rename(s.path(name+".new"), old(name)))
		s.unsealOffline(name)
	}
	s.await(func(st *seal.Status) bool { return !st.Sealed })
}

// Two custodians have the wrapping key rotated; one alone does not.
func TestRotate(t *testing.T) {
	s := newSite(t)
	s.start()
	got := s.init(nil, s.filed()...)
	require.Equal(t, exitDone, got.code, got.err+s.read("seal.log"))
	root := s.begun()
	s.ledgerOf(root)
	rotate := func(args ...string) result {
		t.Helper()
		return mintwarden(t, append([]string{"rotate", "--charter1", string(root), "--document", s.path("rotate.json"), "--yes"}, args...)...)
	}
	got = rotate("--key", s.path("carol.key"))
	require.Equal(t, exitUsage, got.code, got.err)
	require.Contains(t, got.err, "--to")
	draft := &policy.Rotate{Format: 1, Instance: "acme-1", ApplianceID: "appliance-1", Charter: root, WrappingKey: "mintwarden-wrapping-2", CreatedAt: policy.Seconds(time.Now())}
	payload, err := draft.Encode()
	require.NoError(t, err)
	s.write("rotate.json"+draftEnding, string(payload))
	digest := "--expect-digest=" + string(policy.DigestOf(payload))
	for flag, says := range map[string]string{"--to=mintwarden-wrapping-3": "mintwarden-wrapping-2", "--appliance=appliance-9": "appliance-1"} {
		got = rotate(digest, "--key", s.path("carol.key"), flag) // what is typed does not go into a document that is there
		require.Equal(t, exitUsage, got.code, got.err)
		require.Contains(t, got.err, "the document of before says "+says)
	}
	got = rotate(digest, "--key", s.path("carol.key"), "--socket", s.path("seal.sock"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "Signed: 1 of 2")
	require.NotContains(t, s.read("seal.log"), "wrapping key rotates")
	got = rotate(digest, "--key", s.path("dave.key"), "--json")
	require.Equal(t, exitDone, got.code, got.err)
	var enough gathered
	require.NoError(t, json.Unmarshal([]byte(got.out), &enough), got.out)
	require.Equal(t, []string{"carol", "dave"}, enough.SignedBy)
	require.False(t, enough.Applied, "nobody handed it in")

	require.Equal(t, exitDone, mintwarden(t, "seal", "--socket", s.path("seal.sock")).code)
	s.await(func(st *seal.Status) bool { return st.Sealed && st.Unsealing != nil })
	got = rotate(digest, "--socket", s.path("seal.sock"))
	require.Equal(t, exitSealed, got.code, got.err)
	s.unsealBy(root, "carol", "erin")
	got = rotate(digest, "--socket", s.path("seal.sock"))
	require.Equal(t, exitDone, got.code, got.err+s.read("seal.log"))
	require.Contains(t, got.out, "wrapped under mintwarden-wrapping-2 now")
	require.Contains(t, s.read("seal.log"), "old wrapping key destroyed")
}
