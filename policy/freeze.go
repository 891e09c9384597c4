package policy

import (
	"fmt"
	"time"
)

// Freeze stops a token, suspends a person or an appliance, or lifts that again. One custodian may
// stop; lifting takes the threshold.
type Freeze struct {
	Format    int       `json:"format"`
	Instance  string    `json:"instance"`
	Subject   Subject   `json:"subject"`
	Frozen    bool      `json:"frozen"`
	CreatedAt time.Time `json:"createdAt"`
}

// Subject is whom a freeze is about: exactly one of its fields.
type Subject struct {
	TokenID     string `json:"tokenId,omitzero"`
	Person      string `json:"person,omitzero"`
	ApplianceID string `json:"applianceId,omitzero"`
}

// ParseFreeze reads a freeze strictly. Errors wrap ErrDocument.
func ParseFreeze(b []byte) (*Freeze, error) { return parse[Freeze]("freeze", b) }

// Encode checks the freeze and gives its JSON. Errors wrap ErrDocument.
func (f *Freeze) Encode() ([]byte, error) { return encodeDocument(f) }

// Check is nil if the freeze is well-formed. Errors wrap ErrDocument.
func (f *Freeze) Check() error {
	if err := first(checkFormat(f.Format), CheckName(f.Instance), f.Subject.check(), checkTime("createdAt", f.CreatedAt)); err != nil {
		return refused("freeze", err)
	}
	return nil
}

func (s Subject) check() error {
	switch s {
	case Subject{TokenID: s.TokenID}:
		return CheckID("token", s.TokenID)
	case Subject{Person: s.Person}:
		return CheckName(s.Person)
	case Subject{ApplianceID: s.ApplianceID}:
		return CheckName(s.ApplianceID)
	}
	return fmt.Errorf("subject %+v: want exactly one of tokenId, person and applianceId", s)
}
