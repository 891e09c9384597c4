package chain

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// ErrNetwork is wrapped by everything that Validate finds wrong.
var ErrNetwork = errors.New("invalid network")

// DefaultTimeout bounds one question to one node.
const DefaultTimeout = 5 * time.Second

// DefaultResubmit is in blocks.
const DefaultResubmit = 3

// Resubmit is for how many blocks a transaction waits before its fees are raised.
func (n Network) Resubmit() uint64 {
	if n.ResubmitAfter == 0 {
		return DefaultResubmit
	}
	return n.ResubmitAfter
}

// maxConfirmations keeps a slip of the pen from making every operation wait forever.
const maxConfirmations = 10_000

var networkName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Network is an entry of the config: which chain, and which nodes to ask.
type Network struct {
	// Name is what documents and the API call it: lower-case letters, digits and hyphens.
	Name string
	// Kind decides how a transaction is laid out.
	Kind tx.Kind
	// ChainID is what every node must say, at least 1.
	ChainID uint64
	// RPCURLs are http or https, each node once; those that work are asked in this order.
	RPCURLs []string
	// Confirmations is how deep a block must be for what stands in it to be final, at least 1: the
	// newest block has one.
	Confirmations uint64
	// Scheme is what wallets sign with by default; its kind is Kind.
	Scheme tx.Scheme
	// Currency is the coin's symbol for people.
	Currency string
	// BlockPeriod is about how long a block takes; it paces the watch on the head. May be zero.
	BlockPeriod time.Duration
	// ResubmitAfter is for how many blocks a transaction waits before its fees are raised; DefaultResubmit if zero.
	ResubmitAfter uint64
	// Timeout bounds one question to one node; DefaultTimeout if zero.
	Timeout time.Duration
}

// Validate says what is wrong with the entry; the error wraps ErrNetwork and names the value.
// Errors never hold a URL, whose path or user part may be a secret.
func (n *Network) Validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w %q: %s", ErrNetwork, n.Name, fmt.Sprintf(format, args...))
	}
	switch {
	case !networkName.MatchString(n.Name):
		return bad("a name is lower-case letters, digits and hyphens, at most 63")
	case !n.Kind.Valid():
		return bad("kind %q", n.Kind)
	case n.Scheme.Kind() != n.Kind:
		return bad("scheme %q does not sign for kind %q", n.Scheme, n.Kind)
	case n.ChainID == 0:
		return bad("chain id 0")
	case n.Confirmations == 0 || n.Confirmations > maxConfirmations:
		return bad("%d confirmations, want 1 to %d", n.Confirmations, maxConfirmations)
	case n.BlockPeriod < 0 || n.Timeout < 0:
		return bad("negative duration")
	case len(n.RPCURLs) == 0:
		return bad("no RPC URL")
	}
	for i, raw := range n.RPCURLs {
		u, err := url.Parse(raw)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return bad("RPC URL %d is not an http or https URL", i+1)
		}
		if slices.Contains(n.RPCURLs[:i], raw) {
			return bad("RPC URL %d (host %s) is there twice", i+1, u.Host)
		}
	}
	return nil
}
