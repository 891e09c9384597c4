// Package webhook tells endpoints of what happened: it keeps the endpoints, takes events out of the store's
// outbox, and delivers each to every endpoint that subscribed to it.
//
// # What it promises
//
// An event whose change was committed is delivered at least once to every endpoint that existed and
// subscribed when it was taken from the outbox, or ends among the endpoint's dead letters, from where it can
// be replayed; a crash at any moment loses none. Events of one operation reach an endpoint in order: one
// waits until the one before was delivered or is dead. What is tried again keeps its id and its bytes.
//
// One process delivers at a time, across all appliances (a fence); each of its writes is refused once another
// one has taken over. An endpoint that is slow or dead has a lane of its own and delays no other one, nor any
// operation: changes write the outbox and wait for nobody. What waits, waits in the store; memory holds what
// is under way and nothing else.
//
// Secrets are stored encrypted (AES-256-GCM), bound to their endpoint and its URL, and shown once. Requests go
// to public addresses only, checked when a name is resolved and again when a connection is made, save networks
// that the config allows. Redirects are not followed, proxies not used, answers not read beyond a bound.
//
// A delivery that is finished stays in the store for the retention, and is in the archive then, on every appliance's
// disk, where there is a directory for it: lists hold both, and both can be replayed. Those of a deleted endpoint go
// with it, but what is archived stays on the disk.
//
// # What it does not
//
// A webhook is a hint. The operation's receipt and the chain are the proof, and who got none may ask the API.
// An event may come more than once, and events of different operations in any order. Where an endpoint has
// more to come than the config's bound, further events for it are dropped, counted and logged: the store of
// an appliance that signs is not filled for one that does not listen.
package webhook
