// Package bindings reads QRC-20 contracts: calls and events as go-ethereum's abigen makes them from
// the ABIs that package qrc20 embeds.
//
// All but this file is generated (`make generate`). It is not for the seal: abigen's bind package
// brings an RPC client with it. Calldata that is signed is made by package qrc20 alone.
package bindings

//go:generate go tool abigen --v2 --abi ../artifact/tpl_qrc20_v1.abi.json --pkg bindings --type QRC20V1 --out qrc20v1.go
//go:generate go tool abigen --v2 --abi ../artifact/tpl_qrc20_regulated_v1.abi.json --pkg bindings --type QRC20RegulatedV1 --out qrc20regulatedv1.go
