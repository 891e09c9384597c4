package ledger

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// wireRecord is what the JSON of every type of record is read into; each type
// has some of its members. A member too many or too few shows when the record is encoded again.
type wireRecord struct {
	Address        *tx.Address    `json:"address,omitzero"`
	Binding        jsontext.Value `json:"binding,omitzero"`
	Charges        []Charge       `json:"charges,omitzero"`
	Envelope       *wireEnvelope  `json:"envelope,omitzero"`
	Event          *string        `json:"event,omitzero"`
	Expiry         *time.Time     `json:"expiry,omitzero"`
	FirstKept      *uint64        `json:"firstKept,omitzero"`
	GasLimit       *uint64        `json:"gasLimit,omitzero"`
	Intent         *policy.Digest `json:"intent,omitzero"`
	MaxFee         *policy.Amount `json:"maxFee,omitzero"`
	Network        *string        `json:"network,omitzero"`
	Nonce          *uint64        `json:"nonce,omitzero"`
	OperationID    *string        `json:"operationId,omitzero"`
	PublicKey      []byte         `json:"publicKey,omitzero"`
	Reason         *string        `json:"reason,omitzero"`
	Root           *policy.Digest `json:"root,omitzero"`
	Scheme         *tx.Scheme     `json:"scheme,omitzero"`
	Size           *uint64        `json:"size,omitzero"`
	Snapshot       *policy.Digest `json:"snapshot,omitzero"`
	Tip            *policy.Amount `json:"tip,omitzero"`
	TokenID        *string        `json:"tokenId,omitzero"`
	Tx             *tx.Hash       `json:"tx,omitzero"`
	TxHash         *tx.Hash       `json:"txHash,omitzero"`
	Type           Type           `json:"type"`
	VaultAccountID *string        `json:"vaultAccountId,omitzero"`
	Version        *uint64        `json:"version,omitzero"`
	WalletID       *string        `json:"walletId,omitzero"`
}

// wireEnvelope is a DSSE envelope, its members in the order of RFC 8785.
type wireEnvelope struct {
	Payload     []byte          `json:"payload"`
	PayloadType string          `json:"payloadType"`
	Signatures  []wireSignature `json:"signatures"`
}

type wireSignature struct {
	KeyID string `json:"keyid"`
	Sig   []byte `json:"sig"`
}

// ParseRecord takes exactly what Encode gives.
func ParseRecord(value []byte) (*Record, error) {
	if len(value) > MaxBatch {
		return nil, fmt.Errorf("record of %d bytes, at most %d", len(value), MaxBatch)
	}
	var w wireRecord
	if err := json.Unmarshal(value, &w, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	r, err := w.record()
	if err != nil {
		return nil, err
	}
	again, err := r.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, value) {
		return nil, fmt.Errorf("not the canonical encoding, first at byte %d", firstDifference(value, again))
	}
	return &r, nil
}

// record reads the members that the type has.
func (w *wireRecord) record() (Record, error) {
	var r Record
	if w.Envelope != nil {
		e := &policy.Envelope{PayloadType: w.Envelope.PayloadType, Payload: w.Envelope.Payload,
			Signatures: make([]policy.Signature, len(w.Envelope.Signatures))}
		for i, s := range w.Envelope.Signatures {
			e.Signatures[i] = policy.Signature(s)
		}
		place := r.envelopeOf(w.Type)
		if place == nil {
			return r, fmt.Errorf("type %.40q has no envelope", string(w.Type))
		}
		*place = e
		return r, nil
	}
	switch w.Type {
	case TypeBinding:
		b, err := policy.ParseBinding(w.Binding)
		if err != nil {
			return r, err
		}
		r.DeployBinding = b
	case TypeFreeze:
		r.EventFreeze = &EventFreeze{of(w.TokenID), of(w.Event)}
	case TypeWallet:
		r.Wallet = &Wallet{of(w.WalletID), of(w.VaultAccountID), of(w.Network), of(w.Scheme), w.PublicKey, of(w.Address)}
	case TypeAuthorize:
		r.Authorize = &Authorize{of(w.OperationID), of(w.Intent), w.Charges, of(w.WalletID), of(w.Nonce), of(w.GasLimit),
			of(w.MaxFee), of(w.Tip), of(w.Tx), of(w.Expiry).UTC()}
	case TypeBump:
		r.Bump = &Bump{of(w.OperationID), of(w.Version), of(w.MaxFee), of(w.Tip), of(w.Tx)}
	case TypeCancel:
		r.Cancel = &Cancel{of(w.OperationID), of(w.Reason)}
	case TypeSettle:
		r.Settle = &Settle{of(w.OperationID), of(w.TxHash)}
	case TypeCheckpoint:
		r.Checkpoint = &Checkpoint{of(w.Size), of(w.Root)}
	case TypeTrim:
		r.Trim = &Trim{of(w.FirstKept), of(w.Snapshot)}
	default:
		return r, fmt.Errorf("type %.40q, or its envelope is missing", string(w.Type))
	}
	return r, nil
}

// of is what p points at, the zero value if it is nil.
func of[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
