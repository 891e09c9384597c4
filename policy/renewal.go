package policy

import (
	"fmt"
	"time"
)

// Renew is one custodian's part in a renewal of the shares: before the new ones are
// split, his share of the custody that is, the key that his new share is to be
// encrypted to, or both; afterwards his word that he has the new one.
type Renew struct {
	Format      int    `json:"format"`
	Instance    string `json:"instance"`
	ApplianceID string `json:"applianceId"`
	Nonce       []byte `json:"nonce"`   // the seal's, of this renewal
	Charter     Digest `json:"charter"` // in force: its custodians get the new shares
	// Share is HPKE ciphertext, to the appliance's unseal key.
	Share []byte `json:"share,omitzero"`
	// ReceiveKey is a custodian's HPKE public key, ML-KEM-768 + X25519, of this renewal.
	ReceiveKey []byte `json:"receiveKey,omitzero"`
	// Received is the digest of the new share's text.
	Received  Digest    `json:"received,omitzero"`
	CreatedAt time.Time `json:"createdAt"`
}

// receiveKeySize is in bytes: an ML-KEM-768 key and an X25519 key.
const receiveKeySize = 1184 + 32

// ParseRenew reads a renew strictly. Errors wrap ErrDocument.
func ParseRenew(b []byte) (*Renew, error) { return parse[Renew]("renew", b) }

// Encode checks the document and gives its JSON. Errors wrap ErrDocument.
func (r *Renew) Encode() ([]byte, error) { return encodeDocument(r) }

// Check is nil if the document is well-formed. Errors wrap ErrDocument.
func (r *Renew) Check() error {
	if err := r.check(); err != nil {
		return refused("renew", err)
	}
	return nil
}

func (r *Renew) check() error {
	if err := first(checkFormat(r.Format), CheckName(r.Instance), CheckName(r.ApplianceID), checkTime("createdAt", r.CreatedAt)); err != nil {
		return err
	}
	gives := len(r.Share) > 0 || len(r.ReceiveKey) > 0
	switch {
	case len(r.Nonce) < 16 || len(r.Nonce) > 64:
		return fmt.Errorf("nonce of %d bytes, want 16 to 64", len(r.Nonce))
	case !r.Charter.Valid():
		return fmt.Errorf("charter %.80q is no digest", string(r.Charter))
	case gives == (r.Received != ""):
		return fmt.Errorf("want a share or a receive key, or else that the new share was received")
	case len(r.Share) > 4096:
		return fmt.Errorf("share of %d bytes, want at most 4096", len(r.Share))
	case len(r.ReceiveKey) > 0 && len(r.ReceiveKey) != receiveKeySize:
		return fmt.Errorf("receive key of %d bytes, want %d", len(r.ReceiveKey), receiveKeySize)
	case r.Received != "" && !r.Received.Valid():
		return fmt.Errorf("received %.80q is no digest", string(r.Received))
	}
	return nil
}
