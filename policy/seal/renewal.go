package seal

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// Renewal is how far a renewal of the custodians' shares is. It holds no secret: a
// courier may carry it to custodians who do not reach the appliance.
type Renewal struct {
	Format      int           `json:"format"`
	Instance    string        `json:"instance"`
	ApplianceID string        `json:"applianceId"`
	UnsealKey   []byte        `json:"unsealKey"` // to compare with the charter's
	Charter     policy.Digest `json:"charter"`   // in force: its custodians get the new shares
	Nonce       []byte        `json:"nonce"`     // of this renewal
	Held        HeldShares    `json:"held"`      // the shares that are good now
	Given       []string      `json:"given"`     // who gave his share, of which Held.Threshold are needed
	Keys        []string      `json:"keys"`      // custodians of the charter who gave a receive key
	Waiting     []string      `json:"waiting"`   // custodians of the charter who are to do something now
	// Parcels are the new shares by custodian, each encrypted to his receive key; empty
	// until all that is needed was given.
	Parcels  map[string][]byte `json:"parcels"`
	Received []string          `json:"received"` // who said that he has his new share
	Outcome  string            `json:"outcome"`  // of the last renewal in this keeper's life; empty: there was none
}

// HeldShares says whose shares of which split unseal the appliance.
type HeldShares struct {
	Threshold int       `json:"threshold"`
	Members   []string  `json:"members"`
	CreatedAt time.Time `json:"createdAt"`
	// Unfinished: the token may still take the PINs from before the renewal. The next
	// unsealing by these shares finishes it.
	Unfinished bool `json:"unfinished"`
}

// maxRenewal bounds a renewal's JSON in bytes; sixteen custodians make about 40 KiB.
const maxRenewal = 128 << 10

// ErrRenewal says that something is no renewal.
var ErrRenewal = errors.New("renewal refused")

// ParseRenewal reads what Encode gives. Errors wrap ErrRenewal.
func ParseRenewal(text []byte) (*Renewal, error) {
	if len(text) > maxRenewal {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrRenewal, len(text), maxRenewal)
	}
	var r Renewal
	if err := json.Unmarshal(text, &r, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRenewal, err)
	}
	switch {
	case r.Format != policy.Format:
		return nil, fmt.Errorf("%w: format %d, want %d", ErrRenewal, r.Format, policy.Format)
	case policy.CheckName(r.Instance) != nil || policy.CheckName(r.ApplianceID) != nil:
		return nil, fmt.Errorf("%w: it does not say of which appliance it is", ErrRenewal)
	case len(r.Nonce) < 16 || !r.Charter.Valid():
		return nil, fmt.Errorf("%w: nonce of %d bytes, charter %.80q", ErrRenewal, len(r.Nonce), string(r.Charter))
	}
	return &r, nil
}

// Encode gives the text.
func (r *Renewal) Encode() ([]byte, error) {
	text, err := json.Marshal(r, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRenewal, err)
	}
	return append(text, '\n'), nil
}
