package sealed

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
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
	SameObject(ctx context.Context, name string, value []byte) (bool, error)
}

var _ anchorStore = (*hsm.Token)(nil)

// anchoring is what the room knows of the anchor. Its goroutine alone uses it.
type anchoring struct {
	token anchorStore
	held  *anchor       // what stood in the token when we last looked; nil: nothing
	at    time.Duration // CLOCK_BOOTTIME when we wrote it; 0: not in this life
	due   bool          // it has to be written before anything else is decided
}

// anchorConflict says that another seal wrote the anchor since we did.
type anchorConflict struct{ held, found *anchor }

func (e *anchorConflict) Error() string {
	if e.found == nil {
		return "the token's anchor is gone, which no seal destroys"
	}
	return fmt.Sprintf("the token's anchor is of %s, term %d, batch %d, and not what this appliance wrote; another seal writes another history on this token",
		e.found.Author, e.found.Term, e.found.Sequence)
}

// read is what stands in the token: the highest of the anchors, nil if there is
// none, and the bytes of all.
func (n *anchoring) read(ctx context.Context) (*anchor, [][]byte, error) {
	objects, err := n.token.Objects(ctx, anchorName)
	if errors.Is(err, hsm.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, hsmError(err)
	}
	var highest *anchor
	for _, text := range objects {
		a, err := parseAnchor(text)
		if err != nil {
			return nil, nil, &anchorBad{err}
		}
		if highest == nil || a.compare(highest) > 0 {
			highest = a
		}
	}
	return highest, objects, nil
}

// anchorBad says that what stands under the anchor's name was not written by a seal.
type anchorBad struct{ error }

func (e *anchorBad) Error() string { return "the token's anchor cannot be read: " + e.error.Error() }
func (e *anchorBad) Unwrap() error { return e.error }

// look takes what stands there as what is known.
func (n *anchoring) look(ctx context.Context) error {
	a, _, err := n.read(ctx)
	if err != nil {
		return err
	}
	if a == nil && n.held != nil {
		return &anchorBad{errors.New("it is gone, which no seal destroys")}
	}
	if !same(a, n.held) {
		n.at = 0 // what stands there is not what we wrote
	}
	n.held = a
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
	// gofail: var anchorBeforeWrite struct{}
	if err := n.token.ExchangeObject(ctx, anchorName, text, old...); err != nil {
		return hsmError(err)
	}
	// gofail: var anchorAfterWrite struct{}
	found, _, err := n.read(ctx)
	if err != nil {
		return err
	}
	if !same(found, next) {
		return &anchorConflict{next, found}
	}
	n.held, n.at, n.due = next, now, false
	return nil
}

// replaces is the objects that the next anchor takes the place of. The first time
// in a life all are looked at, for a crash may have left several; later it is the
// one that we wrote, and whatever else came is found when all are read afterwards.
func (n *anchoring) replaces(ctx context.Context) ([][]byte, error) {
	if n.held != nil && n.at > 0 {
		text, err := n.held.encode()
		return [][]byte{text}, err
	}
	found, objects, err := n.read(ctx)
	if err != nil {
		return nil, err
	}
	if !same(found, n.held) {
		return nil, &anchorConflict{n.held, found}
	}
	return objects, nil
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
	found, _, err := n.read(ctx)
	if err != nil {
		return err
	}
	if !same(found, n.held) {
		return &anchorConflict{n.held, found}
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
