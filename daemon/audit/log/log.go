// Package auditlog keeps the audit log in the store: it numbers and chains what changes left in the
// pending prefix, lists it, and verifies it.
//
// It promises that every entry whose change was committed is numbered exactly once, whatever crashes;
// that numbers have no gaps and follow the order of commits as the sequencer saw it; that one sequencer
// works at a time, across all appliances. Numbers are written, never inferred from etcd's revisions.
//
// It does not promise that an entry is listed the moment its change is answered: numbering follows within
// milliseconds, or once a sequencer runs again.
package auditlog

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// Log is the audit log of the store. Safe for concurrent use.
type Log struct {
	store   *store.Store
	log     *slog.Logger
	index   *index
	metrics metrics
}

type metrics struct {
	sequence prometheus.Gauge
	waiting  prometheus.Gauge
	entries  prometheus.Counter
}

// head is the end of the chain, at store.AuditHead.
type head struct {
	Seq       audit.Sequence `json:"seq"`
	EntryHash string         `json:"entryHash"`
}

// New makes the log over s. Nothing happens until Run.
func New(s *store.Store, log *slog.Logger, reg prometheus.Registerer) (*Log, error) {
	l := &Log{store: s, log: log, index: newIndex(), metrics: metrics{
		sequence: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_audit_sequence", Help: "Number of the last audit entry that this process knows."}),
		waiting:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_audit_pending_entries", Help: "Audit entries that wait for their number, where the sequencer runs."}),
		entries:  prometheus.NewCounter(prometheus.CounterOpts{Name: "mintwarden_audit_entries_total", Help: "Audit entries that this process numbered."}),
	}}
	if reg != nil {
		for _, c := range []prometheus.Collector{l.metrics.sequence, l.metrics.waiting, l.metrics.entries} {
			if err := reg.Register(c); err != nil {
				return nil, fmt.Errorf("auditlog: metrics: %w", err)
			}
		}
	}
	return l, nil
}

// Run numbers entries whenever this process is the one that may, and follows the log, until ctx ends.
// It survives every failure of the store.
func (l *Log) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.again(ctx, "sequencer", l.sequence) })
	g.Go(func() error { return l.again(ctx, "index", l.follow) })
	return g.Wait()
}

// again runs f for ever, with a pause after each failure so that a broken store is not hammered.
func (l *Log) again(ctx context.Context, what string, f func(context.Context) error) error {
	const least, most = 100 * time.Millisecond, 5 * time.Second
	pause := least
	for {
		began := time.Now()
		err := f(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > most {
			pause = least
		}
		l.log.Warn("audit log: starting again", "part", what, "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, most)
	}
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

// Verify reads the whole log and checks every link (audit.Verify), and that it ends where the head says:
// entries cut off the end are a break, too. It costs a read of every entry.
func (l *Log) Verify(ctx context.Context) (audit.Result, error) {
	h, _, err := l.readHead(ctx)
	if err != nil {
		return audit.Result{}, err
	}
	v := audit.NewVerifier()
	var o store.ListOptions
	for {
		p, err := l.store.List(ctx, store.AuditLog, o)
		if err != nil {
			return audit.Result{}, err
		}
		for _, kv := range p.KVs {
			seq, err := parseLogKey(kv.Key)
			e, perr := audit.Parse(kv.Value)
			if errors.Join(err, perr) != nil || uint64(e.Seq) != seq {
				v.Break()
			} else if seq > uint64(h.Seq) {
				return atHead(v, h), nil // numbered after we began
			} else {
				v.Add(e)
			}
			if !v.Result().Valid {
				return v.Result(), nil
			}
		}
		if !p.More || len(p.KVs) == 0 {
			return atHead(v, h), nil
		}
		o.After = p.KVs[len(p.KVs)-1].Key
	}
}

func atHead(v *audit.Verifier, h head) audit.Result {
	r := v.Result()
	if r.Valid && (r.EntriesChecked != uint64(h.Seq) || (h.Seq > 0 && r.LastEntryHash != h.EntryHash)) {
		v.Break()
	}
	return v.Result()
}
