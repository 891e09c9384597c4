package tx

import "strings"

// ownershipTag begins what a wallet signs to show Qustody that it is ours (spec/chain.md, “wallet ownership
// proof”). No transaction is encoded so: each begins with its type's byte or as an RLP list.
const ownershipTag = "qustody:register:"

// OwnershipDigest is the 32 bytes that a wallet signs to be registered at Qustody.
func OwnershipDigest(a Address) Hash {
	return HashOf([]byte(ownershipTag + strings.ToLower(a.String())))
}
