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
// goroutine alone: what was read when the journal had seen no more than what is before
// it, whoever wrote it, counts as held back until then, and so does what was read in a
// snapshot that the store lent. An appliance that was away and authors now lets a DELAY
// begin when it came back. It is in the state directory before the journal has seen the
// batches of it (withheld_file.go).
type withheld struct {
	of      map[string]late
	swept   time.Time
	changed bool // since it was saved
}

type late struct {
	by    time.Duration
	noted time.Time
}

// sweeps is how often what has expired goes, while an intent may live.
const sweeps = 16

// note takes the decisions of a batch that came so much later than its own time. What is
// over is told by the batches' own times, too: they never go back, and a clock that was
// set while nobody looked has nothing forgotten before its time.
func (w *withheld) note(records []ledger.Record, by time.Duration, now time.Time, keep time.Duration) {
	if now.Sub(w.swept).Abs() > keep/sweeps {
		w.swept = now
		for id, l := range w.of {
			if now.Sub(l.noted) > keep {
				delete(w.of, id) // its intent has expired
			}
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
			w.add(i.OperationID, by, now)
		}
	}
}

func (w *withheld) add(id string, by time.Duration, now time.Time) {
	w.of[id] = late{max(by, w.of[id].by), now}
	w.changed = true
}

// held notes a batch's decisions if it came later by more than clocks may differ. By no
// more than an intent may live, for then they are of operations that are over; but that
// is the word of a reading that nobody may have checked, so they are noted all the same.
func (r *room) held(batch *ledger.Batch, by time.Duration) {
	charter, _ := r.fold.Charter()
	if charter == nil {
		return
	}
	skew, life := charter.MaxClockSkew(), charter.MaxIntentLifetime()
	if by > skew {
		r.withheld.note(batch.Records, min(by, life+2*skew), batch.Time, life+skew)
	}
}

// lentLate notes what was decided in a snapshot that the store lent, and that the journal has not seen: since when it
// could be seen, nobody here knows but that it can be now.
func (r *room) lentLate(now instant) {
	charter, _ := r.fold.Charter()
	skew, most := charter.MaxClockSkew(), charter.MaxIntentLifetime()+2*charter.MaxClockSkew()
	last := r.journal.last
	for _, op := range r.fold.Undecided() {
		for _, d := range op.Decisions {
			if d.Sequence <= last.Sequence && r.fold.Epoch() == last.Epoch {
				continue
			}
			if by := r.later(now, d.At); by > skew {
				r.withheld.add(op.OperationID, min(by, most), r.fold.LastTime())
			}
			break // the others are later
		}
	}
}

// delayed is nil unless a DELAY that has passed by the ledger's own times has not passed
// since the decisions could be seen.
func (rd *round) delayed(i *policy.Intent, digest policy.Digest, v policy.Verdict) error {
	l, ok := rd.room.withheld.of[i.OperationID]
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
