package tx

import "sync/atomic"

// spelling is an address and its EIP-55 text.
type spelling struct {
	of   Address
	text [2 + 2*len(Address{})]byte
}

// spellings are texts that were asked for lately, by the address's first and last byte: a signed document names the
// same wallets and contracts as those before it, and each text is a Keccak-256. What stands in a place is a whole
// spelling, put there at once and never changed, so that whoever finds another address there makes its own. It is
// public anyway: nothing secret is an address.
var spellings [256]atomic.Pointer[spelling]

// spell is the EIP-55 text, shared with others and not to be changed.
func (a Address) spell() *spelling {
	place := &spellings[a[0]^a[len(a)-1]]
	if s := place.Load(); s != nil && s.of == a {
		return s
	}
	s := &spelling{of: a}
	copy(s.text[:], a.text())
	place.Store(s)
	return s
}
