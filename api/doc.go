// Package api is the HTTP face of the appliance: routes, authentication,
// idempotency, errors, and one file of handlers a resource.
//
// # The document comes first
//
// openapi.yaml is the one source of routes, types, permissions and limits.
// openapi.gen.go is made from it; a route that the document does not have does
// not exist, and a request that its schema does not admit reaches no handler.
//
// # What it promises
//
// The checks run in the order that the document states, and the first that
// fails is what is answered. Every answer, refusals included, has a request id
// and the envelope of the document. A write that carries an idempotency key has
// one effect and one answer, whatever is retried, wherever. No message holds a
// secret or a stack.
//
// # What it does not
//
// It decides nothing: whether a key may be used is the seal's to say, from
// documents that people signed. This package reads and writes through the
// registry and the operations alone, never the HSM, never a chain's node.
package api

//go:generate go tool oapi-codegen -config oapi-codegen.yaml openapi.yaml
