package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"

	"github.com/mintwarden/mintwarden/policy"
)

// A snapshot is a fold in bytes: lines of JSON in the spelling of RFC 8785, the same bytes for the
// same fold. The first line is the head and whatever there is one of; then come the sections in a
// fixed order, each begun by its name and how many lines it has, its lines in the order of their
// keys. A snapshot that is signed ends with one line more (snapshotsign.go).
//
// What people signed stands in it as they signed it, and is verified again when a fold is restored:
// every charter since the first, the policies in force, the bindings, and what was decided on
// operations that are still open. The rest (counters, nonces, freezes, what is over) rests on the
// signature of the appliance that wrote the snapshot, and on every follower of the log, which
// compares the snapshot that a trim names with its own fold.

// snapshotFormat is the version of the snapshot format that this package reads and writes.
const snapshotFormat = 1

// MaxSnapshot is the largest snapshot that is read, in bytes: some 500,000 operations that are open or over for less
// than maxIntentLifetime.
const MaxSnapshot = 512 << 20

// maxLine bounds one line of a snapshot: whatever stands in one came from a batch.
const maxLine = MaxBatch + 64<<10

// The sections, in their order.
const (
	sectionCharters   = "charters"
	sectionDocuments  = "documents"
	sectionPolicies   = "policies"
	sectionBindings   = "bindings"
	sectionContracts  = "contracts"
	sectionWallets    = "wallets"
	sectionLanes      = "lanes"
	sectionOperations = "operations"
	sectionDecisions  = "decisions"
	sectionRequests   = "requests"
	sectionCounters   = "counters"
	sectionFees       = "fees"
	sectionFrozen     = "frozen"
	sectionJoins      = "joins"
)

// Snapshot is all of the fold in bytes, unsigned. Batches are taken again when it is done. A fold
// without a charter has none.
func (f *Fold) Snapshot() ([]byte, error) {
	var b bytes.Buffer
	if err := f.WriteSnapshot(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// WriteSnapshot writes what Snapshot gives, a line at a time.
func (f *Fold) WriteSnapshot(w io.Writer) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	digest, err := f.state.write(w)
	if err != nil {
		return err
	}
	f.state.memo.described(f.state.head.digest, digest)
	return nil
}

// lines writes a snapshot; the first error ends it.
type lines struct {
	w    io.Writer
	sum  hash.Hash
	size int
	err  error
}

func (l *lines) line(v any) {
	if l.err != nil {
		return
	}
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		l.err = err
		return
	}
	b = append(b, '\n')
	if l.size += len(b); len(b) > maxLine || l.size > MaxSnapshot {
		l.err = fmt.Errorf("a line of %d bytes in a snapshot of %d, at most %d and %d", len(b), l.size, maxLine, MaxSnapshot)
		return
	}
	_, _ = l.sum.Write(b) // a hash takes everything
	_, l.err = l.w.Write(b)
}

// snapSection begins a section.
type snapSection struct {
	Lines   int    `json:"lines"`
	Section string `json:"section"`
}

// section writes a table's lines in the order of key.
func section[K comparable, V any](l *lines, name string, t map[K]V, key func(K) string, line func(K, V) any) {
	named := make(map[string]K, len(t))
	for k := range t {
		named[key(k)] = k
	}
	l.line(snapSection{len(named), name})
	for _, n := range slices.Sorted(maps.Keys(named)) {
		k := named[n]
		l.line(line(k, t[k]))
	}
}

// write gives the digest of what it wrote. The state is a fold's own.
func (s *state) write(w io.Writer) (policy.Digest, error) {
	if s.law == nil {
		return "", fmt.Errorf("a fold without a charter has no snapshot")
	}
	l := &lines{w: w, sum: sha256.New()}
	l.line(s.snapHead())
	l.line(snapSection{len(s.chain), sectionCharters})
	for _, c := range s.chain {
		l.line(snapDocument{wireOf(c.envelope), c.sequence})
	}
	documents := maps.Clone(s.documents.own)
	for _, c := range s.chain {
		delete(documents, c.digest) // said already
	}
	section(l, sectionDocuments, documents, func(d policy.Digest) string { return string(d) },
		func(d policy.Digest, sequence uint64) any { return snapRecorded{d, sequence} })
	s.writePolicies(l)
	section(l, sectionBindings, s.bindings.own, plain, func(_ string, line *bindingLine) any { return line.snap(l) })
	section(l, sectionContracts, s.contracts.own, contract.key, func(c contract, token string) any { return snapContract{c.chainID, c.address, token} })
	section(l, sectionWallets, s.wallets.own, plain, func(_ string, w *WalletRecord) any {
		return snapWallet{l.record(&Record{Wallet: &w.Wallet}), momentOf(w.Recorded)}
	})
	section(l, sectionLanes, s.lanes.own, plain, func(id string, lane *lane) any { return lane.snap(id) })
	section(l, sectionOperations, s.operations.own, plain, func(id string, op *operation) any { return op.snap(l, s.memory.pending) })
	s.writeSigned(l)
	section(l, sectionCounters, s.counters.own, counter.key, func(c counter, u *usage) any {
		return snapCounter{u.snap(), c.chainID, c.contract, c.operation}
	})
	section(l, sectionFees, s.fees.own, plain, func(id string, u *usage) any { return snapFees{u.snap(), id} })
	section(l, sectionFrozen, s.frozen.own, subjectKey, func(who policy.Subject, f freeze) any { return snapFreeze{f.frozen, f.since, who} })
	section(l, sectionJoins, s.joins.own, plain, func(_ string, j *Join) any { return j })
	if l.err != nil {
		return "", fmt.Errorf("snapshot of batch %d: %w", s.head.sequence, l.err)
	}
	return policy.Digest("sha256:" + hex.EncodeToString(l.sum.Sum(nil))), nil
}

func plain(s string) string { return s }

// writePolicies writes each version on a line of its own, so that no line is longer than what stood
// in a batch, however many there are.
func (s *state) writePolicies(l *lines) {
	versions := map[string]*snapPolicy{}
	for _, line := range s.policies.own {
		for i := range line.versions {
			v := line.versions[i].snap()
			versions[v.key()] = v
		}
	}
	section(l, sectionPolicies, versions, plain, func(_ string, v *snapPolicy) any { return v })
}

// writeSigned writes the decisions and requests of the operations that are open.
func (s *state) writeSigned(l *lines) {
	decided, requested := map[string]snapSigned{}, map[string]snapSigned{}
	for id, op := range s.operations.own {
		for n, e := range op.decided {
			d := op.Decisions[n]
			decided[signedKey(id, n)] = snapSigned{d.At, wireOf(e), n, id, d.Sequence}
		}
		for n, e := range op.requested {
			r := op.Requests[n]
			requested[signedKey(id, n)] = snapSigned{r.At, wireOf(e), n, id, r.Sequence}
		}
	}
	line := func(_ string, v snapSigned) any { return v }
	section(l, sectionDecisions, decided, plain, line)
	section(l, sectionRequests, requested, plain, line)
}

func signedKey(operation string, n int) string { return fmt.Sprintf("%s %06d", operation, n) }

func (c contract) key() string { return fmt.Sprintf("%016d %x", c.chainID, c.address) }

func (c counter) key() string { return fmt.Sprintf("%016d %x %s", c.chainID, c.contract, c.operation) }

// subjectKey tells subjects apart: exactly one of the names is there.
func subjectKey(s policy.Subject) string {
	return fmt.Sprintf("%q %q %q", s.TokenID, s.Person, s.ApplianceID)
}

// record is a record's encoding inside a line.
func (l *lines) record(r *Record) []byte {
	value, err := r.Encode()
	if err != nil && l.err == nil {
		l.err = err
	}
	return value
}

// described remembers the digest of the snapshot at a head.
func (m *memo) described(head, snapshot policy.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.head, m.snapshot = head, snapshot
}

// description is the digest of the snapshot at a head, if it is the one that was made last.
func (m *memo) description(head policy.Digest) (policy.Digest, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.snapshot, m.snapshot != "" && m.head == head
}
