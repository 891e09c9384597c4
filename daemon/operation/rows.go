package operation

import (
	"hash/maphash"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/mintwarden/mintwarden/policy"
)

// row is an operation in a list. Texts are hashes: whoever is listed is read from the store.
type row struct {
	id  string
	rev int64 // at which this was so

	token, requester, wallet, network uint64

	kind   uint8 // place in policy.OperationTypes
	status uint8 // place in Statuses
}

// operationTypes and statuses are in the order in which rows count them.
var (
	operationTypes = policy.OperationTypes()
	statuses       = Statuses()
)

// trait is a field that lists are narrowed by.
type trait uint8

const (
	ofToken trait = iota
	ofRequester
	ofWallet
	ofKind
	ofStatus
	traits
)

func (r *row) value(t trait) uint64 {
	switch t {
	case ofToken:
		return r.token
	case ofRequester:
		return r.requester
	case ofWallet:
		return r.wallet
	case ofKind:
		return uint64(r.kind)
	}
	return uint64(r.status)
}

// rows are all operations, oldest first, which is the ids' order; the same again by each value of each trait,
// so that a page is found in the shortest of them that holds it; and how many have which values together, so
// that a page's total is not counted anew. The price is some 150 bytes an operation.
//
// Rows are not safe for concurrent use: the index's lock is theirs.
type rows struct {
	seed  maphash.Seed
	all   []*row
	by    [traits]map[uint64][]*row
	count map[tuple]int
}

// tuple is the values that are counted together; a zero stands for any.
type tuple struct {
	token, requester uint64
	kind, status     uint8 // one more than in a row
}

func newRows() *rows {
	rs := &rows{seed: maphash.MakeSeed(), count: map[tuple]int{}}
	for t := range rs.by {
		rs.by[t] = map[uint64][]*row{}
	}
	return rs
}

func (rs *rows) hash(s string) uint64 { return max(1, maphash.String(rs.seed, s)) }

func (rs *rows) of(s summary, rev int64) *row {
	return &row{
		id: s.ID, rev: rev, token: rs.hash(s.TokenID), requester: rs.hash(s.RequestedBy), wallet: rs.hash(s.WalletID), network: rs.hash(s.Network),
		kind:   uint8(slices.Index(operationTypes, s.Type)),
		status: uint8(slices.Index(statuses, s.Status)),
	}
}

// at is where an id's row is or belongs in a list.
func at(list []*row, id string) (int, bool) {
	return slices.BinarySearchFunc(list, id, func(r *row, id string) int { return strings.Compare(r.id, id) })
}

// find is an operation's row, if there is one.
func (rs *rows) find(id string) (*row, bool) {
	if n := len(rs.all); n == 0 || rs.all[n-1].id < id {
		return nil, false
	}
	i, known := at(rs.all, id)
	if !known {
		return nil, false
	}
	return rs.all[i], true
}

// put keeps a state and reports whether it was news. Most operations that are not known yet come last.
func (rs *rows) put(s summary, rev int64) bool {
	r, known := rs.find(s.ID)
	if !known {
		r = rs.of(s, rev)
		rs.all = insert(rs.all, r)
		for t := range traits {
			rs.by[t][r.value(t)] = insert(rs.by[t][r.value(t)], r)
		}
		rs.tally(r, 1)
		return true
	}
	if r.rev >= rev && rev+r.rev > 0 { // of two that are archived the second is newer
		return false
	}
	r.rev = rev
	if status := uint8(slices.Index(statuses, s.Status)); status != r.status {
		// Nothing else of an operation that lists are narrowed by ever changes.
		rs.tally(r, -1)
		was := rs.by[ofStatus][r.value(ofStatus)]
		if i, ok := at(was, r.id); ok {
			rs.by[ofStatus][r.value(ofStatus)] = slices.Delete(was, i, i+1)
		}
		r.status = status
		rs.by[ofStatus][r.value(ofStatus)] = insert(rs.by[ofStatus][r.value(ofStatus)], r)
		rs.tally(r, 1)
	}
	return true
}

func insert(list []*row, r *row) []*row {
	if n := len(list); n == 0 || list[n-1].id < r.id {
		return append(list, r)
	}
	i, _ := at(list, r.id)
	return slices.Insert(list, i, r)
}

// tally counts a row under every choice of its values.
func (rs *rows) tally(r *row, n int) {
	for mask := range 16 {
		var t tuple
		if mask&1 != 0 {
			t.token = r.token
		}
		if mask&2 != 0 {
			t.requester = r.requester
		}
		if mask&4 != 0 {
			t.kind = r.kind + 1
		}
		if mask&8 != 0 {
			t.status = r.status + 1
		}
		if rs.count[t] += n; rs.count[t] == 0 {
			delete(rs.count, t)
		}
	}
}

// choice is a Filter, ready to be held against rows.
type choice struct {
	list   []*row // the shortest that holds all that are chosen, cut to the time asked for
	whole  bool   // every row of list is chosen
	counts *tuple // how many are chosen is counted here; nil: nowhere

	filter                            Filter
	token, requester, wallet, network uint64
	kind, status                      int
}

func (rs *rows) choose(f Filter) *choice {
	c := &choice{
		list: rs.all, filter: f, token: rs.hash(f.TokenID), requester: rs.hash(f.RequestedBy), wallet: rs.hash(f.WalletID), network: rs.hash(f.Network),
		kind: slices.Index(operationTypes, f.Type), status: slices.Index(statuses, f.Status),
	}
	given := 0
	narrow := func(asked bool, t trait, v uint64) {
		if !asked {
			return
		}
		given++
		if l := rs.by[t][v]; len(l) <= len(c.list) {
			c.list = l
		}
	}
	narrow(f.TokenID != "", ofToken, c.token)
	narrow(f.RequestedBy != "", ofRequester, c.requester)
	narrow(f.WalletID != "", ofWallet, c.wallet)
	narrow(f.Type != "", ofKind, uint64(c.kind))
	narrow(f.Status != "", ofStatus, uint64(c.status))
	c.whole = given <= 1 && f.Network == ""
	if f.From.IsZero() && f.To.IsZero() && f.WalletID == "" && f.Network == "" {
		c.counts = &tuple{}
		if f.TokenID != "" {
			c.counts.token = c.token
		}
		if f.RequestedBy != "" {
			c.counts.requester = c.requester
		}
		if f.Type != "" {
			c.counts.kind = uint8(c.kind + 1)
		}
		if f.Status != "" {
			c.counts.status = uint8(c.status + 1)
		}
	}
	if !f.To.IsZero() {
		i, _ := at(c.list, firstID(f.To))
		c.list = c.list[:i]
	}
	if !f.From.IsZero() {
		i, _ := at(c.list, firstID(f.From))
		c.list = c.list[i:]
	}
	return c
}

// firstID sorts before every id that is drawn at a moment or later, and after all that were drawn before.
func firstID(t time.Time) string {
	var u ulid.ULID
	// Before 1970 nothing was drawn, and after the year 10889 nothing will have been.
	_ = u.SetTime(uint64(min(max(t.UnixMilli(), 0), int64(ulid.MaxTime()))))
	return IDPrefix + u.String()
}

func (c *choice) takes(r *row) bool {
	f := &c.filter
	return c.whole || (f.TokenID == "" || r.token == c.token) && (f.RequestedBy == "" || r.requester == c.requester) &&
		(f.WalletID == "" || r.wallet == c.wallet) && (f.Network == "" || r.network == c.network) &&
		(f.Type == "" || int(r.kind) == c.kind) && (f.Status == "" || int(r.status) == c.status)
}

// total is how many are chosen.
func (rs *rows) total(c *choice) int {
	switch {
	case c.counts != nil:
		return rs.count[*c.counts]
	case c.whole:
		return len(c.list)
	}
	n := 0
	for range c.newest("", 0) {
		n++
	}
	return n
}

// newest are the chosen ids, newest first: those behind an id, if one is given, without the first skip.
func (c *choice) newest(after string, skip int) iter.Seq[string] {
	return func(yield func(string) bool) {
		i := len(c.list)
		if after != "" {
			i, _ = at(c.list, after)
		}
		if c.whole {
			i, skip = max(0, i-skip), 0
		}
		for _, r := range slices.Backward(c.list[:i]) {
			if !c.takes(r) {
				continue
			}
			if skip > 0 {
				skip--
				continue
			}
			if !yield(r.id) {
				return
			}
		}
	}
}
