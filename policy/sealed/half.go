package sealed

import (
	"crypto/ed25519"
	"crypto/x509"
	"strings"
)

// publicKey is the public key that the ledger knows of a key of the token's, nil where it
// knows none: a wallet's, or an appliance's own, which the charter names. The token asks
// where it has lost the public half, and tries what it is told.
func (r *room) publicKey(id string) []byte {
	fold := r.known().fold
	if fold == nil {
		return nil
	}
	if w, ok := fold.Wallet(id); ok {
		return w.PublicKey
	}
	charter, _ := fold.Charter()
	appliance, ours := strings.CutPrefix(id, ledgerKeys)
	if charter == nil || !ours {
		return nil
	}
	a, ok := charter.Appliance(appliance)
	if !ok {
		return nil
	}
	key, err := x509.ParsePKIXPublicKey(a.LedgerKey.SPKI())
	if err != nil {
		return nil
	}
	public, _ := key.(ed25519.PublicKey)
	return public
}
