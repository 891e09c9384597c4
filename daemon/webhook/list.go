package webhook

import (
	"context"
	"slices"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// Filter narrows a list of deliveries.
type Filter struct {
	Status Status // empty: all
}

// mostScanned bounds how many deliveries one page passes by that are not of the wanted status; it may then hold
// fewer than were asked for, and its cursor leads on.
const mostScanned = 2000

// Deliveries lists an endpoint's deliveries, newest first: up to limit from offset on, or after cursor. total
// is how many there are; next leads to the following page, empty at the end. Archived ones stand among the
// others. A cursor costs the same at any depth. ErrCursor says that a cursor is none.
func (s *Service) Deliveries(ctx context.Context, id string, f Filter, limit, offset int, cursor string) (page []*Delivery, total int, next string, err error) {
	if _, _, err := s.endpoint(ctx, id); err != nil {
		return nil, 0, "", err
	}
	if cursor != "" && !store.ValidID(deliveryPrefix, cursor) {
		return nil, 0, "", ErrCursor
	}
	if err := s.whole(ctx); err != nil {
		return nil, 0, "", err
	}
	if total, err = s.total(ctx, id, f.Status); err != nil {
		return nil, 0, "", err
	}
	ids, more, err := s.candidates(ctx, id, f.Status, limit+offset+1, cursor)
	if err != nil {
		return nil, 0, "", err
	}
	if f.Status == "" || f.Status == Pending { // every one of them is of that status
		ids, offset = ids[min(offset, len(ids)):], 0
	}
	for chunk := range slices.Chunk(ids, store.MaxTxOps) {
		found, err := s.read(ctx, id, chunk)
		if err != nil {
			return nil, 0, "", err
		}
		for _, d := range found {
			switch {
			case len(page) == limit:
				return page, total, page[limit-1].ID, nil
			case d == nil: // taken away in between
			case f.Status != "" && d.Status != f.Status: // it changed in between, or the index is of all
			case offset > 0:
				offset--
			default:
				page = append(page, d)
			}
		}
	}
	if more && offset > 0 {
		// The page would be empty as behind the end, and its cursor lead to what the offset was to pass by.
		return nil, 0, "", refuse(TooFar, "offset leads behind more than %d deliveries that are not %s; page with the cursor", s.scan, f.Status)
	}
	if more && len(ids) > 0 {
		next = ids[len(ids)-1]
	}
	return page, total, next, nil
}

// candidates are the newest of an endpoint's deliveries after a cursor, in the store and in the archive, of which
// those of a status are; more says that others follow.
func (s *Service) candidates(ctx context.Context, wh string, status Status, n int, cursor string) (ids []string, more bool, err error) {
	index := map[Status]string{Pending: pendings(wh), Dead: deads(wh)}[status]
	if index == "" {
		index = deliveries(wh)
	}
	if status == Delivered || status == Dead { // the index is of all; what was dead when it was archived may have been replayed
		n += s.scan
	}
	o := store.ListOptions{Limit: n, KeysOnly: true}
	if cursor != "" {
		o.After = index + inverted(cursor)
	}
	p, err := s.store.List(ctx, index, o)
	if err != nil {
		return nil, false, err
	}
	stored := make([]string, len(p.KVs))
	for i, kv := range p.KVs {
		stored[i] = deliveryPrefix + store.InvertULID(kv.Key[len(index):])
	}
	// The store first: what leaves it is in the archive by then.
	shelved, others := s.shelf.page(wh, status, cursor, n)
	ids = merge(stored, shelved)
	// What follows the last one that was read of either is not known.
	if p.More {
		ids = ids[:placeOf(ids, stored[len(stored)-1])+1]
	}
	if others {
		ids = ids[:min(len(ids), placeOf(ids, shelved[len(shelved)-1])+1)]
	}
	return ids, p.More || others, nil
}

// placeOf is where an id stands among ids, newest first, or the last place if it was cut off.
func placeOf(ids []string, id string) int {
	if i := slices.Index(ids, id); i >= 0 {
		return i
	}
	return len(ids) - 1
}

// merge is two lists of ids, each newest first, as one; what stands in both stands once.
func merge(a, b []string) []string {
	if len(b) == 0 {
		return a
	}
	out := make([]string, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] > b[0]:
			out, a = append(out, a[0]), a[1:]
		case a[0] < b[0]:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// read is deliveries by their ids, at most store.MaxTxOps: from the store, or else from the archive; nil where one
// is in neither.
func (s *Service) read(ctx context.Context, wh string, ids []string) ([]*Delivery, error) {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = deliveryKey(wh, id)
	}
	kvs, _, err := s.store.GetMany(ctx, keys...)
	if err != nil {
		return nil, err
	}
	out := make([]*Delivery, len(ids))
	for i, kv := range kvs {
		if kv.ModRevision == 0 {
			out[i], err = s.archived(wh, ids[i])
		} else {
			out[i], err = parseDelivery(kv)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// counted is what the archive has of an endpoint, and how much of it the store has, too.
type counted struct{ shelved, shelvedDead, both, bothDead int }

// recounts is how often a total is counted anew because something was archived meanwhile: that comes by the hundred,
// and is over in a moment.
const recounts = 100

// total counts an endpoint's deliveries of a status.
func (s *Service) total(ctx context.Context, id string, status Status) (int, error) {
	if status == Pending {
		n, err := s.store.Count(ctx, pendings(id))
		return int(n), err
	}
	before, err := s.counted(ctx, id)
	if err != nil {
		return 0, err
	}
	for tries := 1; ; tries++ {
		n, err := s.totalBeside(ctx, id, status, before)
		if err != nil {
			return 0, err
		}
		after, err := s.counted(ctx, id)
		if err != nil || after == before || tries == recounts {
			return n, err
		}
		before = after
	}
}

func (s *Service) counted(ctx context.Context, wh string) (c counted, err error) {
	c.both, c.bothDead, err = s.twice(ctx, wh)
	c.shelved, c.shelvedDead = s.shelf.count(wh)
	return c, err
}

// totalBeside is the total if c is what is archived.
func (s *Service) totalBeside(ctx context.Context, id string, status Status, c counted) (int, error) {
	var err error
	count := func(prefix string) (n int64) {
		if err == nil {
			n, err = s.store.Count(ctx, prefix)
		}
		return n
	}
	dead := 0
	if status != "" {
		dead = int(count(deads(id))) + c.shelvedDead - c.bothDead
	}
	if status == Dead {
		return max(0, dead), err
	}
	all := int(count(deliveries(id))) + c.shelved - c.both
	if status == Delivered {
		all -= int(count(pendings(id))) + dead
	}
	return max(0, all), err
}

// twice counts the deliveries that are in the archive and in the store: those that have not left it yet, and those
// that came back to be delivered once more. dead is how many of them were dead when they were archived.
func (s *Service) twice(ctx context.Context, wh string) (both, dead int, err error) {
	if all, _ := s.shelf.count(wh); all == 0 {
		return 0, 0, nil
	}
	add := func(d string) {
		if archived, wasDead := s.shelf.has(wh, d); archived {
			both++
			if wasDead {
				dead++
			}
		}
	}
	back := map[string]bool{}
	for kv, err := range s.store.All(ctx, replays(wh), nil) { // as many as people replayed
		if err != nil {
			return 0, 0, err
		}
		d := deliveryPrefix + store.InvertULID(kv.Key[len(replays(wh)):])
		back[d] = true
		add(d)
	}
	recent := s.shelf.recent(wh)
	if len(recent) == 0 {
		return both, dead, nil
	}
	keys := make([]string, len(recent))
	for i, d := range recent {
		keys[i] = deliveryKey(wh, d)
	}
	kvs, _, err := s.store.GetMany(ctx, keys...)
	if err != nil {
		return 0, 0, err
	}
	for i, kv := range kvs {
		switch {
		case kv.ModRevision == 0:
			s.shelf.gone(wh, recent[i])
		case !back[recent[i]]:
			add(recent[i])
		}
	}
	return both, dead, nil
}
