package store

// OpUnsigned is the key of the exact transaction that somebody else made of an operation (written once).
func OpUnsigned(id string) string { return opRoot + id + "/unsigned" }

// Foreign is the key that says which operation a foreign transaction became: its maker's id of it, which is
// safe inside a key (operation.ValidRef).
func Foreign(ref string) string { return "/mw/idx/foreign/" + ref }

// OpDelivered is the key that says that the maker of an operation's transaction has its signature (written once).
func OpDelivered(id string) string { return opRoot + id + "/delivered" }

// CallbackWallet is the key that says under which id a wallet is registered at Qustody (written once).
func CallbackWallet(id string) string { return "/mw/callback/wallet/" + id }
