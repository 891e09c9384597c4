package ledger

import (
	"encoding/json/jsontext"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// headroom is more than what a batch's encoding holds beside its records, in bytes.
const headroom = 2048

// Stage is the next batch in the making: it decides against the fold and what was added before, and
// leaves the fold as it is. All of its records have one time, the batch's; whoever judges an
// operation for it must judge at [Stage.Time], or author and followers would see another day. One
// goroutine uses it at a time; the fold may be read and applied to meanwhile, but a fold that moved
// on refuses whatever is added after.
type Stage struct {
	View
	fold    *Fold
	base    uint64 // the fold's sequence when the stage was made
	at      place
	size    int // of the encoded batch, at most
	records []Record
	encoded []jsontext.Value // of the records, in their order
	unfit   *Refusal         // why nothing can follow the head as asked
	try     state            // the layer of what is being added, used again
}

// Stage begins the batch that the author (an appliance id) would write at now, cut to seconds. A
// time before the last batch's refuses what is added.
func (f *Fold) Stage(now time.Time, author string) *Stage {
	f.mu.RLock()
	defer f.mu.RUnlock()
	layer := f.state.on()
	h := layer.head
	next := head{sequence: h.sequence + 1, term: h.term, author: author, time: policy.Seconds(now), rules: Format}
	if author != h.author {
		next.term++ // the take-over's; the batch's own header says by how much
	}
	s := &Stage{View: View{mu: f.mu, state: layer}, fold: f, base: h.sequence, size: headroom,
		at: place{sequence: next.sequence, time: next.time, author: author}}
	if r := layer.link(next, layer.instance, h.digest); r != nil {
		s.unfit = r.at(next.sequence, -1, "")
	} else if layer.law != nil {
		if _, r := layer.authorKey(author); r != nil {
			s.unfit = r.at(next.sequence, -1, "")
		}
	}
	return s
}

// Time is the batch's: whole seconds, UTC.
func (s *Stage) Time() time.Time { return s.at.time }

// Records is what was added, in order: the batch's records. What is added later does not change it.
func (s *Stage) Records() []Record { return slices.Clip(s.records) }

// Add takes records behind those that are there, all of them or none. An error is a *Refusal: with
// ReasonFull the records do not fit into this batch any more, with ReasonStale the fold has moved
// on. A deployment's authorization and its binding are added together. The records are not to be
// changed afterwards.
func (s *Stage) Add(records ...Record) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.unfit != nil {
		return s.unfit
	}
	if now := s.fold.state.head.sequence; now != s.base {
		return refuse(ReasonStale, "the log is at batch %d, the stage began at %d", now, s.base).at(s.at.sequence, -1, "")
	}
	layer, size, encoded := s.state.onto(&s.try), s.size, s.encoded
	for i := range records {
		r := &records[i]
		place := len(s.records) + i
		value, err := r.Encode()
		if err != nil {
			return refuse(ReasonValue, "%w", err).at(s.at.sequence, place, r.Type())
		}
		if refusal := layer.record(s.at, r); refusal != nil {
			return refusal.at(s.at.sequence, place, r.Type())
		}
		if size += len(value) + 1; size > MaxBatch {
			return refuse(ReasonFull, "a batch of %d bytes and more, at most %d", size, MaxBatch).at(s.at.sequence, place, r.Type())
		}
		encoded = append(encoded, value)
	}
	if d := layer.deploys; d != nil {
		return refuse(ReasonConflict, "the deployment of contract %s is added without its binding", d.contract).
			at(s.at.sequence, len(s.records)+len(records)-1, TypeAuthorize)
	}
	layer.sink()
	s.size = size
	s.records = append(s.records, records...)
	s.encoded = encoded
	return nil
}

// Batch is what the stage holds, as its author signs it: everything but the signature. Its records
// are encoded already. Whoever changes its other members gets what [Fold.Take] refuses.
func (s *Stage) Batch(term uint64) *Batch {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return &Batch{Format: Format, Instance: s.state.instance, Epoch: s.state.head.epoch, Term: term, Sequence: s.at.sequence,
		Previous: s.state.previous, Author: s.at.author, Time: s.at.time, Records: s.Records(), encoded: slices.Clip(s.encoded)}
}
