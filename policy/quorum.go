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
					held[n] = append(held[n], slices.Concat(before, way))
				}
			}
			if len(held[n]) > maxChoices {
				return nil, false
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

// need is the fewest persons that can make the tree hold.
func (q *Quorum) need() int {
	all, ok := q.choices()
	if !ok {
		return 0
	}
	fewest := 0
	for _, choice := range all {
		n := 0
		for _, l := range choice {
			n += int(l.min)
		}
		if fewest == 0 || n < fewest {
			fewest = n
		}
	}
	return fewest
}

// holds is true where the persons can be seated so that the tree holds, each in one seat.
func (q *Quorum) holds(persons []string, member func(group, person string) bool) bool {
	all, ok := q.choices()
	if !ok {
		return false
	}
	return slices.ContainsFunc(all, func(choice []leaf) bool { return seated(choice, persons, member) })
}

// seated finds a seat for every vacancy of the leaves by augmenting paths (bipartite matching).
func seated(choice []leaf, persons []string, member func(group, person string) bool) bool {
	var seats []string // group of each
	for _, l := range choice {
		if len(seats)+int(l.min) > len(persons) {
			return false
		}
		for range l.min {
			seats = append(seats, l.group)
		}
	}
	holder := make([]int, len(persons)) // seat of each person, -1: none
	for i := range holder {
		holder[i] = -1
	}
	for seat := range seats {
		tried := make([]bool, len(persons))
		var place func(seat int) bool
		place = func(seat int) bool {
			for p, person := range persons {
				if tried[p] || !member(seats[seat], person) {
					continue
				}
				tried[p] = true
				if holder[p] < 0 || place(holder[p]) {
					holder[p] = seat
					return true
				}
			}
			return false
		}
		if !place(seat) {
			return false
		}
	}
	return true
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
