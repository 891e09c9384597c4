package api

import (
	"sync"
)

// answers counts the bytes of answers that their callers have not taken yet. An
// answer gives its place in the budget of work back when it begins to be written,
// since what follows is the client's pace; what it goes on to hold is memory, and
// is bounded here. One user, and one client certificate, has a quarter. Safe for
// concurrent use.
type answers struct {
	max int // bytes

	mu  sync.Mutex
	now int
	by  map[string]int
}

func newAnswers(max int) *answers { return &answers{max: max, by: map[string]int{}} }

// hold takes n bytes for a caller under each of his names, or says why there is
// no room. What must is written whatever else there is, and counts all the same.
func (a *answers) hold(n int, must bool, names []string) (taken func(), err *problem) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !must {
		if a.now+n > a.max {
			return nil, busy(shedAnswers, "answers of %d bytes wait to be taken by callers, and %d is the most", a.now, a.max)
		}
		for _, who := range names {
			if a.by[who]+n > a.max/4 {
				return nil, busy(shedAnswers, "you have answers of %d bytes to take, this one has %d, and %d is the most of one caller and of one certificate; take them faster, or ask for less at once", a.by[who], n, a.max/4)
			}
		}
	}
	a.now += n
	for _, who := range names {
		a.by[who] += n
	}
	return sync.OnceFunc(func() { a.taken(n, names) }), nil
}

func (a *answers) taken(n int, names []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now -= n
	for _, who := range names {
		if a.by[who] -= n; a.by[who] == 0 {
			delete(a.by, who)
		}
	}
}

func (a *answers) bytes() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now
}
