package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/mintwarden/mintwarden/policy"
)

// ErrSnapshot says that a snapshot is not one that this ledger's root and its author vouch for.
var ErrSnapshot = errors.New("snapshot refused")

// RestoreFold is the fold that a signed snapshot is of, ready for the batch behind it. It believes
// nothing but charter1, the digest of the first charter: from there it follows the charters that the
// snapshot holds, each signed as the one before asks, to the one in force, whose appliance must have
// signed the snapshot. Then it verifies what people signed again, and takes the rest on that
// appliance's word. Errors wrap ErrSnapshot.
func RestoreFold(signed []byte, charter1 policy.Digest) (*Fold, error) {
	if len(signed) > MaxSnapshot+maxLine {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrSnapshot, len(signed), MaxSnapshot+maxLine)
	}
	body, last, ok := cutSeal(signed)
	if !ok {
		return nil, fmt.Errorf("%w: it ends before its signature", ErrSnapshot)
	}
	var seal snapSeal
	if err := readLine(last, &seal); err != nil {
		return nil, fmt.Errorf("%w: last line: %w", ErrSnapshot, err)
	}
	digest := policy.DigestOf(body)
	return restore(body, charter1, digest, func(l *law) error {
		key, ok := l.authors[seal.Author]
		if !ok {
			return fmt.Errorf("signed by %.64q, no appliance of the charter in force", seal.Author)
		}
		if seal.Snapshot != digest || len(seal.Signature) != ed25519.SignatureSize ||
			!ed25519.Verify(key, SnapshotInput(seal.Author, digest), seal.Signature) {
			return fmt.Errorf("the signature of %s does not hold", seal.Author)
		}
		return nil
	})
}

// restore reads a snapshot's lines. Once the charters are read, vouched is asked about the rest.
func restore(body []byte, charter1, digest policy.Digest, vouched func(*law) error) (*Fold, error) {
	r := &restoring{rest: body, s: newState(charter1), heads: map[uint64][]*law{}}
	f := &Fold{View: View{mu: new(sync.RWMutex), state: r.s}}
	r.m = r.s.memory
	r.head()
	r.charters()
	if r.err == nil {
		r.fail(vouched(r.s.law))
	}
	r.tables()
	if r.err == nil && len(r.rest) > 0 {
		r.err = errors.New("lines behind the last section")
	}
	if r.err != nil {
		return nil, fmt.Errorf("%w: line %d: %w", ErrSnapshot, r.n, r.err)
	}
	// A fold that would write other bytes is not the one that this was written of, and would part from
	// it, or call true what it only read.
	again, err := r.s.write(io.Discard)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if again != digest {
		return nil, fmt.Errorf("%w: it is %s, what it restores is written as %s", ErrSnapshot, digest, again)
	}
	r.s.memo.described(r.s.head.digest, digest)
	return f, nil
}

// restoring reads a snapshot; the first error ends it.
type restoring struct {
	rest  []byte
	n     int // lines read
	err   error
	s     *state
	m     *memory
	heads map[uint64][]*law // charters by the batch that recorded them
}

func (r *restoring) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// line reads the next one into v.
func (r *restoring) line(v any) bool {
	if r.err != nil {
		return false
	}
	r.n++
	line, rest, ok := bytes.Cut(r.rest, []byte("\n"))
	switch {
	case !ok:
		r.err = errors.New("it ends too soon")
	case len(line) >= maxLine:
		r.err = fmt.Errorf("%d bytes, at most %d", len(line)+1, maxLine)
	default:
		// One spelling, one value: that the lines are just as they would be written again is asked of all of
		// them at the end.
		r.rest = rest
		r.err = json.Unmarshal(line, v, json.RejectUnknownMembers(true))
	}
	return r.err == nil
}

// readLine takes exactly what line writes.
func readLine(line []byte, v any) error {
	if err := json.Unmarshal(line, v, json.RejectUnknownMembers(true)); err != nil {
		return err
	}
	again, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return err
	}
	if !bytes.Equal(again, line) {
		return fmt.Errorf("not the canonical encoding, first at byte %d", firstDifference(line, again))
	}
	return nil
}

// readSection reads a section of lines in the ascending order of their keys.
func readSection[L any](r *restoring, name string, key func(*L) string, take func(*L) error) {
	var head snapSection
	if !r.line(&head) {
		return
	}
	if head.Section != name || head.Lines < 0 {
		r.err = fmt.Errorf("section %.40q of %d lines, want %s", head.Section, head.Lines, name)
		return
	}
	before := ""
	for n := range head.Lines {
		var line L
		if !r.line(&line) {
			return
		}
		k := key(&line)
		if n > 0 && k <= before {
			r.err = fmt.Errorf("section %s is not in order", name)
			return
		}
		before = k
		r.fail(take(&line))
	}
}

// readRecord reads one record of a type.
func readRecord(value []byte, t Type) (*Record, error) {
	rec, err := ParseRecord(value)
	if err != nil {
		return nil, err
	}
	if rec.Type() != t || rec.enveloped() != nil {
		return nil, fmt.Errorf("a record of type %s, want %s", rec.Type(), t)
	}
	return rec, nil
}

func (w *wireEnvelope) envelope() *Enveloped {
	e := &Enveloped{PayloadType: w.PayloadType, Payload: w.Payload, Signatures: make([]policy.Signature, len(w.Signatures))}
	for i, s := range w.Signatures {
		e.Signatures[i] = policy.Signature(s)
	}
	return e
}

func (r *restoring) head() {
	var h snapHead
	if !r.line(&h) {
		return
	}
	s := r.s
	if h.Format != snapshotFormat || h.Charter1 != s.root {
		r.err = fmt.Errorf("a snapshot of format %d of the ledger that begins with charter %.80q; want format %d and %s", h.Format, string(h.Charter1), snapshotFormat, s.root)
		return
	}
	if h.Sequence == 0 || h.Sequence > MaxInteger || h.Epoch == 0 || h.Term == 0 || h.Rules < 1 || h.Rules > Format || !h.Head.Valid() || h.Born < 0 {
		r.err = fmt.Errorf("a snapshot of batch %d, %.80q, epoch %d, term %d", h.Sequence, string(h.Head), h.Epoch, h.Term)
		return
	}
	s.head = head{h.Sequence, h.Head, h.Epoch, h.Term, h.Author, h.Time.UTC(), h.Rules}
	s.instance, s.births, s.born, s.forgotten = h.Instance, h.Births, h.Born, h.Forgotten
	for i := range s.births {
		s.births[i] = s.births[i].UTC()
	}
	if h.Checkpoint != nil {
		rec, err := readRecord(h.Checkpoint, TypeCheckpoint)
		if err != nil {
			r.err = err
			return
		}
		s.checkpoint = rec.Checkpoint
	}
	if h.Trim != nil {
		rec, err := readRecord(h.Trim, TypeTrim)
		if err != nil {
			r.err = err
			return
		}
		s.trim = rec.Trim
	}
	if h.Recovery != nil {
		s.recovery = &recovery{at: h.Recovery.At.UTC(), stated: map[counter]bool{}, usage: h.Recovery.Usage}
		for _, c := range h.Recovery.Stated {
			s.recovery.stated[counter{c.ChainID, c.Contract, c.Operation}] = true
		}
	}
	r.m.bucket = bucketOf(s.head.time)
}

// charters follows the chain from the root. Each stands in the batch that the snapshot says, which
// only tells apart which charter judged what else is read.
func (r *restoring) charters() {
	instance := r.s.instance
	before := uint64(0)
	readSection(r, sectionCharters, func(l *snapDocument) string { return fmt.Sprintf("%020d %09d", l.Sequence, r.n) }, func(l *snapDocument) error {
		if l.Envelope == nil || l.Sequence == 0 || l.Sequence < before || l.Sequence > r.s.head.sequence {
			return fmt.Errorf("a charter of batch %d behind one of %d, in a snapshot of batch %d", l.Sequence, before, r.s.head.sequence)
		}
		before = l.Sequence
		if refusal := r.s.charter(place{sequence: l.Sequence}, l.Envelope.envelope()); refusal != nil {
			return refusal
		}
		r.heads[l.Sequence] = append(r.heads[l.Sequence], r.s.law)
		r.m.came(r.s.law, r.s.head.time)
		return nil
	})
	if r.err == nil && r.s.law == nil {
		r.err = errors.New("no charter")
	}
	if r.err == nil && r.s.instance != instance {
		r.err = fmt.Errorf("instance %.64q, the charter says %s", instance, r.s.instance)
	}
}

// judges is the charters of which one was in force where a record of that batch stands: the one of
// the batches before, and those that the batch itself recorded.
func (r *restoring) judges(sequence uint64) []*law {
	laws := r.heads[sequence]
	for i := len(r.s.chain) - 1; i >= 0; i-- {
		if l := r.s.chain[i]; l.sequence < sequence {
			return append([]*law{l}, laws...)
		}
	}
	return laws
}

// held is nil if check is of one of the charters that may have judged.
func (r *restoring) held(sequence uint64, check func(*law) error) error {
	err := fmt.Errorf("batch %d is before charter 1", sequence)
	for _, l := range r.judges(sequence) {
		if err = check(l); err == nil {
			return nil
		}
	}
	return err
}
