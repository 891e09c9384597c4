// Package archive moves what is over from the store to files on this appliance's disk, so that etcd holds what
// is going on and a start costs what that costs.
//
// # What it promises
//
// What is archived consists of several keys of the store, and is over: nothing changes it any more, save
// something as rare as a reorg. One process at a time (fenced) writes an order into the store, block by block:
// which ones leave next, and the digest of each. Every appliance writes the blocks to its disk in that order, and
// says in the store how far it is; what every appliance of the charter has is removed from the store, each in one
// transaction, if it did not change since its digest was taken. So whatever dies when, everything is in the
// store, on the disk or in both, and whoever looks into the store first and into the archive second finds it, and
// finds its newest state. What changed in between stays in the store, and is ordered again when it is over again;
// the later block is the one that counts.
//
// A block names the digest of the one before, and stands in the audit log with its own, in the transaction that
// orders it: the audit log's tree holds the archive. Files are named by their blocks' numbers and are gzip, of two
// parts: the block as it stood in the store, and its things, one a line (zcat and jq read them). The chain of blocks
// is verified when the archive is opened, each thing when it is read. A file that is not what was written, and an
// archive that is shorter than what this appliance said to have, are errors and never an answer that leaves
// something out.
//
// # What it does not
//
// It does not know what it keeps: a Source does. It does not fetch blocks that others have and the store has no
// more: the directory of an appliance that joins, or lost its disk, is copied from another one or from a backup.
package archive
