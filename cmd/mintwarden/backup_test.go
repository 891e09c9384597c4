package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/daemon/backup"
	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// serveConfig writes a mintwarden.toml for the etcd of a seal's connection.
func (s *site) serveConfig(name string, root policy.Digest, of store.Config, auditDir string) string {
	s.t.Helper()
	dir := filepath.Dir(of.CertFile)
	c := config.Config{Appliance: "appliance-1", Tenant: "acme", Charter1: string(root),
		API:     config.API{Listen: "127.0.0.1:8443", ClientCA: []string{of.CAFile}, Certificates: []config.Certificate{{Cert: of.CertFile, Key: of.KeyFile}}},
		Monitor: config.Monitor{Listen: "127.0.0.1:9464"}, Seal: config.Seal{Socket: s.path("seal.sock")},
		Store: config.Store{Endpoints: of.Endpoints, CA: of.CAFile, Cert: filepath.Join(dir, store.UserServe+".crt"), Key: filepath.Join(dir, store.UserServe+".key")},
		Networks: []config.Network{{Name: "quantum-chain", Kind: "quantum", ChainID: 2080377, RPCURLs: []string{"http://127.0.0.1:8545"}, Confirmations: 2,
			Scheme: "dilithium3", Currency: "QC"}},
		Audit: config.Audit{Dir: auditDir}}
	text, err := c.Encode()
	require.NoError(s.t, err)
	s.write(name, string(text))
	return s.path(name)
}

// daemonBuilt is a real mintwardend on the PATH.
func daemonBuilt(t *testing.T) string {
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", dir+"/", "github.com/mintwarden/mintwarden/cmd/mintwardend").CombinedOutput()
	require.NoError(t, err, string(out))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return filepath.Join(dir, "mintwardend")
}

// held is everything in a store that is no presence.
func held(t *testing.T, c *clientv3.Client) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, prefix := range []string{store.Root, store.SealRoot} {
		r, err := c.Get(t.Context(), prefix, clientv3.WithPrefix())
		require.NoError(t, err)
		for _, kv := range r.Kvs {
			if kv.Lease == 0 {
				all[string(kv.Key)] = string(kv.Value)
			}
		}
	}
	return all
}

// tree is what lies in a directory.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			all[strings.TrimPrefix(path, dir)] = string(text)
		}
		return err
	}))
	return all
}

// TestBackupAndRestore: an appliance is backed up while it is written to, lost, and restored onto another etcd, in
// spite of damage, of things in the way and of being killed; the seal, which remembers more, refuses it until the
// custodians recover.
func TestBackupAndRestore(t *testing.T) {
	s := newSite(t)
	program := daemonBuilt(t)
	s.start()
	got := s.init(nil, s.filed()...)
	require.Equal(t, exitDone, got.code, got.err)
	root := s.begun()
	s.furnish(func(c *policy.Charter) { c.Groups["desk"] = []string{"ann"} })
	conf := s.serveConfig("serve.toml", root, s.store, s.path("audit"))
	kept := map[string]string{"/tlog/state": "{}", "/tlog/tile/0/000.p/3": "edge", "/tlog/tile/0/001": "full", "/entries/00000000000000000001.jsonl": strings.Repeat("entry\n", 100)}
	for name, text := range maps.Clone(kept) {
		require.NoError(t, os.MkdirAll(filepath.Dir(s.path("audit"+name)), 0o700))
		s.write("audit"+name, text)
	}
	s.write("audit/lock", "")
	s.write("audit/entries/x.new", "half")

	// Two keys, far from each other, say the same at every revision.
	mine := s.store
	mine.CertFile, mine.KeyFile = filepath.Join(filepath.Dir(s.store.CertFile), store.UserServe+".crt"), filepath.Join(filepath.Dir(s.store.CertFile), store.UserServe+".key")
	db, err := store.Open(t.Context(), mine, storetest.Logger(t), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	for n := range 200 {
		tx := db.Tx()
		for k := range 90 {
			tx.Put(fmt.Sprintf("/mw/filler/%04d/%02d", n, k), bytes.Repeat([]byte{byte(n)}, 1000))
		}
		_, err := tx.Commit(t.Context())
		require.NoError(t, err)
	}
	count := 0
	write := func() {
		count++
		tx := db.Tx()
		for _, key := range []string{"/mw/aaa", "/mw/zzz"} {
			tx.Put(key, fmt.Append(nil, count))
		}
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Error(err)
		}
	}
	write()
	var writing sync.WaitGroup
	stop := make(chan struct{})
	writing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				write()
			}
		}
	})
	file := s.path("backup.tar.gz")
	flags := []string{"--config", conf, "--seal-config", s.path("seal.toml")}
	got = mintwarden(t, append([]string{"backup", file}, flags...)...)
	close(stop)
	writing.Wait()
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "verified from charter 1 to batch 3")
	require.Contains(t, got.out, "seal      1 files")
	again := mintwarden(t, append([]string{"backup", file}, flags...)...)
	require.Equal(t, exitRefused, again.code)
	require.Contains(t, again.err, "not overwritten")
	listed, err := exec.Command("tar", "tzf", file).Output()
	require.NoError(t, err)
	require.Contains(t, string(listed), "manifest.json")
	require.NotContains(t, string(listed), "unseal")

	content, err := os.ReadFile(file)
	require.NoError(t, err)
	t.Run("AFlippedByteAnywhere", func(t *testing.T) {
		var places []int
		for n := range 100 {
			places = append(places, n, len(content)-1-n, n*(len(content)/100))
		}
		for _, n := range places {
			damaged := bytes.Clone(content)
			damaged[n] ^= 0x40
			s.write("damaged", string(damaged))
			_, err := backup.Open(s.path("damaged"))
			require.ErrorIs(t, err, backup.ErrUnverified, n)
		}
		for _, n := range []int{4, len(content) / 2, len(content) - 1} { // by the program itself
			damaged := bytes.Clone(content)
			damaged[n] ^= 1
			s.write("damaged", string(damaged))
			got := mintwarden(t, append([]string{"restore", s.path("damaged")}, flags...)...)
			require.Equal(t, exitUnverified, got.code, got.err)
		}
		s.write("damaged", string(content[:len(content)-7]))
		require.Equal(t, exitUnverified, mintwarden(t, append([]string{"restore", "--verify", s.path("damaged")}, flags...)...).code)
	})
	t.Run("AnotherCharter", func(t *testing.T) {
		other := s.serveConfig("other.toml", policy.DigestOf([]byte("other")), s.store, s.path("audit"))
		got := mintwarden(t, "restore", "--verify", file, "--config", other, "--seal-config", "")
		require.Equal(t, exitUnverified, got.code, got.err)
	})
	require.Equal(t, exitDone, mintwarden(t, append([]string{"restore", "--verify", file}, flags...)...).code)

	// What happens after the backup is lost.
	s.late()
	s.stop()
	pair := func(c store.Config) []string {
		dir := filepath.Dir(c.CertFile)
		return []string{"--root-cert", filepath.Join(dir, "root.crt"), "--root-key", filepath.Join(dir, "root.key")}
	}
	got = mintwarden(t, append(append([]string{"restore", file}, flags...), pair(s.store)...)...)
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, "not empty")

	fresh := storetest.Start(t)
	to := fresh.ClientConfig(store.UserSeal)
	conf2 := s.serveConfig("serve2.toml", root, to, s.path("audit2"))
	require.NoError(t, os.Rename(s.path("state/custody.json"), s.path("custody.kept")))
	args := append([]string{"restore", "--config", conf2, "--seal-config", s.path("seal.toml"), file}, pair(to)...)
	s.write("audit2", "")
	require.NoError(t, os.Remove(s.path("audit2")))
	require.NoError(t, os.Mkdir(s.path("audit2"), 0o700))
	s.write("audit2/stray", "")
	got = mintwarden(t, args...)
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "stray")
	require.NoError(t, os.Remove(s.path("audit2/stray")))

	old := s.store
	s.store = to
	etcd := s.etcd()
	require.Empty(t, held(t, etcd), "nothing was written before all was looked at")
	for _, at := range []string{"/mw/restoring", "/mw/filler/0050/00"} {
		killAt(t, etcd, at, program, args)
		require.Contains(t, held(t, etcd), "/mw/restoring", "it died before its end")
	}
	served, err := store.Open(t.Context(), fresh.ClientConfig(store.UserServe), storetest.Logger(t), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = served.Close() })
	require.ErrorIs(t, served.Restored(t.Context()), store.ErrRestoring, "nobody serves a part of an appliance")
	got = mintwarden(t, args...)
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "mintwarden recover")
	require.NoError(t, served.Restored(t.Context()))

	after := held(t, etcd)
	require.Equal(t, after["/mw/aaa"], after["/mw/zzz"], "one revision")
	require.Len(t, after, 200*90+2+3)
	s.store = old
	before := held(t, s.etcd())
	for key, value := range after {
		if key != "/mw/aaa" && key != "/mw/zzz" {
			require.Equal(t, before[key], value, key)
		}
	}
	require.Equal(t, kept, tree(t, s.path("audit2")))
	require.Equal(t, s.read("custody.kept"), s.read("state/custody.json"))
	got = mintwarden(t, args...)
	require.Equal(t, exitRefused, got.code, "what is restored is not empty")

	// The seal remembers batch 4.
	for from, new := range map[string]string{old.Endpoints[0]: to.Endpoints[0], old.CAFile: to.CAFile, old.CertFile: to.CertFile, old.KeyFile: to.KeyFile} {
		s.change("seal.toml", from, new)
	}
	s.store = to
	s.start()
	s.unsealBy(root, "carol", "erin")
	st := s.await(func(st *seal.Status) bool { return st.Doubt != nil && st.Doubt.Known != nil })
	require.Equal(t, "behind", st.Doubt.Kind)
	s.api(root)
	document := s.path("recover.json")
	recover := func(more ...string) result {
		return mintwarden(t, append([]string{"recover", "--document", document, "--yes"}, more...)...)
	}
	recover("--socket", s.path("seal.sock"), "--key", s.path("carol.key")) // begins it; production wants its digest
	digest := policy.DigestOf([]byte(s.read("recover.json" + draftEnding)))
	for _, name := range []string{"carol", "dave"} {
		got = recover("--key", s.path(name+".key"), "--expect-digest", string(digest))
		require.Equal(t, exitDone, got.code, got.err)
	}
	got = recover("--socket", s.path("seal.sock"))
	require.Equal(t, exitDone, got.code, got.err)
	s.await(func(st *seal.Status) bool { return !st.Sealed && st.Doubt == nil })
	fold := ledger.NewFold(root)
	for _, value := range s.batches() {
		_, err := fold.Apply(value)
		require.NoError(t, err)
	}
	require.EqualValues(t, 2, fold.Epoch())

	// A store that let go of the ledger's beginning.
	s.stop()
	batches := s.batches()
	a, err := ledger.OpenArchive(s.path("state/archive"))
	require.NoError(t, err)
	require.NoError(t, a.Append(1, batches[:3]...))
	require.NoError(t, a.Close())
	for n := range uint64(2) {
		_, err := s.etcd().Delete(t.Context(), ledger.Key(n+1))
		require.NoError(t, err)
	}
	short := s.path("short.tar.gz")
	got = mintwarden(t, "backup", short, "--config", conf2, "--seal-config", "")
	require.Equal(t, exitRefused, got.code, got.err)
	require.Contains(t, got.err, "begins with batch 3")
	require.NoFileExists(t, short)
	got = mintwarden(t, "backup", short, "--config", conf2, "--seal-config", s.path("seal.toml"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "verified from charter 1 to batch 4")

	third := storetest.Start(t).ClientConfig(store.UserSeal)
	s.write("seal3.toml", "state = \"state3\"\n")
	require.NoError(t, os.Mkdir(s.path("state3"), 0o700))
	part, err := ledger.OpenArchive(s.path("state3/archive"))
	require.NoError(t, err)
	require.NoError(t, part.Append(1, batches[0]))
	require.NoError(t, part.Close())
	args3 := append([]string{"restore", "--config", s.serveConfig("serve3.toml", root, third, s.path("audit3")), "--seal-config", s.path("seal3.toml"), short}, pair(third)...)
	got = mintwarden(t, args3...)
	require.Equal(t, exitRefused, got.code, "an archive is there")
	require.NoError(t, os.RemoveAll(s.path("state3/archive")))
	got = mintwarden(t, args3...)
	require.Equal(t, exitDone, got.code, got.err)
	whole, err := ledger.ReadArchive(s.path("state3/archive"))
	require.NoError(t, err)
	require.EqualValues(t, 2, whole.Last())
	next := 0
	for value, err := range whole.Batches() {
		require.NoError(t, err)
		require.Equal(t, batches[next], value)
		next++
	}
	s.store = third
	require.Equal(t, batches[2:], s.batches())
}

// late makes one batch more.
func (s *site) late() {
	s.t.Helper()
	_, err := s.door().WalletCreate(s.t.Context(), seal.WalletCreateRequest{WalletID: newID("wallet"), VaultAccountID: newID("vault"), Network: "quantum-chain", Scheme: "dilithium3", Label: "late"})
	require.NoError(s.t, err)
}

// killAt runs a program and kills it once the store has a key.
func killAt(t *testing.T, etcd *clientv3.Client, key, program string, args []string) {
	t.Helper()
	seen := etcd.Watch(t.Context(), key)
	there, err := etcd.Get(t.Context(), key)
	require.NoError(t, err)
	cmd := exec.Command(program, slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--patience" })...)
	require.NoError(t, cmd.Start())
	if len(there.Kvs) == 0 {
		select {
		case <-seen:
		case <-time.After(2 * sealPatience):
			t.Errorf("%s does not come to be", key)
		}
	}
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
}
