package seal_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mldsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// checkpointer is an appliance's ledger key, and the two keys that it says are its checkpoints'.
type checkpointer struct {
	ledger, log ed25519.PrivateKey
	cosign      *mldsa.PrivateKey
	charter     *policy.Charter
	keys        *seal.CheckpointKeys
}

func newCheckpointer(t *testing.T) *checkpointer {
	t.Helper()
	var c checkpointer
	ledgerPublic, ledger, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	logPublic, log, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	c.ledger, c.log = ledger, log
	c.cosign, err = mldsa.GenerateKey(mldsa.MLDSA44())
	require.NoError(t, err)
	key, err := policy.NewPublicKey(ledgerPublic)
	require.NoError(t, err)
	c.charter = &policy.Charter{Instance: "test", Appliances: []policy.Appliance{{ID: "a", LedgerKey: key}, {ID: "b", LedgerKey: key}}}
	c.keys, err = seal.NewCheckpointKeys("test", "a", logPublic, c.cosign.PublicKey().Bytes())
	require.NoError(t, err)
	c.sign(t, c.keys)
	return &c
}

func (c *checkpointer) sign(t *testing.T, k *seal.CheckpointKeys) {
	t.Helper()
	input, err := k.SigningInput()
	require.NoError(t, err)
	k.Signature = ed25519.Sign(c.ledger, input)
}

func p256(t *testing.T) policy.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	public, err := policy.NewPublicKey(&key.PublicKey)
	require.NoError(t, err)
	return public
}

// Checkpoint keys are the appliance's by its ledger key's word alone, for the instance and
// the epoch that it gave it for.
func TestAttack_CheckpointKeysThatTheLedgerKeyDidNotSign(t *testing.T) {
	c := newCheckpointer(t)
	require.NoError(t, c.keys.Check(c.charter))
	for name, change := range map[string]func(k *seal.CheckpointKeys){
		"another log key":               func(k *seal.CheckpointKeys) { k.Log = newCheckpointer(t).keys.Log },
		"another cosigning key":         func(k *seal.CheckpointKeys) { k.Cosign = newCheckpointer(t).keys.Cosign },
		"another epoch":                 func(k *seal.CheckpointKeys) { k.Epoch = 2 },
		"another appliance":             func(k *seal.CheckpointKeys) { k.ApplianceID = "b" },
		"no signature":                  func(k *seal.CheckpointKeys) { k.Signature = nil },
		"a signature and more":          func(k *seal.CheckpointKeys) { k.Signature = append(k.Signature, 0) },
		"another key's signature":       func(k *seal.CheckpointKeys) { newCheckpointer(t).sign(t, k) },
		"no appliance":                  func(k *seal.CheckpointKeys) { k.ApplianceID = "c"; c.sign(t, k) },
		"another instance":              func(k *seal.CheckpointKeys) { k.Instance = "other"; c.sign(t, k) },
		"another format":                func(k *seal.CheckpointKeys) { k.Format = 2; c.sign(t, k) },
		"the first epoch by its number": func(k *seal.CheckpointKeys) { k.Epoch = 1; c.sign(t, k) },
		"no epoch that there is":        func(k *seal.CheckpointKeys) { k.Epoch = 1 << 62; c.sign(t, k) },
	} {
		k := *c.keys
		k.Signature = append([]byte(nil), c.keys.Signature...)
		change(&k)
		require.ErrorIs(t, k.Check(c.charter), seal.ErrCheckpoint, name)
	}
	classical := *c.charter
	classical.Appliances = []policy.Appliance{{ID: "a", LedgerKey: p256(t)}}
	require.ErrorIs(t, c.keys.Check(&classical), seal.ErrCheckpoint, "a ledger key of another kind")
}

// A checkpoint has both signatures, by keys of the two kinds.
func TestAttack_ACheckpointWithOneSignature(t *testing.T) {
	c := newCheckpointer(t)
	log, cosigner, err := c.keys.Verifiers()
	require.NoError(t, err)
	tree := seal.Checkpoint{Origin: c.keys.Origin(), Tree: aTree.Tree}
	text, err := tree.Text()
	require.NoError(t, err)
	line := func(v note.Verifier, sig []byte) string {
		hash := v.KeyHash()
		raw := append([]byte{byte(hash >> 24), byte(hash >> 16), byte(hash >> 8), byte(hash)}, sig...)
		return fmt.Sprintf("— %s %s\n", v.Name(), base64.StdEncoding.EncodeToString(raw))
	}
	at := time.Unix(1764000000, 0)
	message, err := seal.CosignedMessage(cosigner.Name(), at, tree)
	require.NoError(t, err)
	pq, err := c.cosign.Sign(nil, message, nil)
	require.NoError(t, err)
	one, two := line(log, ed25519.Sign(c.log, []byte(text))), line(cosigner, seal.Cosignature(at, pq))
	got, err := c.keys.Open([]byte(text + "\n" + one + two))
	require.NoError(t, err)
	require.Equal(t, tree, got)
	_, err = c.keys.OpenCosigned([]byte(text + "\n" + two))
	require.NoError(t, err)
	for name, signatures := range map[string]string{"the log's alone": one, "the cosigner's alone": two, "the log's twice": one + one} {
		_, err = c.keys.Open([]byte(text + "\n" + signatures))
		require.ErrorIs(t, err, seal.ErrCheckpoint, name)
	}

	k := *c.keys
	k.Log = p256(t)
	_, _, err = k.Verifiers()
	require.ErrorIs(t, err, seal.ErrCheckpoint, "a log's key of another kind")
	stronger, err := mldsa.GenerateKey(mldsa.MLDSA65())
	require.NoError(t, err)
	for name, public := range map[string]any{"ML-DSA-65": stronger.PublicKey(), "Ed25519": c.log.Public()} {
		k := *c.keys
		k.Cosign, err = x509.MarshalPKIXPublicKey(public)
		require.NoError(t, err)
		_, _, err = k.Verifiers()
		require.ErrorIs(t, err, seal.ErrCheckpoint, name)
	}
}

// A root is read by one spelling alone.
func TestARootThatIsNone(t *testing.T) {
	hash, err := aTree.Tree.Hash()
	require.NoError(t, err)
	require.Equal(t, aTree.Tree.Root, seal.RootOf(hash))
	require.Len(t, hash, sha256.Size)
	good := string(aTree.Tree.Root)
	for _, root := range []string{"", good[:70], good[len("sha256:"):], good + "00", "SHA256:" + good[7:]} {
		_, err := seal.Tree{Size: 1, Root: policy.Digest(root)}.Hash()
		require.ErrorIs(t, err, seal.ErrCheckpoint, root)
	}
}
