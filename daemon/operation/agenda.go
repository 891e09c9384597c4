package operation

import "container/heap"

// agenda is the operations that a lane is to look at, each once, the oldest first: whoever came first is
// signed first. Not safe for concurrent use.
type agenda struct {
	ids  ids
	held map[string]bool
}

func newAgenda() agenda { return agenda{held: map[string]bool{}} }

func (a *agenda) add(id string) {
	if !a.held[id] {
		a.held[id] = true
		heap.Push(&a.ids, id)
	}
}

// take is the oldest one; false if there is none.
func (a *agenda) take() (string, bool) {
	if len(a.ids) == 0 {
		return "", false
	}
	id := heap.Pop(&a.ids).(string)
	delete(a.held, id)
	return id, true
}

// ids is a heap of ids; an older operation's id sorts before a newer one's.
type ids []string

var _ heap.Interface = (*ids)(nil)

func (h ids) Len() int           { return len(h) }
func (h ids) Less(i, j int) bool { return h[i] < h[j] }
func (h ids) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is heap.Interface's.
func (h *ids) Push(id any) { *h = append(*h, id.(string)) }

// Pop is heap.Interface's.
func (h *ids) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
