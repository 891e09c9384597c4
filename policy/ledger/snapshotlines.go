package ledger

import (
	"encoding/json/jsontext"
	"fmt"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// The lines of a snapshot, their members in the order of RFC 8785.

// snapHead is the first line: the head, and whatever there is one of.
type snapHead struct {
	Author     string         `json:"author"`
	Births     []time.Time    `json:"births"` // of the wallets of the last hour
	Born       int            `json:"born"`
	Charter1   policy.Digest  `json:"charter1"`
	Checkpoint jsontext.Value `json:"checkpoint,omitzero"` // record
	Epoch      uint64         `json:"epoch"`
	Forgotten  string         `json:"forgotten"`
	Format     int            `json:"format"`
	Head       policy.Digest  `json:"head"`
	Instance   string         `json:"instance"`
	Recovery   *snapRecovery  `json:"recovery,omitzero"`
	Rules      int            `json:"rules"` // the newest batch's format
	Sequence   uint64         `json:"sequence"`
	Term       uint64         `json:"term"`
	Time       time.Time      `json:"time"`
	Trim       jsontext.Value `json:"trim,omitzero"` // record
}

type snapRecovery struct {
	At     time.Time    `json:"at"`
	Stated []snapStated `json:"stated"`
	Usage  bool         `json:"usage"`
}

type snapStated struct {
	ChainID   uint64               `json:"chainId"`
	Contract  tx.Address           `json:"contractAddress"`
	Operation policy.OperationType `json:"operation"`
}

// snapDocument is a charter.
type snapDocument struct {
	Envelope *wireEnvelope `json:"envelope"`
	Sequence uint64        `json:"sequence"`
}

type snapRecorded struct {
	Payload  policy.Digest `json:"payload"`
	Sequence uint64        `json:"sequence"`
}

// snapPolicy is one version of a policy.
type snapPolicy struct {
	Alone      bool          `json:"alone"` // taken as a tightening, without the threshold
	Envelope   *wireEnvelope `json:"envelope"`
	PolicyID   string        `json:"policyId"`
	Sequence   uint64        `json:"sequence"`
	Superseded *time.Time    `json:"superseded,omitzero"`
	Version    uint64        `json:"version"`
}

// key puts a policy's versions in their order.
func (l *snapPolicy) key() string { return fmt.Sprintf("%s %020d", l.PolicyID, l.Version) }

type snapBinding struct {
	Binding    jsontext.Value `json:"binding,omitzero"` // record of a deployment's
	Envelope   *wireEnvelope  `json:"envelope,omitzero"`
	Performers []string       `json:"performers"`
	Sequence   uint64         `json:"sequence"`
	TokenID    string         `json:"tokenId"`
	Used       bool           `json:"used"`
}

type snapContract struct {
	ChainID  uint64     `json:"chainId"`
	Contract tx.Address `json:"contractAddress"`
	TokenID  string     `json:"tokenId"` // empty where released
}

type snapMoment struct {
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
}

type snapWallet struct {
	Record   jsontext.Value `json:"record"`
	Recorded *snapMoment    `json:"recorded"`
}

type snapLane struct {
	Gaps        []snapGap `json:"gaps"`
	Next        uint64    `json:"next"`
	Outstanding int       `json:"outstanding"`
	WalletID    string    `json:"walletId"`
}

type snapGap struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

type snapOperation struct {
	Authorized   jsontext.Value   `json:"authorized,omitzero"` // record
	AuthorizedAt *snapMoment      `json:"authorizedAt,omitzero"`
	Bumps        []jsontext.Value `json:"bumps,omitempty"`    // records
	Cancelled    jsontext.Value   `json:"cancelled,omitzero"` // record
	CancelledAt  *snapMoment      `json:"cancelledAt,omitzero"`
	Decisions    []snapDecision   `json:"decisions,omitempty"` // of one that is over
	Expires      *time.Time       `json:"expires,omitzero"`
	Intent       policy.Digest    `json:"intent,omitzero"` // of one that is over
	Look         *time.Time       `json:"look,omitzero"`   // when the fold asks whether it may go
	OperationID  string           `json:"operationId"`
	Rejected     bool             `json:"rejected"`
	Requests     []snapDecision   `json:"requests,omitempty"` // of one that is over
	Settled      jsontext.Value   `json:"settled,omitzero"`   // record
	SettledAt    *snapMoment      `json:"settledAt,omitzero"`
}

// snapDecision is a decision, or without a verb a request, whose envelope was let go.
type snapDecision struct {
	At       time.Time     `json:"at"`
	Decision policy.Verb   `json:"decision,omitzero"`
	Intent   policy.Digest `json:"intent"`
	Keys     []string      `json:"keys"`
	Payload  policy.Digest `json:"payload"`
	Person   string        `json:"person"`
	Sequence uint64        `json:"sequence"`
}

// snapSigned is a decision or a request on an operation that is open.
type snapSigned struct {
	At          time.Time     `json:"at"`
	Envelope    *wireEnvelope `json:"envelope"`
	Number      int           `json:"number"` // among the operation's, from 0
	OperationID string        `json:"operationId"`
	Sequence    uint64        `json:"sequence"`
}

type snapBucket struct {
	Amount policy.Amount `json:"amount"`
	Bucket int64         `json:"bucket"`
}

type snapCounter struct {
	Buckets   []snapBucket         `json:"buckets"`
	ChainID   uint64               `json:"chainId"`
	Contract  tx.Address           `json:"contractAddress"`
	Operation policy.OperationType `json:"operation"`
}

type snapFees struct {
	Buckets  []snapBucket `json:"buckets"`
	WalletID string       `json:"walletId"`
}

type snapFreeze struct {
	Frozen  bool           `json:"frozen"`
	Since   time.Time      `json:"since"`
	Subject policy.Subject `json:"subject"`
}

func momentOf(m Moment) *snapMoment { return &snapMoment{m.Sequence, m.Time} }

func (m *snapMoment) moment() Moment { return Moment{m.Sequence, m.Time.UTC()} }

func wireOf(e *Enveloped) *wireEnvelope {
	w := &wireEnvelope{e.Payload, e.PayloadType, make([]wireSignature, len(e.Signatures))}
	for i, s := range e.Signatures {
		w.Signatures[i] = wireSignature(s)
	}
	return w
}

func (s *state) snapHead() *snapHead {
	h := &snapHead{Author: s.head.author, Births: s.births, Born: s.born, Charter1: s.root, Epoch: s.head.epoch, Forgotten: s.forgotten,
		Format: snapshotFormat, Head: s.head.digest, Instance: s.instance, Rules: s.head.rules, Sequence: s.head.sequence, Term: s.head.term, Time: s.head.time}
	if c := s.checkpoint; c != nil {
		h.Checkpoint, _ = (&Record{Checkpoint: c}).append(nil) // digests and numbers always encode
	}
	if t := s.trim; t != nil {
		h.Trim, _ = (&Record{Trim: t}).append(nil)
	}
	if r := s.recovery; r != nil {
		h.Recovery = &snapRecovery{At: r.at, Usage: r.usage}
		keys := map[string]counter{}
		for c := range r.stated {
			keys[c.key()] = c
		}
		for _, k := range sortedKeys(keys) {
			h.Recovery.Stated = append(h.Recovery.Stated, snapStated{keys[k].chainID, keys[k].contract, keys[k].operation})
		}
	}
	return h
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (v *policyVersion) snap() *snapPolicy {
	p := v.inForce.Policy
	line := &snapPolicy{Alone: v.alone, Envelope: wireOf(v.envelope), PolicyID: p.ID, Sequence: v.sequence, Version: p.Version}
	if !v.superseded.IsZero() {
		line.Superseded = &v.superseded
	}
	return line
}

func (b *bindingLine) snap(l *lines) snapBinding {
	line := snapBinding{Performers: b.view.Performers, Sequence: b.sequence, TokenID: b.document.TokenID, Used: b.used}
	if b.envelope != nil {
		line.Envelope = wireOf(b.envelope)
	} else {
		line.Binding = l.record(&Record{DeployBinding: b.document})
	}
	return line
}

func (l *lane) snap(id string) snapLane {
	line := snapLane{Next: l.next, Outstanding: l.outstanding, WalletID: id}
	for _, g := range l.gaps {
		line.Gaps = append(line.Gaps, snapGap{g.first, g.last})
	}
	return line
}

func (u *usage) snap() []snapBucket {
	line := make([]snapBucket, len(u.buckets))
	for i, b := range u.buckets {
		line[i] = snapBucket{b.amount, b.number}
	}
	return line
}

// isOver is true once only what happened is left of the operation.
func (o *operation) isOver() bool { return o.Cancelled != nil || o.Settled != nil }

func (o *operation) snap(l *lines, pending map[string]time.Time) snapOperation {
	line := snapOperation{OperationID: o.OperationID, Rejected: o.Rejected}
	if at, ok := pending[o.OperationID]; ok {
		line.Look = &at
	}
	if !o.expires.IsZero() {
		line.Expires = &o.expires
	}
	if o.Authorized != nil {
		line.Authorized, line.AuthorizedAt = l.record(&Record{Authorize: o.Authorized}), momentOf(o.AuthorizedAt)
	}
	for i := range o.Bumps {
		line.Bumps = append(line.Bumps, l.record(&Record{Bump: &o.Bumps[i]}))
	}
	if o.Cancelled != nil {
		line.Cancelled, line.CancelledAt = l.record(&Record{Cancel: o.Cancelled}), momentOf(o.CancelledAt)
	}
	if o.Settled != nil {
		line.Settled, line.SettledAt = l.record(&Record{Settle: o.Settled}), momentOf(o.SettledAt)
	}
	if !o.isOver() {
		return line // the envelopes say the rest
	}
	line.Intent = o.IntentDigest
	for i, d := range o.Decisions {
		line.Decisions = append(line.Decisions, snapDecision{d.At, d.Verb, d.Intent, d.Keys, o.Payloads[i], d.Person, d.Sequence})
	}
	for i, r := range o.Requests {
		line.Requests = append(line.Requests, snapDecision{r.At, "", r.Intent, r.Keys, o.RequestPayloads[i], r.Person, r.Sequence})
	}
	return line
}
