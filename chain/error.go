package chain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/mintwarden/mintwarden/chain/qrc20"
)

var (
	// ErrUnavailable is wrapped when no node gave a usable answer.
	ErrUnavailable = errors.New("no chain node answers")
	// ErrWrongChain is wrapped when a node is of another chain than the network's entry says.
	ErrWrongChain = errors.New("wrong chain")
	// errAnswer is wrapped when a node's answer does not have the form that it must have.
	errAnswer = errors.New("malformed answer")
)

// RevertError says that the EVM would not carry out a call.
type RevertError struct {
	// Reason is one printable line for people.
	Reason string
	// Data is what the contract returned, nil if it was no contract that refused.
	Data []byte
}

func (e *RevertError) Error() string { return "execution reverted: " + e.Reason }

// RejectedError says that no node takes a transaction. At most one of the flags is set; none means
// a reason of another sort.
type RejectedError struct {
	// Message is the node's own, as one printable line.
	Message string
	// NonceTooLow: the nonce is used up, by this transaction or another.
	NonceTooLow bool
	// Underpriced: the fees are below what the node takes, or not enough above those of the
	// transaction that this one would replace.
	Underpriced bool
	// InsufficientFunds: the sender cannot pay value and the most that the gas may cost.
	InsufficientFunds bool
}

func (e *RejectedError) Error() string { return "transaction rejected: " + e.Message }

// RPCError is a node's refusal to answer a question.
type RPCError struct {
	Method  string
	Code    int
	Message string // one printable line
}

func (e *RPCError) Error() string {
	return fmt.Sprintf("%s: %s (code %d)", e.Method, e.Message, e.Code)
}

// maxText bounds what is shown of a node's words, in bytes.
const maxText = 300

// printable makes one bounded line out of what a node said.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s[:min(len(s), maxText)])
	return strings.TrimSpace(s)
}

// plain takes the URL out of what Go's HTTP client says, for it may hold a key.
func plain(err error) string {
	var inURL *url.Error
	if errors.As(err, &inURL) {
		err = inURL.Err
	}
	var status rpc.HTTPError
	if errors.As(err, &status) {
		return "HTTP " + printable(status.Status)
	}
	return printable(err.Error())
}

// faultKind names what went wrong with a question, for metrics: "rpc" if the node answered with an
// error, else how it failed to answer.
func faultKind(err error) string {
	var refused rpc.Error
	var status rpc.HTTPError
	var tooLarge *http.MaxBytesError
	var network net.Error
	switch {
	case errors.As(err, &refused):
		return "rpc"
	case errors.As(err, &tooLarge):
		return "too_large"
	case errors.As(err, &status):
		return "http"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.As(err, &network):
		return "connect"
	}
	return "malformed"
}

// refusals are what EVM nodes say when a call cannot be carried out, besides code 3: geth's words,
// which others have taken over.
var refusals = []string{"execution reverted", "revert", "out of gas", "invalid opcode", "invalid jump", "stack underflow", "stack limit",
	"gas required exceeds", "intrinsic gas too low", "insufficient funds", "insufficient balance", "max code size", "max initcode size",
	"contract creation code", "write protection", "gas uint64 overflow", "nonce uint64 overflow", "return data out of bounds"}

// asRevert makes a *RevertError of a node's answer that the EVM refuses a call; nil if it is
// something else.
func asRevert(err *RPCError, data any) *RevertError {
	if text, ok := data.(string); ok && err.Code == 3 || ok && strings.HasPrefix(text, "0x") {
		if b, decodeErr := hexutil.Decode(text); decodeErr == nil {
			if len(b) == 0 {
				return &RevertError{Reason: qrc20.DecodeRevert(nil)}
			}
			return &RevertError{Reason: printable(qrc20.DecodeRevert(b)), Data: b}
		}
	}
	message := strings.ToLower(err.Message)
	for _, r := range refusals {
		if strings.Contains(message, r) {
			return &RevertError{Reason: err.Message}
		}
	}
	if err.Code == 3 {
		return &RevertError{Reason: err.Message}
	}
	return nil
}

// rejection sorts a node's refusal of a transaction; nil if it says that it has it already. An unknown transaction
// type is none that it has.
func rejection(message string) *RejectedError {
	m := strings.ToLower(message)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(m, p) {
				return true
			}
		}
		return false
	}
	if !has("unknown") && has("already known", "alreadyknown", "known transaction", "already imported", "already in mempool", "already in the mempool") {
		return nil
	}
	r := &RejectedError{Message: message}
	switch {
	case has("nonce too low", "noncetoolow", "nonce is too low", "oldnonce"):
		r.NonceTooLow = true
	case has("underpriced", "fee too low", "gas price below minimum", "feetoolow", "max fee per gas less than block base fee"):
		r.Underpriced = true
	case has("insufficient funds", "insufficientfunds", "insufficient balance"):
		r.InsufficientFunds = true
	}
	return r
}
