package main

import (
	"bytes"
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func (c *cli) auditReceipt() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "receipt ID",
		Short: "Fetch the receipt of an operation or of an audit entry, verified before it is kept",
		Long: `Fetch the receipt of an operation (op_…) or of an audit entry (aud_…), such as the
one that a denial names. It is a C2SP tlog-proof that anybody can verify offline
from charter 1's digest alone: mintwarden audit verify --receipt FILE.`,
		Example: `  mintwarden audit receipt op_01J… --out mint.tlog-proof
  mintwarden audit receipt aud_01J…`,
		Args: exactly(1, "one id, op_… or aud_…"),
	}
	cmd.Flags().StringVar(&out, "out", "", "file to write it to (default: ID.tlog-proof here; - is standard output)")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		kind, _, _ := strings.Cut(args[0], "_")
		if kind != "op" && kind != "aud" {
			return usagef("%q is neither an operation's id (op_…) nor an audit entry's (aud_…)", args[0])
		}
		if err := checkID(kind, args[0]); err != nil {
			return err
		}
		root, err := c.root()
		if err != nil {
			return err
		}
		api, err := c.connect()
		if err != nil {
			return err
		}
		ask := api.GetAuditReceipt
		if kind == "op" {
			ask = api.GetTokenOperationReceipt
		}
		r, err := ask(ctx, args[0])
		if err != nil {
			return err
		}
		return c.keepReceipt(root, args[0], r, out)
	})
}

// keepReceipt writes a receipt that verifies and is of what was asked for.
func (c *cli) keepReceipt(root policy.Digest, id string, r *client.Receipt, out string) error {
	v, err := verifyReceipt(root, []byte(r.Proof))
	if err != nil {
		return err
	}
	if v.Entry.ID != id && v.Entry.ResourceID != id {
		return unverified("asked for the receipt of %s, the appliance gave one of %s %s on %s", id, v.Entry.Action, v.Entry.ID, v.Entry.ResourceID)
	}
	if out == "-" {
		c.out.printf("%s", r.Proof)
		return nil
	}
	if out == "" {
		out = id + ".tlog-proof"
	}
	if err := writeWhole(out, []byte(r.Proof), 0o600, nil); err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	if c.json {
		return c.showJSON(v)
	}
	c.sayReceipt(v)
	c.say("written to %s", out)
	return nil
}

// verifiedReceipt is what --json prints of a receipt.
type verifiedReceipt struct {
	Instance  string        `json:"instance"`
	Appliance string        `json:"appliance"` // that signed the tree
	Cosigners []string      `json:"cosigners"` // other appliances that cosigned it
	Charter   policy.Digest `json:"charter"`   // in force when the receipt was given
	Index     uint64        `json:"index"`
	Tree      seal.Tree     `json:"tree"`
	Recorded  bool          `json:"recorded"` // the verified copy of the ledger that is kept here has that very tree
	Entry     *audit.Entry  `json:"entry"`

	charters int                    // that came with it
	signers  []*seal.CheckpointKeys // who signed and cosigned
}

// verifyReceipt follows a receipt from charter 1's digest: to the charter that was in force, to the keys that
// the ledger key which it names says are an appliance's, to the tree that those signed, to the entry in it.
// Nobody is asked.
func verifyReceipt(root policy.Digest, text []byte) (*verifiedReceipt, error) {
	// Lines of signers whom nobody here knows are verified by nobody, and a person may be shown them.
	if at := bytes.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); at >= 0 {
		return nil, unverified("it is no receipt: at byte %d stands what does not show as itself", at)
	}
	p, err := audit.ParseProof(text)
	if err != nil {
		return nil, unverified("it is no receipt: %w", err)
	}
	e, entry, err := audit.ParseEvidence(p.Extra)
	if err != nil {
		return nil, unverified("it is no receipt of mintwarden: %w", err)
	}
	charter, digest, err := charterOf(root, e.Charters)
	if err != nil {
		return nil, err
	}
	keys, err := checkpointKeys(charter, e.Keys)
	if err != nil {
		return nil, err
	}
	signed, err := keys.Open(p.Checkpoint)
	if err != nil {
		return nil, unverified("the receipt's tree: %w", err)
	}
	hash, err := signed.Tree.Hash()
	if err == nil {
		err = p.Check(entry.Leaf(), signed.Tree.Size, hash)
	}
	if err != nil {
		return nil, unverified("the receipt: %w", err)
	}
	v := &verifiedReceipt{Instance: charter.Instance, Appliance: keys.ApplianceID, Cosigners: []string{}, Charter: digest, Index: p.Index, Tree: signed.Tree, Entry: entry,
		charters: len(e.Charters), signers: []*seal.CheckpointKeys{keys}}
	for _, text := range e.Cosigners {
		var other seal.CheckpointKeys
		if err := json.Unmarshal(text, &other, json.RejectUnknownMembers(true)); err != nil {
			return nil, unverified("the keys of a cosigner: %w", err)
		}
		if err := other.Check(charter); err != nil {
			return nil, unverified("the keys of a cosigner: %w", err)
		}
		if _, err := other.OpenCosigned(p.Checkpoint); err != nil {
			return nil, unverified("the cosignature of %s: %w", other.ApplianceID, err)
		}
		if other.ApplianceID == keys.ApplianceID || slices.Contains(v.Cosigners, other.ApplianceID) {
			return nil, unverified("%s is said to have cosigned twice", other.ApplianceID)
		}
		v.Cosigners, v.signers = append(v.Cosigners, other.ApplianceID), append(v.signers, &other)
	}
	return v, nil
}

// checkpointKeys reads the keys that a tree was signed with, which the charter's appliance vouches for.
func checkpointKeys(charter *policy.Charter, text jsontext.Value) (*seal.CheckpointKeys, error) {
	var keys seal.CheckpointKeys
	err := json.Unmarshal(text, &keys, json.RejectUnknownMembers(true))
	if err == nil {
		err = keys.Check(charter)
	}
	if err != nil {
		return nil, unverified("the keys that signed the tree: %w", err)
	}
	return &keys, nil
}

// charterOf follows charters from the first one's digest to the last.
func charterOf(root policy.Digest, envelopes []jsontext.Value) (*policy.Charter, policy.Digest, error) {
	var charter *policy.Charter
	var digest policy.Digest
	for i, text := range envelopes {
		e, err := policy.ParseEnvelope(text)
		if err != nil {
			return nil, "", unverified("charter %d that comes with it: %w", i+1, err)
		}
		if i == 0 {
			if e.PayloadDigest() != root {
				return nil, "", unverified("this is of an instance with charter 1 %s, not %s", e.PayloadDigest(), root)
			}
			charter, err = policy.CheckFirstCharter(e)
		} else {
			charter, err = policy.CheckCharter(charter, digest, e)
		}
		if err != nil {
			return nil, "", unverified("charter %d that comes with it: %w", i+1, err)
		}
		digest = e.PayloadDigest()
	}
	return charter, digest, nil
}

// maxReceiptFile is more than any receipt holds, also as the API answers it:
// with the entry beside it, and each byte of both escaped at the most.
const maxReceiptFile = 4*audit.MaxProof + 1

func (c *cli) verifyReceiptFile(path string) error {
	root, err := c.root()
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return usagef("--receipt: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxReceiptFile))
	if err != nil {
		return usagef("--receipt: %w", err)
	}
	v, err := verifyEitherForm(root, text)
	if err != nil {
		return err
	}
	held, err := againstCopy(root, v.Tree, v.charters, v.signers...)
	if err != nil {
		return err
	}
	v.Recorded = held.recorded
	if c.json {
		return c.showJSON(v)
	}
	c.sayReceipt(v)
	return nil
}

// verifyEitherForm takes a receipt as 'audit receipt' writes it, and as the API
// answers it: what stands beside the proof there must be what it proves.
func verifyEitherForm(root policy.Digest, text []byte) (*verifiedReceipt, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return verifyReceipt(root, text)
	}
	var r client.Receipt
	if err := json.Unmarshal(text, &r, json.RejectUnknownMembers(true)); err != nil {
		return nil, unverified("it is no receipt: %w", err)
	}
	v, err := verifyReceipt(root, []byte(r.Proof))
	if err != nil {
		return nil, err
	}
	if v.Entry.ID != r.ID && v.Entry.ResourceID != r.ID {
		return nil, unverified("it says that it is of %s, its proof is of %s %s on %s", r.ID, v.Entry.Action, v.Entry.ID, v.Entry.ResourceID)
	}
	if proved, err := v.Entry.Encode(); err != nil || !bytes.Equal(proved, r.Entry) {
		return nil, unverified("the entry beside its proof is not the one that is proved")
	}
	return v, nil
}

func (c *cli) sayReceipt(v *verifiedReceipt) {
	e := v.Entry
	c.say("verified: %s on %s %s, by %s at %s (audit entry %d, %s)", printable(e.Action), printable(e.ResourceType), printable(e.ResourceID),
		printable(e.ActorID), stamp(e.CreatedAt), uint64(e.Seq), printable(e.ID))
	c.say("leaf %d of a tree of %d that %s of %s signed, under charter %s", v.Index, v.Tree.Size, v.Appliance, v.Instance, v.Charter)
	if len(v.Cosigners) > 0 {
		c.say("cosigned by %s", strings.Join(v.Cosigners, ", "))
	}
	if v.Recorded {
		c.say("the copy of the ledger that is kept here records that tree")
	}
}

// heldTo is what a verified copy of the ledger says of a signed tree.
type heldTo struct {
	recorded bool            // that very tree
	newest   uint64          // leaves of the newest tree that it records
	batches  []policy.Digest // all of them, from the first
	dir      string          // where the copy is; empty if there is none
}

// againstCopy holds a signed tree, and those who signed it under a number of charters, against the copy of the
// ledger that this user keeps, if there is one. A seal records a tree before it signs it, so two trees of one size, or
// one that the ledger went past without a record of it, were not signed by a seal that keeps its rules. Each epoch has a
// tree of its own, and what one has that was given up counts only if it is recorded. Nor is one that
// is not recorded there signed by an appliance that the copy's charter does not have: what comes with a tree may be
// cut back to a charter that still had it.
func againstCopy(root policy.Digest, t seal.Tree, charters int, signers ...*seal.CheckpointKeys) (h heldTo, err error) {
	if h.dir, err = keptCopy(root); err != nil || h.dir == "" {
		return h, err
	}
	epoch, now := uint64(1), uint64(1) // the tree's, and the ledger's
	if len(signers) > 0 {
		epoch = max(epoch, signers[0].Epoch)
	}
	fold := ledger.NewFold(root)
	for value, err := range keptBatches(h.dir) {
		if err != nil {
			return h, err
		}
		b, err := fold.Apply(value)
		if err != nil {
			return h, unverified("the copy of the ledger in %s does not verify: %w", h.dir, err)
		}
		h.batches, now = append(h.batches, policy.DigestOf(value)), b.Epoch
		for _, rec := range b.Records {
			if rec.Checkpoint == nil || b.Epoch != epoch {
				continue
			}
			last := rec.Checkpoint
			switch {
			case last.Size == t.Size && last.Root != t.Root:
				return h, unverified("the ledger records another tree of %d leaves, %s, than this one, %s: one of them was forked", t.Size, last.Root, t.Root)
			case last.Size == t.Size:
				h.recorded = true
			case last.Size > t.Size && !h.recorded:
				return h, unverified("this tree of %d leaves was signed and never recorded; the ledger went on to one of %d", t.Size, last.Size)
			}
			h.newest = last.Size
		}
	}
	if !h.recorded && epoch < now {
		return h, unverified("this tree of %d leaves is of epoch %d and was never recorded; the custodians gave that epoch up, the ledger is in epoch %d", t.Size, epoch, now)
	}
	if !h.recorded && charters <= len(fold.Charters()) {
		charter, digest := fold.Charter()
		for _, k := range signers {
			if err := k.Check(charter); err != nil {
				return h, unverified("a tree that the copy of the ledger in %s does not record, and under whose charter %s %s signs none: %w", h.dir, digest, k.ApplianceID, err)
			}
		}
	}
	return h, nil
}

// keptCopy is the directory of the copy that is rooted in charter 1's digest, empty if there is none.
func keptCopy(root policy.Digest) (string, error) {
	base, err := stateHome()
	if err != nil {
		return "", err
	}
	known, err := os.ReadDir(base)
	if os.IsNotExist(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("verified copies of ledgers: %w", err)
	}
	for _, entry := range known {
		dir := filepath.Join(base, entry.Name())
		if h, err := readHead(dir); err == nil && h.Charter1 == root {
			return dir, nil
		}
	}
	return "", nil
}
