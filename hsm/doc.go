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
// A C call cannot be interrupted, and a goroutine that is in one cannot return. So
// each call is left to a goroutine of its session's: that hand-over, two switches of
// goroutines, is what a caller pays for being able to leave (the benchmarks measure
// it by itself).
//
// Keys are addressed by id (CKA_ID), never by handle. Handles are cached, because
// a search costs with every object of the token, and after a reconnect a number may
// name another key. What a handle names is read back (class and id) when it is first
// used after a session was given up for any reason or a call was stuck; whenever a use
// of it fails; and on both sides of a wrapping, for a ciphertext does not show its
// key. Between, reading it back would not help: the handle could change after the
// look as well as before. The result shows the key: every signature is checked with
// the public key that was read when the id was first seen, a seed that another key
// decrypts has no valid tag, and a key that is found again must have the public key
// (or check value) that it had. So a number that names another key signs nothing that
// leaves, and its caller gets what the right key makes. A data object is read together
// with its name, always.
//
// A pair's public half is an object that whoever reaches the token without a PIN can
// destroy, and plant others beside. Which one is the private half's a signature shows;
// where none is, the one is taken that a private object or who uses the token
// ([Token.Known]) names, if that signature verifies by it.
//
// Keys that the token itself uses (secp256k1, Ed25519, and ML-DSA-65 where a canary
// shows that the token really has it) are made there, not extractable, and read back
// before they get a name. Who makes keys by scheme uses [Token.CreateKey], which says
// how each is protected.
//
// Other post-quantum keys are seeds wrapped by a non-extractable AES-256 key
// of the token (AES-GCM, associated data = format, id, scheme, public key).
// A seed and the PIN pass between the token and a locked buffer of ours by one
// C call of ours; the seed is expanded and used inside runtime/secret.Do, and
// the derived public key is compared before it signs. This protects keys at
// rest and ties them to the login. It is not the same as a key that never
// leaves the HSM, and is not called so.
//
// [Token.Rewrap] wraps all seeds under another key, and [ChangePINs] gives a token new
// PINs; both finish, run again, whatever cut them short.
//
// [Signer] is another thing: one key of a person's, in a token named by a pkcs11:
// URI, used by a program that a person runs.
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
