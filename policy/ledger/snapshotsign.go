package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json/v2"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mintwarden/mintwarden/policy"
)

// SnapshotTag separates a snapshot's signature from whatever else the key may ever sign.
const SnapshotTag = "mintwarden/snapshot/v1"

const (
	// SnapshotPrefix holds the snapshots that stand in for what was trimmed: the prefix, the sequence
	// of the batch that each is of in 20 digits, a slash, and the part in 6, from 0.
	SnapshotPrefix = "/seal/snapshot/"
	// MaxPart is the largest part of a snapshot in the store, in bytes. etcd takes 1.5 MiB a request.
	MaxPart = 1 << 20
)

// snapSeal is the last line of a signed snapshot.
type snapSeal struct {
	Author    string        `json:"author"`
	Signature []byte        `json:"signature"`
	Snapshot  policy.Digest `json:"snapshot"` // of all lines before
}

// SnapshotInput is what the appliance that is the author signs with its ledger key: SnapshotTag, a
// newline, its id, a newline, and the digest of the snapshot.
func SnapshotInput(author string, snapshot policy.Digest) []byte {
	return []byte(SnapshotTag + "\n" + author + "\n" + string(snapshot))
}

// SnapshotSeal is the last line of a signed snapshot, behind those of which snapshot is the digest: the
// author's Ed25519 signature over SnapshotInput.
func SnapshotSeal(author string, snapshot policy.Digest, signature []byte) ([]byte, error) {
	if len(signature) != ed25519.SignatureSize {
		return nil, fmt.Errorf("signature of %d bytes, want %d", len(signature), ed25519.SignatureSize)
	}
	if err := policy.CheckName(author); err != nil {
		return nil, fmt.Errorf("author: %w", err)
	}
	last, err := json.Marshal(snapSeal{author, signature, snapshot})
	if err != nil {
		return nil, err
	}
	return append(last, '\n'), nil
}

// SignedSnapshot is a snapshot with its seal: what [RestoreFold] takes.
func SignedSnapshot(snapshot []byte, author string, signature []byte) ([]byte, error) {
	last, err := SnapshotSeal(author, policy.DigestOf(snapshot), signature)
	if err != nil {
		return nil, err
	}
	return slices.Concat(snapshot, last), nil
}

// SnapshotDigest is the digest that a trim names, of a signed snapshot: of its lines but the last.
// ok is false where the value has no last line.
func SnapshotDigest(signed []byte) (snapshot policy.Digest, ok bool) {
	body, _, ok := cutSeal(signed)
	return policy.DigestOf(body), ok
}

// cutSeal cuts the last line off.
func cutSeal(signed []byte) (body, last []byte, ok bool) {
	whole, ok := bytes.CutSuffix(signed, []byte("\n"))
	at := bytes.LastIndexByte(whole, '\n')
	if !ok || at < 0 {
		return nil, nil, false
	}
	return signed[:at+1], whole[at+1:], true
}

// SnapshotKey is where a part of a snapshot stands. The snapshot is of the batch with that sequence.
func SnapshotKey(sequence uint64, part int) string {
	return fmt.Sprintf("%s%020d/%06d", SnapshotPrefix, sequence, part)
}

// ParseSnapshotKey is the inverse of SnapshotKey and takes nothing else.
func ParseSnapshotKey(key string) (sequence uint64, part int, ok bool) {
	digits, found := strings.CutPrefix(key, SnapshotPrefix)
	first, second, slash := strings.Cut(digits, "/")
	if !found || !slash {
		return 0, 0, false
	}
	sequence, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	if part, err = strconv.Atoi(second); err != nil || part < 0 || SnapshotKey(sequence, part) != key {
		return 0, 0, false
	}
	return sequence, part, true
}

// SnapshotParts cuts a signed snapshot into the values that stand in the store, in their order; put
// together again they are the snapshot. One that lacks its last parts lacks its signature.
func SnapshotParts(signed []byte) [][]byte {
	var parts [][]byte
	for len(signed) > 0 {
		n := min(len(signed), MaxPart)
		parts = append(parts, signed[:n:n])
		signed = signed[n:]
	}
	return parts
}
