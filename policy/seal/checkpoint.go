package seal

import (
	"crypto/ed25519"
	"crypto/mldsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/mintwarden/mintwarden/policy"
)

// ErrCheckpoint says that a checkpoint, or the keys of one, is not what it must be.
var ErrCheckpoint = errors.New("checkpoint refused")

// CheckpointRequest asks for a tree head to be recorded in the ledger and signed, or, of a seal that
// is not the author, for the one that is recorded to be cosigned.
type CheckpointRequest struct {
	Tree   Tree      `json:"tree"`
	Proof  TreeProof `json:"proof"`
	Cosign bool      `json:"cosign,omitzero"` // Proof.From is then the tree that this seal cosigned last
}

// Tree is a tree head.
type Tree struct {
	Size uint64        `json:"size"` // leaves
	Root policy.Digest `json:"root"` // RFC 6962, SHA-256
}

// RootOf is a tree hash as documents and records have it.
func RootOf(hash [sha256.Size]byte) policy.Digest {
	return policy.Digest("sha256:" + hex.EncodeToString(hash[:]))
}

// Hash is the root as RFC 6962 has it, the inverse of RootOf. Errors wrap ErrCheckpoint.
func (t Tree) Hash() (hash [sha256.Size]byte, err error) {
	if !t.Root.Valid() {
		return hash, fmt.Errorf("%w: root %.80q", ErrCheckpoint, t.Root)
	}
	_, err = hex.Decode(hash[:], []byte(strings.TrimPrefix(string(t.Root), "sha256:")))
	return hash, err
}

// TreeProof says why the seal should believe a tree head: that it extends the last one that was
// recorded, and that it holds what this seal knows of the ledger.
type TreeProof struct {
	From        uint64     `json:"from"`        // leaves of the last recorded tree; 0 where there is none
	Consistency [][]byte   `json:"consistency"` // RFC 6962, from that tree
	Ledger      BatchProof `json:"ledger"`
}

// BatchProof says where in the tree a batch of the ledger is.
type BatchProof struct {
	Sequence  uint64   `json:"sequence"`
	Index     uint64   `json:"index"`     // of its leaf, from 0
	Inclusion [][]byte `json:"inclusion"` // RFC 6962
}

// CheckpointResult is a signed tree head.
type CheckpointResult struct {
	Sequence uint64          `json:"sequence"` // of a batch by which it is recorded
	Note     string          `json:"note"`     // C2SP tlog-checkpoint with the log's signature and a cosignature
	Keys     *CheckpointKeys `json:"keys"`     // that signed it
}

// LedgerLeaf is what the tree holds of a batch: its sequence and the digest of its exact bytes, in
// RFC 8785 JSON. The batches before it follow from the digest, which each batch has of the last.
func LedgerLeaf(sequence uint64, batch policy.Digest) []byte {
	return fmt.Appendf(nil, `{"digest":"%s","format":1,"log":"ledger","sequence":%d}`, batch, sequence)
}

// Origin is the name of an instance's first tree, the first line of its checkpoints and the name of
// the key that signs them.
func Origin(instance string) string { return EpochOrigin(instance, 1) }

// EpochOrigin is that of the tree of an epoch. A recover gives up tree heads that were signed, and
// what comes after it grows another tree: that has a name of its own, so that no name ever has two
// trees of one size.
func EpochOrigin(instance string, epoch uint64) string {
	if epoch <= 1 {
		return "mintwarden/" + instance
	}
	return fmt.Sprintf("mintwarden/%s/epoch/%d", instance, epoch)
}

// Checkpoint is the text that is signed (C2SP tlog-checkpoint, without extension lines).
type Checkpoint struct {
	Origin string
	Tree   Tree
}

// Text is the note's text, to its last newline.
func (c Checkpoint) Text() (string, error) {
	root, err := c.Tree.Hash()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Tree.Size, base64.StdEncoding.EncodeToString(root[:])), nil
}

// ParseCheckpoint reads a note's text. It takes exactly what Text gives: no extension lines. Errors
// wrap ErrCheckpoint.
func ParseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(text) > maxCheckpoint || len(lines) != 4 || lines[3] != "" {
		return Checkpoint{}, fmt.Errorf("%w: want origin, size and root, a line each", ErrCheckpoint)
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: size %.40q", ErrCheckpoint, lines[1])
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != sha256.Size {
		return Checkpoint{}, fmt.Errorf("%w: root %.80q", ErrCheckpoint, lines[2])
	}
	c := Checkpoint{lines[0], Tree{size, RootOf([sha256.Size]byte(root))}}
	if again, err := c.Text(); err != nil || again != text || lines[0] == "" {
		return Checkpoint{}, fmt.Errorf("%w: not as a checkpoint is written", ErrCheckpoint)
	}
	return c, nil
}

// maxCheckpoint bounds a checkpoint's text, in bytes: an origin is under 100.
const maxCheckpoint = 1024

// CheckpointKeysTag separates the ledger key's signature under checkpoint keys from whatever else
// it signs.
const CheckpointKeysTag = "mintwarden/checkpoint-keys/v1"

// CheckpointKeys says which keys an appliance signs checkpoints with. Its ledger key, which the
// charter names, signs that: so they are rooted in charter 1 and need no place in any charter.
type CheckpointKeys struct {
	Format      int              `json:"format"`
	Instance    string           `json:"instance"`
	Epoch       uint64           `json:"epoch,omitzero"` // of the tree; 0 of the first
	ApplianceID string           `json:"applianceId"`
	Log         policy.PublicKey `json:"log"`       // Ed25519, of the note signature
	Cosign      []byte           `json:"cosign"`    // ML-DSA-44, SubjectPublicKeyInfo
	Signature   []byte           `json:"signature"` // Ed25519 by the ledger key over SigningInput
}

// maxEpoch is the largest number that a ledger holds (RFC 8785).
const maxEpoch = 1<<53 - 1

// Origin is the name of the tree that the keys sign heads of.
func (k *CheckpointKeys) Origin() string { return EpochOrigin(k.Instance, k.Epoch) }

// Cosigner is the name under which the appliance cosigns them.
func (k *CheckpointKeys) Cosigner() string { return k.Origin() + "/" + k.ApplianceID }

// checkpointKeysFormat is CheckpointKeys.Format.
const checkpointKeysFormat = 1

// NewCheckpointKeys is a statement of the first epoch's that is not signed yet; cosign is the key's
// 1,312 bytes.
func NewCheckpointKeys(instance, appliance string, log ed25519.PublicKey, cosign []byte) (*CheckpointKeys, error) {
	key, err := policy.NewPublicKey(log)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	parsed, err := mldsa.NewPublicKey(mldsa.MLDSA44(), cosign)
	if err != nil {
		return nil, fmt.Errorf("%w: cosigning key: %w", ErrCheckpoint, err)
	}
	spki, err := x509.MarshalPKIXPublicKey(parsed)
	if err != nil {
		return nil, fmt.Errorf("%w: cosigning key: %w", ErrCheckpoint, err)
	}
	return &CheckpointKeys{Format: checkpointKeysFormat, Instance: instance, ApplianceID: appliance, Log: key, Cosign: spki}, nil
}

// SigningInput is what the ledger key signs: CheckpointKeysTag, a newline, and the RFC 8785 encoding
// without the member signature.
func (k *CheckpointKeys) SigningInput() ([]byte, error) {
	text, err := json.Marshal(struct {
		Format      int              `json:"format"`
		Instance    string           `json:"instance"`
		Epoch       uint64           `json:"epoch,omitzero"`
		ApplianceID string           `json:"applianceId"`
		Log         policy.PublicKey `json:"log"`
		Cosign      []byte           `json:"cosign"`
	}{k.Format, k.Instance, k.Epoch, k.ApplianceID, k.Log, k.Cosign})
	if err != nil {
		return nil, err
	}
	value := jsontext.Value(text)
	if err := value.Canonicalize(); err != nil {
		return nil, err
	}
	return append([]byte(CheckpointKeysTag+"\n"), value...), nil
}

// Check is nil if the ledger key that the charter names of that appliance signed the statement, for
// the charter's instance. Errors wrap ErrCheckpoint.
func (k *CheckpointKeys) Check(c *policy.Charter) error {
	if k.Epoch == 1 || k.Epoch > maxEpoch {
		return fmt.Errorf("%w: keys of epoch %d, want none for the first, and at most %d", ErrCheckpoint, k.Epoch, uint64(maxEpoch))
	}
	if k.Format != checkpointKeysFormat || k.Instance != c.Instance {
		return fmt.Errorf("%w: keys of format %d and instance %.80q, want %d and %s", ErrCheckpoint, k.Format, k.Instance, checkpointKeysFormat, c.Instance)
	}
	a, ok := c.Appliance(k.ApplianceID)
	if !ok {
		return fmt.Errorf("%w: keys of %.80q, no appliance of the charter", ErrCheckpoint, k.ApplianceID)
	}
	key, err := x509.ParsePKIXPublicKey(a.LedgerKey.SPKI())
	if err != nil {
		return fmt.Errorf("%w: ledger key of %s: %w", ErrCheckpoint, k.ApplianceID, err)
	}
	input, err := k.SigningInput()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	ledgerKey, ok := key.(ed25519.PublicKey)
	if !ok || len(k.Signature) != ed25519.SignatureSize || !ed25519.Verify(ledgerKey, input, k.Signature) {
		return fmt.Errorf("%w: the ledger key of %s did not sign these checkpoint keys", ErrCheckpoint, k.ApplianceID)
	}
	return nil
}

// Verifiers are those of the note's two signatures. Errors wrap ErrCheckpoint.
func (k *CheckpointKeys) Verifiers() (log, cosigner note.Verifier, err error) {
	parsed, err := x509.ParsePKIXPublicKey(k.Log.SPKI())
	key, ok := parsed.(ed25519.PublicKey)
	if err != nil || !ok {
		return nil, nil, fmt.Errorf("%w: the log's key of %s is no Ed25519 key", ErrCheckpoint, k.ApplianceID)
	}
	text, err := note.NewEd25519VerifierKey(k.Origin(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	if log, err = note.NewVerifier(text); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	parsed, err = x509.ParsePKIXPublicKey(k.Cosign)
	pq, ok := parsed.(*mldsa.PublicKey)
	if err != nil || !ok || pq.Parameters() != mldsa.MLDSA44() {
		return nil, nil, fmt.Errorf("%w: the cosigning key of %s is no ML-DSA-44 key", ErrCheckpoint, k.ApplianceID)
	}
	return log, NewCosignatureVerifier(k.Cosigner(), pq), nil
}

// OpenCosigned verifies the cosignature alone, and gives the tree head. Errors wrap ErrCheckpoint.
func (k *CheckpointKeys) OpenCosigned(signed []byte) (Checkpoint, error) {
	_, cosigner, err := k.Verifiers()
	if err != nil {
		return Checkpoint{}, err
	}
	return k.open(signed, 1, cosigner)
}

// Open verifies a checkpoint's note with both keys, and gives the tree head. Errors wrap ErrCheckpoint.
func (k *CheckpointKeys) Open(signed []byte) (Checkpoint, error) {
	log, cosigner, err := k.Verifiers()
	if err != nil {
		return Checkpoint{}, err
	}
	return k.open(signed, 2, log, cosigner)
}

func (k *CheckpointKeys) open(signed []byte, want int, by ...note.Verifier) (Checkpoint, error) {
	n, err := note.Open(signed, note.VerifierList(by...))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	if len(n.Sigs) != want {
		return Checkpoint{}, fmt.Errorf("%w: %d of %d signatures of %s are there", ErrCheckpoint, len(n.Sigs), want, k.ApplianceID)
	}
	c, err := ParseCheckpoint(n.Text)
	if err == nil && c.Origin != k.Origin() {
		err = fmt.Errorf("%w: it is of %.80q, want %s", ErrCheckpoint, c.Origin, k.Origin())
	}
	return c, err
}
