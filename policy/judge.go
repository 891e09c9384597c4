package policy

import (
	"math/big"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// Judge says whether the intent may be signed now.
func Judge(in Input) Verdict { return Verdict{Outcome: Deny} }

// ApprovalsComplete is true where no approval is missing: what is not allowed yet only waits for a
// DELAY, or is denied for another reason.
func (v Verdict) ApprovalsComplete() bool { return false }

// Approvals is what the most demanding approval rule asks for: its group, how many of it approved,
// how many must.
func (v Verdict) Approvals() (group string, have, need int) { return "", 0, 0 }

// Transaction is what the intent puts on the chain.
func (i *Intent) Transaction(nonce, gas uint64, maxFee, tip *big.Int) (*tx.Unsigned, error) {
	return nil, ErrDocument
}

// Glossary is what Words needs beside the intent.
type Glossary struct {
	Currency string     // symbol of the network's native currency, 18 decimals
	Policies []*InForce // those that the intent names, verified
}

// Words is the intent in one paragraph for a person who decides on it.
func (i *Intent) Words(g Glossary) string { return "" }
