// Package hsm holds keys in one PKCS#11 token and uses them.
//
// # What it promises
//
// A [Token] is one login and one bounded pool of sessions. Every session
// belongs to one goroutine from a call's Init to its Final, because two
// goroutines in one session crash SoftHSM2. Waiting for a session is bounded
// and ends with the caller's context. A call that does not come back keeps
// its session, its buffers and its goroutine: the caller leaves, nobody else
// ever touches them. After any odd return code a session is closed, never
// pooled. What makes or destroys objects runs behind one lock.
//
// Keys are addressed by id (CKA_ID), never by handle. Handles are cached. A
// handle's id is read back when it is first used after a session was given up for
// any reason or a call was stuck; whenever a use of it fails; and on both sides of
// a wrapping, for a ciphertext does not show its key. Between, the result shows the
// key: every signature is checked with the public key that was read when the id was
// first seen, and a seed that another key decrypts has no valid tag. So a number
// that names another key after a reconnect signs nothing that leaves, and its
// caller gets what the right key makes.
//
// Post-quantum wallet keys are seeds wrapped by a non-extractable AES-256 key
// of the token (AES-GCM, associated data = format, id, scheme, public key).
// A seed and the PIN pass between the token and a locked buffer of ours by one
// C call of ours; the seed is expanded and used inside runtime/secret.Do, and
// the derived public key is compared before it signs. This protects keys at
// rest and ties them to the login. It is not the same as a key that never
// leaves the HSM, and is not called so.
//
// # What it does not
//
// It does not keep the PIN, so it cannot log in again or start the module
// again. When either is needed, or too many calls are stuck, [Token.Broken]
// closes and the process is expected to end; its supervisor starts a new one.
// That is deliberate: C_Finalize beside a running call crashes the process
// anyway. A wrong PIN is tried once, by [Open], and never again. The package
// knows nothing of wallets, policies or chains.
package hsm
