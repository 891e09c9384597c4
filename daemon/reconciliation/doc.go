// Package reconciliation holds what the chain says of a token against what was authorized: every Transfer from or
// to zero, and every event of roles, pauses, freezes and the allowlist, is matched with exactly one operation of
// the ledger's, or with an account that the token's binding lists as external.
//
// # What it promises
//
// Only blocks that are as deep as the network's confirmations are looked at, in order, from the token's deployment
// on, each event once: how far it got, what it counted and what it found is one etcd transaction a step, so that a
// crash anywhere resumes with the same sums and no finding is told twice or lost. Memory does not grow with history,
// for what is read at once is bounded. One process works for all appliances (a fence).
//
// An event that nobody authorized is a finding: kept, told as token.reconciliation_failed, counted by a metric, and,
// once two nodes each for itself say that it stands in the chain, the reason why privileged operations on the token
// are frozen through the seal, until the custodians' threshold lets them go on. A node that makes events up disarms
// none of that: nodes are asked for all findings that wait in turn, what most nodes deny is set aside, and behind more
// findings than are kept, one that stands is still told and frozen for. What is wrong with one token, its contract or
// its events holds up no other.
//
// The token's supply is told from three sources at one block: from its events, from its contract, from operations.
//
// # What it does not
//
// It does not undo anything on the chain. A network of one node cannot have two of them agree: there a finding is
// told and nothing is frozen. Every node that works is asked for the events of each range of blocks, once, and no
// further than two of them have blocks: what all of them were silent about then shows only in the supplies. A reorg deeper than the
// network's confirmations has the token looked at from its beginning again.
package reconciliation
