// Package operation carries a privileged operation from a request to the chain: it checks the request,
// writes the intent that people approve, waits for their decisions, has the seal authorize and sign, sends
// the signed bytes and sees them confirmed.
//
// # What it promises
//
// An operation goes through the states of spec/api.md and takes their legal transitions only. Each
// transition is in one etcd transaction with its audit entry; transitions between which nothing is asked of
// anybody share one, each with its own entry and its own place in the history. A step reads where the
// operation is, does one thing and writes where it is now, so every step can be run again after a crash, and
// a second run never has a second effect: a signed transaction is written once, before it is sent, and only
// bytes read back from the store are sent.
//
// What a request or a step costs does not grow with the operations that wait: what all of them together are
// asked for is counted as they change (tally), a lane looks at what changed (agenda), and what a node says of
// a block is asked once for all who ask (glances).
//
// What the seal recorded in the ledger (decisions, authorizations, cancellations, settlements) is carried
// into the store record by record, in order, however often the same batch comes by. Approving, rejecting,
// cancelling and authorizing exclude each other in the seal and nowhere else: an operation is REJECTED or
// CANCELLED, or FAILED before it was signed, only once the ledger says so.
//
// One wallet's transactions are sent in nonce order by one process at a time (a fenced lane); lanes run side
// by side. After a signature was released an operation ends as COMPLETED, as FAILED by its own receipt at
// depth, or as FAILED because another transaction holds its nonce at depth, and never because of silence.
//
// # What it does not
//
// It decides nothing about keys: policies are judged here only so that a hopeless request is refused before
// anyone is asked; the seal judges with authority. What nodes say of the chain is believed here for
// answers and for when to stop waiting, and by the seal never.
package operation
