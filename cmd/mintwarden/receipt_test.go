package main

import (
	"crypto/ed25519"
	"crypto/mldsa"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// logOf is a tree of some entries that appliances of the world sign.
type logOf struct {
	w      *world
	entry  *audit.Entry
	leaves []audit.Leaf
	hashes []tlog.Hash
}

func newLog(w *world, entries int) *logOf {
	l := &logOf{w: w}
	prev := audit.Genesis
	for n := range entries {
		p, err := audit.Draft{ActorID: "oscar", ActorType: audit.User, Action: "operation.denied", ResourceType: "operation", ResourceID: id("op", n)}.
			Pend(id("aud", n), "acme", time.UnixMilli(int64(n)))
		require.NoError(w.t, err)
		e, err := p.Entry(uint64(n)+1, prev)
		require.NoError(w.t, err)
		prev, l.entry = e.EntryHash, e
		l.grow(e.Leaf())
	}
	return l
}

func (l *logOf) grow(leaf audit.Leaf) {
	more, err := tlog.StoredHashes(int64(len(l.leaves)), leaf.Encode(), tlog.HashReaderFunc(l.read))
	require.NoError(l.w.t, err)
	l.leaves, l.hashes = append(l.leaves, leaf), append(l.hashes, more...)
}

func (l *logOf) read(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, n := range at {
		out[i] = l.hashes[n]
	}
	return out, nil
}

func (l *logOf) tree() seal.Tree {
	root, err := tlog.TreeHash(int64(len(l.leaves)), tlog.HashReaderFunc(l.read))
	require.NoError(l.w.t, err)
	return seal.Tree{Size: uint64(len(l.leaves)), Root: seal.RootOf(root)}
}

type noteSigner struct {
	note.Verifier
	sign func([]byte) []byte
}

func (s noteSigner) Sign(b []byte) ([]byte, error) { return s.sign(b), nil }

// keysOf are an appliance's checkpoint keys, vouched for by a ledger key, and its signers.
func (l *logOf) keysOf(appliance string) (*seal.CheckpointKeys, note.Signer, note.Signer) {
	t := l.w.t
	log := ed25519.NewKeyFromSeed([]byte("32 bytes of a log's key, so long" + appliance)[:32])
	seed := make([]byte, 32)
	copy(seed, appliance)
	pq, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), seed)
	require.NoError(t, err)
	k, err := seal.NewCheckpointKeys("dev-1", appliance, log.Public().(ed25519.PublicKey), pq.PublicKey().Bytes())
	require.NoError(t, err)
	input, err := k.SigningInput()
	require.NoError(t, err)
	k.Signature = ed25519.Sign(keyOf(appliance).(ed25519.PrivateKey), input)
	v, c, err := k.Verifiers()
	require.NoError(t, err)
	at := time.Unix(1764000000, 0)
	return k, noteSigner{v, func(b []byte) []byte { return ed25519.Sign(log, b) }}, noteSigner{c, func([]byte) []byte {
		m, err := seal.CosignedMessage(c.Name(), at, seal.Checkpoint{Origin: seal.Origin("dev-1"), Tree: l.tree()})
		require.NoError(t, err)
		sig, err := pq.Sign(nil, m, nil)
		require.NoError(t, err)
		return seal.Cosignature(at, sig)
	}}
}

// receipt is of the newest entry, with the charters that the world's ledger has, signed by one appliance and
// cosigned by others.
func (l *logOf) receipt(signer string, cosigners ...string) string {
	t := l.w.t
	keys, log, own := l.keysOf(signer)
	text, err := seal.Checkpoint{Origin: seal.Origin("dev-1"), Tree: l.tree()}.Text()
	require.NoError(t, err)
	signers := []note.Signer{log, own}
	e := audit.Evidence{Format: 1}
	for _, name := range cosigners {
		k, _, c := l.keysOf(name)
		b, err := json.Marshal(k)
		require.NoError(t, err)
		e.Cosigners, signers = append(e.Cosigners, b), append(signers, c)
	}
	checkpoint, err := note.Sign(&note.Note{Text: text}, signers...)
	require.NoError(t, err)
	e.Keys, err = json.Marshal(keys)
	require.NoError(t, err)
	e.Entry, err = l.entry.Encode()
	require.NoError(t, err)
	for _, c := range l.w.fold.Charters() {
		e.Charters = append(e.Charters, jsontext.Value(c.Encode()))
	}
	hashes, err := tlog.ProveRecord(int64(len(l.leaves)), int64(len(l.leaves)-1), tlog.HashReaderFunc(l.read))
	require.NoError(t, err)
	extra, err := e.Encode()
	require.NoError(t, err)
	return string((&audit.Proof{Extra: extra, Index: uint64(len(l.leaves) - 1), Hashes: hashes, Checkpoint: checkpoint}).Encode())
}

// verifyFile runs audit verify --receipt.
func verifyFile(t *testing.T, root policy.Digest, receipt string) result {
	t.Helper()
	path := filepath.Join(t.TempDir(), "it.tlog-proof")
	require.NoError(t, os.WriteFile(path, []byte(receipt), 0o600))
	return mintwarden(t, "audit", "verify", "--receipt", path, "--charter1", string(root))
}

// secondCharter is one with another appliance, in place of the first or beside it.
func secondCharter(w *world, appliances ...string) ledger.Record {
	c := charter()
	_, digest := w.fold.Charter()
	c.Version, c.Replaces, c.Appliances = 2, &digest, nil
	for _, name := range appliances {
		c.Appliances = append(c.Appliances, policy.Appliance{ID: name, LedgerKey: signerOf(name).Public(), UnsealKey: []byte("unseal key of " + name),
			Token: policy.SecurityToken{Serial: "0123456789abcdef", CheckValues: map[string]string{"canary": "a1b2c3"}}})
	}
	return ledger.Record{Charter: signed(w.t, policy.DocCharter, c, "custodian-1", "custodian-2")}
}

func TestAReceiptIsFollowedFromCharterOne(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	w := newWorld(t)
	l := newLog(w, 7)
	got := verifyFile(t, w.root, l.receipt("appliance-1"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out+got.err, "operation.denied")

	w.commit(secondCharter(w, "appliance-1", "appliance-2"))
	for name, receipt := range map[string]string{
		"the second charter's appliance": l.receipt("appliance-2"),
		"both":                           l.receipt("appliance-1", "appliance-2"),
	} {
		got := verifyFile(t, w.root, receipt)
		require.Equal(t, exitDone, got.code, "%s: %s", name, got.err)
	}
	require.Contains(t, verifyFile(t, w.root, l.receipt("appliance-1", "appliance-2")).out, "cosigned by appliance-2")
	for name, receipt := range map[string]string{
		"an appliance of no charter":         l.receipt("appliance-3"),
		"a cosigner of no charter":           l.receipt("appliance-1", "appliance-3"),
		"one that cosigned itself":           l.receipt("appliance-1", "appliance-1"),
		"one that is said to be there twice": l.receipt("appliance-1", "appliance-2", "appliance-2"),
	} {
		require.Equal(t, exitUnverified, verifyFile(t, w.root, receipt).code, name)
	}
	require.Equal(t, exitUnverified, verifyFile(t, policy.DigestOf([]byte("another instance")), l.receipt("appliance-1")).code)
	require.Equal(t, exitUsage, mintwarden(t, "audit", "verify", "--receipt", "/nowhere", "--charter1", string(w.root)).code)
}

// TestAReceiptAsTheAPIAnswersIt: who keeps what GET …/receipt answered verifies that file, and nothing beside the
// proof can tell another story.
func TestAReceiptAsTheAPIAnswersIt(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	w := newWorld(t)
	l := newLog(w, 7)
	receipt := l.receipt("appliance-1")
	v, err := verifyReceipt(w.root, []byte(receipt))
	require.NoError(t, err)
	entry, err := v.Entry.Encode()
	require.NoError(t, err)
	answer := func(r client.Receipt) string {
		b, err := json.Marshal(r)
		require.NoError(t, err)
		return string(b)
	}
	for _, id := range []string{v.Entry.ID, v.Entry.ResourceID} {
		got := verifyFile(t, w.root, answer(client.Receipt{ID: id, Entry: entry, Proof: receipt}))
		require.Equal(t, exitDone, got.code, got.err)
		require.Contains(t, got.out, "operation.denied")
	}
	other := *v.Entry
	other.ActorID = "mallory"
	forged, err := other.Encode()
	require.NoError(t, err)
	for name, r := range map[string]string{
		"another id":      answer(client.Receipt{ID: "op_01J00000000000000000000000", Entry: entry, Proof: receipt}),
		"another entry":   answer(client.Receipt{ID: v.Entry.ID, Entry: forged, Proof: receipt}),
		"no entry":        answer(client.Receipt{ID: v.Entry.ID, Proof: receipt}),
		"no proof":        answer(client.Receipt{ID: v.Entry.ID, Entry: entry}),
		"a strange field": `{"id":"x","entry":"","proof":"","more":1}`,
		"half of it":      answer(client.Receipt{ID: v.Entry.ID, Entry: entry, Proof: receipt})[:300],
	} {
		require.Equal(t, exitUnverified, verifyFile(t, w.root, r).code, name)
	}
}

// An appliance that a later charter expelled signs no receipt under that charter.
func TestAttack_AnExpelledApplianceSignsAReceipt(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	w := newWorld(t)
	w.commit(secondCharter(w, "appliance-2"))
	require.Equal(t, exitUnverified, verifyFile(t, w.root, newLog(w, 3).receipt("appliance-1")).code)
}

// Where a copy of the ledger is kept, a tree that it does not record, or records otherwise, is a fork.
func TestAttack_AReceiptOfAForkedTree(t *testing.T) {
	w := newWorld(t)
	l := newLog(w, 7)
	tree := l.tree()
	w.commit(ledger.Record{Checkpoint: &ledger.Checkpoint{Size: tree.Size, Root: tree.Root}})
	a := serve(t, w)
	require.Equal(t, exitDone, mintwarden(t, "charter", "show").code)
	got := verifyFile(t, w.root, l.receipt("appliance-1"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "records that tree")

	other := newLog(w, 6)
	got = verifyFile(t, w.root, other.receipt("appliance-1"))
	require.Equal(t, exitUnverified, got.code)
	require.Contains(t, got.err, "never recorded")
	fork := newLog(w, 8)
	forked := fork.tree()
	w.commit(ledger.Record{Checkpoint: &ledger.Checkpoint{Size: forked.Size, Root: policy.DigestOf([]byte("the true one"))}})
	a.values = w.values
	require.Equal(t, exitDone, mintwarden(t, "charter", "show").code)
	got = verifyFile(t, w.root, fork.receipt("appliance-1"))
	require.Equal(t, exitUnverified, got.code)
	require.Contains(t, got.err, "forked")
	// One that is newer than the copy says so by its silence.
	later := verifyFile(t, w.root, newLog(w, 9).receipt("appliance-1"))
	require.Equal(t, exitDone, later.code, later.err)
	require.NotContains(t, later.out, "records that tree")
}

// The custodians gave an epoch up; what its seals signed and no ledger records is not what was logged.
func TestAttack_ATreeOfAnEpochThatWasGivenUp(t *testing.T) {
	w := newWorld(t)
	l := newLog(w, 7)
	tree := l.tree()
	w.commit(ledger.Record{Checkpoint: &ledger.Checkpoint{Size: tree.Size, Root: tree.Root}})
	head, digest := w.fold.Head()
	d := &ledger.Recover{Format: policy.Format, Instance: "dev-1", Epoch: 2, Lost: ledger.Point{Sequence: head + 3, Head: policy.DigestOf([]byte("lost"))},
		Accepted: ledger.Point{Sequence: head, Head: digest}, Lanes: []ledger.RecoverLane{{WalletID: wallet(1).WalletID, Nonce: 7}, {WalletID: wallet(2).WalletID}}, CreatedAt: w.now}
	w.epoch = 2
	w.commit(ledger.Record{Recover: signed(t, policy.DocRecover, d, "custodian-1", "custodian-2")})
	serve(t, w)
	require.Equal(t, exitDone, mintwarden(t, "charter", "show").code)
	got := verifyFile(t, w.root, l.receipt("appliance-1"))
	require.Equal(t, exitDone, got.code, "what is recorded was accepted with the rest: %s", got.err)
	got = verifyFile(t, w.root, newLog(w, 9).receipt("appliance-1"))
	require.Equal(t, exitUnverified, got.code)
	require.Contains(t, got.err, "gave that epoch up")
	got, _ = verifyTiles(t, w.root, bothLogs(w, chain(t, 9)).auditDir("appliance-1", nil))
	require.Equal(t, exitUnverified, got.code)
	require.Contains(t, got.err, "gave that epoch up")
}

// TestAttack_AStrangersSignatureLineThatTheTerminalObeys: anybody may add a line to a signed note, and none who verifies
// it looks at the name there. A receipt with a line that clears the screen is none, wherever it would be shown.
func TestAttack_AStrangersSignatureLineThatTheTerminalObeys(t *testing.T) {
	w := newWorld(t)
	l := newLog(w, 7)
	receipt := l.receipt("appliance-1")
	var b []byte
	c := &cli{out: &printer{w: writer(func(p []byte) (int, error) { b = append(b, p...); return len(p), nil })}}
	require.NoError(t, c.keepReceipt(w.root, l.entry.ID, &client.Receipt{Proof: receipt}, "-"))
	require.Equal(t, receipt, string(b))

	b = nil
	strange := receipt + "— stranger" + "\u009b2J\u202e" + " AAAAAAAA\n"
	err := c.keepReceipt(w.root, l.entry.ID, &client.Receipt{Proof: strange}, "-")
	require.Equal(t, exitUnverified, exitCode(err), "%v", err)
	require.Empty(t, b)
}

// TestAttack_AReceiptThatGoesWhereALinkLeads: the directory that a receipt is written into is another's, too, who put a
// link to a file of this user's there.
func TestAttack_AReceiptThatGoesWhereALinkLeads(t *testing.T) {
	w := newWorld(t)
	l := newLog(w, 7)
	t.Chdir(t.TempDir())
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	mine := filepath.Join(t.TempDir(), "mine")
	require.NoError(t, os.WriteFile(mine, []byte("mine"), 0o600))
	require.NoError(t, os.Symlink(mine, l.entry.ID+".tlog-proof"))
	c, receipt := &cli{out: &printer{w: io.Discard}}, l.receipt("appliance-1")
	require.NoError(t, c.keepReceipt(w.root, l.entry.ID, &client.Receipt{Proof: receipt}, ""))
	text, err := os.ReadFile(mine)
	require.NoError(t, err)
	require.Equal(t, "mine", string(text))
	text, err = os.ReadFile(l.entry.ID + ".tlog-proof")
	require.NoError(t, err)
	require.True(t, string(text) == receipt)
}
