// Package callback signs for Qustody: transactions that Qustody makes for wallets whose keys are in our HSM, in
// its mode “callback” (fetch signing_payload, post signature with publicKey).
//
// # What it promises
//
// What Qustody asks for becomes an operation like every other: read from the bytes of the unsigned transaction
// alone, judged by the same policies, shown to the same approvers, signed by the same seal, which reads the
// bytes once more, rebuilds them from the approved intent and signs only where both are the same, byte for byte,
// at the nonce that its own ledger gives. Nothing that Qustody says beside the bytes is believed: where it says
// something else (a hash, an address, an amount, another sender), the request is refused.
//
// One transaction of Qustody's is one operation, however often and with whatever bytes it is shown: its id and
// the digest of its first bytes are written in the transaction that makes the operation. Before the seal is
// asked, and a nonce spent, Qustody is asked again whether it still wants these bytes; then the signature is
// stored, then posted, and posted again until Qustody has taken it, with one Idempotency-Key. A process may die
// at any await of the network: each step reads where it is and goes on from there, and no second signature over
// anything else can come of it.
//
// Each wallet of the config is registered at Qustody once, with its proof of ownership (spec/chain.md).
//
// # What it does not
//
// It takes no calls: it asks, Qustody answers. It signs no hash, so a payload without the unsigned transaction is
// refused. It signs calls of bound tokens only: no coins, no creations, no calls that our templates do not have.
// It does not raise fees and, unless the config says so (broadcast), sends nothing to a node before the bytes
// were in a block: that is Qustody's part. It tells Qustody no reasons: what is refused here stays
// PENDING_SIGNATURE there until Qustody gives it up.
//
// A wallet that signs for Qustody should do nothing else. Qustody counts nonces by the chain, the ledger counts
// what it gave; where both give numbers of one wallet, one of the two transactions is refused or waits.
//
// # What was assumed
//
// Qustody publishes the two calls, their names, and that what is signed is the 32-byte Keccak-256 signing hash of
// the unsigned transaction; of the answers it shows examples. Assumed here, in wire.go and client.go alone:
//
//   - The base URL ends before /transactions; authorization is Bearer with the key as it was given out.
//   - GET /transactions?status=PENDING_SIGNATURE&limit=&offset= lists as every list does: {"data":[{"id",…}],
//     "pagination":{…}}. The older name of that state, SIGNING_REQUESTED, is taken in payloads too.
//   - signing_payload has, beside the published transactionId, signingHash, status, sourceAddress,
//     destinationAddress, amount and assetId, the member unsignedTransaction: 0x and the hex of the EIP-2718
//     encoding without signature (type byte 0x02, then the RLP list), of which signingHash is the Keccak-256. The
//     published example shows the hash alone; without the transaction nobody can say what a hash does.
//   - amount is in base units of the token; destinationAddress is whom the call is about, or the contract.
//   - signature and publicKey are lower-case hex without 0x, as the published length of publicKey (3904) says. Of a
//     wallet of kind evm, of which nothing is published, they are the 65 bytes r || s || v with v 0 or 1, and the 64
//     bytes of the point without the leading 4; unsignedTransaction is Ethereum's own encoding.
//   - POST …/signature answers 409 where the transaction is not PENDING_SIGNATURE any more; its status, from
//     GET /transactions/{id}, then says whether our signature was taken.
//   - POST /vault/accounts/{vaultAccountId}/wallets takes assetId, address, publicKey, label and signature; 409
//     says that the wallet is registered, and GET of the same path lists it.
//   - Members that are not named here are ignored: they are Qustody's to add, and nothing follows from them.
package callback
