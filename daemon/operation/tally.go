package operation

import (
	"math/big"
	"slices"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// tally is what submissions ask of all open operations together, kept up to date with each change of one, so
// that a submission costs the same beside ten open operations and beside ten thousand. Not safe for
// concurrent use: the index's lock guards it.
type tally struct {
	status   [16]int                  // open operations by their status's place in Statuses
	pending  map[string]int           // that await approval, by credential
	placed   map[place]bool           // the places of those
	released map[string]int           // whose signed bytes are not final, by network
	open     map[string]int           // that are not over, by token
	same     map[likeness][]string    // ids of those that are not over, oldest first
	unmined  map[string]*big.Int      // base units of authorized mints that no block holds, by token
	waiting  map[requested]*big.Int   // base units of a person's mints that are not authorized, by token
	mints    map[string]countedAmount // what of an operation is in the two above, by id
}

// likeness is what two operations that ask for the same have in common.
type likeness struct {
	kind                     policy.OperationType
	token                    string
	amount                   policy.Amount
	recipient, from, subject tx.Address
	role                     qrc20.Role
}

type requested struct{ token, person string }

// countedAmount is where an amount was added.
type countedAmount struct {
	sum    *big.Int
	amount *big.Int
}

func newTally() *tally {
	return &tally{pending: map[string]int{}, placed: map[place]bool{}, released: map[string]int{}, open: map[string]int{}, same: map[likeness][]string{},
		unmined: map[string]*big.Int{}, waiting: map[requested]*big.Int{}, mints: map[string]countedAmount{}}
}

func likenessOf(o *Operation) likeness {
	return likeness{o.Type, o.TokenID, of(o.Amount), of(o.Recipient), of(o.From), of(o.Subject), o.Role}
}

// add counts an open operation.
func (t *tally) add(o *Operation) {
	t.status[slices.Index(statuses, o.Status)]++
	if o.Status == PendingAuthorization {
		t.pending[o.CredentialID]++
		if o.Place != 0 {
			t.placed[o.place()] = true
		}
	}
	if o.Status.released() {
		t.released[o.Network]++
	}
	if !o.Status.Terminal() {
		t.open[o.TokenID]++
		l := likenessOf(o)
		ids := t.same[l]
		i, _ := slices.BinarySearch(ids, o.ID)
		t.same[l] = slices.Insert(ids, i, o.ID)
	}
	t.addMint(o)
}

// addMint counts what a mint may still add to its token's supply (1705).
func (t *tally) addMint(o *Operation) {
	if o.Type != policy.OpMint || o.Amount == nil {
		return
	}
	var sum *big.Int
	switch {
	case o.Status == Signed || o.Status == Broadcasting || (o.Authorized && o.Status.beforeSignature()):
		sum = sumAt(t.unmined, o.TokenID)
	case o.Status.beforeSignature():
		sum = sumAt(t.waiting, requested{o.TokenID, o.RequestedBy})
	default:
		return
	}
	c := countedAmount{sum, o.Amount.Big()}
	sum.Add(sum, c.amount)
	t.mints[o.ID] = c
}

func sumAt[K comparable](sums map[K]*big.Int, k K) *big.Int {
	if sums[k] == nil {
		sums[k] = new(big.Int)
	}
	return sums[k]
}

// remove takes an operation out, in the state in which it was added.
func (t *tally) remove(o *Operation) {
	t.status[slices.Index(statuses, o.Status)]--
	if o.Status == PendingAuthorization {
		decrement(t.pending, o.CredentialID)
		delete(t.placed, o.place())
	}
	if o.Status.released() {
		decrement(t.released, o.Network)
	}
	if !o.Status.Terminal() {
		decrement(t.open, o.TokenID)
		l := likenessOf(o)
		ids := t.same[l]
		if i, found := slices.BinarySearch(ids, o.ID); found {
			ids = slices.Delete(ids, i, i+1)
		}
		if t.same[l] = ids; len(ids) == 0 {
			delete(t.same, l)
		}
	}
	if c, ok := t.mints[o.ID]; ok {
		c.sum.Sub(c.sum, c.amount)
		delete(t.mints, o.ID)
	}
}

func decrement(counts map[string]int, k string) {
	if counts[k]--; counts[k] == 0 {
		delete(counts, k)
	}
}

// twin is the newest operation that is not over and asks for the same as o, or empty.
func (t *tally) twin(o *Operation) string {
	ids := t.same[likenessOf(o)]
	if len(ids) == 0 {
		return ""
	}
	return ids[len(ids)-1]
}

// unminted is what mints of a token may still add to its supply, in base units, as far as a person's next
// request must count it: all that are authorized and not mined, and the person's own that may yet be. It may
// be above 2^256.
func (t *tally) unminted(token, person string) *big.Int {
	sum := new(big.Int)
	if n := t.unmined[token]; n != nil {
		sum.Add(sum, n)
	}
	if n := t.waiting[requested{token, person}]; n != nil {
		sum.Add(sum, n)
	}
	return sum
}
