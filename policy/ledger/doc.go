// Package ledger is the log of signed batches that all seals believe, and its fold.
//
// # What it promises
//
// A batch is one value in the store: RFC 8785 JSON of at most 1 MiB that names its sequence, the
// SHA-256 of the value before it, the appliance that wrote it, and what it records, under that
// appliance's Ed25519 signature. [ParseBatch] takes exactly the bytes that [Batch.Encode] gives and
// nothing else, so one batch has one spelling and any changed byte refuses it.
//
// [Fold] turns the chain of batches into what is true: the charter, the policies in force and
// those they superseded, what each token id is, who decided what, which operations were authorized
// with which nonce, what was charged to which contract. [Fold.Apply] believes nothing of a batch
// that it did not check: the link, the signature, every envelope against the charter in force at
// that record, and each record's own rule against all that came before it. A batch that fails
// anywhere is refused whole, with a [*Refusal] that says where and why, and the fold is as it was.
//
// An author decides against a [Stage], which is the fold plus records that are not committed yet.
// Apply is a stage that was filled from bytes: both walk the same code, so an author and those who
// follow it cannot disagree on what a batch does. What the author staged and committed is true by
// [Fold.Take], which holds the committed bytes against the stage's own and verifies nothing twice.
//
// Memory grows with what is open, bound and in the last 49 hours, never with history; forget.go
// says what is let go and when.
//
// # Snapshots and trims
//
// [Fold.Snapshot] is all of a fold in bytes, [RestoreFold] the way back: from the first charter's
// digest alone it follows the charters, the author's signature, and what people signed. A log that
// was trimmed is read from there. A trim names the snapshot of everything before it, and whoever
// follows the log holds that against his own fold. What goes from the store stays in an [Archive];
// [Whole] reads both, from the first batch on.
//
// # What it does not
//
// It reads no clock, no store and no key: time comes with each batch, the caller signs; of files it
// knows the archive's. It does not judge policies by itself; that is [policy.Judge], for which
// [View.Judge] puts together what this package keeps. A fold takes an authorization that the policies
// deny, if its own rules allow it: an author is believed to have judged, and [Explain] finds out
// whether it did. It does not know that a chain is the newest one: anchor and journal do (package
// sealed).
//
// # Judging again
//
// What was decided can be decided again from the log alone. [Explain] gives the verdict on one
// operation as it was at the batch that authorized it, rule by rule and in words, and says where the
// record and the policies disagree. [Rehearse] says which operations a proposed policy would have
// decided otherwise, and [View.Simulate] what the policies say of an operation that nobody asked for.
//
// # Signing input
//
// The Ed25519 signature is over the bytes of [Tag], one newline (0x0a), then the RFC 8785 encoding
// of the batch without its member "signature". [Batch.SigningInput] is the definition. A snapshot's
// is [SnapshotInput].
package ledger
