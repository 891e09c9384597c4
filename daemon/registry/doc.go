// Package registry is what the appliance knows: tokens, vault accounts,
// wallets, users, credentials and policy proposals; and what the chain says
// of a token (roles, supply, balances) when it is asked.
//
// # What it promises
//
// Every change is one [store.Tx] that also holds its audit entry and, where
// the caller brought an idempotency key, the record of its answer: after a
// crash either all of it stands or none.
//
// What the seal recorded in the ledger is true before this package knows it.
// The follower ([Service.Follow]) verifies every batch from charter 1 on with
// the same fold as the seal, and carries each record into the store in order,
// in one transaction that raises the resource's ledgerSeq. Records are carried
// by every appliance that follows; whoever comes second finds the work done.
// A batch that does not verify stops the follower, loudly and for good; it is
// never skipped.
//
// Who a caller is ([Service.Authenticate]) rests on a hash of the bearer key;
// the key itself is shown once, when it is made, and kept nowhere. A revoked
// key is refused from the moment that [Service.RevokeCredential] returns.
//
// Roles, supply and balances are read from the chain at the moment of asking,
// never from what this appliance believes that it did.
//
// # What it does not
//
// It decides nothing that a key's use depends on: policies are judged, and
// custodians' signatures counted with authority, in the seal. What is checked
// here is checked so that a person hears at once what would be refused later.
//
// It remembers nothing outside the store. Where the log's beginning is in the
// archive only, and nothing says how far it was carried, it begins with the
// oldest snapshot in the store, which verifies from charter 1 on by people's
// signatures and by one appliance's for all else: whoever has that appliance's
// ledger key and the store can show it, and callers, what did not happen. The
// seal, which has a memory, believes none of it, and nothing is signed on it.
package registry
