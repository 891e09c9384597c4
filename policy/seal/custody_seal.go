package seal

import (
	"crypto/hpke"
	"encoding/binary"
	"fmt"
	"runtime/secret"

	"github.com/awnumar/memguard"
)

// Purpose is what an encrypted share is for; one for another does not open. The zero
// value is an unsealing.
type Purpose string

// What a share is for.
const (
	ForUnsealing Purpose = ""        // to the seal
	ForRenewal   Purpose = "renew"   // to the seal: the share that is given up
	ForCustodian Purpose = "receive" // from the seal: the new one
)

// info is the domain of HPKE's keys.
func (p Purpose) info() []byte {
	if p == ForUnsealing {
		return []byte("mintwarden/unseal/v1")
	}
	return []byte("mintwarden/" + string(p) + "/v1")
}

// encapsulated is the size of what an ML-KEM-768 + X25519 key encapsulates to, in bytes, which stands
// before the ciphertext.
const encapsulated = 1088 + 32

// Binding is where a share may be opened, and when: by one appliance, or one custodian
// of it, in one collection.
type Binding struct {
	Instance    string
	ApplianceID string
	Custodian   string
	Nonce       []byte // the seal's, of this collection
	Purpose     Purpose
}

// associated holds each part with its length before it, so that no two bindings look the same.
func (b Binding) associated() []byte {
	var out []byte
	for _, part := range []string{b.Instance, b.ApplianceID, b.Custodian, string(b.Nonce)} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part)))
		out = append(out, part...)
	}
	return out
}

// SealShare encrypts a share to a seal's unseal key, or a custodian's receive key, by HPKE (RFC 9180: ML-KEM-768 + X25519,
// HKDF-SHA256, AES-256-GCM). Errors wrap ErrShare.
func SealShare(unsealKey []byte, b Binding, s Share) ([]byte, error) {
	public, err := hpke.MLKEM768X25519().NewPublicKey(unsealKey)
	if err != nil {
		return nil, fmt.Errorf("%w: no key that a share could be encrypted to: %w", ErrShare, err)
	}
	if s.IsZero() {
		return nil, fmt.Errorf("%w: it is empty", ErrShare)
	}
	var out []byte
	secret.Do(func() {
		var enc []byte
		var sender *hpke.Sender
		if enc, sender, err = hpke.NewSender(public, hpke.HKDFSHA256(), hpke.AES256GCM(), b.Purpose.info()); err != nil {
			return
		}
		var text []byte
		if text, err = sender.Seal(b.associated(), s.b.Bytes()); err == nil {
			out = append(enc, text...)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrShare, err)
	}
	return append([]byte(nil), out...), nil
}

// OpenShare decrypts what SealShare encrypted for the same binding; the caller destroys the share.
// What it computed with is erased when it is collected (runtime/secret). Errors wrap ErrShare.
func OpenShare(private hpke.PrivateKey, b Binding, ciphertext []byte) (Share, error) {
	if len(ciphertext) != encapsulated+shareSize+16 {
		return Share{}, fmt.Errorf("%w: encrypted it has %d bytes, want %d", ErrShare, len(ciphertext), encapsulated+shareSize+16)
	}
	opened := memguard.NewBuffer(shareSize)
	defer opened.Destroy()
	err := fmt.Errorf("%w: it does not decrypt: encrypted to another key, or for another appliance, custodian or collection", ErrShare)
	secret.Do(func() {
		r, failed := hpke.NewRecipient(ciphertext[:encapsulated], private, hpke.HKDFSHA256(), hpke.AES256GCM(), b.Purpose.info())
		if failed != nil {
			return
		}
		raw, failed := r.Open(b.associated(), ciphertext[encapsulated:])
		if failed != nil {
			return
		}
		opened.Copy(raw) // as long as the ciphertext without its head and tag
		err = nil
	})
	if err != nil {
		return Share{}, err
	}
	return shareOf(opened.Bytes())
}
