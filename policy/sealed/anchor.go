package sealed

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// anchorName is the private data object in the token that outlives a wiped disk
// (spec policy.md, "Anchor").
const anchorName = "mintwarden-anchor"

const (
	// anchorFormat is the one format of an anchor.
	anchorFormat = 1
	// maxAnchor bounds an anchor in bytes; the longest names make about 400.
	maxAnchor = 2 << 10
	// anchorEvery is how old an anchor may get while batches are written, by the
	// machine's own clock.
	anchorEvery = 60 * time.Second
)

// anchor says, in the token, who wrote the ledger last and how far it was. An
// appliance that shares the token with others shares the anchor with them.
type anchor struct {
	Format   int           `json:"format"`
	Instance string        `json:"instance"`
	Author   string        `json:"author"` // appliance id
	Epoch    uint64        `json:"epoch"`
	Term     uint64        `json:"term"`
	Sequence uint64        `json:"sequence"`
	Head     policy.Digest `json:"head"`    // of that batch
	Charter  policy.Digest `json:"charter"` // in force there
}

// parseAnchor takes exactly what encode gives.
func parseAnchor(text []byte) (*anchor, error) {
	if len(text) > maxAnchor {
		return nil, fmt.Errorf("%d bytes, at most %d", len(text), maxAnchor)
	}
	var a anchor
	if err := json.Unmarshal(text, &a, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	again, err := a.encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, text) {
		return nil, errors.New("not as it was written")
	}
	return &a, nil
}

func (a *anchor) encode() ([]byte, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

func (a *anchor) check() error {
	switch {
	case a.Format != anchorFormat:
		return fmt.Errorf("format %d, want %d", a.Format, anchorFormat)
	case a.Epoch == 0 || a.Term == 0 || a.Sequence == 0:
		return fmt.Errorf("epoch %d, term %d, sequence %d: each begins at 1", a.Epoch, a.Term, a.Sequence)
	case max(a.Epoch, a.Term, a.Sequence) > ledger.MaxInteger:
		return fmt.Errorf("epoch %d, term %d, sequence %d: each is at most 2^53-1", a.Epoch, a.Term, a.Sequence)
	case !a.Head.Valid() || !a.Charter.Valid():
		return fmt.Errorf("head %.80q, charter %.80q: want digests", string(a.Head), string(a.Charter))
	}
	return errors.Join(policy.CheckName(a.Instance), policy.CheckName(a.Author))
}

// compare orders anchors: of two that a crash, or two writers, left, the higher
// counts. Where all numbers are equal the bytes decide, so that two writers that
// do not see each other agree on who it is.
func (a *anchor) compare(b *anchor) int {
	return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Term, b.Term), cmp.Compare(a.Sequence, b.Sequence),
		cmp.Compare(a.Author, b.Author), cmp.Compare(a.Head, b.Head), cmp.Compare(a.Charter, b.Charter))
}

func (a *anchor) point() point { return point{a.Epoch, a.Sequence, a.Head} }

// anchorStore is the token, as far as anchors need it.
type anchorStore interface {
	Objects(ctx context.Context, name string) ([][]byte, error)
	ExchangeObject(ctx context.Context, name string, value []byte, old ...[]byte) error
	AddObject(ctx context.Context, name string, value []byte) (all [][]byte, err error)
	RemoveObjects(ctx context.Context, name string, values ...[]byte) error
	SameObject(ctx context.Context, name string, value []byte) (bool, error)
}

var _ anchorStore = (*hsm.Token)(nil)

// anchoring is what the room knows of the anchor. Its goroutine alone uses it.
//
// A write creates the new anchor, reads all that stand, and destroys the old one. So each writer that goes on has seen,
// behind its own write, nothing but its own: of two that write at once one at least
// sees the other's. What another one wrote is destroyed by a take-over only, which has
// read it, and whose store extends it.
type anchoring struct {
	token anchorStore
	held  *anchor       // what stood in the token when we last looked; nil: nothing
	all   []*anchor     // everything that stood there then
	at    time.Duration // CLOCK_BOOTTIME when we wrote it; 0: not in this life
	due   bool          // it has to be written before anything else is decided

	ours [][]byte // what we wrote in this life and may stand: held, and what could not be destroyed
}

// anchorConflict says that another seal wrote the anchor since we did.
type anchorConflict struct {
	held, found *anchor
	beside      bool // held stands there too, and nothing is gone for it
}

// lost is true where what we know to have stood there is gone, and nothing higher stands
// in its place: no seal destroys that, but who restores an older token does.
func (e *anchorConflict) lost() bool {
	return e.found == nil || !e.beside && e.held != nil && e.found.compare(e.held) < 0
}

func (e *anchorConflict) Error() string {
	if e.found == nil {
		return "the token's anchor is gone, which no seal destroys"
	}
	return fmt.Sprintf("the token's anchor is of %s, term %d, batch %d, and not what this appliance wrote; another seal writes another history on this token",
		e.found.Author, e.found.Term, e.found.Sequence)
}

// read is what stands in the token: the highest of the anchors, nil if there is
// none, then all of them, and their bytes.
func (n *anchoring) read(ctx context.Context) (*anchor, []*anchor, [][]byte, error) {
	objects, err := n.token.Objects(ctx, anchorName)
	if errors.Is(err, hsm.ErrNotFound) {
		return nil, nil, nil, nil
	}
	if err != nil {
		return nil, nil, nil, hsmError(err)
	}
	highest, all, err := parseAnchors(objects)
	return highest, all, objects, err
}

// parseAnchors is the highest of the anchors, and all of them.
func parseAnchors(objects [][]byte) (highest *anchor, all []*anchor, err error) {
	for _, text := range objects {
		a, err := parseAnchor(text)
		if err != nil {
			return nil, nil, &anchorBad{err}
		}
		all = append(all, a)
		if highest == nil || a.compare(highest) > 0 {
			highest = a
		}
	}
	return highest, all, nil
}

// anchorBad says that what stands under the anchor's name was not written by a seal.
type anchorBad struct{ error }

func (e *anchorBad) Error() string { return "the token's anchor cannot be read: " + e.error.Error() }
func (e *anchorBad) Unwrap() error { return e.error }

// look takes what stands there as what is known.
func (n *anchoring) look(ctx context.Context) error {
	a, all, _, err := n.read(ctx)
	if err != nil {
		return err
	}
	if a == nil && n.held != nil {
		return &anchorBad{errors.New("it is gone, which no seal destroys")}
	}
	if !same(a, n.held) {
		n.at = 0 // what stands there is not what we wrote
	}
	n.held, n.all = a, all
	return nil
}

// write makes next the anchor, in place of the one that is known: create the
// new, then destroy the old. What another seal put there meanwhile stays, and is
// an *anchorConflict: before anything is written where this life has not written
// yet, and in any case before it returns.
func (n *anchoring) write(ctx context.Context, next *anchor, now time.Duration) error {
	n.due = true
	old, err := n.replaces(ctx)
	if err != nil {
		return err
	}
	text, err := next.encode()
	if err != nil {
		return err
	}
	first := n.at == 0
	n.ours = append(n.ours, text) // before it is: an error does not say that it is not
	// gofail: var anchorBeforeWrite struct{}
	found, all, objects, err := n.put(ctx, text, old)
	if err != nil {
		return err
	}
	// gofail: var anchorAfterWrite struct{}
	if !same(found, next) {
		n.withdraw(ctx, text, old)
		return &anchorConflict{held: next, found: found}
	}
	for i, o := range objects {
		if !slices.ContainsFunc(n.ours, func(w []byte) bool { return bytes.Equal(w, o) }) {
			// Written since we read: it may be answered already. What we wrote before still stands then.
			beside := first || amongAnchors([]*anchor{n.held}, all)
			return &anchorConflict{held: next, found: all[i], beside: beside}
		}
	}
	n.held, n.all, n.at, n.due = next, all, now, false
	n.ours = [][]byte{text}
	if !first {
		n.remove(ctx, slices.DeleteFunc(old, func(o []byte) bool { return bytes.Equal(o, text) }))
	}
	return nil
}

// put makes text stand, and is what stands then: in place of old in the first write of a
// life, beside it later.
func (n *anchoring) put(ctx context.Context, text []byte, old [][]byte) (*anchor, []*anchor, [][]byte, error) {
	if n.at > 0 && !slices.ContainsFunc(old, func(o []byte) bool { return bytes.Equal(o, text) }) {
		objects, err := n.token.AddObject(ctx, anchorName, text)
		if err != nil {
			return nil, nil, nil, hsmError(err)
		}
		highest, all, err := parseAnchors(objects)
		return highest, all, objects, err
	}
	if n.at > 0 {
		old = nil // it may stand there already
	}
	if err := n.token.ExchangeObject(ctx, anchorName, text, old...); err != nil {
		return nil, nil, nil, hsmError(err)
	}
	return n.read(ctx)
}

// withdraw takes back what we wrote under a higher anchor and nobody was answered by:
// it would look, to whoever wrote that, like a batch that was.
func (n *anchoring) withdraw(ctx context.Context, text []byte, stood [][]byte) {
	if slices.ContainsFunc(stood, func(o []byte) bool { return bytes.Equal(o, text) }) {
		return
	}
	_ = n.token.RemoveObjects(ctx, anchorName, text) // one that stays has that seal look again
}

// remove destroys what the anchor took the place of. What could not be destroyed says
// nothing that is not so, and is tried again behind the next write. It is done before
// anybody is answered: a process that is stopped while it changes a SoftHSM2 token may
// miss, when it goes on, what another one changed meanwhile.
func (n *anchoring) remove(ctx context.Context, old [][]byte) {
	if len(old) > 0 && n.token.RemoveObjects(ctx, anchorName, old...) != nil {
		n.ours = append(n.ours, old...)
	}
}

// replaces is the objects that the next anchor takes the place of. The first time
// in a life all are looked at, for a crash may have left several; later it is what we
// wrote, and whatever else came is found when all are read afterwards.
func (n *anchoring) replaces(ctx context.Context) ([][]byte, error) {
	if n.held != nil && n.at > 0 {
		return slices.Clone(n.ours), nil
	}
	found, all, objects, err := n.read(ctx)
	if err != nil {
		return nil, err
	}
	if !same(found, n.held) || !amongAnchors(all, n.all) {
		return nil, &anchorConflict{held: n.held, found: found}
	}
	n.ours = nil
	return objects, nil
}

// amongAnchors is true if each of a is one of b. Who wrote the anchor may have destroyed
// an older one meanwhile; what came since was not held against the log that was read.
func amongAnchors(a, b []*anchor) bool {
	return !slices.ContainsFunc(a, func(x *anchor) bool {
		return !slices.ContainsFunc(b, func(y *anchor) bool { return *x == *y })
	})
}

// stands is nil while the anchor is what we know it to be. The look by a handle
// that is kept costs little; all are read where it does not find just that.
func (n *anchoring) stands(ctx context.Context) error {
	if n.held != nil {
		text, err := n.held.encode()
		if err != nil {
			return err
		}
		if alone, err := n.token.SameObject(ctx, anchorName, text); err == nil && alone {
			return nil
		}
	}
	found, _, _, err := n.read(ctx)
	if err != nil {
		return err
	}
	if !same(found, n.held) {
		return &anchorConflict{held: n.held, found: found}
	}
	return nil
}

// same is true of two equal anchors, and of none twice. What was lost is not the
// same as what is there.
func same(a, b *anchor) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
