package archive

import (
	"context"
	"crypto/sha256"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/daemon/disk"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// Item is a thing that leaves the store whole.
type Item struct {
	ID      string
	Summary jsontext.Value // what a list must know of it, at most 4 KiB or so
	Names   []string       // what else it is asked for by, beside its id
	// Guard is the one of its keys that is written whenever any of them is.
	Guard    string
	Revision int64      // of the guard
	Keys     []store.KV // all of it, the guard too, in an order that follows from the keys
	Derived  []string   // keys that follow from the others: they are removed with it and not archived
}

// Due is a thing that may be archived.
type Due struct {
	ID   string
	Over time.Time // when it was over
}

// Source is whose things are archived. Its methods are called from several goroutines.
type Source interface {
	// Due is at most n things in the store that were over before a moment, those that came first first.
	Due(ctx context.Context, before time.Time, n int) ([]Due, error)
	// Read is a thing as the store holds it. It MUST be ErrGone if its guard is not there, and nil without an
	// error if it is not over (any more).
	Read(ctx context.Context, id string) (*Item, error)
	// Archived hears of each thing that the archive holds: of all that are there while Open runs, of others
	// once they are on the disk; the last that it hears of an id is the newest. What the store holds of the same id is newer.
	Archived(id string, summary jsontext.Value) error
}

// ErrGone says that a thing is not in the store.
var ErrGone = errors.New("archive: not in the store")

// errUnchecked is why an archive answers nothing before it was held to what the store says of it.
var errUnchecked = fmt.Errorf("archive: not held to the store yet: %w", store.ErrUnavailable)

// ErrIncomplete says that blocks are missing on this appliance's disk: what is not found may be in them.
var ErrIncomplete = errors.New("archive: blocks are missing on this appliance")

// Options are of one archive.
type Options struct {
	Name      string // of what is archived, as "operation"; it stands in keys and metrics
	Dir       string // this appliance's; made if it is not there
	Appliance string // our own name in the charter
	// Appliances are the charter's: nothing leaves the store before all have it.
	Appliances func() []string
	// Retention is how long what is over stays in the store; 0: for ever, and what others order is taken over.
	Retention time.Duration
	Source    Source
	Now       func() time.Time // nil: the system's clock
}

// Archive is one archive. Safe for concurrent use.
type Archive struct {
	o      Options
	store  *store.Store
	log    *slog.Logger
	seed   maphash.Seed
	unlock func()

	mu      sync.RWMutex
	digest  []string          // of each block, from the first
	at      map[short]place   // by id, its newest
	names   map[uint64]place  // by the hash of a name
	absent  map[string]uint64 // what changed before a block's file was written, and is in no later one, and the block
	fault   error             // why nothing is answered, or the archive is not gone on with
	checked chan struct{}     // closed once the disk was held to the store
	held    sync.Once
	passed  map[string]bool // by id, what cannot be archived
	told    atomic.Uint64   // the newest block that the store was told of in this life

	cacheMu sync.Mutex
	cache   []*file // blocks that were read last, the newest first

	items  prometheus.Gauge
	faults prometheus.Gauge
}

// short stands for an id: what is archived is never forgotten, and ids are up to 60 bytes each. Two ids with the same
// half of a SHA-256 are not found.
type short [16]byte

func shortOf(id string) short {
	sum := sha256.Sum256([]byte(id))
	return short(sum[:16])
}

// place is where a thing is.
type place struct {
	block uint32 // its number
	item  uint8  // its index in the block
}

// cached is how many blocks are kept in memory once they were read: a page of a list is of one or two.
const cached = 4

// Open reads which blocks are on the disk, and verifies their chain. The directory is this process's until Close. A disk
// that is damaged does not keep anybody from starting: Whole says so, and what is in no good block is answered with it.
func Open(s *store.Store, o Options, log *slog.Logger, reg prometheus.Registerer) (*Archive, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	label := prometheus.Labels{"archive": o.Name}
	a := &Archive{o: o, store: s, log: log.With("archive", o.Name), seed: maphash.MakeSeed(), at: map[short]place{}, names: map[uint64]place{},
		absent: map[string]uint64{}, fault: errUnchecked, checked: make(chan struct{}), passed: map[string]bool{},
		items:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_archive_items", Help: "What is in this appliance's archive on the disk, by archive.", ConstLabels: label}),
		faults: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_archive_fault", Help: "1 while an archive is not gone on with: it is damaged, or blocks are missing.", ConstLabels: label})}
	if reg != nil {
		for _, c := range []prometheus.Collector{a.items, a.faults} {
			if err := reg.Register(c); err != nil {
				return nil, fmt.Errorf("archive: metrics: %w", err)
			}
		}
	}
	unlock, err := disk.Lock(o.Dir)
	if err != nil {
		return nil, err
	}
	a.unlock = unlock
	switch err := a.read(); {
	case errors.Is(err, ErrDamaged):
		a.broke(err) // what is in the store goes its way
	case err != nil:
		unlock()
		return nil, err
	}
	return a, nil
}

// Close lets others have the directory.
func (a *Archive) Close() { a.unlock() }

// read takes in every block on the disk.
func (a *Archive) read() error {
	names, err := os.ReadDir(a.o.Dir)
	if err != nil {
		return err
	}
	next := uint64(1) // the directory is read in the order of names, which is the numbers'
	for _, n := range names {
		number, ok, err := fileNumber(n.Name())
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if number != next {
			return fmt.Errorf("%w: %s comes where block %d was to come", ErrDamaged, n.Name(), next)
		}
		f, err := readFile(filepath.Join(a.o.Dir, n.Name()), false)
		if err != nil {
			return err
		}
		if f.block.Number != number || f.block.Previous != a.head() {
			return fmt.Errorf("%w: %s does not follow the block before", ErrDamaged, n.Name())
		}
		if err := a.take(f); err != nil {
			return err
		}
		next++
	}
	return nil
}

// take makes a block that is on the disk one that is looked into.
func (a *Archive) take(f *file) error {
	a.mu.Lock()
	for i, h := range f.block.Items {
		if f.absent[h.ID] {
			a.absent[h.ID] = f.block.Number
			continue
		}
		delete(a.absent, h.ID)
		p := place{uint32(f.block.Number), uint8(i)}
		a.at[shortOf(h.ID)] = p
		for _, n := range h.Names {
			a.names[maphash.String(a.seed, n)] = p
		}
	}
	a.digest = append(a.digest, f.digest)
	a.items.Set(float64(len(a.at)))
	a.mu.Unlock()
	for _, h := range f.block.Items {
		if f.absent[h.ID] {
			continue
		}
		if err := a.o.Source.Archived(h.ID, h.Summary); err != nil {
			return fmt.Errorf("%w: %s in block %d: %w", ErrDamaged, h.ID, f.block.Number, err)
		}
	}
	return nil
}

// newest is the number of the newest block on the disk, 0 if there is none.
func (a *Archive) newest() uint64 {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return uint64(len(a.digest))
}

// head is the digest of the newest block.
func (a *Archive) head() string { return a.digestAt(a.newest()) }

// digestAt is the digest of a block that is on the disk.
func (a *Archive) digestAt(n uint64) string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if n == 0 {
		return genesis
	}
	return a.digest[n-1]
}

// broke notes why the archive is not gone on with.
func (a *Archive) broke(err error) {
	a.mu.Lock()
	first := a.fault == nil || errors.Is(a.fault, errUnchecked)
	a.fault = err
	a.mu.Unlock()
	a.faults.Set(1)
	a.held.Do(func() { close(a.checked) })
	if first {
		a.log.Error("the archive is not gone on with", "error", err)
	}
}

// Ready waits until the disk was held to what the store says of it, as Run does first. A nil archive is ready.
func (a *Archive) Ready(ctx context.Context) error {
	if a == nil {
		return nil
	}
	select {
	case <-a.checked:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errUnchecked, ctx.Err())
	}
}

// Whole is nil unless blocks are missing here: then a list leaves out what is in them. The error is
// ErrIncomplete or ErrDamaged, or store.ErrUnavailable before the archive is ready.
func (a *Archive) Whole() error {
	if a == nil {
		return nil
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.fault
}

// Get is a thing's keys, as they left the store; ok is false if it is not archived. Whoever asks has looked into
// the store before: what is there is newer. On a nil archive nothing is archived.
func (a *Archive) Get(id string) (kvs []store.KV, ok bool, err error) {
	if a == nil {
		return nil, false, nil
	}
	a.mu.RLock()
	p, ok := a.at[shortOf(id)]
	fault := a.fault
	a.mu.RUnlock()
	if !ok || errors.Is(fault, errUnchecked) {
		return nil, false, fault
	}
	f, err := a.open(uint64(p.block))
	if err != nil {
		return nil, false, err
	}
	l, ok := f.lines[id]
	if !ok {
		return nil, false, fmt.Errorf("%w: %s is not in block %d", ErrDamaged, id, p.block)
	}
	for _, k := range l.Keys {
		kvs = append(kvs, store.KV{Key: k.Key, Value: k.bytes()})
	}
	return kvs, true, nil
}

// Named is the id of what has that name; ok is false if nothing archived has.
func (a *Archive) Named(name string) (id string, ok bool, err error) {
	if a == nil {
		return "", false, nil
	}
	a.mu.RLock()
	p, ok := a.names[maphash.String(a.seed, name)]
	fault := a.fault
	a.mu.RUnlock()
	if !ok || errors.Is(fault, errUnchecked) {
		return "", false, fault
	}
	f, err := a.open(uint64(p.block))
	if err != nil {
		return "", false, err
	}
	h := f.block.Items[p.item]
	if !slices.Contains(h.Names, name) {
		return "", false, nil // another name has the same hash
	}
	return h.ID, true, nil
}

// open is a block with its things, verified.
func (a *Archive) open(n uint64) (*file, error) {
	a.cacheMu.Lock()
	defer a.cacheMu.Unlock()
	if i := slices.IndexFunc(a.cache, func(f *file) bool { return f.block.Number == n }); i >= 0 {
		f := a.cache[i]
		copy(a.cache[1:i+1], a.cache[:i])
		a.cache[0] = f
		return f, nil
	}
	f, err := readFile(filepath.Join(a.o.Dir, fileName(n)), true)
	if err != nil {
		return nil, err
	}
	a.mu.RLock()
	want := a.digest[n-1]
	a.mu.RUnlock()
	if f.digest != want || f.block.Number != n {
		return nil, fmt.Errorf("%w: %s is another block than it was", ErrDamaged, fileName(n))
	}
	a.cache = slices.Insert(a.cache, 0, f)
	a.cache = a.cache[:min(len(a.cache), cached)]
	return f, nil
}
