package sealed

import (
	"bytes"
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// roomMetrics is what an operator needs to see of a seal; serve merges it into
// its own.
type roomMetrics struct {
	sealed, token, author, sequence prometheus.Gauge
	batch                           prometheus.Histogram // records
	commit, journal, anchor         prometheus.Histogram // seconds
	answers                         *prometheus.CounterVec
	verdicts                        *prometheus.CounterVec
	unknown                         prometheus.Counter
	notices                         *prometheus.CounterVec
}

// notice is something that no honest store, token or clock does, or only in
// trouble: it is in the log with its values, and counted here. The zero value is none.
type notice string

const (
	noticedBehind    notice = "store_behind"      // the store lacks what the journal or the anchor saw there
	noticedForked    notice = "store_forked"      // the store has another batch than they saw
	noticedForged    notice = "store_refused"     // the store holds what no author of the charter wrote: edited, forged, holed
	noticedRewritten notice = "store_rewritten"   // the store lacks, or has otherwise, a batch that it gave us before
	noticedOvertaken notice = "commit_refused"    // our batch did not get in: another author, or a paused one that woke up
	noticedUnknown   notice = "commit_unknown"    // etcd did not say whether a batch got in
	noticedAnchor    notice = "anchor_conflict"   // the token's anchor was written by somebody else meanwhile
	noticedAnchorBad notice = "anchor_unreadable" // what stands in the token under the anchor's name is no anchor
	noticedMemory    notice = "memory_missing"    // there is no journal, and no join that stands in for it
	noticedKeeping   notice = "log_not_shortened" // a snapshot, trim or archive failed
	noticedClock     notice = "clock_doubt"       // the clocks contradict each other, or the last batch
	noticedSignature notice = "signature_refused" // the token gave a signature that does not verify
	noticedTree      notice = "tree_refused"      // a tree head that does not extend the last one, or holds another ledger
)

// notices are all of them.
var notices = []notice{noticedBehind, noticedForked, noticedForged, noticedRewritten, noticedOvertaken, noticedUnknown, noticedAnchor,
	noticedAnchorBad, noticedMemory, noticedKeeping, noticedClock, noticedSignature, noticedTree}

func newRoomMetrics(reg prometheus.Registerer) (*roomMetrics, error) {
	seconds := prometheus.ExponentialBuckets(0.0005, 2.5, 12)
	m := &roomMetrics{
		sealed: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_seal_sealed",
			Help: "1 while this seal has no PIN."}),
		token: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_seal_token",
			Help: "1 while this seal is logged in to its token."}),
		author: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_seal_author",
			Help: "1 while this seal writes the ledger."}),
		sequence: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_seal_sequence",
			Help: "Sequence of the newest batch in the fold."}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "mintwarden_seal_batch_records",
			Help: "Records of a batch that this seal committed.", Buckets: prometheus.ExponentialBuckets(1, 2, 10)}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "mintwarden_ledger_commit_duration_seconds",
			Help: "Time from offering a batch to etcd until its outcome was known.", Buckets: seconds}),
		journal: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "mintwarden_ledger_journal_duration_seconds",
			Help: "Time of a durable write to the journal.", Buckets: seconds}),
		anchor: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "mintwarden_ledger_anchor_duration_seconds",
			Help: "Time of a renewal of the anchor in the token.", Buckets: seconds}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintwarden_seal_answers_total",
			Help: "Answers by operation and kind; ok or the error's."}, []string{"op", "kind"}),
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintwarden_seal_verdicts_total",
			Help: "Verdicts at signing, by outcome and the rule that gave the reason."}, []string{"outcome", "rule"}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{Name: "mintwarden_ledger_unknown_commits_total",
			Help: "Commits whose outcome etcd did not tell at once."}),
		notices: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintwarden_seal_noticed_total",
			Help: "What an honest store, token or clock does not do, by what it was; the log has the values."}, []string{"what"}),
	}
	started := prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_seal_start_timestamp_seconds",
		Help: "When this sealed process started, as a Unix time."})
	started.SetToCurrentTime()
	for _, c := range []prometheus.Collector{started, m.sealed, m.token, m.author, m.sequence, m.batch, m.commit, m.journal, m.anchor, m.answers, m.verdicts, m.unknown, m.notices} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	// A series that begins with its first notice has gone up, for whoever asks by how much, by nothing.
	for _, what := range notices {
		m.notices.WithLabelValues(string(what))
	}
	return m, nil
}

// doubted counts why the ledger, or the token's word on it, is not believed.
// What is merely not reached is no notice.
func (m *roomMetrics) doubted(err error) {
	if what := noticeOf(err); what != "" {
		m.noticed(what)
	}
}

// noticeOf is what a doubt says of the store or the token; empty where one of them is
// merely not reached.
func noticeOf(err error) notice {
	var behind *behindError
	var forked *forkedError
	var foreign *foreignError
	var rewritten *rewrittenError
	var refused *ledger.Refusal
	var stranger *strangerError
	var conflict *anchorConflict
	var bad *anchorBad
	switch {
	case errors.As(err, &behind):
		return noticedBehind
	case errors.As(err, &forked) || errors.As(err, &foreign):
		return noticedForked
	case errors.As(err, &rewritten):
		return noticedRewritten
	case errors.As(err, &stranger):
		return noticedMemory
	case errors.As(err, &conflict):
		return noticedAnchor
	case errors.As(err, &bad):
		return noticedAnchorBad
	case errors.As(err, &refused):
		return noticedForged
	}
	return ""
}

// noticed counts a notice.
func (m *roomMetrics) noticed(what notice) { m.notices.WithLabelValues(string(what)).Inc() }

func boolGauge(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Metrics gives the process's metrics in Prometheus' text format.
func (r *room) Metrics(context.Context) (*seal.Metrics, error) {
	families, err := r.registry.Gather()
	if err != nil {
		return nil, seal.Errorf(seal.KindStore, "metrics: %v", err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			return nil, seal.Errorf(seal.KindStore, "metrics: %v", err)
		}
	}
	return &seal.Metrics{Text: text.String()}, nil
}

// verdict counts what the policies said at a signing.
func (m *roomMetrics) verdict(v policy.Verdict) {
	rule := ""
	if v.Reported != nil {
		rule = string(v.Reported.Rule)
	}
	m.verdicts.WithLabelValues(string(v.Outcome), rule).Inc()
}
