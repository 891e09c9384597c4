// Package qrc20 is the appliance's knowledge of QRC-20 token contracts: their templates, creation
// code and ABI, and calldata in both directions.
//
// It promises strict inverses: [Unpack] takes exactly what [Call.Pack] gives, and
// [Template.DecodeInitCode] exactly what [Template.InitCode] gives. The compiled code is part of
// the binary; `make contracts` shows that it follows from the source beside it. Everything is
// pure and safe for concurrent use.
//
// It talks to no node (see the package bindings for calls and events) and knows nothing of who
// may call what: that is the policy's affair, and the contract's.
package qrc20
