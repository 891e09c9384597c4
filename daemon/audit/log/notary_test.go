package auditlog_test

import (
	"context"
	"crypto/ed25519"
	"crypto/mldsa"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	c := seal.Checkpoint{Origin: n.keys.Origin(), Tree: tree}
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
			n.mu.Lock()
			defer n.mu.Unlock()
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

// accepted runs Tessera's fsck over the directory, and our own verification, which must agree.
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
	err = fsck.New(n.keys.Origin(), log, tessera.FileFetcher{Root: filepath.Join(dir, "tlog")}, hash, fsck.Opts{N: 2}).Check(t.Context())
	if own := n.verified(t, filepath.Join(dir, "tlog")); (own == nil) != (err == nil) {
		t.Errorf("fsck says %v, we say %v", err, own)
	}
	return err
}

// verified is what we say of the tree in a directory, by the keys that stand beside its checkpoint.
func (n *notary) verified(t *testing.T, dir string) error {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "anchor"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := audit.ParseAnchor(text)
	if err != nil {
		t.Fatal(err)
	}
	var keys seal.CheckpointKeys
	if err := json.Unmarshal(a.Keys, &keys); err != nil || keys.Log != n.keys.Log {
		t.Errorf("the anchor names the keys of %s (%v)", keys.ApplianceID, err)
	}
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := keys.Open(signed)
	if err != nil {
		return err
	}
	root, err := c.Tree.Hash()
	if err != nil {
		t.Fatal(err)
	}
	return audit.VerifyTiles(os.DirFS(dir), c.Tree.Size, root, nil)
}

// receipt waits for a receipt of the newest entry on a resource, and gives its proof, which holds.
func (n *notary) receipt(t *testing.T, l *auditlog.Log, kind, id string) *audit.Proof {
	t.Helper()
	var r *auditlog.Receipt
	for over := time.Now().Add(2 * time.Minute); ; { // a busy machine takes its time for numbers and checkpoints
		var err error
		if r, err = l.ReceiptOf(t.Context(), kind, id, "token.step9"); err == nil {
			break
		}
		if later := errors.Is(err, auditlog.ErrNoEntry) || errors.Is(err, auditlog.ErrNoReceipt); !later || time.Now().After(over) {
			t.Fatal(err)
		}
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
