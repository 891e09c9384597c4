package registry

import "github.com/mintwarden/mintwarden/policy"

// Charter is the charter in force, as the ledger holds it.
type Charter struct {
	Body   *policy.Charter
	Digest policy.Digest
	// Document is the exact bytes that the custodians signed.
	Document []byte
	// SignedBy names the custodians who signed, sorted.
	SignedBy []string
	// Sequence is the batch that put it in force.
	Sequence uint64
}
