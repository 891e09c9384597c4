package callback

import (
	"encoding/hex"
	"encoding/json/v2"
	"errors"
	"fmt"
	"strings"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/policy"
)

// Bounds of answers, in bytes. A payload holds at most one transaction in hex and little beside it.
const (
	maxPayload = 2*tx.MaxSize + 16<<10
	maxList    = 1 << 20
	maxSmall   = 64 << 10
)

// errAnswer says that an answer is not what Qustody publishes.
var errAnswer = errors.New("callback: Qustody's answer")

// stage is a transaction's state at Qustody. The zero value is invalid.
type stage string

// The states that matter here; others are neither before nor after a signature.
const (
	stagePending   stage = "PENDING_SIGNATURE"
	stageRequested stage = "SIGNING_REQUESTED" // the older name of the same
)

// signable reports whether Qustody waits for a signature.
func (s stage) signable() bool { return s == stagePending || s == stageRequested }

// taken reports whether Qustody has the signature.
func (s stage) taken() bool {
	switch s {
	case "SIGNED", "BROADCASTING", "CONFIRMING", "COMPLETED":
		return true
	}
	return false
}

// givenUp reports whether Qustody will never send the transaction.
func (s stage) givenUp() bool {
	switch s {
	case "FAILED", "REJECTED", "CANCELLED", "BLOCKED", "SIGN_FAILED":
		return true
	}
	return false
}

// payload is GET /transactions/{id}/signing_payload.
type payload struct {
	TransactionID       string `json:"transactionId"`
	SigningHash         string `json:"signingHash"`
	Status              stage  `json:"status"`
	SourceAddress       string `json:"sourceAddress"`
	DestinationAddress  string `json:"destinationAddress"`
	Amount              string `json:"amount"`
	UnsignedTransaction string `json:"unsignedTransaction"`

	unsigned []byte // UnsignedTransaction, read
}

// transaction is GET /transactions/{id}, and an entry of the list.
type transaction struct {
	ID     string `json:"id"`
	Status stage  `json:"status"`
}

type transactionList struct {
	Data []transaction `json:"data"`
}

// signature is what is posted.
type signature struct {
	Signature string `json:"signature"`
	PublicKey string `json:"publicKey"`
}

// registration is what a wallet is registered by.
type registration struct {
	AssetID   string `json:"assetId"`
	Address   string `json:"address"`
	PublicKey string `json:"publicKey"`
	Label     string `json:"label,omitzero"`
	Signature string `json:"signature"`
}

// registered is a wallet at Qustody.
type registered struct {
	ID        string `json:"id"`
	Address   string `json:"address"`
	PublicKey string `json:"publicKey"`
}

type registeredList struct {
	Data []registered `json:"data"`
}

// parse reads one JSON value of at most limit bytes: no name twice, nothing behind it. Errors wrap errAnswer
// and repeat nothing of the text.
func parse[T any](b []byte, limit int) (*T, error) {
	if len(b) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", errAnswer, limit)
	}
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("%w is not JSON as it is published", errAnswer)
	}
	return &v, nil
}

// parsePayload reads a signing payload and what it says in hex. Errors wrap errAnswer.
func parsePayload(b []byte) (*payload, error) {
	p, err := parse[payload](b, maxPayload)
	if err != nil {
		return nil, err
	}
	if p.UnsignedTransaction == "" {
		return p, nil
	}
	digits, ok := strings.CutPrefix(p.UnsignedTransaction, "0x")
	if !ok || digits == "" {
		return nil, fmt.Errorf("%w: unsignedTransaction is not 0x and hex digits", errAnswer)
	}
	if p.unsigned, err = hex.DecodeString(digits); err != nil || len(p.unsigned) > tx.MaxSize {
		return nil, fmt.Errorf("%w: unsignedTransaction is not 0x and the hex of at most %d bytes", errAnswer, tx.MaxSize)
	}
	return p, nil
}

// parseList reads the ids of a page of transactions. An id that cannot be kept refuses the page: whatever
// gives such ids is not what is published. Errors wrap errAnswer.
func parseList(b []byte) ([]transaction, error) {
	l, err := parse[transactionList](b, maxList)
	if err != nil {
		return nil, err
	}
	for _, t := range l.Data {
		if !operation.ValidRef(t.ID) {
			return nil, fmt.Errorf("%w: what stands for a transaction's id is none", errAnswer)
		}
	}
	return l.Data, nil
}

// shown says in what a payload differs from its own transaction: what Qustody would show to people beside what
// would be signed. Empty: in nothing.
func (p *payload) shown(ref string, sender tx.Address, read *policy.Reading) string {
	hash := tx.HashOf(p.unsigned).String()
	amount, affected := "0", []*tx.Address{&read.Contract, read.Params.Recipient, read.Params.Source, read.Params.Subject}
	if read.Params.Amount != nil {
		amount = read.Params.Amount.String()
	}
	switch {
	case p.TransactionID != ref:
		return "the payload is another transaction's"
	case !strings.EqualFold(p.SigningHash, hash):
		return fmt.Sprintf("signingHash is %s, that of the transaction is %s", said(p.SigningHash), hash)
	case p.Amount != "" && p.Amount != amount:
		return fmt.Sprintf("amount is %s, that of the transaction is %s", said(p.Amount), amount)
	case !sameAddress(p.SourceAddress, &sender):
		return fmt.Sprintf("sourceAddress is %s, the wallet is %s", said(p.SourceAddress), sender)
	}
	if p.DestinationAddress == "" {
		return ""
	}
	for _, a := range affected {
		if sameAddress(p.DestinationAddress, a) {
			return ""
		}
	}
	return fmt.Sprintf("destinationAddress is %s, which the transaction does not name", said(p.DestinationAddress))
}

// said repeats what Qustody says only where it is an address, a hash or an amount. Anything else may be what no
// log is to hold: the API key, which Qustody knows, say.
func said(text string) string {
	_, noAddress := tx.ParseAddress(text)
	_, noHash := tx.ParseHash(strings.ToLower(text))
	_, noAmount := policy.ParseAmount(text)
	switch {
	case text == "":
		return "missing"
	case noAddress != nil && noHash != nil && noAmount != nil:
		return fmt.Sprintf("something else (%d bytes)", len(text))
	}
	return text
}

func sameAddress(text string, a *tx.Address) bool {
	if a == nil {
		return false
	}
	given, err := tx.ParseAddress(text)
	return err == nil && given == *a
}
