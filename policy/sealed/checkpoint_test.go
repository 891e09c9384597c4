package sealed

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// testTree is the tree as serve grows it, in memory.
type testTree struct {
	t      *testing.T
	leaves [][]byte
	hashes []tlog.Hash
	size   int64
	batch  seal.BatchProof // the newest batch in it, without its proof
}

func (x *testTree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		out[i] = x.hashes[at]
	}
	return out, nil
}

func (x *testTree) add(leaf []byte) {
	x.t.Helper()
	more, err := tlog.StoredHashes(x.size, leaf, x)
	require.NoError(x.t, err)
	x.leaves, x.hashes, x.size = append(x.leaves, leaf), append(x.hashes, more...), x.size+1
}

// entry adds what stands for an audit entry.
func (x *testTree) entry(name string) { x.add([]byte("audit " + name)) }

// follow adds every batch of the ledger that is not in it yet.
func (x *testTree) follow(r *room) *testTree { return x.read(r.store) }

func (x *testTree) read(s *logStore) *testTree {
	x.t.Helper()
	require.NoError(x.t, s.after(x.t.Context(), x.batch.Sequence, func(value []byte) error {
		x.batch = seal.BatchProof{Sequence: x.batch.Sequence + 1, Index: uint64(x.size)}
		x.add(seal.LedgerLeaf(x.batch.Sequence, policy.DigestOf(value)))
		return nil
	}))
	return x
}

// request asks for the tree as it is, with a proof from the size that was
// recorded last.
func (x *testTree) request(last int64) seal.CheckpointRequest {
	x.t.Helper()
	root, err := tlog.TreeHash(x.size, x)
	require.NoError(x.t, err)
	q := seal.CheckpointRequest{Tree: seal.Tree{Size: uint64(x.size), Root: seal.RootOf(root)}, Proof: seal.TreeProof{From: uint64(last), Ledger: x.batch}}
	if last > 0 {
		proof, err := tlog.ProveTree(x.size, last, x)
		require.NoError(x.t, err)
		for _, h := range proof {
			q.Proof.Consistency = append(q.Proof.Consistency, h[:])
		}
	}
	proof, err := tlog.ProveRecord(x.size, int64(x.batch.Index), x)
	require.NoError(x.t, err)
	for _, h := range proof {
		q.Proof.Ledger.Inclusion = append(q.Proof.Ledger.Inclusion, h[:])
	}
	return q
}

// copy is a tree that goes on by itself.
func (x *testTree) copy() *testTree {
	y := *x
	y.leaves, y.hashes = slices.Clip(x.leaves), slices.Clip(x.hashes)
	return &y
}

func TestCheckpoint(t *testing.T) {
	o := roomOptions{state: t.TempDir()}
	i, r, stop := inProcess(t, o, nil)
	tree := (&testTree{t: t}).follow(r)
	tree.entry("1")
	first := tree.request(0)
	out, err := r.Checkpoint(t.Context(), first)
	require.NoError(t, err)
	require.NoError(t, out.Keys.Check(i.charter), "the ledger key that the charter names says whose keys they are")
	c, err := out.Keys.Open([]byte(out.Note))
	require.NoError(t, err)
	require.Equal(t, seal.Checkpoint{Origin: "mintwarden/test", Tree: first.Tree}, c)
	require.Equal(t, 2, strings.Count(out.Note, "\n— mintwarden/test"))
	require.Equal(t, &ledger.Checkpoint{Size: first.Tree.Size, Root: first.Tree.Root}, r.known().fold.LastCheckpoint())
	require.Equal(t, uint64(2), out.Sequence)

	again, err := r.Checkpoint(t.Context(), first)
	require.NoError(t, err, "whoever did not get the answer asks again")
	require.Equal(t, out.Keys, again.Keys)
	require.Equal(t, uint64(2), headOf(r.known().fold), "and nothing is recorded twice")

	for n := range 300 {
		tree.entry(fmt.Sprint("more ", n))
	}
	second := tree.follow(r).request(int64(first.Tree.Size))
	_, err = r.Checkpoint(t.Context(), second)
	require.NoError(t, err)
	require.NoError(t, stop())

	// Another life of the same appliance has the same keys, and the ledger's word
	// on what was signed.
	r = newTestRoom(t, i.digest, o)
	start(t, r)
	_, err = r.Checkpoint(t.Context(), first)
	requireKind(t, seal.KindConflict, err)
	third := tree.follow(r).request(int64(second.Tree.Size))
	later, err := r.Checkpoint(t.Context(), third)
	require.NoError(t, err)
	require.Equal(t, out.Keys, later.Keys)
}

// signedTree is a seal that has signed a tree of some size, and that tree.
func signedTree(t *testing.T) (*instance, *room, *testTree, int64) {
	t.Helper()
	i, r, _ := inProcess(t, roomOptions{}, nil)
	tree := (&testTree{t: t}).follow(r)
	for n := range 5 {
		tree.entry(fmt.Sprint(n))
	}
	_, err := r.Checkpoint(t.Context(), tree.request(0))
	require.NoError(t, err)
	return i, r, tree, tree.size
}

// refusedTree asks for what must be refused, and finds nothing signed or recorded.
func refusedTree(t *testing.T, r *room, q seal.CheckpointRequest) {
	t.Helper()
	head, signs := headOf(r.known().fold), calls(t, "sign_ml-dsa-44")
	_, err := r.Checkpoint(t.Context(), q)
	requireKind(t, seal.KindConflict, err)
	require.Equal(t, head, headOf(r.known().fold))
	require.Equal(t, signs, calls(t, "sign_ml-dsa-44"))
}

func TestAttack_ARolledBackTreeIsNotSigned(t *testing.T) {
	_, r, tree, last := signedTree(t)
	tree.entry("what is to be forgotten")
	_, err := r.Checkpoint(t.Context(), tree.follow(r).request(last))
	require.NoError(t, err)
	older := (&testTree{t: t}).follow(r)
	for n := range 3 {
		older.entry(fmt.Sprint(n))
	}
	refusedTree(t, r, older.request(0))
}

func TestAttack_AForkedTreeIsNotSigned(t *testing.T) {
	_, r, tree, last := signedTree(t)
	fork := (&testTree{t: t, batch: seal.BatchProof{}}).follow(r)
	for n := range 10 {
		fork.entry(fmt.Sprint("other ", n))
	}
	q := fork.request(last)
	refusedTree(t, r, q)
	// With the true tree's proof it does not fit either.
	tree.entry("true")
	q.Proof.Consistency = tree.follow(r).request(last).Proof.Consistency
	refusedTree(t, r, q)
	// The same size with another root is a fork, too.
	same := (&testTree{t: t}).follow(r)
	for same.size < last {
		same.entry("other")
	}
	refusedTree(t, r, same.request(0))
}

func TestAttack_ATamperedTreeIsNotSigned(t *testing.T) {
	_, r, tree, last := signedTree(t)
	tree.entry("true")
	tree.follow(r)
	good := tree.request(last)
	for name, tamper := range map[string]func(*seal.CheckpointRequest){
		"another root":    func(q *seal.CheckpointRequest) { q.Tree.Root = policy.DigestOf(nil) },
		"another size":    func(q *seal.CheckpointRequest) { q.Tree.Size++ },
		"a hash changed":  func(q *seal.CheckpointRequest) { q.Proof.Consistency[0] = make([]byte, 32) },
		"no proof":        func(q *seal.CheckpointRequest) { q.Proof.Consistency = nil },
		"another leaf":    func(q *seal.CheckpointRequest) { q.Proof.Ledger.Index-- },
		"another batch":   func(q *seal.CheckpointRequest) { q.Proof.Ledger.Sequence-- },
		"a batch to come": func(q *seal.CheckpointRequest) { q.Proof.Ledger.Sequence = 9 },
		"no inclusion":    func(q *seal.CheckpointRequest) { q.Proof.Ledger.Inclusion = nil },
	} {
		t.Run(name, func(t *testing.T) {
			q := tree.request(last)
			tamper(&q)
			refusedTree(t, r, q)
		})
	}
	changed := &testTree{t: t, batch: tree.batch}
	for n, leaf := range tree.leaves {
		if n == 2 {
			leaf = []byte("what somebody would like to have happened")
		}
		changed.add(leaf)
	}
	refusedTree(t, r, changed.request(last))
	_, err := r.Checkpoint(t.Context(), good)
	require.NoError(t, err)
}

// runaway is a consistent tree of any size: the true one is its whole left half, again and again, and to the right of
// it stand hashes of nothing.
func runaway(t *testing.T, tree *testTree, size uint64) seal.CheckpointRequest {
	t.Helper()
	require.Zero(t, tree.size&(tree.size-1), "a full left half")
	require.Zero(t, size&(size-1), "and a full whole")
	root, err := tlog.TreeHash(tree.size, tree)
	require.NoError(t, err)
	inclusion, err := tlog.ProveRecord(tree.size, int64(tree.batch.Index), tree)
	require.NoError(t, err)
	q := seal.CheckpointRequest{Proof: seal.TreeProof{From: uint64(tree.size), Consistency: [][]byte{}, Ledger: tree.batch}}
	for _, h := range inclusion {
		q.Proof.Ledger.Inclusion = append(q.Proof.Ledger.Inclusion, h[:])
	}
	for n := uint64(tree.size); n < size; n *= 2 {
		right := tlog.Hash{byte(n % 251)}
		root = tlog.NodeHash(root, right)
		q.Proof.Consistency = append(q.Proof.Consistency, right[:])
		q.Proof.Ledger.Inclusion = append(q.Proof.Ledger.Inclusion, right[:])
	}
	q.Tree = seal.Tree{Size: size, Root: seal.RootOf(root)}
	return q
}

// Whoever asks could have made-up leaves recorded: so many that no later tree is larger. As a first tree and as a later
// one that is refused, and the true tree is signed.
func TestAttack_ATreeThatRunsAwayIsNotSigned(t *testing.T) {
	_, r, _ := inProcess(t, roomOptions{}, nil)
	tree := (&testTree{t: t}).follow(r)
	for tree.size < 8 {
		tree.entry("true")
	}
	for _, size := range []uint64{maxTree, 2 * maxTreeGrowth} {
		q := runaway(t, tree, size)
		q.Proof.From, q.Proof.Consistency = 0, nil
		refusedTree(t, r, q)
	}
	_, err := r.Checkpoint(t.Context(), tree.request(0))
	require.NoError(t, err)
	for _, size := range []uint64{maxTree, 2 * maxTreeGrowth} {
		refusedTree(t, r, runaway(t, tree, size))
	}
	// Only the number of leaves was wrong with it.
	_, err = r.Checkpoint(t.Context(), runaway(t, tree, maxTreeGrowth))
	require.NoError(t, err)
}

// A tree that holds another ledger than the seal's, or stopped taking its batches,
// is not signed: it could show one history to auditors while another is in force.
func TestAttack_ATreeWithoutTheLedgerIsNotSigned(t *testing.T) {
	i, r, tree, last := signedTree(t)
	forged := tree.copy()
	forged.batch = seal.BatchProof{Sequence: headOf(r.known().fold), Index: uint64(forged.size)}
	forged.add(seal.LedgerLeaf(forged.batch.Sequence, policy.DigestOf([]byte("another batch"))))
	refusedTree(t, r, forged.request(last))

	behind := tree.copy()
	behind.entry("goes on alone")
	q := behind.request(last)
	r.checkpoints.lag = 16
	i.many(int(r.checkpoints.lag) + 2)
	refusedTree(t, r, q)
	_, err := r.Checkpoint(t.Context(), tree.follow(r).request(last))
	require.NoError(t, err)
}

// A keys statement of another appliance's ledger key, or of other keys, convinces nobody.
func TestAttack_ForgedCheckpointKeys(t *testing.T) {
	i, r, tree, last := signedTree(t)
	tree.entry("more")
	out, err := r.Checkpoint(t.Context(), tree.follow(r).request(last))
	require.NoError(t, err)
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	mine, err := policy.NewPublicKey(private.Public())
	require.NoError(t, err)
	spki, err := x509.MarshalPKIXPublicKey(private.Public())
	require.NoError(t, err)
	for name, change := range map[string]func(*seal.CheckpointKeys){
		"another log key":   func(k *seal.CheckpointKeys) { k.Log = mine },
		"another cosigner":  func(k *seal.CheckpointKeys) { k.Cosign = spki },
		"another instance":  func(k *seal.CheckpointKeys) { k.Instance = "other" },
		"another appliance": func(k *seal.CheckpointKeys) { k.ApplianceID = "appliance-2" },
		"no signature":      func(k *seal.CheckpointKeys) { k.Signature = nil },
		"signed by a key of mine": func(k *seal.CheckpointKeys) {
			k.Log = mine
			input, err := k.SigningInput()
			require.NoError(t, err)
			k.Signature = ed25519.Sign(private, input)
		},
	} {
		k := *out.Keys
		change(&k)
		require.ErrorIs(t, k.Check(i.charter), seal.ErrCheckpoint, name)
	}
	lines := strings.SplitAfter(out.Note, "\n")
	for name, text := range map[string]string{
		"without the log's signature": strings.Join(append(append([]string{}, lines[:4]...), lines[5:]...), ""),
		"without the cosignature":     strings.Join(lines[:5], ""),
		"another size":                strings.Replace(out.Note, "\n"+lines[1], "\n1"+lines[1], 1),
	} {
		_, err := out.Keys.Open([]byte(text))
		require.ErrorIs(t, err, seal.ErrCheckpoint, name)
	}
}

// A seal that died between the record and the signature signs when it is asked
// again, and nothing else of that size.
func TestACheckpointThatWasRecordedAndNotSigned(t *testing.T) {
	i, r, tree, last := signedTree(t)
	tree.entry("more")
	q := tree.follow(r).request(last)
	ctx, cancel := context.WithCancel(t.Context())
	require.NoError(t, r.submit(ctx, func(rd *round) error {
		return rd.add(ledger.Record{Checkpoint: &ledger.Checkpoint{Size: q.Tree.Size, Root: q.Tree.Root}})
	}))
	cancel()
	out, err := r.Checkpoint(t.Context(), q)
	require.NoError(t, err)
	c, err := out.Keys.Open([]byte(out.Note))
	require.NoError(t, err)
	require.Equal(t, q.Tree, c.Tree)
	require.NoError(t, out.Keys.Check(i.charter))
}

// What a recover gives up it gives up of the trees, too: the next one may have the size
// of one that was signed, and another root. It has another name, and neither's keys open
// the other's checkpoints.
func TestAttack_ARecoverGivesNoSecondTreeOfOneName(t *testing.T) {
	dir := t.TempDir()
	i, r, stop := inProcess(t, roomOptions{state: dir}, nil)
	i.furnish()
	tree := (&testTree{t: t}).follow(r)
	tree.entry("1")
	out, err := r.Checkpoint(t.Context(), tree.request(0))
	require.NoError(t, err)
	kept := tree.size
	forked := tree.copy()
	for n := range 10 {
		tree.entry(fmt.Sprint("lost ", n))
	}
	lost, err := r.Checkpoint(t.Context(), tree.follow(r).request(kept))
	require.NoError(t, err)
	require.Equal(t, out.Keys, lost.Keys)
	require.NoError(t, stop())
	trimLog(t, 1)

	again := newTestRoom(t, i.digest, roomOptions{state: dir})
	start(t, again)
	inDoubt(t, again, "behind")
	_, err = again.Recover(t.Context(), i.recovering(again, nil))
	require.NoError(t, err)
	forked.follow(again)
	for forked.size < tree.size {
		forked.entry("another")
	}
	second, err := again.Checkpoint(t.Context(), forked.request(kept))
	require.NoError(t, err)
	require.NoError(t, second.Keys.Check(i.charter))
	before, err := lost.Keys.Open([]byte(lost.Note))
	require.NoError(t, err)
	after, err := second.Keys.Open([]byte(second.Note))
	require.NoError(t, err)
	require.Equal(t, before.Tree.Size, after.Tree.Size)
	require.NotEqual(t, before.Tree.Root, after.Tree.Root)
	require.Equal(t, []string{"mintwarden/test", "mintwarden/test/epoch/2"}, []string{before.Origin, after.Origin})
	_, err = second.Keys.Open([]byte(lost.Note))
	require.ErrorIs(t, err, seal.ErrCheckpoint)
	_, err = lost.Keys.Open([]byte(second.Note))
	require.ErrorIs(t, err, seal.ErrCheckpoint)
	forged := *second.Keys
	for _, epoch := range []uint64{0, 1, 3} {
		forged.Epoch = epoch
		require.ErrorIs(t, forged.Check(i.charter), seal.ErrCheckpoint, "the ledger key says of which tree")
	}
}
