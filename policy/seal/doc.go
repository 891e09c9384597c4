// Package seal is the door of the sealed process: what may be asked of it over its Unix socket, how
// questions and answers are framed, and both ends of the wire. What happens behind the door is
// package sealed.
//
// # What it promises
//
// A frame is a length of 4 bytes, big-endian, then that many bytes of strict JSON, 1 to 1 MiB. A
// request is {"id", "op", …} with the operation's members beside id and op; its answer is {"id",
// "result"} or {"id", "error": {"kind", "message"}}. Many requests may be under way on a
// connection, and answers come in any order. An id is the caller's, 0 to 2^53 − 1, and free again
// once it is answered.
//
// [Client] connects when it has something to ask, again after the connection broke, and never
// waits longer than the call's context and its own limit. [Serve] talks only to callers whose user
// id the kernel vouches for, answers what it cannot take with an error that says so, ends a
// connection whose framing is broken, and lets requests under way finish when it is told to stop.
// Root who is not among the callers may seal, ask for the status, and hand in what sets an appliance
// up (init, unseal, charter.apply, join, recover), nothing else. Requests under way hold at most
// [Options.Memory] bytes, and one frame a connection that is being read; what is longer than its
// document can be (an intent or payload of 64 KiB, an envelope's signatures) is refused before the
// handler has it.
//
// [Custody] keeps the token's PINs under a key that custodians share: any Threshold of them make it
// again, fewer learn nothing, and whoever has the file alone has nothing. A [Share] leaves its
// custodian's machine only as [SealShare] encrypts it, for one seal, custodian and collection. A share
// that is wrong, repeated or foreign is named before it is used.
//
// # What it does not
//
// It decides nothing and repeats nothing: a call that failed with [ErrUnreachable] may have taken
// effect, and its caller asks again, for every operation asked twice with the same bytes gives its
// first answer (spec formats.md, “After the seal”). It does not encrypt: a Unix socket does not
// leave the machine. What the sharing's library computes with stands on the heap until it
// is collected, inside runtime/secret.Do; a share's text, for which there must be a place, is wiped by
// whoever asked for it.
package seal
