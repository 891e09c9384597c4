package main

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/policy"
)

func (c *cli) auditCommand() *cobra.Command {
	return group("audit", "Read and verify the logs", "  mintwarden audit verify", c.auditList(), c.auditVerify(), c.auditReceipt())
}

func (c *cli) auditList() *cobra.Command {
	var actor, action, kind, id, request, from, to string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List audit entries, newest first",
		Example: "  mintwarden audit list --resource-id op_01J…\n  mintwarden audit list --actor approver-1 --from 2026-04-27T00:00:00Z", Args: none,
	}
	f := cmd.Flags()
	f.StringVar(&actor, "actor", "", "only what this person did")
	f.StringVar(&action, "action", "", "only this action, such as operation.denied")
	f.StringVar(&kind, "resource-type", "", "only of this type, such as token")
	f.StringVar(&id, "resource-id", "", "only of this resource")
	f.StringVar(&request, "request-id", "", "only what this request caused")
	f.StringVar(&from, "from", "", "only since this moment, RFC 3339")
	f.StringVar(&to, "to", "", "only before this moment, RFC 3339")
	limitFlag(cmd, &limit)
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		filter := client.ListAuditEntriesParams{Actor: pointer(actor), Action: pointer(action), ResourceType: pointer(kind),
			ResourceID: pointer(id), RequestID: pointer(request)}
		for _, m := range []struct {
			flag, typed string
			to          **time.Time
		}{{"from", from, &filter.From}, {"to", to, &filter.To}} {
			if m.typed == "" {
				continue
			}
			at, err := time.Parse(time.RFC3339, m.typed)
			if err != nil {
				return usagef("--%s %q: want RFC 3339, such as 2026-04-27T10:14:00Z", m.flag, m.typed)
			}
			*m.to = &at
		}
		api, err := c.connect()
		if err != nil {
			return err
		}
		all, err := upTo(limit, api.AuditEntries(ctx, filter))
		if err != nil {
			return err
		}
		return c.show(listed[client.AuditEntry]{all}, func() *rows {
			r := &rows{header: []string{"seq", "at", "actor", "action", "resource", "why"}}
			explained := false
			var n *names
			for _, e := range all {
				reason := why(&e)
				if amounts := amountsOf("POLICY_DENIED", e.Metadata); len(amounts) > 0 && e.ResourceType == "token" {
					if n == nil {
						n = c.names(ctx)
					}
					if u, ok := n.token(ctx, e.ResourceID); ok {
						reason = u.in(reason, amounts)
					}
				}
				explained = explained || reason != ""
				r.add(fmt.Sprint(e.Seq), stamp(e.CreatedAt), e.ActorID, e.Action, e.ResourceType+" "+e.ResourceID, reason)
			}
			if !explained {
				return r.without("why")
			}
			return r
		})
	})
}

// why is the reason that an entry gives, of a denial, a rejection or a failure.
func why(e *client.AuditEntry) string {
	for _, member := range []string{"message", "reason"} {
		if s, ok := e.Metadata[member].(string); ok && s != "" {
			return s
		}
	}
	return ""
}

// logsVerified is what --json prints of audit verify.
type logsVerified struct {
	Ledger struct {
		Sequence uint64        `json:"sequence"`
		Head     policy.Digest `json:"head"`
		Valid    bool          `json:"valid"`
	} `json:"ledger"`
	Audit audit.Result `json:"audit"`
}

func (c *cli) auditVerify() *cobra.Command {
	var receipt, tiles string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify both logs here: the ledger from charter 1 on, and every link of the audit log",
		Long: `Verify both logs here: the ledger from charter 1 on, and every link of the audit log.

Nothing is taken on the appliance's word but that there are no newer entries.
What a verification has seen is remembered, so that a log that was cut or
rewritten since the last one does not verify either (exit code 5).

With --receipt nobody is asked: a receipt, which 'audit receipt' fetched, is
followed from charter 1's digest to the appliance's keys, the tree that they
signed and the entry in it.

With --tiles nobody is asked either: the whole log (C2SP tlog-tiles) in an
appliance's audit.dir, or in a copy of it, is verified from charter 1's digest
on. That is its checkpoint and the keys that signed it, every tile, the hash and
the number of every leaf, the entries that were archived beside it, and, where
this user keeps a verified copy of the ledger, every batch that both have. The
first leaf that does not hold is named.`,
		Example: `  mintwarden audit verify
  mintwarden audit verify --receipt op_01J….tlog-proof --charter1 sha256:…
  mintwarden audit verify --tiles /var/lib/mintwarden/audit --charter1 sha256:…`, Args: none,
	}
	cmd.Flags().StringVar(&receipt, "receipt", "", "verify this receipt, offline, and nothing else")
	cmd.Flags().StringVar(&tiles, "tiles", "", "verify the whole log in this directory, offline, and nothing else")
	cmd.MarkFlagsMutuallyExclusive("receipt", "tiles")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		if receipt != "" {
			return c.verifyReceiptFile(receipt)
		}
		if tiles != "" {
			return c.verifyTilesDir(tiles)
		}
		api, fold, err := c.verified(ctx)
		if err != nil {
			return err
		}
		var out logsVerified
		out.Ledger.Sequence, out.Ledger.Head = fold.Head()
		out.Ledger.Valid = true
		if out.Audit, err = c.verifyAudit(ctx, api); err != nil {
			return err
		}
		if c.json {
			if err := c.showJSON(out); err != nil {
				return err
			}
		} else {
			c.say("ledger: %d batches verified from charter 1 on, head %s", out.Ledger.Sequence, out.Ledger.Head)
		}
		if !out.Audit.Valid {
			return unverified("the audit log breaks at entry %d: it was changed, cut or is served incompletely", out.Audit.BrokenAt)
		}
		c.say("audit log: %d entries verified, last %s", out.Audit.EntriesChecked, orNothing(policy.Digest(out.Audit.LastEntryHash)))
		return nil
	})
}

// seenAudit is the audit file: the newest entry that was verified here.
type seenAudit struct {
	Format int    `json:"format"`
	Seq    uint64 `json:"seq"`
	Hash   string `json:"hash"`
}

// verifyAudit walks the audit log backwards, as the API pages it, and checks
// every hash, every link and every number down to entry 1.
func (c *cli) verifyAudit(ctx context.Context, api *client.Client) (audit.Result, error) {
	lock, err := lockIn(ctx, c.dir)
	if err != nil {
		return audit.Result{}, err
	}
	defer lock.Close()
	var last seenAudit
	if err := readStored(c.dir, auditFile, &last); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return audit.Result{}, unverified("what was seen of the audit log before does not read: %w", err)
	}
	w := backward{result: audit.Result{Valid: true}, remembered: last}
	for e, err := range api.AuditEntries(ctx, client.ListAuditEntriesParams{}) {
		if err != nil {
			return audit.Result{}, err
		}
		entry, err := linkOf(&e)
		if err != nil {
			return audit.Result{}, err
		}
		if !w.add(entry) {
			break
		}
	}
	result := w.end()
	if result.Valid && w.newest.Seq > last.Seq {
		err = replace(c.dir, auditFile, w.newest)
	}
	return result, err
}

// linkOf is the API's form of an entry in the form that is hashed.
func linkOf(e *client.AuditEntry) (*audit.Entry, error) {
	metadata, err := json.Marshal(e.Metadata, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	if e.Seq < 0 {
		return nil, unverified("an audit entry with number %d", e.Seq)
	}
	return &audit.Entry{ID: e.ID, Seq: audit.Sequence(e.Seq), TenantID: e.TenantID, ActorID: e.ActorID, ActorType: audit.ActorType(e.ActorType),
		Action: e.Action, ResourceType: e.ResourceType, ResourceID: e.ResourceID, RequestID: e.RequestID, IP: e.IP, UserAgent: e.UserAgent,
		Metadata: metadata, AssertedBy: audit.Asserter(e.AssertedBy), PrevHash: e.PrevHash, EntryHash: e.EntryHash, CreatedAt: e.CreatedAt.UTC()}, nil
}

// backward verifies a chain from its newest entry to its first.
type backward struct {
	result     audit.Result
	remembered seenAudit
	newest     seenAudit
	later      *audit.Entry
}

// add checks the next older entry and reports whether the chain still holds.
func (b *backward) add(e *audit.Entry) bool {
	hash, err := e.Hash()
	whole := err == nil && hash == e.EntryHash && e.Seq > 0
	linked := b.later == nil || b.later.Seq == e.Seq+1 && b.later.PrevHash == e.EntryHash
	remembered := uint64(e.Seq) != b.remembered.Seq || e.EntryHash == b.remembered.Hash
	if !whole || !linked || !remembered {
		broken := e.Seq
		if b.later != nil {
			broken = b.later.Seq - 1
		}
		b.breakAt(broken)
		return false
	}
	if b.later == nil {
		b.newest = seenAudit{Format: 1, Seq: uint64(e.Seq), Hash: e.EntryHash}
		b.result.LastEntryHash = e.EntryHash
	}
	b.result.FirstEntryHash = e.EntryHash
	b.result.EntriesChecked++
	b.later = e
	return true
}

func (b *backward) breakAt(seq audit.Sequence) {
	b.result.Valid, b.result.BrokenAt = false, max(seq, 1)
}

// end is the result once there is no older entry.
func (b *backward) end() audit.Result {
	switch {
	case !b.result.Valid:
	case b.newest.Seq < b.remembered.Seq: // entries that were there are gone
		b.breakAt(audit.Sequence(b.newest.Seq + 1))
	case b.later != nil && b.later.Seq > 1:
		b.breakAt(b.later.Seq - 1)
	case b.later != nil && b.later.PrevHash != audit.Genesis:
		b.breakAt(1)
	}
	return b.result
}
