package sealed

import "time"

const (
	// linger is how long a batch is held open for those who were just answered and
	// are likely to ask again; a commit takes about as long, whatever is in it. It ends
	// before where nobody came for a lull: then they do something else.
	linger = 2 * time.Millisecond
	lull   = linger / 4
	// collect is the same where callers come one by one, and so often that some come
	// during every commit: a commit for each would cost more than what they ask for.
	collect = 10 * time.Millisecond
	// company is how many of those are waited for at least. As many as make a crowd
	// share the cost well enough that nobody is waited for longer than the linger.
	company, crowded = 4, 16
)

// crowd is the proposals that are decided together: those that are there, and those
// that come while they are decided or are waited for.
type crowd struct {
	from   <-chan *proposal
	all    []*proposal
	enough int // when so many are there nobody else is waited for
	hold   time.Duration
	gap    time.Duration    // how long nobody may come
	over   <-chan time.Time // when the waiting ends; nil before it begins
	quiet  *time.Timer      // when nobody came for the gap
	closed bool             // nobody else comes in
}

// at is the n-th proposal, nil if nobody else comes.
func (c *crowd) at(n int) *proposal {
	for n >= len(c.all) && !c.closed {
		select {
		case p := <-c.from:
			c.all = append(c.all, p)
			continue
		default:
		}
		if len(c.all) >= c.enough {
			c.closed = true
			break
		}
		if c.over == nil {
			c.over, c.quiet = time.After(c.hold), time.NewTimer(c.gap)
		} else {
			c.quiet.Reset(c.gap)
		}
		select {
		case p := <-c.from:
			c.all = append(c.all, p)
		case <-c.quiet.C:
			c.closed = true
		case <-c.over:
			c.closed = true
		}
	}
	if n < len(c.all) {
		return c.all[n]
	}
	return nil
}

// rest is everybody who is there, without waiting for anybody.
func (c *crowd) rest() []*proposal {
	for !c.closed {
		select {
		case p := <-c.from:
			c.all = append(c.all, p)
		default:
			c.closed = true
		}
	}
	return c.all
}

// refuse takes out the first, and all that are there and cannot enter in doubt. A round
// that could not begin, or came to nothing, says nothing of those who can.
func (c *crowd) refuse() (out []*proposal) {
	var stay []*proposal
	for n, p := range c.rest() {
		if n > 0 && p.enter != nil {
			stay = append(stay, p)
		} else {
			out = append(out, p)
		}
	}
	c.all = stay
	return out
}

// leave takes the first n out, who were answered.
func (c *crowd) leave(n int) { c.all, c.closed = c.all[n:], true }

// arrivals is what the room knows of how its callers come.
type arrivals struct {
	lately int     // how many asked at once: those answered last, and those who waited then
	during float64 // how many come while a batch is under way, on average over the last few
}

// crowd begins with p.
func (a *arrivals) crowd(p *proposal, from <-chan *proposal) *crowd {
	c := &crowd{from: from, all: []*proposal{p}, enough: a.lately, hold: linger, gap: lull}
	// Callers who wait for one another's batch come all at once after it, and none
	// comes during one: to hold it open longer would only make all of them wait.
	if a.during >= 0.5 && a.lately < crowded {
		c.enough, c.hold, c.gap = max(a.lately, company), collect, collect
	}
	return c
}

// answered notes that so many got their answer while others waited already.
func (a *arrivals) answered(n, waiting int) {
	a.lately = min(n+waiting, maxWaiting)
	a.during += (float64(waiting) - a.during) / 8
}
