package ledger

import "iter"

// table is a map that may stand on another one: what it holds itself hides what is beneath. A
// value that came from beneath is shared and never changed; edit gives one that may be.
type table[K comparable, V any] struct {
	beneath *table[K, V]
	own     map[K]V
}

// on makes an empty table that stands on t, with the map of one that is over, if there is one.
func (t *table[K, V]) on(over table[K, V]) table[K, V] {
	clear(over.own)
	return table[K, V]{beneath: t, own: over.own}
}

func (t *table[K, V]) get(key K) (V, bool) {
	for ; t != nil; t = t.beneath {
		if v, ok := t.own[key]; ok {
			return v, true
		}
	}
	var none V
	return none, false
}

func (t *table[K, V]) has(key K) bool {
	_, ok := t.get(key)
	return ok
}

func (t *table[K, V]) put(key K, value V) {
	if t.own == nil {
		t.own = map[K]V{}
	}
	t.own[key] = value
}

// edit gives the key's value for changing in place: the table's own, or a copy of the one beneath
// that becomes its own. ok is false where there is none.
func (t *table[K, V]) edit(key K, clone func(V) V) (value V, ok bool) {
	if v, ok := t.own[key]; ok && t.beneath != nil {
		return v, true
	}
	v, ok := t.get(key)
	if !ok {
		return v, false
	}
	v = clone(v)
	t.put(key, v)
	return v, true
}

// sink moves everything into the table beneath.
func (t *table[K, V]) sink() {
	if len(t.beneath.own) == 0 {
		t.beneath.own = t.own
		t.own = nil
		return
	}
	for k, v := range t.own {
		t.beneath.put(k, v)
	}
	clear(t.own)
}

// all walks every key once.
func (t *table[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for layer := t; layer != nil; layer = layer.beneath {
			for k, v := range layer.own {
				if t.hides(layer, k) {
					continue
				}
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// hides is true where a table above layer has the key.
func (t *table[K, V]) hides(layer *table[K, V], key K) bool {
	for above := t; above != layer; above = above.beneath {
		if _, ok := above.own[key]; ok {
			return true
		}
	}
	return false
}
