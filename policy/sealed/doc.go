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
// Both make no core dumps, are not dumpable, lock their memory where the system
// lets them, and shut themselves in by Landlock before the first request: the
// worker reaches its state, its socket, the token's library and the store, by
// TCP only where no Unix socket forwards to it, and executes nothing; the keeper
// reaches the PIN's sources and its own program besides. What a token's library
// needs beyond that stands in seal.toml, [sandbox]. What it writes to standard output
// or error reaches no log, nor do the stacks and registers that Go writes when it
// crashes: the keeper keeps how it crashed and where in the source.
//
// # Sealed and unsealed
//
// The PIN comes from a file (dev charters), from a systemd credential, or from a
// quorum of custodians, who can unseal whatever the configuration says, and alone
// can after a seal document, SIGUSR1 to the keeper, or root's word over the
// socket: sealing wipes the PIN and what shares there are, ends the worker that
// has the login, and lasts over restarts. A custodian's share comes encrypted to
// the keeper's key in a document that he signed. The worker verifies who he is,
// by the charter or, before there is one, by custody.json, which init may write
// while the seal runs; the keeper opens the share and names what is wrong of it.
// Shares are bound to one collection, which an outcome, sealing, an hour, or
// another custody.json ends, so that nothing recorded counts again. A PIN is tried
// once: one that the token refused is not offered again, in this life or another,
// while it is the same file, credential or custody. A token that is not there is
// tried again for ever, and the seal answers meanwhile. A seal document counts
// once, and over a store that shows an older charter than was seen here only
// custodians of the newest one unseal.
//
// # Renewal and rotation
//
// Custodians who changed, or want it, get new shares: a threshold of the old ones and a
// receive key of every custodian of the charter come to the keeper, which draws new
// PINs, splits them, and hands each share out encrypted to its custodian. Once every one
// of them said that he has it, custody.json is replaced by one rename, with the old PINs
// in it beside the new; then a process of its own (mintwarden-seal pins) changes the
// token's PINs, the officer's first; then the old ones are dropped. Before the rename
// the old shares count, behind it the new ones, whatever the token has taken: an
// unsealing by them goes on with what is not finished, and until then no PIN file or
// credential is tried. Old shares give PINs that the token takes no more, from whatever
// copy of custody.json. Nobody is unsealed by it, nor is a sealing undone. An appliance
// that starts by a credential is left the new PIN under another one, which no renewal
// changes, where it has that; else its credential is stale.
//
// The key under which post-quantum keys are wrapped rotates on a document of the
// threshold: the token makes the next generation, every key is wrapped under it and
// must sign before the old envelope goes, and the old key is destroyed when nothing is
// under it. That a token holds two generations is what a start goes on from.
//
// Both are refused where another appliance uses the same token, unless it is suspended.
//
// Under a production charter the seal refuses a PIN file, a credential that no
// TPM seals and a software token unless the charter accepts them, and people's
// keys that were made on this machine: when the charter is to take effect and at
// every decision.
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
// When the ledger, the journal or the anchor cannot be written, the clock is in
// doubt, or the token does not answer, nothing is signed.
//
// # Memory
//
// The journal is this appliance's memory of the log, the anchor (a private data
// object in the token) what is left when the disk is not. The store must extend
// both; one that ends before, or has another history there, is refused, and status
// says which of the two contradicts it and what it knew. The anchor is written
// before a seal authors in a higher term, at every change of what holds, before a
// snapshot, once a minute of activity, and where another appliance reaches the token
// with every batch, before any answer leaves: of two seals that are shown two histories one
// finds the other's term there. Only Recover, by a document of the threshold that
// names exactly what is lost and what is accepted, goes on from another history.
//
// A seal without a journal signs nothing until a join that the threshold signed,
// of its own key and a batch of this history, is in the log; one join is good for
// one loss of memory. It reads the log from batch 1, or from a snapshot that a trim
// names and that journal, anchor or join vouch for by a batch behind it.
//
// Where nobody is author, a seal that is ready becomes it within a second. What it
// noticed of stores, tokens and clocks that no honest one does is in the log and in
// mintwarden_seal_noticed_total by its name.
//
// The author signs a snapshot of the fold after so many batches, or after a day, and
// when it stops in order, from which it starts; with [ledger] retention it then lets older batches go:
// archived here, and in the archive of whoever follows, then deleted.
//
// # Clock
//
// The clock is held against the machine's own: in one boot it may be ahead by
// the charter's maxClockSkew in all, counted from the boot's first batch, and
// only a reading that was checked becomes what later ones are held against. What
// it goes on by over reboots, and no boot explains, adds up in the journal; past
// 24 hours authorize and bump are refused until a freeze that a
// custodian signed within the hour, or its end, is recorded. So they are while the clock
// is behind what the machine itself ran by more than the skew, in one boot or since the
// one before: windows, days and intents that are over would be open again. A chain that
// is ahead of the clock by more than the skew stops signing, where the caller says how
// far it is.
//
// A key is made in the token only where the charter's numbers have a place for
// its wallet; keys without a record count. A token that a wallet deploys has as
// performers that wallet and the oldest of its vault's on that network, 256 in
// all.
//
// # Checkpoints
//
// The audit log and the ledger are one tree, which serve grows and this room signs
// the heads of, each recorded in the ledger first: only one that extends the last
// recorded one, and holds the batches that this seal folded. What the tree says
// of the audit log is serve's word, which it cannot take back. A seal that is not the
// author cosigns what is recorded, by its own reading of the ledger and a proof from
// what it cosigned before in its process's life. The keys are made in the token at
// the first checkpoint, and the ledger key says whose they are.
//
// # What it does not
//
// Appliances whose tokens are clones of
// one another have no anchor in common: a hostile store can have both author, each
// in a history of its own. An appliance of which the archive has a hole deletes
// nothing from the store. Landlock is what the kernel has of
// it, and the log says what; it does not know UDP, nor which host a TCP port is
// of: the service manager's network namespace does. Keeper and worker share the
// state directory, so the worker could read what stands there unencrypted, the
// unseal key too, without [unseal] key_credential. The vendor's library may hold
// copies of the PIN and of seeds until the worker ends; SoftHSM2 was found to hold
// none between signatures. It says nothing about what the chain did: settle is its
// callers' word. What a recover gives up it gives up of the checkpoints too: the next
// tree need not extend one that was signed behind the accepted batch. It has the
// epoch in its name, so of one name there are never two trees of one size.
package sealed
