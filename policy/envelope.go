package policy

import (
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"fmt"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// ErrEnvelope says that an envelope is malformed, of another type, or not signed as it must be.
var ErrEnvelope = errors.New("envelope refused")

const (
	// MaxSignatures bounds an envelope's signatures, so that checking one costs little.
	MaxSignatures = 16
	// MaxEnvelope bounds an envelope's JSON in bytes: a payload of MaxDocument and 16 ML-DSA-65
	// signatures, in base64, with names and key ids.
	MaxEnvelope = 192 << 10
)

// Envelope is a DSSE envelope: exact bytes, what they are, and who signed them.
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []Signature `json:"signatures"`
}

// Signature is one key's over an envelope's payload.
type Signature struct {
	KeyID string `json:"keyid"` // PublicKey.KeyID
	Sig   []byte `json:"sig"`
}

// PayloadType is the media type of a kind of document: "decision" gives
// application/vnd.mintwarden.decision+json.
func PayloadType(document string) string { return "application/vnd.mintwarden." + document + "+json" }

// The documents that envelopes carry, as PayloadType takes them.
const (
	DocCharter  = "charter"
	DocPolicy   = "policy"
	DocBinding  = "binding"
	DocDecision = "decision"
	DocRequest  = "request"
	DocJoin     = "join"
	DocRecover  = "recover"
	DocSeal     = "seal"
	DocUnseal   = "unseal"
	DocFreeze   = "freeze"
	DocRenew    = "renew"
	DocRotate   = "rotate"
)

// ParseEnvelope reads an envelope strictly: exactly its members, standard base64 with padding, 1
// to MaxSignatures signatures, each with a key id of its own. It verifies nothing. Errors wrap
// ErrEnvelope.
func ParseEnvelope(b []byte) (*Envelope, error) {
	var e Envelope
	if err := decodeStrict(b, MaxEnvelope, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnvelope, err)
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return &e, nil
}

func (e *Envelope) check() error {
	if !strings.HasPrefix(e.PayloadType, "application/") {
		return fmt.Errorf("%w: payload type %.80q", ErrEnvelope, e.PayloadType)
	}
	if len(e.Payload) == 0 || len(e.Payload) > MaxDocument {
		return fmt.Errorf("%w: payload of %d bytes, want 1 to %d", ErrEnvelope, len(e.Payload), MaxDocument)
	}
	if len(e.Signatures) == 0 || len(e.Signatures) > MaxSignatures {
		return fmt.Errorf("%w: %d signatures, want 1 to %d", ErrEnvelope, len(e.Signatures), MaxSignatures)
	}
	seen := make(map[string]bool, len(e.Signatures))
	for _, s := range e.Signatures {
		if !Digest(s.KeyID).Valid() {
			return fmt.Errorf("%w: keyid %.80q", ErrEnvelope, s.KeyID)
		}
		if seen[s.KeyID] {
			return fmt.Errorf("%w: keyid %s twice", ErrEnvelope, s.KeyID)
		}
		seen[s.KeyID] = true
	}
	return nil
}

// Encode gives the envelope's JSON.
func (e *Envelope) Encode() []byte {
	b, err := json.Marshal(e)
	if err != nil {
		// Strings and bytes always marshal, but for strings that are not UTF-8, which no parsed or
		// signed envelope holds.
		return nil
	}
	return b
}

// PayloadDigest is the digest of the payload: what later documents call this one.
func (e *Envelope) PayloadDigest() Digest { return DigestOf(e.Payload) }

// KeyIDs is who says to have signed, in order; Verify tells whether they did.
func (e *Envelope) KeyIDs() []string {
	ids := make([]string, len(e.Signatures))
	for n, s := range e.Signatures {
		ids[n] = s.KeyID
	}
	return ids
}

// Verify checks every signature and gives the key ids in their order. The payload type comes
// first; then each signature must be of a known key that occurs once, and hold. One that does not
// refuses the whole. Errors wrap ErrEnvelope.
func (e *Envelope) Verify(payloadType string, known func(keyid string) (PublicKey, bool)) ([]string, error) {
	if e.PayloadType != payloadType {
		return nil, fmt.Errorf("%w: payload type %.80q, want %s", ErrEnvelope, e.PayloadType, payloadType)
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	pae := dsse.PAE(e.PayloadType, e.Payload)
	ids := make([]string, 0, len(e.Signatures))
	for _, s := range e.Signatures {
		key, ok := known(s.KeyID)
		if !ok || key.KeyID() != s.KeyID {
			return nil, fmt.Errorf("%w: keyid %s is not known here", ErrEnvelope, s.KeyID)
		}
		if !key.verify(payloadType, pae, s.Sig) {
			return nil, fmt.Errorf("%w: the signature of %s does not hold", ErrEnvelope, s.KeyID)
		}
		ids = append(ids, s.KeyID)
	}
	return ids, nil
}

// decodeBase64 takes standard base64 with padding and no line breaks, of at most max bytes.
func decodeBase64(s string, max int) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, fmt.Errorf("base64 with line breaks")
	}
	if base64.StdEncoding.DecodedLen(len(s)) > max+2 {
		return nil, fmt.Errorf("more than %d bytes", max)
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}
