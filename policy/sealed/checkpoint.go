package sealed

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Ids of the keys that checkpoints are signed with, each with the appliance's
// id behind it: an Ed25519 key in the token, and a wrapped seed of ML-DSA-44.
const (
	checkpointKeys = "mintwarden-checkpoint-"
	cosigningKeys  = "mintwarden-cosign-"
)

const (
	// maxTreeLag is how many batches may be missing at the tree's end: what was
	// written while the request was made and waited. A tree that is further behind
	// hides something, or is to catch up first.
	maxTreeLag = 1024
	// maxTree bounds a tree's leaves: ledger records hold numbers up to 2^53.
	maxTree = 1 << 53
	// maxTreeGrowth is how many leaves one request may add to the last recorded tree: more than thousands a second
	// come to in hours. The seal cannot know leaves that are no batches of the ledger; without this, one request for
	// a made-up tree near maxTree would leave no size for any later one.
	maxTreeGrowth = 1 << 26
	// maxTreeProof is how many hashes a proof in such a tree has at most, and some.
	maxTreeProof = 128
)

// Checkpoint records a tree head in the ledger and signs it: only one that
// extends, by a proof of consistency, the last one that was recorded, and that
// holds, by a proof of inclusion, a batch of the ledger that this seal knows and
// that is no more than maxTreeLag behind its newest, and that is at most
// maxTreeGrowth leaves larger. The tree head that was
// recorded last is signed again when it is asked for again.
func (r *room) Checkpoint(ctx context.Context, q seal.CheckpointRequest) (_ *seal.CheckpointResult, err error) {
	defer r.count(seal.OpCheckpoint, &err)
	if r.token == nil {
		return nil, r.tokenError()
	}
	wanted, err := parseTree(q)
	if err != nil {
		return nil, seal.Errorf(seal.KindInvalid, "%v", err)
	}
	if q.Cosign {
		return r.cosign(ctx, q, wanted)
	}
	var sequence uint64
	var of treeOf
	var at time.Time
	err = r.submit(ctx, func(rd *round) error {
		if rd.charter() == nil {
			return errNoCharter
		}
		of, at = treeIn(rd.stage), rd.now
		if last := rd.stage.LastCheckpoint(); last != nil && last.Size == q.Tree.Size && last.Root == q.Tree.Root {
			sequence = rd.newest()
			return nil
		}
		if err := rd.extendsTree(wanted, q); err != nil {
			return err
		}
		if err := rd.holdsLedger(ctx, wanted, q.Proof.Ledger); err != nil {
			return err
		}
		sequence = rd.sequence
		return rd.add(ledger.Record{Checkpoint: &ledger.Checkpoint{Size: q.Tree.Size, Root: q.Tree.Root}})
	})
	if err != nil {
		return nil, err
	}
	// gofail: var checkpointBeforeSign struct{}
	keys, err := r.checkpointKeys(ctx, of)
	if err != nil {
		return nil, err
	}
	signed, err := r.signCheckpoint(ctx, keys, seal.Checkpoint{Origin: keys.Origin(), Tree: q.Tree}, at)
	if err != nil {
		return nil, err
	}
	return &seal.CheckpointResult{Sequence: sequence, Note: string(signed), Keys: keys}, nil
}

// checkpointing is the keys that checkpoints are signed with, once they were
// asked for.
type checkpointing struct {
	lag uint64 // maxTreeLag, in batches

	mu   sync.Mutex
	keys *seal.CheckpointKeys

	cosigned *cosigned // last, in this process's life; of run's goroutine alone
}

// treeOf says whose tree it is: what a recover gave up was of another one.
type treeOf struct {
	instance string
	epoch    uint64 // 0: the first
}

// tree is the one that the ledger's checkpoints are of now. Of run's goroutine alone.
func (r *room) tree() treeOf { return treeIn(r.fold) }

// treeIn is that of a ledger, which has a charter. A round's stage may be the first to have one.
func treeIn(l interface {
	Charter() (*policy.Charter, policy.Digest)
	Epoch() uint64
}) treeOf {
	c, _ := l.Charter()
	of := treeOf{instance: c.Instance}
	if e := l.Epoch(); e > ledger.FirstEpoch {
		of.epoch = e
	}
	return of
}

// wantedTree is a request in the form that proofs are checked in.
type wantedTree struct {
	size        int64
	root        tlog.Hash
	consistency tlog.TreeProof
	inclusion   tlog.RecordProof
}

func parseTree(q seal.CheckpointRequest) (*wantedTree, error) {
	if q.Tree.Size < 1 || q.Tree.Size > maxTree {
		return nil, fmt.Errorf("a tree of %d leaves, want 1 to %d", q.Tree.Size, int64(maxTree))
	}
	root, err := q.Tree.Hash()
	if err != nil {
		return nil, err
	}
	w := &wantedTree{size: int64(q.Tree.Size), root: root}
	if w.consistency, err = hashesOf("consistency", q.Proof.Consistency); err != nil {
		return nil, err
	}
	hashes, err := hashesOf("inclusion", q.Proof.Ledger.Inclusion)
	if err != nil {
		return nil, err
	}
	w.inclusion = tlog.RecordProof(hashes)
	if b := q.Proof.Ledger; b.Sequence < ledger.FirstSequence || b.Index >= q.Tree.Size {
		return nil, fmt.Errorf("batch %d as leaf %d of %d", b.Sequence, b.Index, q.Tree.Size)
	}
	return w, nil
}

func hashesOf(what string, proof [][]byte) ([]tlog.Hash, error) {
	if len(proof) > maxTreeProof {
		return nil, fmt.Errorf("a proof of %s with %d hashes, at most %d", what, len(proof), maxTreeProof)
	}
	out := make([]tlog.Hash, len(proof))
	for i, h := range proof {
		if len(h) != sha256.Size {
			return nil, fmt.Errorf("a proof of %s with a hash of %d bytes, want %d", what, len(h), sha256.Size)
		}
		out[i] = tlog.Hash(h)
	}
	return out, nil
}

// extendsTree refuses a tree of which the last one that was recorded is not the
// beginning.
func (rd *round) extendsTree(w *wantedTree, q seal.CheckpointRequest) error {
	last := rd.stage.LastCheckpoint()
	if last == nil {
		if len(w.consistency) > 0 || q.Proof.From > 0 {
			return seal.Errorf(seal.KindConflict, "no tree was recorded yet, and there is a proof of consistency with one of %d leaves", q.Proof.From)
		}
		return rd.growsTree(q.Tree.Size, 0)
	}
	if q.Proof.From < last.Size && q.Tree.Size > last.Size {
		// Whoever asks does not know yet what was recorded meanwhile.
		return seal.Errorf(seal.KindConflict, "the proof is from %d leaves on; the last recorded tree has %d", q.Proof.From, last.Size)
	}
	if q.Tree.Size <= last.Size {
		rd.room.metrics.noticed(noticedTree)
		return seal.Errorf(seal.KindConflict, "a tree of %d leaves after one of %d, recorded as %s (a rolled-back or forked tree)", q.Tree.Size, last.Size, last.Root)
	}
	if err := rd.growsTree(q.Tree.Size, last.Size); err != nil {
		return err
	}
	old, err := seal.Tree{Size: last.Size, Root: last.Root}.Hash()
	if err == nil {
		err = tlog.CheckTree(w.consistency, w.size, w.root, int64(last.Size), old)
	}
	if err != nil {
		rd.room.metrics.noticed(noticedTree)
		return seal.Errorf(seal.KindConflict, "no proof that the tree of %d leaves extends the one of %d, recorded as %s: %v", q.Tree.Size, last.Size, last.Root, err)
	}
	return nil
}

// growsTree refuses a tree with more new leaves than can have come to be.
func (rd *round) growsTree(size, last uint64) error {
	if size-last <= maxTreeGrowth {
		return nil
	}
	rd.room.metrics.noticed(noticedTree)
	return seal.Errorf(seal.KindConflict, "a tree of %d leaves after one of %d; at most %d come with one request", size, last, maxTreeGrowth)
}

// holdsLedger refuses a tree that ends long before the ledger does, or holds
// another ledger than the one that this seal folded.
func (rd *round) holdsLedger(ctx context.Context, w *wantedTree, b seal.BatchProof) error {
	return rd.room.holdsLedger(ctx, w, b, rd.sequence-1)
}

func (r *room) holdsLedger(ctx context.Context, w *wantedTree, b seal.BatchProof, newest uint64) error {
	if b.Sequence > newest || b.Sequence+r.checkpoints.lag < newest {
		return seal.Errorf(seal.KindConflict, "the tree ends with batch %d of the ledger, which ends with %d; at most %d may be missing", b.Sequence, newest, r.checkpoints.lag)
	}
	digest, err := r.digestAt(ctx, b.Sequence)
	if err != nil {
		return seal.Errorf(seal.KindStore, "%v", err)
	}
	leaf := tlog.RecordHash(seal.LedgerLeaf(b.Sequence, digest))
	if err := tlog.CheckRecord(w.inclusion, w.size, w.root, int64(b.Index), leaf); err != nil {
		r.metrics.noticed(noticedTree)
		return seal.Errorf(seal.KindConflict, "the tree does not hold batch %d of the ledger, %s, as leaf %d: %v", b.Sequence, digest, b.Index, err)
	}
	return nil
}

// checkpointKeys makes the keys, where they are not there yet, and has the ledger
// key say that they are this appliance's.
func (r *room) checkpointKeys(ctx context.Context, of treeOf) (*seal.CheckpointKeys, error) {
	r.checkpoints.mu.Lock()
	defer r.checkpoints.mu.Unlock()
	if k := r.checkpoints.keys; k != nil && of == (treeOf{k.Instance, k.Epoch}) {
		return k, nil
	}
	log, err := r.token.GenerateEd25519(ctx, checkpointKeys+r.appliance, checkpointKeys+r.appliance)
	if err != nil {
		return nil, hsmError(err)
	}
	cosign, err := r.cosigningKey(ctx)
	if err != nil {
		return nil, err
	}
	k, err := seal.NewCheckpointKeys(of.instance, r.appliance, log, cosign)
	if err != nil {
		return nil, err
	}
	k.Epoch = of.epoch
	input, err := k.SigningInput()
	if err != nil {
		return nil, err
	}
	if k.Signature, err = r.token.SignEd25519(ctx, r.ledgerKeyID(), input); err != nil {
		return nil, hsmError(err)
	}
	r.checkpoints.keys = k
	return k, nil
}

// signCheckpoint signs what is recorded, and opens it again as a reader does
// before it leaves.
func (r *room) signCheckpoint(ctx context.Context, k *seal.CheckpointKeys, c seal.Checkpoint, at time.Time) ([]byte, error) {
	text, err := c.Text()
	if err != nil {
		return nil, err
	}
	log, cosigner, err := k.Verifiers()
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: text},
		tokenSigner{log, func(text []byte) ([]byte, error) {
			return r.token.SignEd25519(ctx, checkpointKeys+r.appliance, text)
		}}, r.cosigner(ctx, cosigner, c, at))
	if err != nil {
		return nil, hsmError(err)
	}
	if _, err := k.Open(signed); err != nil {
		return nil, errors.Join(errors.New("a checkpoint that was just signed"), err)
	}
	return signed, nil
}

// cosigner makes this appliance's cosignature.
func (r *room) cosigner(ctx context.Context, v note.Verifier, c seal.Checkpoint, at time.Time) note.Signer {
	return tokenSigner{v, func([]byte) ([]byte, error) {
		message, err := seal.CosignedMessage(v.Name(), at, c)
		if err != nil {
			return nil, err
		}
		sig, err := r.token.SignSeedMessage(ctx, cosigningKeys+r.appliance, message)
		return seal.Cosignature(at, sig), err
	}}
}

// tokenSigner signs a note with a key of the token.
type tokenSigner struct {
	note.Verifier
	sign func(text []byte) ([]byte, error)
}

func (s tokenSigner) Sign(text []byte) ([]byte, error) { return s.sign(text) }

var _ note.Signer = tokenSigner{}

// cosigningKey makes the key while no wrapping key is being rotated away.
func (r *room) cosigningKey(ctx context.Context) ([]byte, error) {
	if err := r.alone(ctx); err != nil {
		return nil, err
	}
	defer func() { <-r.creating }()
	wrapping, err := r.wrapping(ctx)
	if err != nil {
		return nil, err
	}
	key, err := r.token.CreateSeedKey(ctx, cosigningKeys+r.appliance, hsm.MLDSA44, wrapping)
	if err != nil {
		return nil, hsmError(err)
	}
	return key, nil
}
