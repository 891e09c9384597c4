package policy

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// plan is a quorum tree made ready for its ways to hold to be tried.
type plan struct {
	group, seats int     // a leaf's: its group among the tree's, how many seats; no seats: it is no leaf
	k            int     // how many of the branches must hold
	branches     []*plan // those with the fewest ways first: what holds in one way alone is gone through once for all others
	ways         int     // in which it can hold, at most maxWays
}

// plan is nil where the tree is malformed or has too many ways to hold, which are counted and not
// made: of two branches there may be a million.
func (q *Quorum) plan(groups []string) *plan {
	if q == nil {
		return nil
	}
	if q.Group != "" {
		group, ok := slices.BinarySearch(groups, q.Group)
		if !ok || q.Min == 0 {
			return nil
		}
		return &plan{group: group, seats: int(q.Min), ways: 1}
	}
	p := &plan{k: q.k()}
	for _, b := range q.branches() {
		branch := b.plan(groups)
		if branch == nil {
			return nil
		}
		p.branches = append(p.branches, branch)
	}
	if p.k < 1 || p.k > len(p.branches) {
		return nil
	}
	slices.SortStableFunc(p.branches, func(a, b *plan) int { return cmp.Compare(a.ways, b.ways) })
	// held[n] is in how many ways exactly n of the branches so far are chosen to hold, of those n that
	// the branches to come can still make k of.
	held := make([]int, p.k+1)
	held[0] = 1
	for i, b := range p.branches {
		rest := len(p.branches) - i - 1
		for n := min(i+1, p.k); n >= max(1, p.k-rest); n-- {
			held[n] = min(held[n]+held[n-1]*b.ways, maxWays+1)
		}
	}
	if p.ways = held[p.k]; p.ways > maxWays {
		return nil
	}
	return p
}

// each calls try for each way in which the tree can hold, with the way's seats added to what is asked.
func (p *plan) each(s *seating, try func()) {
	if p.seats == 0 {
		p.choose(0, p.k, s, try)
		return
	}
	s.asked[p.group] += p.seats
	s.seats += p.seats
	try()
	s.asked[p.group] -= p.seats
	s.seats -= p.seats
}

// choose has k of the branches hold, of those from the given one on.
func (p *plan) choose(from, k int, s *seating, try func()) {
	if k == 0 {
		try()
		return
	}
	if from+k < len(p.branches) {
		p.choose(from+1, k, s, try)
	}
	p.branches[from].each(s, func() { p.choose(from+1, k-1, s, try) })
}

// people is a set of those who are to be seated, by their places in a list. No charter has more.
type people [maxPeople / 64]uint64

func (p *people) add(n int) { p[n/64] |= 1 << (n % 64) }

// seating seats people in one way after another in which a tree can hold, and keeps the best.
type seating struct {
	members []people // of each group, those who are to be seated
	asked   []int    // for each group, its seats in the way that is tried
	seats   int      // of all groups in that way

	need, vacant int // the best way's seats, and how many of them stay vacant: MaxInt before the first

	sits []int // for each person, the group that he sits for in the way that is tried, or nowhere

	// Of one search for somebody to sit.
	wanted []int // for each person who was looked at, the group that wants him
	via    []int // for each group of whose sitters one is wanted by another, who that is, or nowhere
	queue  []int // the groups that look for somebody
}

const nowhere = -1

// newSeating is for persons, sorted, who are of those groups.
func newSeating(persons, groups []string, members func(group string) []string) *seating {
	s := &seating{members: make([]people, len(groups)), asked: make([]int, len(groups)), vacant: math.MaxInt,
		sits: make([]int, len(persons)), wanted: make([]int, len(persons)), via: make([]int, len(groups))}
	for g, group := range groups {
		for _, person := range members(group) {
			if n, ok := slices.BinarySearch(persons, person); ok && n < maxPeople {
				s.members[g].add(n)
			}
		}
	}
	return s
}

// try seats as many as can sit in the way that is asked, and keeps it where fewer seats stay vacant
// than in any before, or as few of fewer.
func (s *seating) try() {
	better := func(vacant int) bool { return vacant < s.vacant || vacant == s.vacant && s.seats < s.need }
	if !better(0) {
		return
	}
	for n := range s.sits {
		s.sits[n] = nowhere
	}
	vacant := 0
	for g, asked := range s.asked {
		have := 0
		for have < asked && s.place(g) {
			have++
		}
		// Who finds nobody now finds nobody later either.
		if vacant += asked - have; !better(vacant) {
			return
		}
	}
	s.vacant, s.need = vacant, s.seats
}

// place finds one more who sits for the group, by an augmenting path (bipartite matching): where all
// of its members sit, one for whose seat another can be found. It looks at nobody twice.
func (s *seating) place(group int) bool {
	var seen people
	for g := range s.via {
		s.via[g] = nowhere
	}
	s.queue = append(s.queue[:0], group)
	for at := 0; at < len(s.queue); at++ {
		g := s.queue[at]
		for i, left := range s.members[g] {
			left &^= seen[i]
			seen[i] |= left
			for ; left != 0; left &= left - 1 {
				n := i*64 + bits.TrailingZeros64(left)
				s.wanted[n] = g
				from := s.sits[n]
				if from == nowhere {
					s.move(n, group)
					return true
				}
				if from != group && s.via[from] == nowhere {
					s.via[from] = n
					s.queue = append(s.queue, from)
				}
			}
		}
	}
	return false
}

// move seats one who sits nowhere where he is wanted, then whoever is wanted from there where that is,
// until the group itself has one more.
func (s *seating) move(n, group int) {
	for s.sits[n] = s.wanted[n]; s.sits[n] != group; s.sits[n] = s.wanted[n] {
		n = s.via[s.sits[n]]
	}
}
