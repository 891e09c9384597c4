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
// # What it does not
//
// This build unseals from a PIN file (dev charters) only. Quorum unsealing,
// anchor, take-over between appliances with join, recover, snapshots and
// checkpoints are answered as kind "invalid". It does not sandbox itself yet.
// It says nothing about what the chain did: settle is its callers' word.
package sealed
