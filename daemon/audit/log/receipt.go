package auditlog

import (
	"context"
	"encoding/hex"
	"encoding/json/v2"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
)

var (
	// ErrNoEntry says that there is no such entry.
	ErrNoEntry = errors.New("auditlog: no such entry")
	// ErrNoReceipt says that an entry is there and no signed tree holds it yet, or the tree cannot be gone by.
	ErrNoReceipt = errors.New("auditlog: no receipt can be given now")
)

const (
	// numberPatience is how long a receipt waits for its entry's number, which takes milliseconds.
	numberPatience = 2 * time.Second
	// numberAge is how old an entry's id may be for its number to be waited for: what is older has one, or
	// is none. It covers clocks of appliances that differ a little, either way.
	numberAge = 10 * time.Second
	// signPatience is how long it waits for a checkpoint, which takes a commit of the ledger.
	signPatience = 10 * time.Second
)

// Receipt proves that an entry is in a signed tree.
type Receipt struct {
	Entry []byte // RFC 8785 form
	Proof []byte // a C2SP tlog-proof whose extra is an audit.Evidence
}

// Receipt is of the entry with that id. It waits some seconds for the number of an entry that, by its
// id, was just written, and for a checkpoint. ErrNoEntry, ErrNoReceipt, or the store's errors.
func (l *Log) Receipt(ctx context.Context, id string) (*Receipt, error) {
	if !store.ValidID("aud_", id) {
		return nil, fmt.Errorf("%w: %.80q", ErrNoEntry, id)
	}
	wait := time.Since(store.IDTime(id)).Abs() <= numberAge
	return l.receipt(ctx, func() (uint64, bool) { return l.index.byID(id, store.IDTime(id)) }, id, wait)
}

// ReceiptOf is of the newest entry on a resource that tells of the action, or of the newest at all where none
// does; as Receipt. The caller knows that the resource is there: an entry on it is waited for.
func (l *Log) ReceiptOf(ctx context.Context, kind, id, action string) (*Receipt, error) {
	return l.receipt(ctx, func() (uint64, bool) {
		for _, action := range []string{action, ""} {
			found, _ := l.index.find(Filter{ResourceType: kind, ResourceID: id, Action: action}, 0, 0, 1)
			if len(found) > 0 {
				return found[0], true
			}
		}
		return 0, false
	}, id, true)
}

// receipt is of the entry that find finds, whose number is waited for only if wait says so.
func (l *Log) receipt(ctx context.Context, find func() (uint64, bool), id string, wait bool) (*Receipt, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	seq, ok := find()
	if !ok && wait {
		var err error
		if seq, ok, err = l.numbered(ctx, find); err != nil {
			return nil, err
		}
	}
	if !ok {
		return nil, fmt.Errorf("%w: %.80q", ErrNoEntry, id)
	}
	s, index, err := l.covered(ctx, seq)
	if err != nil {
		return nil, err
	}
	e, err := l.entries(ctx, []uint64{seq})
	if err != nil {
		return nil, err
	}
	return l.prove(e[0], index, s)
}

// ready waits until the log was read once after a start.
func (l *Log) ready(ctx context.Context) error {
	select {
	case <-l.index.loaded:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: the audit log is still being read: %w", store.ErrUnavailable, ctx.Err())
	}
}

func (l *Log) numbered(ctx context.Context, find func() (uint64, bool)) (uint64, bool, error) {
	over := time.After(numberPatience)
	for {
		news := l.news()
		if seq, ok := find(); ok {
			return seq, true, nil
		}
		select {
		case <-news:
		case <-over:
			return 0, false, nil
		case <-ctx.Done():
			return 0, false, ctx.Err()
		}
	}
}

// covered waits until a signed tree holds the entry, and gives that and the leaf's index.
func (l *Log) covered(ctx context.Context, seq uint64) (*signedTree, uint64, error) {
	over := time.After(signPatience)
	for {
		news := l.news()
		t, fault := l.tree.Load(), l.fault.Load()
		if fault != nil {
			return nil, 0, fmt.Errorf("%w: the tree cannot be gone by (%s); the log says more", ErrNoReceipt, fault.what)
		}
		if t == nil {
			return nil, 0, fmt.Errorf("%w: this appliance keeps no tree", ErrNoReceipt)
		}
		if t.now().Audit >= seq {
			index, err := t.indexOf(seq)
			if err != nil {
				return nil, 0, err
			}
			for _, s := range []*signedTree{l.witnessed.Load(), l.signed.Load()} {
				if s != nil && s.tree.Size > index {
					return s, index, nil
				}
			}
		}
		select {
		case l.kick <- struct{}{}:
		default:
		}
		select {
		case <-news:
		case <-over:
			return nil, 0, fmt.Errorf("%w: entry %d waits for a signed checkpoint (is the ledger's author sealed?)", ErrNoReceipt, seq)
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// prove makes the receipt, and checks it before it leaves.
func (l *Log) prove(e *audit.Entry, index uint64, s *signedTree) (*Receipt, error) {
	t := l.tree.Load()
	if t == nil {
		return nil, fmt.Errorf("%w: the tree is being opened", ErrNoReceipt)
	}
	hashes, err := tlog.ProveRecord(int64(s.tree.Size), int64(index), t.reader())
	if err != nil {
		return nil, err
	}
	p := &audit.Proof{Index: index, Hashes: hashes, Checkpoint: []byte(s.Note)}
	root, err := s.tree.Hash()
	if err != nil {
		return nil, err
	}
	if err := p.Check(e.Leaf(), s.tree.Size, root); err != nil {
		l.broke("damaged", err)
		return nil, fmt.Errorf("%w: %w", ErrNoReceipt, err)
	}
	v := audit.Evidence{Format: 1}
	if v.Entry, err = e.Encode(); err != nil {
		return nil, err
	}
	if v.Keys, err = json.Marshal(s.Keys); err != nil {
		return nil, err
	}
	for _, c := range s.cosigners {
		keys, err := json.Marshal(c.Keys)
		if err != nil {
			return nil, err
		}
		v.Cosigners = append(v.Cosigners, keys)
	}
	if v.Charters, err = l.opts.Ledger.Charters(); err != nil {
		return nil, err
	}
	if p.Extra, err = v.Encode(); err != nil {
		return nil, err
	}
	return &Receipt{Entry: v.Entry, Proof: p.Encode()}, nil
}

// parseRoot is the inverse of rootText.
func parseRoot(text string) (h tlog.Hash, err error) {
	digits, ok := strings.CutPrefix(text, "sha256:")
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != tlog.HashSize {
		return h, fmt.Errorf("auditlog: %.80q is no root", text)
	}
	return tlog.Hash(b), nil
}
