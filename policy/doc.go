// Package policy decides whether a key may be used. It holds the documents that people sign
// (charter, policy, binding, decision and the rest of spec/formats.md), the envelopes that carry
// their signatures, the intent of an operation, and the engine that judges it.
//
// It promises:
//
//   - Everything is pure: values in, values out. Nothing here reads a clock, a file or a network;
//     even the zone data that daily limits and time windows need is compiled in, so that every
//     appliance, and an auditor years later, judges alike.
//   - A document has one reading. What Parse functions take is exactly what Encode gives, up to
//     white space and the order of members: an unknown, missing, repeated or differently spelled
//     member refuses the whole.
//   - It never fails open. The zero value of each result means failure, what cannot be evaluated
//     denies, and no rule or policy that is added to a judgement allows more than before, save
//     two: the approval rule without which everything is denied, and a MAX_FEE, which takes the
//     place of the network's own limit.
//
// It does not know which of two documents is newer, whether a batch was committed, or who is
// asking: the ledger (policy/ledger) answers the first two and the seal (policy/sealed) the third.
// It holds no wallet keys; [Signer] is for people's keys alone.
//
// For people it puts all of this in words: an intent before they approve it ([Intent.Words]), what a
// new policy or charter changes before they sign it ([PolicyDifference], [CharterDifference]), and a
// verdict rule by rule afterwards ([Verdict.Words]). No word of them is unprintable, and no change is
// left out.
//
// All functions are safe for concurrent use; values are not to be changed once shared.
package policy
