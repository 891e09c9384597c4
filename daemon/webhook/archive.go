package webhook

import (
	"cmp"
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mintwarden/mintwarden/daemon/archive"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// Archive says where deliveries go that are finished, once they are older than the retention.
type Archive struct {
	Dir        string // this appliance's own; empty: they are taken away
	Appliance  string
	Appliances func() []string // the charter's
}

// archiveName is the archive's in the store and in metrics.
const archiveName = "delivery"

// summary is what the archive's blocks say of a delivery.
type summary struct {
	Status Status `json:"status"`
}

// openArchive takes in what is on the disk: lists hold it from the start.
func (s *Service) openArchive(d Deps) error {
	s.shelf = &shelf{of: map[string]*row{}}
	if d.Archive.Dir == "" {
		return nil
	}
	a, err := archive.Open(s.store, archive.Options{Name: archiveName, Dir: d.Archive.Dir, Appliance: d.Archive.Appliance, Appliances: d.Archive.Appliances,
		Retention: s.retention, Source: &source{Service: s}, Now: s.now}, s.log, d.Registerer)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	s.archive = a
	return nil
}

// whole is nil if a list can be had of everything: the archive was held to the store and nothing is missing, or
// nothing was archived.
func (s *Service) whole(ctx context.Context) error {
	if s.archive == nil {
		if s.began.Load() {
			return errNoArchive
		}
		began, err := archive.Began(ctx, s.store, archiveName)
		if err == nil && began {
			s.began.Store(true)
			err = errNoArchive
		}
		return err
	}
	if err := s.archive.Ready(ctx); err != nil {
		return err
	}
	return s.archive.Whole()
}

var errNoArchive = fmt.Errorf("webhook: deliveries were archived, and this appliance has no directory for them (audit.dir): %w", archive.ErrIncomplete)

// source is the deliveries as the archive sees them.
type source struct {
	*Service
	position atomic.Pointer[string] // the key behind which Due goes on; nil: from the first
}

var _ archive.Source = (*source)(nil)

// Due is finished deliveries of endpoints that are there, those first that were finished first. It looks at no
// more than a bound of them, and at others the next time: what is pending for long may stand before them.
func (s *source) Due(ctx context.Context, before time.Time, n int) (due []archive.Due, err error) {
	var of []string
	for kv, err := range s.store.All(ctx, endpoints, nil) {
		if err != nil {
			return nil, err
		}
		if e, err := decode[Endpoint](kv); err != nil {
			return nil, err
		} else if !e.Deleted {
			of = append(of, e.ID)
		}
	}
	from := ""
	if p := s.position.Swap(nil); p != nil {
		from = *p
	}
	slices.Sort(of)
	visited := 0
	for _, wh := range of {
		o := store.ListOptions{After: deliveryKey(wh, store.FirstID(deliveryPrefix, before))} // they stand behind, newest first
		if from > o.After {
			if !strings.HasPrefix(from, deliveries(wh)) {
				continue // an endpoint that the last time was done with
			}
			o.After = from
		}
		for more := true; more; {
			p, err := s.store.List(ctx, deliveries(wh), o)
			if err != nil {
				return nil, err
			}
			for _, kv := range p.KVs {
				o.After = kv.Key
				visited++
				d, err := parseDelivery(kv)
				if err != nil {
					return nil, err
				}
				if d.Status != Pending && d.FinishedAt.Before(before) {
					due = append(due, archive.Due{ID: archivedID(wh, d.ID), Over: d.FinishedAt})
				}
				if len(due) == n || visited >= s.scan {
					s.position.Store(&kv.Key)
					return sorted(due), nil
				}
			}
			more = p.More
		}
	}
	return sorted(due), nil
}

func sorted(due []archive.Due) []archive.Due {
	slices.SortFunc(due, func(a, b archive.Due) int { return cmp.Or(a.Over.Compare(b.Over), cmp.Compare(a.ID, b.ID)) })
	return due
}

// Read is a delivery that is finished. One that went with its endpoint is not the archive's: it is nil.
func (s *source) Read(ctx context.Context, id string) (*archive.Item, error) {
	wh, del, err := parseArchivedID(id)
	if err != nil {
		return nil, err
	}
	key := deliveryKey(wh, del)
	value, rev, ok, err := s.store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if !ok {
		_, _, err := s.endpoint(ctx, wh)
		var no *Refusal
		switch {
		case errors.As(err, &no) && no.Kind == NotFound:
			return nil, nil
		case err != nil:
			return nil, err
		}
		return nil, archive.ErrGone
	}
	kv := store.KV{Key: key, Value: value, ModRevision: rev}
	// A block of the archive is packed as a whole, and by every appliance to the same bytes.
	if kv.Value, err = deliveryText(kv); err != nil {
		return nil, err
	}
	d, err := parseDelivery(kv)
	if err != nil || d.Status == Pending {
		return nil, err
	}
	text, err := json.Marshal(summary{d.Status})
	if err != nil {
		return nil, err
	}
	return &archive.Item{ID: id, Summary: text, Guard: key, Revision: rev, Keys: []store.KV{kv}, Derived: []string{deadKey(wh, del), replayKey(wh, del)}}, nil
}

// Archived takes in a delivery that is on the disk.
func (s *source) Archived(id string, text jsontext.Value) error {
	var sum summary
	if err := json.Unmarshal(text, &sum, json.RejectUnknownMembers(true)); err != nil {
		return err
	}
	if sum.Status != Delivered && sum.Status != Dead {
		return fmt.Errorf("webhook: %.80q is summed up as %.80q", id, text)
	}
	return s.shelf.put(id, sum.Status)
}

// archived is a delivery as it left the store; nil if it is not archived.
func (s *Service) archived(wh, id string) (*Delivery, error) {
	kvs, ok, err := s.archive.Get(archivedID(wh, id))
	if err != nil || !ok {
		return nil, err
	}
	if len(kvs) != 1 || kvs[0].Key != deliveryKey(wh, id) {
		return nil, fmt.Errorf("%w: %s is not what stands there as delivery %s", archive.ErrDamaged, archivedID(wh, id), id)
	}
	return parseDelivery(kvs[0])
}
