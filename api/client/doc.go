// Package client calls a mintwarden appliance.
//
// Requests and types are made from the appliance's OpenAPI document; this
// package adds what a caller would otherwise write himself: the connection
// (TLS 1.3, a client certificate, an API key from a file), typed errors, retries
// that are safe because they carry the same idempotency key, waiting for an
// operation, and iterators over lists.
//
// Every write gets an idempotency key. One that the caller does not give with
// [WithIdempotencyKey] is drawn at random, which makes the retries of that one call
// safe but not those of a program that was started again.
//
// What this package does not do: it verifies nothing that the appliance says. A
// program that must not trust the appliance follows the ledger with package
// policy/ledger.
package client

//go:generate go tool oapi-codegen -config oapi-codegen.yaml ../openapi.yaml
