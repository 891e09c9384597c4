package ledger

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/mintwarden/mintwarden/policy"
)

const (
	// LogPrefix holds one key a batch: the prefix and the sequence in 20 digits.
	LogPrefix = "/seal/log/"
	// AuthorKey is the leased key of whoever may write the next batch.
	AuthorKey = "/seal/author"
	// Tag separates a batch's signature from whatever else the key may ever sign.
	Tag = "mintwarden/ledger/v1"
)

// Format is the version of the batch format that this package reads and writes.
const Format = 1

// MaxBatch is the largest encoding of a batch, in bytes. etcd takes 1.5 MiB a request.
const MaxBatch = 1 << 20

// MaxInteger is the largest integer in a batch, 2^53 − 1: what every JSON reader keeps exact
// (RFC 7493 section 2.2), and what RFC 8785 can spell.
const MaxInteger = 1<<53 - 1

// First values of a ledger: batch 1 has them.
const (
	FirstSequence uint64 = 1
	FirstEpoch    uint64 = 1
)

// NoDigest is what the first batch names as the one before it.
const NoDigest = policy.NoDigest

// Key is where the batch with that sequence stands.
func Key(sequence uint64) string { return fmt.Sprintf("%s%020d", LogPrefix, sequence) }

// ParseKey is the inverse of Key and takes nothing else.
func ParseKey(key string) (sequence uint64, ok bool) {
	digits, found := strings.CutPrefix(key, LogPrefix)
	if !found || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || Key(n) != key {
		return 0, false
	}
	return n, true
}
