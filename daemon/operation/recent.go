package operation

import "slices"

// recentStates is how many states of operations are kept in memory, at about 2 KiB each: what lists show
// again and again are the newest.
const recentStates = 2048

// recent is the latest known states of the operations that changed last, so that a list of them, which
// callers ask for often, reads and decodes nothing. Not safe for concurrent use: the index's lock guards it.
type recent struct {
	states map[string]entry
	order  []string // ids in the order in which they came, as a ring
	next   int
}

func newRecent() *recent {
	return &recent{states: map[string]entry{}, order: make([]string, recentStates)}
}

// put keeps a state in place of an older one of the operation, or of the operation that came first.
func (r *recent) put(o *Operation, rev int64) {
	if _, known := r.states[o.ID]; !known {
		delete(r.states, r.order[r.next])
		r.order[r.next] = o.ID
		r.next = (r.next + 1) % len(r.order)
	}
	r.states[o.ID] = entry{o, rev}
}

// drop forgets a state that is known to be an old one. Its place in the ring is given up when its turn comes.
func (r *recent) drop(id string) { delete(r.states, id) }

// states are the operations with these ids that are known whole; nil where one is not.
func (x *index) states(ids []string) []*Operation {
	x.mu.RLock()
	defer x.mu.RUnlock()
	out := make([]*Operation, len(ids))
	for i, id := range ids {
		if e, ok := x.open[id]; ok {
			out[i] = e.op.listed()
		} else if e, ok := x.recent.states[id]; ok {
			out[i] = e.op.listed()
		}
	}
	return out
}

// listed is a copy as a list shows it: without what Service.Get adds.
func (o *Operation) listed() *Operation {
	c := *o
	c.Intent, c.Decisions, c.Approvals, c.History = nil, nil, slices.Clone(o.Approvals), slices.Clone(o.History)
	return &c
}
