package auditlog_test

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/mldsa"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	tessera "github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintwarden/mintwarden/daemon/audit"
	auditlog "github.com/mintwarden/mintwarden/daemon/audit/log"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// notary signs what a seal would: a tree that extends the last one, and holds the ledger's newest batch. It
// writes each as a batch of the ledger, as the seal does. (The seal's own rules are tested with the seal.)
type notary struct {
	t      *testing.T
	ledger *store.Store // with the seal's rights
	keys   *seal.CheckpointKeys
	log    ed25519.PrivateKey
	cosign *mldsa.PrivateKey

	mu       sync.Mutex
	last     *seal.Tree
	sequence uint64
	head     policy.Digest
	refuse   error
	lost     bool // the answer does not arrive
}

func newNotary(t *testing.T, srv *storetest.Server) *notary {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	pq, err := mldsa.GenerateKey(mldsa.MLDSA44())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := seal.NewCheckpointKeys("test", "appliance-1", public, pq.PublicKey().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return &notary{t: t, ledger: srv.Open(store.UserSeal), keys: keys, log: private, cosign: pq, head: policy.NoDigest}
}

// batch writes the next one.
func (n *notary) batch(record string) {
	n.t.Helper()
	n.sequence++
	value := fmt.Appendf(nil, `{"author":"a","previous":"%s","records":[{%s}],"sequence":%d}`, n.head, record, n.sequence)
	n.head = policy.DigestOf(value)
	tx := n.ledger.Tx()
	tx.Put(fmt.Sprintf("%s%020d", store.SealLog, n.sequence), value)
	if _, err := tx.Commit(n.t.Context()); err != nil {
		n.t.Error(err)
	}
}

func (n *notary) write(record string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.batch(record)
}

func (n *notary) recorded() (seal.Tree, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last == nil {
		return seal.Tree{}, false
	}
	return *n.last, true
}

func hashesOf(proof [][]byte) (out []tlog.Hash) {
	for _, h := range proof {
		out = append(out, tlog.Hash(h))
	}
	return out
}

func (n *notary) Checkpoint(_ context.Context, q seal.CheckpointRequest) (*seal.CheckpointResult, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse != nil {
		return nil, n.refuse
	}
	if n.last == nil || *n.last != q.Tree {
		root, err := q.Tree.Hash()
		if err != nil {
			return nil, err
		}
		if n.last != nil {
			old, err := n.last.Hash()
			if err != nil {
				return nil, err
			}
			if err := tlog.CheckTree(hashesOf(q.Proof.Consistency), int64(q.Tree.Size), root, int64(n.last.Size), old); err != nil {
				return nil, seal.Errorf(seal.KindConflict, "%v", err)
			}
		}
		b := q.Proof.Ledger
		if b.Sequence != n.sequence {
			return nil, seal.Errorf(seal.KindConflict, "the tree ends with batch %d, the ledger with %d", b.Sequence, n.sequence)
		}
		leaf := tlog.RecordHash(seal.LedgerLeaf(b.Sequence, n.head))
		if err := tlog.CheckRecord(hashesOf(b.Inclusion), int64(q.Tree.Size), root, int64(b.Index), leaf); err != nil {
			return nil, seal.Errorf(seal.KindConflict, "%v", err)
		}
		n.last = &q.Tree
		n.batch(fmt.Sprintf(`"root":"%s","size":%d,"type":"checkpoint"`, q.Tree.Root, q.Tree.Size))
	}
	if n.lost {
		return nil, seal.ErrUnreachable
	}
	signed, err := n.sign(q.Tree)
	return &seal.CheckpointResult{Sequence: n.sequence, Note: signed, Keys: n.keys}, err
}

// signer signs a note with any key.
type signer struct {
	note.Verifier
	by func([]byte) ([]byte, error)
}

func (s signer) Sign(b []byte) ([]byte, error) { return s.by(b) }

func (n *notary) sign(tree seal.Tree) (string, error) {
	c := seal.Checkpoint{Origin: seal.Origin("test"), Tree: tree}
	text, err := c.Text()
	if err != nil {
		return "", err
	}
	log, cosigner, err := n.keys.Verifiers()
	if err != nil {
		return "", err
	}
	at := time.Unix(1764000000, 0)
	signed, err := note.Sign(&note.Note{Text: text}, signer{log, func(b []byte) ([]byte, error) { return ed25519.Sign(n.log, b), nil }},
		signer{cosigner, func([]byte) ([]byte, error) {
			m, err := seal.CosignedMessage(cosigner.Name(), at, c)
			if err != nil {
				return nil, err
			}
			sig, err := n.cosign.Sign(nil, m, nil)
			return seal.Cosignature(at, sig), err
		}})
	return string(signed), err
}

func (n *notary) options(dir string) auditlog.Options {
	return auditlog.Options{Dir: dir, Appliance: filepath.Base(dir), Seal: n, CheckpointEvery: 20 * time.Millisecond, Ledger: auditlog.Ledger{
		LastCheckpoint: n.recorded,
		Check: func(_ context.Context, k *seal.CheckpointKeys) error {
			if k.Log != n.keys.Log {
				return errors.New("keys of nobody")
			}
			return nil
		},
		Charters:   func() ([]jsontext.Value, error) { return []jsontext.Value{jsontext.Value(`{}`)}, nil },
		Appliances: func() []string { return []string{filepath.Base(dir)} },
	}}
}

// run runs a log until the test ends, or stop is called.
func run(t *testing.T, s *store.Store, o auditlog.Options) (*auditlog.Log, func()) {
	t.Helper()
	l, err := auditlog.Open(s, o, storetest.Logger(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = l.Run(ctx) }()
	var once sync.Once
	stop := func() { once.Do(func() { cancel(); <-done }) }
	t.Cleanup(stop)
	return l, stop
}

// accepted runs Tessera's fsck over the directory.
func (n *notary) accepted(t *testing.T, dir string) error {
	t.Helper()
	log, _, err := n.keys.Verifiers()
	if err != nil {
		t.Fatal(err)
	}
	hash := func(b []byte) ([][]byte, error) {
		var bundle api.EntryBundle
		if err := bundle.UnmarshalText(b); err != nil {
			return nil, err
		}
		var out [][]byte
		for _, e := range bundle.Entries {
			out = append(out, rfc6962.DefaultHasher.HashLeaf(e))
		}
		return out, nil
	}
	return fsck.New(seal.Origin("test"), log, tessera.FileFetcher{Root: filepath.Join(dir, "tlog")}, hash, fsck.Opts{N: 2}).Check(t.Context())
}

// receipt waits for a receipt of the newest entry on a resource, and gives its proof, which holds.
func (n *notary) receipt(t *testing.T, l *auditlog.Log, kind, id string) *audit.Proof {
	t.Helper()
	r, err := l.ReceiptOf(t.Context(), kind, id, "token.step9")
	if err != nil {
		t.Fatal(err)
	}
	p, err := audit.ParseProof(r.Proof)
	if err != nil {
		t.Fatal(err)
	}
	_, e, err := audit.ParseEvidence(p.Extra)
	if err != nil {
		t.Fatal(err)
	}
	if e.ResourceID != id {
		t.Errorf("receipt of %s, asked for %s", e.ResourceID, id)
	}
	c, err := n.keys.Open(p.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	root, err := c.Tree.Hash()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(e.Leaf(), c.Tree.Size, root); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestBothLogsAreOneTreeThatFsckAccepts(t *testing.T) {
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	one, two := filepath.Join(t.TempDir(), "appliance-1"), filepath.Join(t.TempDir(), "appliance-2")
	la, stopA := run(t, s, n.options(one))
	lb, _ := run(t, srv.Open(store.UserServe), n.options(two))
	for i := range 90 { // more than a tile's 256 leaves, with batches between them
		if err := write(t.Context(), s, fmt.Sprintf("t%d", i), 3); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			n.write(fmt.Sprintf(`"operationId":"op_%d","type":"cancel"`, i))
		}
	}
	await(t, la, 270)
	if p := n.receipt(t, la, "token", "t89"); p.Index < 269 {
		t.Errorf("the newest entry is leaf %d", p.Index)
	}
	n.receipt(t, la, "token", "t0")
	n.receipt(t, lb, "token", "t44")
	stopA()
	// The other goes on: it is the sequencer now.
	if err := write(t.Context(), s, "later", 1); err != nil {
		t.Fatal(err)
	}
	n.receipt(t, lb, "token", "later")
	for _, dir := range []string{one, two} {
		if err := n.accepted(t, dir); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
	// And back: what one missed it takes from the store.
	la, _ = run(t, s, n.options(one))
	n.receipt(t, la, "token", "later")
	if err := n.accepted(t, one); err != nil {
		t.Error(err)
	}
}

// cosigner is the seal of another appliance, which cosigns what the notary recorded.
type cosigner struct {
	*notary
	id string
}

func (c *cosigner) Checkpoint(_ context.Context, q seal.CheckpointRequest) (*seal.CheckpointResult, error) {
	if tree, _ := c.recorded(); !q.Cosign || tree != q.Tree {
		return nil, seal.Errorf(seal.KindConflict, "not what the ledger records")
	}
	keys := *c.keys
	keys.ApplianceID = c.id
	_, v, err := keys.Verifiers()
	if err != nil {
		return nil, err
	}
	cp := seal.Checkpoint{Origin: seal.Origin("test"), Tree: q.Tree}
	text, err := cp.Text()
	if err != nil {
		return nil, err
	}
	at := time.Unix(1764000000, 0)
	signed, err := note.Sign(&note.Note{Text: text}, signer{v, func([]byte) ([]byte, error) {
		m, err := seal.CosignedMessage(v.Name(), at, cp)
		if err != nil {
			return nil, err
		}
		sig, err := c.cosign.Sign(nil, m, nil)
		return seal.Cosignature(at, sig), err
	}})
	return &seal.CheckpointResult{Note: string(signed), Keys: &keys}, err
}

// What one appliance had signed the other cosigns, and receipts of either say so.
func TestTheOtherApplianceCosigns(t *testing.T) {
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	one, _ := run(t, s, n.options(filepath.Join(t.TempDir(), "appliance-1")))
	o := n.options(filepath.Join(t.TempDir(), "appliance-2"))
	o.Cosigner = &cosigner{n, "appliance-2"}
	two, _ := run(t, srv.Open(store.UserServe), o)
	for i := 0; ; i++ {
		id := fmt.Sprintf("t%d", i)
		if err := write(t.Context(), s, id, 1); err != nil {
			t.Fatal(err)
		}
		n.receipt(t, two, "token", id)
		p := n.receipt(t, one, "token", "t0")
		e, _, err := audit.ParseEvidence(p.Extra)
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Cosigners) == 0 {
			continue // it comes later than the checkpoint itself
		}
		var keys seal.CheckpointKeys
		if err := json.Unmarshal(e.Cosigners[0], &keys); err != nil {
			t.Fatal(err)
		}
		if c, err := keys.OpenCosigned(p.Checkpoint); err != nil || keys.ApplianceID != "appliance-2" || c.Tree.Size <= p.Index {
			t.Errorf("%s: %+v, %v", keys.ApplianceID, c, err)
		}
		return
	}
}

// A checkpoint is a batch, which is a leaf, which asks for no checkpoint: there are never more of them than of
// what they are asked for.
func TestCheckpointsDoNotFeedThemselves(t *testing.T) {
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	o := n.options(filepath.Join(t.TempDir(), "appliance-1"))
	o.CheckpointEvery = time.Millisecond
	l, _ := run(t, s, o)
	const entries = 40
	for i := range entries {
		id := fmt.Sprintf("t%d", i)
		if err := write(t.Context(), s, id, 1); err != nil {
			t.Fatal(err)
		}
		n.receipt(t, l, "token", id)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if most := uint64(1 + 1 + entries); n.sequence > most {
		t.Errorf("%d batches for a charter and %d entries, want at most %d", n.sequence, entries, most)
	}
}

// Whoever died between the ledger's record and the store's checkpoint, the next one asks for the same again.
func TestACheckpointThatWasRecordedAndNotPublished(t *testing.T) {
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	n.lost = true
	dir := filepath.Join(t.TempDir(), "appliance-1")
	_, stop := run(t, s, n.options(dir))
	if err := write(t.Context(), s, "t", 1); err != nil {
		t.Fatal(err)
	}
	for {
		if _, ok := n.recorded(); ok {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	n.mu.Lock()
	n.lost = false
	n.mu.Unlock()
	l, _ := run(t, s, n.options(dir))
	n.receipt(t, l, "token", "t")
	if err := n.accepted(t, dir); err != nil {
		t.Error(err)
	}
}

// grow is a log that has signed a tree, at rest.
func grow(t *testing.T) (*storetest.Server, *store.Store, *notary, string) {
	t.Helper()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	dir := filepath.Join(t.TempDir(), "appliance-1")
	l, stop := run(t, s, n.options(dir))
	for i := range 100 {
		if err := write(t.Context(), s, fmt.Sprintf("t%d", i), 3); err != nil {
			t.Fatal(err)
		}
	}
	await(t, l, 300)
	n.receipt(t, l, "token", "t99")
	stop()
	return srv, s, n, dir
}

// signedValue is a checkpoint as the store has it.
func signedValue(t *testing.T, text string, keys *seal.CheckpointKeys) []byte {
	t.Helper()
	value, err := json.Marshal(map[string]any{"format": 1, "note": text, "keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func noReceipt(t *testing.T, l *auditlog.Log, id string) {
	t.Helper()
	if _, err := l.ReceiptOf(t.Context(), "token", id, ""); !errors.Is(err, auditlog.ErrNoReceipt) {
		t.Errorf("a receipt from a tree that cannot be gone by: %v", err)
	}
}

// Tiles that were changed on the disk are put aside, and the tree is grown anew, with the very same root.
func TestAttack_ATamperedTreeOnTheDisk(t *testing.T) {
	_, s, n, dir := grow(t)
	for _, name := range []string{"tile/0/001.p", "tile/1/000.p", "tile/entries/001.p", "state"} {
		path := filepath.Join(dir, "tlog", name)
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			all, err := os.ReadDir(path)
			if err != nil {
				t.Fatal(err)
			}
			newest := slices.MaxFunc(all, func(a, b os.DirEntry) int { // the widest: narrower ones are of trees before
				return cmp.Or(cmp.Compare(len(a.Name()), len(b.Name())), cmp.Compare(a.Name(), b.Name()))
			})
			path = filepath.Join(path, newest.Name())
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if name != "state" && n.accepted(t, dir) == nil {
			t.Errorf("%s: fsck accepts what was tampered with", name)
		}
		l, stop := run(t, s, n.options(dir))
		n.receipt(t, l, "token", "t99")
		stop()
		if err := n.accepted(t, dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	aside, err := filepath.Glob(filepath.Join(dir, "tlog.damaged-*"))
	if err != nil || len(aside) != 4 {
		t.Errorf("put aside: %v (%v)", aside, err)
	}
}

// A full tile that was changed does not give a wrong receipt.
func TestAttack_ATamperedFullTileGivesNoReceipt(t *testing.T) {
	_, s, n, dir := grow(t)
	path := filepath.Join(dir, "tlog", "tile", "0", "000")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[32:64], b[:32])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	l, _ := run(t, s, n.options(dir))
	noReceipt(t, l, "t0")
}

// A store that was restored from a backup is behind the tree on the disk: nothing is published, and nothing of
// it is signed.
func TestAttack_ARolledBackStore(t *testing.T) {
	srv, s, n, dir := grow(t)
	signed, _ := n.recorded()
	for _, prefix := range []string{store.AuditLog, store.AuditOrder} {
		p, err := s.List(t.Context(), prefix, store.ListOptions{Descending: true, Limit: 10, KeysOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		tx := s.Tx()
		for _, kv := range p.KVs[:5] {
			tx.Delete(kv.Key)
		}
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l, stop := run(t, srv.Open(store.UserServe), n.options(dir))
	noReceipt(t, l, "t0")
	stop()
	if now, _ := n.recorded(); now != signed {
		t.Errorf("a tree of %d leaves was signed on top of a store that went back", now.Size)
	}
}

// A store that holds another history than the tree on the disk is not followed.
func TestAttack_AForkedStore(t *testing.T) {
	_, s, n, dir := grow(t)
	last := store.AuditLog + fmt.Sprintf("%020d", 300)
	value, _, _, err := s.Get(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	e, err := audit.Parse(value)
	if err != nil {
		t.Fatal(err)
	}
	e.ActorID = "somebody else"
	if e.EntryHash, err = e.Hash(); err != nil {
		t.Fatal(err)
	}
	forged, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	tx := s.Tx()
	tx.Put(last, forged)
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, stop := run(t, s, n.options(dir))
	noReceipt(t, l, "t0")
	stop()
	// Nor by an appliance that never saw the other one: the ledger records another root.
	fresh, _ := run(t, s, n.options(filepath.Join(t.TempDir(), "appliance-1")))
	noReceipt(t, fresh, "t0")
}

// A checkpoint that somebody else put into the store is not published.
func TestAttack_AForgedCheckpointInTheStore(t *testing.T) {
	srv, s, n, dir := grow(t)
	other := newNotary(t, srv)
	tree, _ := n.recorded()
	published, err := os.ReadFile(filepath.Join(dir, "tlog", "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := other.sign(tree)
	if err != nil {
		t.Fatal(err)
	}
	value := signedValue(t, text, other.keys)
	put := func(value []byte) {
		tx := s.Tx()
		tx.Put(store.AuditSigned, value)
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	put(value)
	l, stop := run(t, s, n.options(dir))
	n.receipt(t, l, "token", "t99") // of the checkpoint that is asked for again
	stop()
	now, err := os.ReadFile(filepath.Join(dir, "tlog", "checkpoint"))
	if err != nil || strings.Split(string(now), "\n\n")[0] != strings.Split(string(published), "\n\n")[0] {
		t.Errorf("published %s, was %s (%v)", now, published, err)
	}
	// A tree of the right keys with another root is a fork: the author's seal would have signed two.
	tree.Root = policy.DigestOf([]byte("another root"))
	if text, err = n.sign(tree); err != nil {
		t.Fatal(err)
	}
	put(signedValue(t, text, n.keys))
	l, _ = run(t, s, n.options(dir))
	noReceipt(t, l, "t99")
}
