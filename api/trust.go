package api

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Trust is what the API shows to its clients and whom of them it lets in. It is
// never changed, only replaced whole (see [TLS.Replace]).
type Trust struct {
	// Certificates are tried in order; the first whose signature the client can
	// verify is shown: ML-DSA-65 before its ECDSA P-256 twin.
	Certificates []tls.Certificate
	// Roots are what clients' certificates chain to.
	Roots []*x509.Certificate
	// Revocations are the lists of the roots' authorities; each is signed by one
	// of Roots. Without any nobody is revoked.
	Revocations []*x509.RevocationList
}

// trust is Trust made ready for use.
type trust struct {
	Trust
	pool    *x509.CertPool
	revoked map[string]time.Time // serials by issuer, and since when
	config  *tls.Config
}

// check completes and holds a trust against itself, and against the one that it
// replaces (nil: none).
func (t *trust) check(before *trust) error {
	if len(t.Certificates) == 0 || len(t.Roots) == 0 {
		return errors.New("api: a server certificate and roots for clients are needed")
	}
	for i := range t.Certificates {
		c := &t.Certificates[i]
		if c.Leaf != nil {
			continue
		}
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			return fmt.Errorf("api: server certificate %d: %w", i, err)
		}
		c.Leaf = leaf
	}
	t.pool = x509.NewCertPool()
	for _, root := range t.Roots {
		t.pool.AddCert(root)
	}
	t.revoked = map[string]time.Time{}
	for _, l := range t.Revocations {
		if err := t.takeList(l, before); err != nil {
			return err
		}
	}
	return nil
}

func (t *trust) takeList(l *x509.RevocationList, before *trust) error {
	signed := false
	for _, root := range t.Roots {
		signed = signed || l.CheckSignatureFrom(root) == nil
	}
	if !signed {
		return fmt.Errorf("api: the revocation list of %q is signed by none of the clients' roots", l.Issuer)
	}
	if before != nil {
		for _, old := range before.Revocations {
			if string(old.RawIssuer) == string(l.RawIssuer) && l.ThisUpdate.Before(old.ThisUpdate) {
				return fmt.Errorf("api: the revocation list of %q is of %s, older than the one in use, of %s: who was revoked since would be let in again",
					l.Issuer, l.ThisUpdate.Format(time.RFC3339), old.ThisUpdate.Format(time.RFC3339))
			}
		}
	}
	for _, e := range l.RevokedCertificateEntries {
		t.revoked[revocationKey(l.RawIssuer, e.SerialNumber.Bytes())] = e.RevocationTime
	}
	return nil
}

func revocationKey(issuer, serial []byte) string { return string(issuer) + "\x00" + string(serial) }

// refusal says why a client's certificates, leaf first, are not honoured (any
// more); nil if they are. The handshake has verified the chain.
func (t *trust) refusal(chain []*x509.Certificate, now time.Time) error {
	for _, c := range chain {
		if now.After(c.NotAfter) {
			return fmt.Errorf("the client certificate of %q ended at %s", c.Subject.CommonName, c.NotAfter.UTC().Format(time.RFC3339))
		}
		if at, ok := t.revoked[revocationKey(c.RawIssuer, c.SerialNumber.Bytes())]; ok {
			return fmt.Errorf("the client certificate of %q was revoked at %s", c.Subject.CommonName, at.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// verify is refusal for certificates that were verified under another trust.
func (t *trust) verify(chain []*x509.Certificate, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("no client certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: t.pool, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return fmt.Errorf("the client certificate of %q: %w", chain[0].Subject.CommonName, err)
	}
	return t.refusal(chain, now)
}
