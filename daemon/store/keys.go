package store

import (
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// Key layout (spec/formats.md, “Store keys of serve”). Values are JSON; ids carry their prefix.
const (
	Root     = "/mw/"        // what serve owns
	SealRoot = "/seal/"      // what the seal owns; serve may only read it
	SealLog  = "/seal/log/"  // the ledger's batches, by 20-digit sequence
	opRoot   = "/mw/op/"     //
	opIndex  = "/mw/idx/op/" //

	TokenPrefix      = "/mw/token/"
	VaultPrefix      = "/mw/vault/"
	WalletPrefix     = "/mw/wallet/"
	UserPrefix       = "/mw/user/"
	CredentialPrefix = "/mw/credential/"
	PolicyPrefix     = "/mw/policy/"
	LedgerCarried    = "/mw/ledger/carried" // the last sequence whose records are all in /mw/

	idemPrefix    = "/mw/idem/"
	FencePrefix   = "/mw/fence/"   // a key per fence, under its holder's lease
	pendingPrefix = "/mw/pending/" // <credential>/<n>

	AuditPending = "/mw/audit/pending/" // <ULID>/<nn>, written with the change
	AuditLog     = "/mw/audit/log/"     // <20-digit number>, written by the sequencer
	AuditHead    = "/mw/audit/head"     // number and hash of the last numbered entry, and the tree's size

	AuditFollow   = "/mw/audit/log"          // what begins so is what every appliance's tree and lists follow
	AuditOrder    = "/mw/audit/logorder/"    // <20-digit size of the tree>, which leaves it grew by
	AuditSigned   = "/mw/audit/logsigned"    // the newest signed checkpoint
	AuditCosigned = "/mw/audit/logcosigned/" // <appliance>, its word on a signed checkpoint
	AuditArchived = "/mw/audit/archived/"    // <appliance>, what it has on its disk
)

// OperationPrefix holds every operation's keys.
const OperationPrefix = opRoot

// OperationIndex holds one key per operation, newest first.
const OperationIndex = opIndex

// OpState is the key of an operation's state (rewritten, at most 1 KiB or so).
func OpState(id string) string { return opRoot + id + "/state" }

// OpIntent is the key of the exact intent bytes of an operation (written once).
func OpIntent(id string) string { return opRoot + id + "/intent" }

// OpReason is the key of the requester's reason, as it was written (written once, if there is one).
func OpReason(id string) string { return opRoot + id + "/reason" }

// OpTrace is the key of the text by which an operation's trace is continued (W3C traceparent; written once, if it is
// traced).
func OpTrace(id string) string { return opRoot + id + "/trace" }

// OpDecisions is the prefix of an operation's recorded decisions.
func OpDecisions(id string) string { return opRoot + id + "/decision/" }

// OpDecision is the key of one person's decision. A rejection after an approval is kept beside it.
func OpDecision(id, person string) string { return OpDecisions(id) + person }

// OpTxs is the prefix of an operation's signed transactions.
func OpTxs(id string) string { return opRoot + id + "/tx/" }

// OpTx is the key of version n (from 1, as the ledger counts) of an operation's signed transaction (written once).
func OpTx(id string, n int) string { return fmt.Sprintf("%s%d", OpTxs(id), n) }

// OpIndexKey sorts newer operations before older ones: the ULID's alphabet is inverted digit by digit.
func OpIndexKey(id string) string { return opIndex + InvertULID(ulidOf(id)) }

// PendingPlace is the key of one of a credential's places for operations that await approval; it holds the
// operation's id.
func PendingPlace(credential string, n int) string {
	return fmt.Sprintf("%s%s/%d", pendingPrefix, credential, n)
}

// Token, Vault, Wallet, User and Credential are the keys of those resources.
func Token(id string) string      { return TokenPrefix + id }
func Vault(id string) string      { return VaultPrefix + id }
func Wallet(id string) string     { return WalletPrefix + id }
func User(id string) string       { return UserPrefix + id }
func Credential(id string) string { return CredentialPrefix + id }

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// InvertULID maps each Crockford digit d to 31-d, so that text order becomes newest first. It is its own
// inverse; characters outside the alphabet stay as they are.
func InvertULID(s string) string {
	b := []byte(s)
	for i, c := range b {
		if d := strings.IndexByte(crockford, c); d >= 0 {
			b[i] = crockford[31-d]
		}
	}
	return string(b)
}

func ulidOf(id string) string {
	if i := strings.IndexByte(id, '_'); i >= 0 {
		return id[i+1:]
	}
	return id
}

// NewID draws an id: the prefix with its underscore, as "op_", and a ULID, in ascending order within this
// process. Safe for concurrent use.
func NewID(prefix string) string { return prefix + ulid.Make().String() }

// ValidID reports whether id is the prefix, lower-case letters and an underscore, and a ULID, so that it is safe inside
// a key. Every request asks it several times.
func ValidID(prefix, id string) bool {
	kind, drawn, parted := strings.Cut(id, "_")
	return strings.HasPrefix(id, prefix) && parted && consists(kind, isLower) && len(drawn) == ulid.EncodedSize &&
		consists(drawn, func(c byte) bool { return strings.IndexByte(crockford, c) >= 0 })
}

// IDTime is the moment at which an id was drawn; the zero time if it is not an id.
func IDTime(id string) time.Time {
	u, err := ulid.ParseStrict(ulidOf(id))
	if err != nil {
		return time.Time{}
	}
	return ulid.Time(u.Time()).UTC()
}
