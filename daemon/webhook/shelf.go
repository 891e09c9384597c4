package webhook

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/oklog/ulid/v2"

	"github.com/mintwarden/mintwarden/daemon/archive"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// shelf is which deliveries are in the archive on this appliance's disk, by endpoint: 17 bytes each. Safe for
// concurrent use.
type shelf struct {
	mu   sync.RWMutex
	of   map[string]*row
	last []string // what the archive has heard of last, at most a block: it may still be in the store
}

// row is one endpoint's, the oldest first.
type row struct {
	ids  []ulid.ULID
	dead []bool // the others were delivered
	lost int    // how many are dead
}

// archivedID is a delivery's name in the archive.
func archivedID(wh, d string) string { return wh + "/" + d }

func parseArchivedID(id string) (wh, d string, err error) {
	wh, d, _ = strings.Cut(id, "/")
	if !store.ValidID(idPrefix, wh) || !store.ValidID(deliveryPrefix, d) {
		return "", "", fmt.Errorf("webhook: %.80q names no archived delivery", id)
	}
	return wh, d, nil
}

// put takes in a delivery that the archive has; what it was before is replaced.
func (s *shelf) put(id string, status Status) error {
	wh, d, err := parseArchivedID(id)
	if err != nil {
		return err
	}
	u, err := ulid.ParseStrict(strings.TrimPrefix(d, deliveryPrefix))
	if err != nil {
		return fmt.Errorf("webhook: %s: %w", d, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.of[wh]
	if r == nil {
		r = &row{}
		s.of[wh] = r
	}
	i, there := slices.BinarySearchFunc(r.ids, u, compareULID)
	if !there {
		r.ids, r.dead = slices.Insert(r.ids, i, u), slices.Insert(r.dead, i, false)
	}
	if was, is := r.dead[i], status == Dead; was != is {
		r.dead[i] = is
		if is {
			r.lost++
		} else {
			r.lost--
		}
	}
	if len(s.last) == archive.BlockItems {
		s.last = slices.Delete(s.last, 0, 1)
	}
	s.last = append(s.last, id)
	return nil
}

func compareULID(a, b ulid.ULID) int { return bytes.Compare(a[:], b[:]) }

// page is at most n of an endpoint's archived deliveries of a status, empty for all, those before a cursor, the
// newest first; more says that there are others.
func (s *shelf) page(wh string, status Status, cursor string, n int) (ids []string, more bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.of[wh]
	if r == nil || status == Pending {
		return nil, false
	}
	i := len(r.ids)
	if u, err := ulid.ParseStrict(strings.TrimPrefix(cursor, deliveryPrefix)); err == nil {
		i, _ = slices.BinarySearchFunc(r.ids, u, compareULID)
	}
	for i--; i >= 0; i-- {
		if status != "" && (status == Dead) != r.dead[i] {
			continue
		}
		if len(ids) == n {
			return ids, true
		}
		ids = append(ids, deliveryPrefix+r.ids[i].String())
	}
	return ids, false
}

// count is how many of an endpoint's deliveries are archived, and how many of those are dead.
func (s *shelf) count(wh string) (all, dead int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r := s.of[wh]; r != nil {
		all, dead = len(r.ids), r.lost
	}
	return all, dead
}

// has reports whether a delivery is archived, and whether it was dead then.
func (s *shelf) has(wh, d string) (archived, dead bool) {
	u, err := ulid.ParseStrict(strings.TrimPrefix(d, deliveryPrefix))
	if err != nil {
		return false, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.of[wh]
	if r == nil {
		return false, false
	}
	i, ok := slices.BinarySearchFunc(r.ids, u, compareULID)
	return ok, ok && r.dead[i]
}

// recent are those of an endpoint that the archive heard of last, and that nobody found gone from the store.
func (s *shelf) recent(wh string) (ids []string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, id := range s.last {
		if d, ok := strings.CutPrefix(id, wh+"/"); ok {
			ids = append(ids, d)
		}
	}
	return ids
}

// gone notes that one has left the store.
func (s *shelf) gone(wh, d string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.last, archivedID(wh, d)); i >= 0 {
		s.last = slices.Delete(s.last, i, i+1)
	}
}
