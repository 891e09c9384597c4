package ledger

// # Rules have versions
//
// A ledger is read again years later, by a program that knows more than the one that wrote it. What
// that program would refuse today must not refuse what was right then, or nobody could start from the
// first batch any more. So each batch says by its format under which rules it was written, and is read
// under those, for ever:
//
//   - A batch's format is the version of its encoding and of every rule by which this package takes or
//     refuses its records: the rules here, the checks of documents in package policy (CheckPolicy,
//     CheckCharter, what Compare calls tighter), the templates' gas bounds and creation code, and the
//     bytes of a snapshot, which trims name.
//   - An author writes the newest format that it knows, [Format]. Formats never go back in one log, so
//     that nobody writes under the looser rules of before: whoever updates one appliance of several
//     updates the others before the updated one writes, for they refuse what they do not know.
//   - Whoever makes a rule refuse what it took raises [Format] and keeps the old rule under
//     state.head.rules; the old one goes nowhere. A rule that takes more than before needs the same, for
//     older programs would stop there. What says the same in other words needs nothing.
//
// testdata/format1 is a ledger of format 1, with the snapshot that it comes to. TestFormat1 reads it:
// who breaks that test has changed a rule without a version.
