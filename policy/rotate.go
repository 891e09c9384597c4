package policy

import (
	"fmt"
	"time"
)

// Rotate has an appliance wrap every key that its token keeps wrapped under a new key
// of the token, and destroy the old one. It takes the custodians' threshold.
type Rotate struct {
	Format      int       `json:"format"`
	Instance    string    `json:"instance"`
	ApplianceID string    `json:"applianceId"`
	Charter     Digest    `json:"charter"`     // in force
	WrappingKey string    `json:"wrappingKey"` // id of the new key
	CreatedAt   time.Time `json:"createdAt"`
}

// ParseRotate reads a rotate strictly. Errors wrap ErrDocument.
func ParseRotate(b []byte) (*Rotate, error) { return parse[Rotate]("rotate", b) }

// Encode checks the document and gives its JSON. Errors wrap ErrDocument.
func (r *Rotate) Encode() ([]byte, error) { return encodeDocument(r) }

// Check is nil if the document is well-formed. Errors wrap ErrDocument.
func (r *Rotate) Check() error {
	err := first(checkFormat(r.Format), CheckName(r.Instance), CheckName(r.ApplianceID), CheckName(r.WrappingKey), checkTime("createdAt", r.CreatedAt))
	if err == nil && !r.Charter.Valid() {
		err = fmt.Errorf("charter %.80q is no digest", string(r.Charter))
	}
	if err != nil {
		return refused("rotate", err)
	}
	return nil
}
