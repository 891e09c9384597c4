package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// Join lets an appliance that has no memory of the ledger sign on from a head that custodians know.
type Join struct {
	Format      int       `json:"format"`
	Instance    string    `json:"instance"`
	ApplianceID string    `json:"applianceId"`
	LedgerKey   PublicKey `json:"ledgerKey"`
	UnsealKey   []byte    `json:"unsealKey"`
	Sequence    uint64    `json:"sequence"`
	Head        Digest    `json:"head"`
	CreatedAt   time.Time `json:"createdAt"`
}

// Recover makes the ledger go on from another head than the one that was lost, in a higher epoch.
type Recover struct {
	Format    int        `json:"format"`
	Instance  string     `json:"instance"`
	Epoch     uint64     `json:"epoch"` // the one that begins
	Lost      LedgerHead `json:"lost"`
	Accepted  LedgerHead `json:"accepted"`
	Usage     []Used     `json:"usage,omitzero"` // nil: every counter stands at its limit until midnight
	Lanes     []Lane     `json:"lanes"`
	CreatedAt time.Time  `json:"createdAt"`
}

// LedgerHead is a batch's number and the digest of its bytes.
type LedgerHead struct {
	Sequence uint64 `json:"sequence"`
	Head     Digest `json:"head"`
}

// Used is what counts as charged today.
type Used struct {
	ChainID         uint64        `json:"chainId"`
	ContractAddress tx.Address    `json:"contractAddress"`
	Operation       OperationType `json:"operation"`
	Amount          Amount        `json:"amount"`
}

// Lane is the nonce from which a wallet goes on.
type Lane struct {
	WalletID string `json:"walletId"`
	Nonce    uint64 `json:"nonce"`
}

// Seal seals an appliance at once.
type Seal struct {
	Format      int       `json:"format"`
	Instance    string    `json:"instance"`
	ApplianceID string    `json:"applianceId"`
	Reason      string    `json:"reason"`
	CreatedAt   time.Time `json:"createdAt"`
}

// Unseal carries one custodian's share, encrypted to the appliance's unseal key.
type Unseal struct {
	Format      int       `json:"format"`
	Instance    string    `json:"instance"`
	ApplianceID string    `json:"applianceId"`
	Nonce       []byte    `json:"nonce"` // the seal's, fresh
	Share       []byte    `json:"share"` // HPKE ciphertext
	CreatedAt   time.Time `json:"createdAt"`
}

// ParseJoin reads a join strictly. Errors wrap ErrDocument.
func ParseJoin(b []byte) (*Join, error) { return parse[Join]("join", b) }

// ParseRecover reads a recover strictly. Errors wrap ErrDocument.
func ParseRecover(b []byte) (*Recover, error) { return parse[Recover]("recover", b) }

// ParseSeal reads a seal strictly. Errors wrap ErrDocument.
func ParseSeal(b []byte) (*Seal, error) { return parse[Seal]("seal", b) }

// ParseUnseal reads an unseal strictly. Errors wrap ErrDocument.
func ParseUnseal(b []byte) (*Unseal, error) { return parse[Unseal]("unseal", b) }

// Encode checks the document and gives its JSON. Errors wrap ErrDocument.
func (j *Join) Encode() ([]byte, error) { return encodeDocument(j) }

// Encode checks the document and gives its JSON. Errors wrap ErrDocument.
func (r *Recover) Encode() ([]byte, error) { return encodeDocument(r) }

// Encode checks the document and gives its JSON. Errors wrap ErrDocument.
func (s *Seal) Encode() ([]byte, error) { return encodeDocument(s) }

// Encode checks the document and gives its JSON. Errors wrap ErrDocument.
func (u *Unseal) Encode() ([]byte, error) { return encodeDocument(u) }

// Check is nil if the document is well-formed. Errors wrap ErrDocument.
func (j *Join) Check() error {
	err := first(checkFormat(j.Format), CheckName(j.Instance), CheckName(j.ApplianceID),
		LedgerHead{j.Sequence, j.Head}.check("join"), checkTime("createdAt", j.CreatedAt))
	switch {
	case err != nil:
	case j.LedgerKey.Algorithm() != Ed25519:
		err = fmt.Errorf("ledger key %q is not Ed25519", j.LedgerKey.Algorithm())
	case len(j.UnsealKey) == 0 || len(j.UnsealKey) > maxSPKI:
		err = fmt.Errorf("unseal key of %d bytes, want 1 to %d", len(j.UnsealKey), maxSPKI)
	default:
		return nil
	}
	return refused("join", err)
}

func (h LedgerHead) check(name string) error {
	if h.Sequence == 0 {
		return fmt.Errorf("%s: sequence 0: the first batch is 1", name)
	}
	return first(checkInteger(name, h.Sequence), checkDigest(name, h.Head))
}

// Check is nil if the document is well-formed. Errors wrap ErrDocument.
func (r *Recover) Check() error {
	if err := r.check(); err != nil {
		return refused("recover", err)
	}
	return nil
}

func (r *Recover) check() error {
	if err := first(checkFormat(r.Format), CheckName(r.Instance), checkInteger("epoch", r.Epoch), r.Lost.check("lost"),
		r.Accepted.check("accepted"), checkTime("createdAt", r.CreatedAt)); err != nil {
		return err
	}
	for n, u := range r.Usage {
		if u.ChainID == 0 || !u.Operation.HasAmount() || u.Operation != u.Operation.Counted() {
			return fmt.Errorf("usage %d: chain id %d, operation %.40q", n+1, u.ChainID, u.Operation)
		}
		same := func(o Used) bool {
			return o.ChainID == u.ChainID && o.ContractAddress == u.ContractAddress && o.Operation == u.Operation
		}
		if err := checkInteger("chainId", u.ChainID); err != nil || slices.ContainsFunc(r.Usage[:n], same) {
			return fmt.Errorf("usage %d: twice, or its chain id %d is out of range", n+1, u.ChainID)
		}
	}
	for n, l := range r.Lanes {
		if err := first(CheckID("wallet", l.WalletID), checkInteger("nonce", l.Nonce)); err != nil {
			return fmt.Errorf("lane %d: %w", n+1, err)
		}
		if slices.ContainsFunc(r.Lanes[:n], func(o Lane) bool { return o.WalletID == l.WalletID }) {
			return fmt.Errorf("lane %d: wallet %s twice", n+1, l.WalletID)
		}
	}
	return nil
}

// Check is nil if the document is well-formed. Errors wrap ErrDocument.
func (s *Seal) Check() error {
	if err := first(checkFormat(s.Format), CheckName(s.Instance), CheckName(s.ApplianceID), CheckText(s.Reason, maxReason),
		checkTime("createdAt", s.CreatedAt)); err != nil {
		return refused("seal", err)
	}
	return nil
}

// Check is nil if the document is well-formed. Errors wrap ErrDocument.
func (u *Unseal) Check() error {
	err := first(checkFormat(u.Format), CheckName(u.Instance), CheckName(u.ApplianceID), checkTime("createdAt", u.CreatedAt))
	if err == nil && (len(u.Nonce) < 16 || len(u.Nonce) > 64 || len(u.Share) == 0 || len(u.Share) > 4096) {
		err = fmt.Errorf("nonce of %d bytes, want 16 to 64, and share of %d, want 1 to 4096", len(u.Nonce), len(u.Share))
	}
	if err != nil {
		return refused("unseal", err)
	}
	return nil
}
