package seal

import (
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// Nothing is what an operation without members asks.
type Nothing struct{}

// EnvelopeRequest asks for a signed document to be taken: unseal, charter.apply, policy.apply,
// binding.apply, join, recover, decide.
type EnvelopeRequest struct {
	Envelope *policy.Envelope `json:"envelope"`
}

// SealRequest asks for sealing, at once. Without an envelope only a caller of the seal's own user
// or root is heard.
type SealRequest struct {
	Envelope *policy.Envelope `json:"envelope,omitzero"`
}

// RenewRequest hands in one custodian's part in a renewal of the shares or, without an
// envelope, asks how far it is.
type RenewRequest struct {
	Envelope *policy.Envelope `json:"envelope,omitzero"`
}

// WalletCreateRequest asks for a wallet. The key's id is the wallet's, so asking again finds it.
type WalletCreateRequest struct {
	WalletID       string    `json:"walletId"`
	VaultAccountID string    `json:"vaultAccountId"`
	Network        string    `json:"network"` // the charter's name of it
	Scheme         tx.Scheme `json:"scheme"`
	Label          string    `json:"label"`
}

// FreezeRequest holds an envelope, or a token and what was seen of it. Without an envelope it can
// only freeze.
type FreezeRequest struct {
	Envelope *policy.Envelope `json:"envelope,omitzero"`
	TokenID  string           `json:"tokenId,omitzero"`
	Event    string           `json:"event,omitzero"`
}

// CancelRequest ends an operation that is not authorized.
type CancelRequest struct {
	OperationID string `json:"operationId"`
	Reason      string `json:"reason"`
}

// AuthorizeRequest asks for an operation's transaction. What is signed follows from the intent and
// the ledger; gas limit and fees are the caller's proposals within the intent's fee cap.
type AuthorizeRequest struct {
	OperationID string        `json:"operationId"`
	Intent      []byte        `json:"intent"` // the exact bytes that were approved
	GasLimit    uint64        `json:"gasLimit"`
	MaxFee      policy.Amount `json:"maxFee"` // base units for a unit of gas
	Tip         policy.Amount `json:"tip"`    // base units for a unit of gas
	// Head is the chain's newest block that the caller knows, if it knows one. A
	// head from the future stops signing: one of the two clocks is wrong.
	Head *ChainHead `json:"head,omitzero"`
	// Unsigned is the exact transaction that somebody else made of the operation, if somebody did. The seal
	// signs it only if the intent makes these bytes, and at its own nonce; nothing else is signed instead.
	Unsigned []byte `json:"unsigned,omitzero"`
}

// WalletProveRequest asks for a wallet's proof of ownership, as Qustody registers wallets by it.
type WalletProveRequest struct {
	WalletID string `json:"walletId"`
}

// ChainHead is a block of the chain that a transaction is for.
type ChainHead struct {
	Number uint64    `json:"number"`
	Time   time.Time `json:"time"` // the block's own, UTC
}

// BumpRequest asks for the same transaction with higher fees.
type BumpRequest struct {
	OperationID string        `json:"operationId"`
	MaxFee      policy.Amount `json:"maxFee"`
	Tip         policy.Amount `json:"tip"`
	Head        *ChainHead    `json:"head,omitzero"` // as AuthorizeRequest's
	// Intent is the exact bytes that were authorized, where no decision in the ledger holds them: nobody had to
	// approve. Others do not fit.
	Intent []byte `json:"intent,omitzero"`
}

// SettleRequest says that an operation is final on the chain.
type SettleRequest struct {
	OperationID string  `json:"operationId"`
	TxHash      tx.Hash `json:"txHash"` // of what holds the nonce at depth, ours or not
}
