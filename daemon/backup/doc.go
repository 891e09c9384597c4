// Package backup keeps an appliance in one file, and makes an appliance of such a file.
//
// # What it promises
//
// A backup is the store at one revision and what no longer is in the store: the audit log's tree and archives on
// the appliance's disk, the batches of the ledger that the seal's archive holds, and the custodians' custody.json,
// which is ciphertext. It holds no PIN, no key and no certificate. The file comes to be in one step (temporary
// file, fsync, rename) and only if there is none of its name; before that it is read back and verified as a
// restoration verifies it: every byte, every part, and the ledger from charter 1 on. Memory does not grow with
// what is kept.
//
// Restore verifies all of it before it writes anything, writes only where nothing is, and may be run again after
// it died anywhere: the store says which backup is being restored into it, and nobody serves it until the end.
//
// # What it does not
//
// Its digests show damage, not forgery: whoever can write the file can write digests. What he cannot write is the
// ledger, whose batches are signed. A backup is as old as it is; what a seal remembers beyond it makes the seal
// refuse it until the custodians recover. The token's keys are backed up by its vendor's tools alone, and
// configuration and certificates by whoever keeps them.
//
// # The file
//
// A gzip of a tar, which both programs read: audit/… (files as they are), store/<n> and ledger/<n> (rows: length
// in 4 bytes, big-endian, and key, then the same with the value), seal/custody.json, and manifest.json. Behind
// it stands a gzip member of trailerSize bytes, stored and outside of the tar, with the SHA-256 of all bytes before.
package backup
