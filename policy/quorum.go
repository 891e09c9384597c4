package policy

import (
	"errors"
	"fmt"
	"slices"
)

const (
	// maxQuorumDepth is spec/policy.md's: a leaf alone has depth 1.
	maxQuorumDepth = 4
	// maxWays bounds the ways in which a tree can hold, each of which is tried.
	maxWays = 1024
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
	if depth == 1 && q.plan(q.groups()) == nil {
		return fmt.Errorf("quorum: more than %d ways to hold", maxWays)
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

// k is how many of the branches must hold.
func (q *Quorum) k() int {
	switch {
	case q.Any != nil:
		return 1
	case q.KOf != nil:
		return int(q.KOf.K)
	}
	return len(q.All)
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
	_, need := q.filled(nil, func(string) []string { return nil })
	return need
}

// holds is true where the persons, sorted, can be seated so that the tree holds, each in one seat.
func (q *Quorum) holds(persons []string, members func(group string) []string) bool {
	have, need := q.filled(persons, members)
	return need > 0 && have == need
}

// filled seats the persons, sorted, in the way that leaves the fewest seats vacant, of the ways in
// which the tree can hold, and counts those who sit and the seats. Both are 0 where the tree is
// malformed.
func (q *Quorum) filled(persons []string, members func(group string) []string) (have, need int) {
	groups := q.groups()
	p := q.plan(groups)
	if p == nil {
		return 0, 0
	}
	s := newSeating(persons, groups, members)
	p.each(s, s.try)
	return s.need - s.vacant, s.need
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
