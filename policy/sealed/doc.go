// Package sealed is the room behind the seal's door: the two processes of
// mintwarden-seal, and everything in them that decides and signs.
//
// # Two processes
//
// The keeper ([RunKeeper]) holds the PIN and the unseal key, and nothing else:
// no PKCS#11 module, no socket. It starts the worker ([RunWorker]), hands the
// PIN down a pipe, and starts it again when it dies, for a token's library can
// crash the process that loads it and nobody shall be woken for that. The
// worker holds the HSM login, the callers' socket and the ledger.
//
// # What it promises
//
// Nothing is believed but the fold of the ledger (package ledger), read from
// the store and checked against the journal in our own state directory: a
// store that is behind it, or holds another history, is refused. Everything
// that waits is decided in order by one goroutine, on one stage of the fold,
// and committed as one batch in one transaction that compares "this key is
// absent, the author key is still mine". A commit whose outcome is unknown is
// settled, by offering the very same batch again until etcd says yes or no,
// before anything else is decided. The journal is synced after the commit and
// before any answer or signature leaves: mark, then sign. An operation is
// authorized once; asking again signs the same digest again. Every signature
// is verified with the public key before it leaves.
//
// When the ledger or the journal cannot be written, the clock is in doubt, or
// the token does not answer, nothing is signed.
//
// The clock is held against the machine's own: in one boot it may be ahead by
// the charter's maxClockSkew in all, counted from the boot's first batch, and
// only a reading that was checked becomes what later ones are held against. What
// it goes on by over reboots, and no boot explains, adds up in the journal; past
// 24 hours authorize and bump are refused until a document that custodians
// signed (charter, policy, binding, freeze) is recorded.
//
// A key is made in the token only where the charter's numbers have a place for
// its wallet; keys without a record count. A token that a wallet deploys has as
// performers that wallet and the oldest of its vault's on that network, 256 in
// all.
//
// SIGUSR1 to the keeper seals this appliance, as a custodian's document does and
// as root does over the callers' socket: the PIN is forgotten, durably, and the
// worker with the login ends.
//
// # What it does not
//
// This build unseals from a PIN file (dev charters) only. Quorum unsealing,
// anchor, take-over between appliances with join, recover, snapshots and
// checkpoints are answered as kind "invalid". It does not sandbox itself yet.
// It says nothing about what the chain did: settle is its callers' word.
package sealed
