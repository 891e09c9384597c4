// Package auditlog keeps the audit log: it numbers and chains what changes left in the store's pending
// prefix, grows a tree of that and of the ledger, has the tree's heads signed by the seal, lists entries,
// gives receipts for them, and moves old ones to the disk.
//
// # What it promises
//
// An entry is pending from the moment that the change which it tells of is committed. One sequencer at a
// time (fenced) gives it the next number, the hash of the entry before it and its place in the tree, and
// removes it from the pending prefix, in one transaction; so every entry gets exactly one number and one
// place, in the order in which the changes were committed, whatever dies when. Later it puts values together, which
// changes neither. Numbers are written, never
// inferred from etcd's revisions. Batches of the ledger take their places in the order in which they stand
// in it.
//
// Every appliance grows the same tree from that order, and keeps it as C2SP tlog-tiles in its own directory:
// tlog/tile/<level>/<n>, tlog/tile/entries/<n>, tlog/checkpoint, and beside it tlog/anchor, which leads from
// charter 1 to the keys that signed it. What the directory holds follows from the
// store, so it may be lost, and is written durably and in an order that a crash cannot break. The sequencer
// asks for a checkpoint now and then, if anything but checkpoints came since; the ledger's author signs it
// only with a proof that the tree extends the last one and holds the ledger, and the seals of the other
// appliances cosign it, each by its own tree and ledger. A checkpoint is published here
// only if our own tree has that very root. A tree on the disk that is not what was written, a store that
// fell behind it or holds another history, are faults: they are logged and counted, nothing more is
// published, and no receipt is given. Once the custodians accepted such a store (recover), the ledger is in another
// epoch, whose tree has a name of its own: the tree of before is put beside it, and what was signed of it stays.
//
// With retention, entries that are older move to files of this appliance, entries/<first number>.jsonl, one
// a line, verified link by link; they go from the store once every appliance of the charter has them.
// Lists, receipts and Verify read both.
//
// # What it does not
//
// It does not stop whoever can write to etcd from rewriting entries that no checkpoint holds yet. A record
// in the tree says that the API asserted it before the checkpoint, not that it is so; what the ledger says
// proves itself.
package auditlog

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/disk"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Options say what a log does beside numbering and listing.
type Options struct {
	// Dir is where the tree and the archive are; made if it is not there. Empty: there are none, and no
	// checkpoint or receipt either.
	Dir       string
	Appliance string // our own, in the charter
	// Seal signs checkpoints, wherever the ledger is written; nil: nobody does.
	Seal Sealer
	// Cosigner is our own seal, which cosigns what others signed; nil: it does not.
	Cosigner Sealer
	Ledger   Ledger
	// CheckpointEvery is how long what is new waits for a checkpoint, if nobody asks for a receipt; 0: 5 s.
	CheckpointEvery time.Duration
	// Retention is how long entries stay in the store; 0: for ever.
	Retention time.Duration
}

// Ledger is what the process verified of the ledger. Its functions are safe for concurrent use.
type Ledger struct {
	// LastCheckpoint is the newest tree head that the ledger records; ok is false while there is none.
	LastCheckpoint func() (t seal.Tree, ok bool)
	// Check is nil if an appliance of the charter in force has these keys. It waits until the ledger is read.
	Check func(context.Context, *seal.CheckpointKeys) error
	// Epoch is the ledger's, which a recover raises: each has a tree of its own. It waits until the ledger is read.
	// nil: it is always 1.
	Epoch func(context.Context) (uint64, error)
	// Charters are the envelopes of charter 1 and of what replaced it, in order.
	Charters func() ([]jsontext.Value, error)
	// Appliances are the charter's.
	Appliances func() []string
}

// Log is the audit log of the store. Safe for concurrent use.
type Log struct {
	store   *store.Store
	log     *slog.Logger
	opts    Options
	index   *index
	metrics metrics

	tree    atomic.Pointer[tree]      // nil without a directory, and until it was opened
	before  atomic.Uint64             // leaves of the tree on the disk when this life first opened it
	archive *archive                  // nil without a directory
	fault   atomic.Pointer[treeFault] // why the tree is not gone on with
	loud    atomic.Uint64             // end of the newest block that a checkpoint is wanted for
	signed  atomic.Pointer[signedTree]
	// refusals counts checkpoints that stood in the store and were not taken in here.
	refusals atomic.Uint64
	// witnessed is the newest checkpoint that other appliances cosigned, with their cosignatures.
	witnessed atomic.Pointer[signedTree]
	kick      chan struct{} // a checkpoint is wanted at once
	unlock    func()        // lets others have the directory

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever an entry or a checkpoint came
}

// treeFault is what is wrong with the tree; the zero value is none.
type treeFault struct {
	what string // of a closed set, for the metric
	err  error
}

type metrics struct {
	sequence   prometheus.Gauge
	waiting    prometheus.Gauge
	entries    prometheus.Counter
	leaves     prometheus.Gauge
	signed     prometheus.Gauge
	signedAt   prometheus.Gauge
	cosigners  prometheus.Gauge
	refused    prometheus.Counter
	faults     *prometheus.GaugeVec
	archived   prometheus.Gauge
	checkpoint prometheus.Histogram
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.sequence, m.waiting, m.entries, m.leaves, m.signed, m.signedAt, m.cosigners, m.refused, m.faults, m.archived, m.checkpoint}
}

func newMetrics() metrics {
	return metrics{
		sequence:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_audit_sequence", Help: "Number of the last audit entry that this process knows."}),
		waiting:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_audit_pending_entries", Help: "Audit entries that wait for their number, where the sequencer runs."}),
		entries:   prometheus.NewCounter(prometheus.CounterOpts{Name: "mintwarden_audit_entries_total", Help: "Audit entries that this process numbered."}),
		leaves:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_audit_tree_leaves", Help: "Leaves of the tree: audit entries and batches of the ledger."}),
		signed:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_audit_checkpoint_leaves", Help: "Leaves of the newest signed tree."}),
		signedAt:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_audit_checkpoint_timestamp_seconds", Help: "When this process took the newest signed tree, as a Unix time."}),
		cosigners: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_audit_checkpoint_cosigners", Help: "Other appliances that cosigned the newest signed tree."}),
		refused:   prometheus.NewCounter(prometheus.CounterOpts{Name: "mintwarden_audit_checkpoint_failures_total", Help: "Checkpoints that this process asked for and did not get."}),
		faults: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mintwarden_audit_tree_fault",
			Help: "1 while the tree is not gone on with: damaged, rolled_back, forked, hole, disk, or a checkpoint that was refused."}, []string{"what"}),
		archived: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_audit_archived_entries", Help: "Audit entries that are in this appliance's archive."}),
		checkpoint: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "mintwarden_audit_checkpoint_duration_seconds",
			Help: "Time from asking the seal for a checkpoint until its answer.", Buckets: prometheus.ExponentialBuckets(0.002, 2.5, 10)}),
	}
}

const (
	// checkpointEvery is Options.CheckpointEvery where none is given: each costs a batch of the ledger.
	checkpointEvery = 5 * time.Second
	tlogDir         = "tlog"
	entriesDir      = "entries"
)

// New makes a log over s that numbers and lists: Open without options.
func New(s *store.Store, log *slog.Logger, reg prometheus.Registerer) (*Log, error) {
	return Open(s, Options{}, log, reg)
}

// Open makes the log over s. Nothing happens until Run, save that the archive in o.Dir is read. The directory
// is this process's alone until Run ends; an earlier life that is ending is waited for some seconds.
func Open(s *store.Store, o Options, log *slog.Logger, reg prometheus.Registerer) (*Log, error) {
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = checkpointEvery
	}
	l := &Log{store: s, log: log, opts: o, index: newIndex(), metrics: newMetrics(), kick: make(chan struct{}, 1), changed: make(chan struct{}), unlock: func() {}}
	if reg != nil {
		for _, c := range l.metrics.collectors() {
			if err := reg.Register(c); err != nil {
				return nil, fmt.Errorf("auditlog: metrics: %w", err)
			}
		}
	}
	if o.Dir != "" {
		unlock, err := disk.Lock(o.Dir)
		if err != nil {
			return nil, err
		}
		l.unlock = unlock
		a, err := openArchive(filepath.Join(o.Dir, entriesDir))
		if err != nil {
			unlock()
			return nil, err
		}
		l.archive = a
		l.metrics.archived.Set(float64(a.newest()))
	}
	return l, nil
}

// Run numbers entries whenever this process is the one that may, and follows the log, until ctx ends; the
// directory is another's then. It survives every failure of the store. It is called once.
func (l *Log) Run(ctx context.Context) error {
	defer l.unlock()
	var parts sync.WaitGroup
	again := func(part string, f func(context.Context) error) {
		parts.Go(func() { store.Again(ctx, l.log, "audit log's "+part, f) })
	}
	again("sequencer", l.sequence)
	again("follower", l.follow)
	if l.archive != nil && l.opts.Retention > 0 {
		again("archive", l.keep)
	}
	if l.archive != nil && l.opts.Cosigner != nil {
		again("cosigner", l.vouch)
	}
	parts.Wait()
	return nil
}

// notify wakes up whoever waits for an entry or a checkpoint.
func (l *Log) notify() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
}

// news is closed at the next entry or checkpoint.
func (l *Log) news() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// broke notes a fault of the tree: nothing of it is published any more.
func (l *Log) broke(what string, err error) {
	l.log.Error("audit log: the tree is not gone on with", "what", what, "error", err)
	l.metrics.faults.WithLabelValues(what).Set(1)
	l.fault.Store(&treeFault{what, err})
	l.notify()
}

func logKey(seq uint64) string { return fmt.Sprintf("%s%020d", store.AuditLog, seq) }

func parseLogKey(key string) (uint64, error) {
	digits := key[min(len(store.AuditLog), len(key)):]
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || logKey(n) != key {
		return 0, fmt.Errorf("auditlog: %s is not an entry's key", key)
	}
	return n, nil
}

// readHead is the end of the chain and the revision to compare; before the first entry it is zero.
func (l *Log) readHead(ctx context.Context) (head, int64, error) {
	h := head{EntryHash: audit.Genesis}
	v, rev, ok, err := l.store.Get(ctx, store.AuditHead)
	if err != nil || !ok {
		return h, 0, err
	}
	if err := json.Unmarshal(v, &h, json.RejectUnknownMembers(true)); err != nil {
		return h, 0, fmt.Errorf("auditlog: %s: %w", store.AuditHead, err)
	}
	return h, rev, nil
}

// Verify reads the whole log, archive and store, and checks every link (audit.Verify), and that it ends
// where the head says: entries cut off the end are a break, too. It costs a read of every entry.
func (l *Log) Verify(ctx context.Context) (audit.Result, error) {
	kept := l.archive.newest()
	h, _, err := l.readHead(ctx)
	if err != nil {
		return audit.Result{}, err
	}
	v := audit.NewVerifier()
	if err := l.verifyArchive(ctx, v, max(kept, uint64(h.Seq))); err != nil {
		return audit.Result{}, err
	}
	o := store.ListOptions{After: logKey(v.Result().EntriesChecked)}
	for v.Result().Valid {
		p, err := l.store.List(ctx, store.AuditLog, o)
		if err != nil {
			return audit.Result{}, err
		}
		for _, kv := range p.KVs {
			if over, err := l.verifyValue(v, kv, uint64(h.Seq)); err != nil || over {
				return atHead(v, h), err
			}
		}
		if !p.More || len(p.KVs) == 0 {
			err := l.catchUp(v, uint64(h.Seq))
			return atHead(v, h), err
		}
		o.After = p.KVs[len(p.KVs)-1].Key
	}
	return v.Result(), nil
}

// verifyArchive adds what is archived, up to an entry: what comes behind it was numbered later.
func (l *Log) verifyArchive(ctx context.Context, v *audit.Verifier, last uint64) error {
	if l.archive == nil {
		return nil
	}
	for e, err := range l.archive.all() {
		switch {
		case errors.Is(err, errArchive):
			v.Break()
		case err != nil:
			return err
		case uint64(e.Seq) > last:
			return nil
		default:
			v.Add(e)
		}
		if !v.Result().Valid {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// verifyValue adds the entries of a value of the store; over says that the log went on from there since the head was
// read, or that the chain is broken.
func (l *Log) verifyValue(v *audit.Verifier, kv store.KV, last uint64) (over bool, err error) {
	entries, err := parseEntries(kv)
	if err != nil {
		v.Break()
		return true, nil
	}
	for _, e := range entries {
		if err := l.catchUp(v, min(uint64(e.Seq)-1, last)); err != nil {
			return true, err
		}
		switch {
		case uint64(e.Seq) > last:
			return true, nil // numbered after we began
		case uint64(e.Seq) <= v.Result().EntriesChecked:
			// Seen already: in the archive, or before its value was put together with the next ones.
		default:
			v.Add(e)
		}
		if !v.Result().Valid {
			return true, nil
		}
	}
	return false, nil
}

// catchUp adds what left the store for the archive since that was read, up to an entry.
func (l *Log) catchUp(v *audit.Verifier, last uint64) error {
	for r := v.Result(); r.Valid && r.EntriesChecked < min(last, l.archive.newest()); r = v.Result() {
		e, err := l.archive.entry(r.EntriesChecked + 1)
		switch {
		case errors.Is(err, errArchive):
			v.Break()
		case err != nil:
			return err
		default:
			v.Add(e)
		}
	}
	return nil
}

func atHead(v *audit.Verifier, h head) audit.Result {
	r := v.Result()
	if r.Valid && (r.EntriesChecked != uint64(h.Seq) || (h.Seq > 0 && r.LastEntryHash != h.EntryHash)) {
		v.Break()
	}
	return v.Result()
}
