package ledger

import (
	"crypto/ed25519"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// state is what the batches so far make true: the fold's own, or a layer on it that holds what
// batches or records not committed yet would change.
type state struct {
	beneath *state
	root    policy.Digest // of charter 1
	memo    *memo         // of the fold and all that stands on it
	memory  *memory       // of the fold

	head     head
	law      *law
	chain    []*law // every charter since the first, the last one in force
	instance string
	recovery *recovery

	documents  table[policy.Digest, uint64]  // payload of every charter, policy, binding, freeze, join and recover: where recorded
	charters   table[policy.Digest, uint64]  // current and ancestors: where recorded
	expelled   table[string, struct{}]       // keys that a charter had and a later one has not
	policies   table[string, *policyLine]    // by policy id
	bindings   table[string, *bindingLine]   // by token id
	contracts  table[contract, string]       // token id; empty where released
	wallets    table[string, *WalletRecord]  // by wallet id
	addresses  table[account, string]        // wallet id
	lanes      table[string, *lane]          // by wallet id
	operations table[string, *operation]     // by operation id
	counters   table[counter, *usage]        // what was charged
	fees       table[string, *usage]         // gas limit × max fee, by wallet id
	frozen     table[policy.Subject, freeze] //
	joins      table[string, *Join]          // by appliance id

	births     []time.Time // of the wallets of the last hour
	born       int         // wallets in all
	forgotten  string      // the highest operation id that was let go (forget.go)
	checkpoint *Checkpoint
	trim       *Trim

	previous policy.Digest // of the batch before the one under way
	last     *Record       // of the batch under way
	deploys  *deploy       // an authorized deployment whose binding must come next
}

// head is where the log stands.
type head struct {
	sequence uint64
	digest   policy.Digest
	epoch    uint64
	term     uint64
	author   string
	time     time.Time
	rules    int // the newest batch's format (rules.go)
}

// law is a charter in force and what follows from it; it is replaced whole.
type law struct {
	charter  *policy.Charter
	envelope *Enveloped
	digest   policy.Digest
	sequence uint64
	grouped  map[string]bool              // persons who are of a group
	authors  map[string]ed25519.PublicKey // by appliance id
}

// policyLine is a policy's versions, ascending. Superseded ones go once no intent can name them, but
// for those on which the signatures of the version in force rest: from the last one that the
// threshold signed.
type policyLine struct {
	versions []policyVersion
}

type policyVersion struct {
	inForce    *policy.InForce
	envelope   *Enveloped
	alone      bool // fewer custodians than the threshold signed it: it tightens the version before
	sequence   uint64
	superseded time.Time // zero for the last one
}

type bindingLine struct {
	document *policy.Binding
	envelope *Enveloped    // nil for a deployment's
	digest   policy.Digest // of the document's bytes
	sequence uint64
	view     *policy.Binding // the document and the performers that grants added
	used     bool            // the custodians signed it, or something but the deployment itself was authorized under it
}

type contract struct {
	chainID uint64
	address tx.Address
}

type account struct {
	network string
	address tx.Address
}

// lane numbers a wallet's transactions.
type lane struct {
	next        uint64
	outstanding int
	gaps        []gap // nonces below next that no operation of the accepted history has (recover)
}

// gap is the nonces from first to last.
type gap struct{ first, last uint64 }

type freeze struct {
	frozen bool
	since  time.Time // the document's createdAt, or the batch's time
}

// deploy is an authorized deployment.
type deploy struct {
	intent   *policy.Intent
	contract tx.Address
	wallet   *WalletRecord
}

func newState(charter1 policy.Digest) *state {
	return &state{root: charter1, memo: &memo{}, memory: &memory{}, head: head{digest: policy.NoDigest, epoch: FirstEpoch}}
}

// on makes an empty layer on s.
func (s *state) on() *state { return s.onto(&state{}) }

// onto makes layer an empty one on s, whatever it was: what it held and did not sink is forgotten, and its tables'
// maps are used again.
func (s *state) onto(layer *state) *state {
	*layer = state{beneath: s, root: s.root, memo: s.memo, memory: s.memory, head: s.head, law: s.law, chain: s.chain, instance: s.instance, recovery: s.recovery,
		documents: s.documents.on(layer.documents), charters: s.charters.on(layer.charters), expelled: s.expelled.on(layer.expelled),
		policies: s.policies.on(layer.policies), bindings: s.bindings.on(layer.bindings), contracts: s.contracts.on(layer.contracts),
		wallets: s.wallets.on(layer.wallets), addresses: s.addresses.on(layer.addresses), lanes: s.lanes.on(layer.lanes),
		operations: s.operations.on(layer.operations), counters: s.counters.on(layer.counters), fees: s.fees.on(layer.fees),
		frozen: s.frozen.on(layer.frozen), joins: s.joins.on(layer.joins),
		births: s.births, born: s.born, forgotten: s.forgotten, checkpoint: s.checkpoint, trim: s.trim, previous: s.previous, last: s.last, deploys: s.deploys}
	return layer
}

// sink moves what the layer holds into the state beneath.
func (s *state) sink() {
	b := s.beneath
	b.head, b.law, b.chain, b.instance, b.recovery = s.head, s.law, s.chain, s.instance, s.recovery
	b.births, b.born, b.checkpoint, b.trim = s.births, s.born, s.checkpoint, s.trim
	b.previous, b.last, b.deploys = s.previous, s.last, s.deploys
	s.documents.sink()
	s.charters.sink()
	s.expelled.sink()
	s.policies.sink()
	s.bindings.sink()
	s.contracts.sink()
	s.wallets.sink()
	s.addresses.sink()
	s.lanes.sink()
	s.operations.sink()
	s.counters.sink()
	s.fees.sink()
	s.frozen.sink()
	s.joins.sink()
}

// place is where a record stands.
type place struct {
	sequence uint64
	time     time.Time
	author   string // appliance id
}
