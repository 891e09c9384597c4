package seal

import (
	"encoding/json/jsontext"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// Status is what a seal says of itself, sealed or not.
type Status struct {
	Sealed      bool          `json:"sealed"`
	Initialized bool          `json:"initialized"` // charter 1 is known and in the ledger
	Instance    string        `json:"instance"`    // empty until a charter is in force
	ApplianceID string        `json:"applianceId"`
	Sequence    uint64        `json:"sequence"` // of the newest batch that this seal folded
	Head        policy.Digest `json:"head"`     // of that batch
	Author      string        `json:"author"`   // appliance that may write the next batch, empty if unknown
	Term        uint64        `json:"term"`
	Version     string        `json:"version"` // of the program
	HSM         HSM           `json:"hsm"`
	Unsealing   *Unsealing    `json:"unsealing,omitzero"` // while it is sealed and its custody is known
	Why         string        `json:"why,omitzero"`       // why it is sealed, or what keeps the token from being used
	Doubt       *Doubt        `json:"doubt,omitzero"`     // while the store is not what the seal goes by
}

// Doubt says why nothing is decided although there is a login, and what a join or recover document
// has to name.
type Doubt struct {
	Reason string `json:"reason"`
	Kind   string `json:"kind"`           // "behind", "forked", "stranger", or "store"
	Known  *Point `json:"known,omitzero"` // the newest batch that this appliance's journal or its token's anchor saw
	Store  Point  `json:"store"`          // the last batch of the store that verifies
	Epoch  uint64 `json:"epoch"`          // the highest that is known, here or there; a recover begins the next
}

// Point is a batch.
type Point struct {
	Sequence uint64        `json:"sequence"`
	Head     policy.Digest `json:"head"`
}

// HSM names the token.
type HSM struct {
	Serial string `json:"serial"`
	Label  string `json:"label"`
}

// Unsealing says how far a quorum of custodians has come, and what the next share must be bound to.
type Unsealing struct {
	Instance  string   `json:"instance"`  // the custody's, also before there is a charter
	Nonce     []byte   `json:"nonce"`     // of this collection; a share for another is refused
	Need      int      `json:"need"`      // shares in all
	Shares    []string `json:"shares"`    // names of the custodians whose share was taken
	UnsealKey []byte   `json:"unsealKey"` // what shares are encrypted to; once there is a charter, compare it with the charter's
}

// InitResult is what charter 1 says of an appliance. Asking again gives the same.
type InitResult struct {
	LedgerKey policy.PublicKey `json:"ledgerKey"` // Ed25519
	UnsealKey []byte           `json:"unsealKey"` // HPKE public key, ML-KEM-768 + X25519
	Token     Token            `json:"token"`
}

// Token is what tells an HSM token from every other.
type Token struct {
	Serial      string            `json:"serial"`
	CheckValues map[string]string `json:"checkValues"` // key's label to check value
}

// Recorded is the answer of an operation that the ledger holds now.
type Recorded struct {
	Sequence uint64          `json:"sequence"`         // of the batch
	Verdict  *policy.Verdict `json:"verdict,omitzero"` // of the policies, where one was asked
}

// WalletResult is a wallet as the ledger attests it.
type WalletResult struct {
	Sequence       uint64     `json:"sequence"`
	WalletID       string     `json:"walletId"`
	VaultAccountID string     `json:"vaultAccountId"`
	Network        string     `json:"network"`
	Scheme         tx.Scheme  `json:"scheme"`
	PublicKey      []byte     `json:"publicKey"` // as the scheme has it, not a SubjectPublicKeyInfo
	Address        tx.Address `json:"address"`
	Protection     string     `json:"protection"` // "hsm-native" or "hsm-wrapped"
}

// WalletProof is a wallet's signature over [tx.OwnershipDigest] of its address.
type WalletProof struct {
	WalletID  string     `json:"walletId"`
	Address   tx.Address `json:"address"`
	PublicKey []byte     `json:"publicKey"` // as the scheme has it, not a SubjectPublicKeyInfo
	Signature []byte     `json:"signature"`
}

// AuthorizeResult is a transaction ready to be stored and sent.
type AuthorizeResult struct {
	Sequence      uint64          `json:"sequence"`
	Authorization jsontext.Value  `json:"authorization"` // the ledger's authorize record
	RawTx         []byte          `json:"rawTx"`
	TxHash        tx.Hash         `json:"txHash"`
	Verdict       *policy.Verdict `json:"verdict,omitzero"`
}

// BumpResult is a transaction with higher fees.
type BumpResult struct {
	Sequence uint64  `json:"sequence"`
	Version  uint64  `json:"version"` // 2 to 10
	RawTx    []byte  `json:"rawTx"`
	TxHash   tx.Hash `json:"txHash"`
}

// Rotated is the wrapping key in use after a rotation; the next charter says its check value.
type Rotated struct {
	WrappingKey string `json:"wrappingKey"` // id and label
	CheckValue  string `json:"checkValue"`
	Rewrapped   int    `json:"rewrapped"` // keys that this run wrapped anew
}

// Metrics is the seal's own, in Prometheus' text format.
type Metrics struct {
	Text string `json:"text"`
}
