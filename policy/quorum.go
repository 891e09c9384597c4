package policy

import (
	"errors"
	"fmt"
	"slices"
)

const (
	// maxQuorumDepth is spec/policy.md's: a leaf alone has depth 1.
	maxQuorumDepth = 4
	// maxChoices bounds the ways in which a tree can hold, each of which is tried.
	maxChoices = 1024
)

// check is nil if the tree is well-formed at that depth and below.
func (q *Quorum) check(depth int) error {
	if q == nil {
		return errors.New("quorum: null")
	}
	if depth > maxQuorumDepth {
		return fmt.Errorf("quorum: deeper than %d", maxQuorumDepth)
	}
	kinds := 0
	for _, there := range []bool{q.Group != "" || q.Min != 0, q.All != nil, q.Any != nil, q.KOf != nil} {
		if there {
			kinds++
		}
	}
	if kinds != 1 {
		return errors.New("quorum: want exactly one of group with min, all, any and kOf")
	}
	if q.Group != "" || q.Min != 0 {
		if q.Min == 0 || q.Min > maxMin {
			return fmt.Errorf("quorum: min %d of group %.64q: want 1 to %d", q.Min, q.Group, maxMin)
		}
		return CheckName(q.Group)
	}
	branches := q.branches()
	if len(branches) == 0 {
		return errors.New("quorum: an empty list asks nobody")
	}
	if q.KOf != nil && (q.KOf.K == 0 || int(q.KOf.K) > len(branches)) {
		return fmt.Errorf("quorum: %d of %d", q.KOf.K, len(branches))
	}
	for _, b := range branches {
		if err := b.check(depth + 1); err != nil {
			return err
		}
	}
	if depth == 1 {
		if _, ok := q.choices(); !ok {
			return fmt.Errorf("quorum: more than %d ways to hold", maxChoices)
		}
	}
	return nil
}

func (q *Quorum) branches() []*Quorum {
	switch {
	case q.All != nil:
		return q.All
	case q.Any != nil:
		return q.Any
	case q.KOf != nil:
		return q.KOf.Of
	}
	return nil
}

// leaf is a number of seats for a group.
type leaf struct {
	group string
	min   uint32
}

// choices are the ways in which the tree can hold: for each, the leaves that must all be filled by
// distinct persons. ok is false where there are too many, or the tree is malformed.
func (q *Quorum) choices() (all [][]leaf, ok bool) {
	if q == nil {
		return nil, false
	}
	if q.Group != "" {
		return [][]leaf{{{q.Group, q.Min}}}, q.Min > 0
	}
	branches := q.branches()
	k := len(branches)
	switch {
	case q.Any != nil:
		k = 1
	case q.KOf != nil:
		k = int(q.KOf.K)
	}
	if k <= 0 || k > len(branches) {
		return nil, false
	}
	// held[n] are the ways in which exactly n of the branches seen so far are chosen to hold.
	held := make([][][]leaf, k+1)
	held[0] = [][]leaf{nil}
	for _, b := range branches {
		ways, ok := b.choices()
		if !ok {
			return nil, false
		}
		for n := k; n > 0; n-- {
			for _, before := range held[n-1] {
				for _, way := range ways {
					if len(held[n]) == maxChoices { // before they are made: of two branches there may be a million
						return nil, false
					}
					held[n] = append(held[n], slices.Concat(before, way))
				}
			}
		}
	}
	return held[k], len(held[k]) > 0
}

// groups are the tree's groups, sorted, each once.
func (q *Quorum) groups() []string {
	var out []string
	var walk func(q *Quorum)
	walk = func(q *Quorum) {
		if q == nil {
			return
		}
		if q.Group != "" {
			out = append(out, q.Group)
		}
		for _, b := range q.branches() {
			walk(b)
		}
	}
	walk(q)
	slices.Sort(out)
	return slices.Compact(out)
}

// need is the fewest persons that can make the tree hold, 0 where it is malformed.
func (q *Quorum) need() int {
	_, need := q.filled(nil, nil)
	return need
}

// holds is true where the persons can be seated so that the tree holds, each in one seat.
func (q *Quorum) holds(persons []string, member func(group, person string) bool) bool {
	have, need := q.filled(persons, member)
	return need > 0 && have == need
}

// filled seats the persons in the way that leaves the fewest seats vacant, of the ways in which the
// tree can hold, and counts those who sit and the seats. Both are 0 where the tree is malformed.
func (q *Quorum) filled(persons []string, member func(group, person string) bool) (have, need int) {
	all, ok := q.choices()
	if !ok {
		return 0, 0
	}
	for n, choice := range all {
		sit, seats := seat(choice, persons, member)
		if vacant := seats - sit; n == 0 || vacant < need-have || vacant == need-have && seats < need {
			have, need = sit, seats
		}
	}
	return have, need
}

// seat finds seats in the leaves for as many of the persons as can have one, by augmenting paths
// (bipartite matching).
func seat(choice []leaf, persons []string, member func(group, person string) bool) (sit, seats int) {
	var groups []string // of each seat
	for _, l := range choice {
		seats += int(l.min)
		// More seats than persons stay vacant whatever is tried.
		for range min(int(l.min), len(persons)) {
			groups = append(groups, l.group)
		}
	}
	holds := make([]int, len(persons)) // the seat of each person, -1: none
	for p := range holds {
		holds[p] = -1
	}
	for s := range groups {
		tried := make([]bool, len(persons))
		var place func(s int) bool
		place = func(s int) bool {
			for p, person := range persons {
				if tried[p] || !member(groups[s], person) {
					continue
				}
				tried[p] = true
				if holds[p] < 0 || place(holds[p]) {
					holds[p] = s
					return true
				}
			}
			return false
		}
		if place(s) {
			sit++
		}
	}
	return sit, seats
}

// String is the tree in words: “2 of traders and 1 of compliance”.
func (q *Quorum) String() string { return q.words(false) }

func (q *Quorum) words(nested bool) string {
	if q == nil {
		return "nobody"
	}
	if q.Group != "" {
		return fmt.Sprintf("%d of %s", q.Min, q.Group)
	}
	joint, text := " and ", ""
	switch {
	case q.Any != nil:
		joint = " or "
	case q.KOf != nil:
		joint, text = "; ", fmt.Sprintf("any %d of: ", q.KOf.K)
	}
	for n, b := range q.branches() {
		if n > 0 {
			text += joint
		}
		text += b.words(true)
	}
	if nested {
		return "(" + text + ")"
	}
	return text
}
