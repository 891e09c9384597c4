package store

import "github.com/mintwarden/mintwarden/chain/tx"

// TxOperation is the key that says whose a transaction on a chain is: the id of the operation that it was signed
// for, written with the signed bytes, before they are sent.
func TxOperation(hash tx.Hash) string { return "/mw/idx/tx/" + hash.String() }
