package policy

import (
	"fmt"
	"time"
)

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

// ParseSeal reads a seal strictly. Errors wrap ErrDocument.
func ParseSeal(b []byte) (*Seal, error) { return parse[Seal]("seal", b) }

// ParseUnseal reads an unseal strictly. Errors wrap ErrDocument.
func ParseUnseal(b []byte) (*Unseal, error) { return parse[Unseal]("unseal", b) }

// Encode checks the document and gives its JSON. Errors wrap ErrDocument.
func (s *Seal) Encode() ([]byte, error) { return encodeDocument(s) }

// Encode checks the document and gives its JSON. Errors wrap ErrDocument.
func (u *Unseal) Encode() ([]byte, error) { return encodeDocument(u) }

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
