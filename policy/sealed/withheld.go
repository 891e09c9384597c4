package sealed

import (
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// withheld is, of operations whose decisions were dated long before anybody could see
// them, by how much: a hostile store holds a commit back, and a DELAY, which is there so
// that others see an operation coming, would pass meanwhile. By operation id; of run's
// goroutine alone, and in memory: after a start a batch counts as held back until it is
// read, where the journal has not seen it.
type withheld map[string]late

type late struct {
	by    time.Duration
	noted time.Time
}

// note takes the decisions of a batch that came so much later than its own time.
func (w withheld) note(records []ledger.Record, by time.Duration, now time.Time, keep time.Duration) {
	for id, l := range w {
		if now.Sub(l.noted) > keep {
			delete(w, id) // its intent has expired
		}
	}
	for _, r := range records {
		if r.Decision == nil {
			continue
		}
		d, err := policy.ParseDecision(r.Decision.Payload)
		if err != nil {
			continue // the ledger took it, so it is one
		}
		if i, err := policy.ParseIntent(d.Intent); err == nil {
			w[i.OperationID] = late{max(by, w[i.OperationID].by), now}
		}
	}
}

// held notes a batch's decisions if it came later by more than clocks may differ.
func (r *room) held(batch *ledger.Batch, by time.Duration, now time.Time) {
	if charter, _ := r.fold.Charter(); charter != nil && by > charter.MaxClockSkew() {
		r.withheld.note(batch.Records, by, now, charter.MaxIntentLifetime())
	}
}

// delayed is nil unless a DELAY that has passed by the ledger's own times has not passed
// since the decisions could be seen.
func (rd *round) delayed(i *policy.Intent, digest policy.Digest, v policy.Verdict) error {
	l, ok := rd.room.withheld[i.OperationID]
	isDelay := func(o policy.RuleOutcome) bool { return o.Rule == policy.RuleDelay }
	if !ok || !slices.ContainsFunc(v.Rules, isDelay) {
		return nil
	}
	then := rd.stage.Judge(i, digest, rd.now.Add(-l.by))
	for _, o := range then.Rules {
		if isDelay(o) && o.Outcome != policy.Allow {
			return seal.Errorf(seal.KindWait, "the store held the decisions back for %s, and the DELAY counts from when they could be seen", l.by.Round(time.Second))
		}
	}
	return nil
}
