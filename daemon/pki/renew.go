package pki

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Renew makes a certificate with a new key for who has one of this root's: the
// same names, for the same use, from now on for as long as any. The old one goes
// on until it ends; nothing is revoked.
func (c *CA) Renew(old *x509.Certificate) (Pair, error) {
	if err := c.issued(old); err != nil {
		return Pair{}, err
	}
	alg := ECDSAP256
	if old.PublicKeyAlgorithm == x509.MLDSA {
		alg = MLDSA65
	}
	next, err := template(old.Subject.CommonName, leafLifetime)
	if err != nil {
		return Pair{}, err
	}
	next.ExtKeyUsage, next.DNSNames, next.IPAddresses = old.ExtKeyUsage, old.DNSNames, old.IPAddresses
	return c.issue(next, alg)
}

// issued refuses a certificate that is not a leaf of this root's.
func (c *CA) issued(leaf *x509.Certificate) error {
	if leaf.IsCA {
		return fmt.Errorf("pki: %q is a root", leaf.Subject.CommonName)
	}
	if err := leaf.CheckSignatureFrom(c.cert); err != nil {
		return fmt.Errorf("pki: the certificate of %q was not issued by %q: %w", leaf.Subject.CommonName, c.cert.Subject.CommonName, err)
	}
	return nil
}

// Name is the root's common name.
func (c *CA) Name() string { return c.cert.Subject.CommonName }

// Issued tells whether a certificate is this root's.
func (c *CA) Issued(leaf *x509.Certificate) bool { return c.issued(leaf) == nil }

// listLifetime is how long a revocation list is good for: who keeps a root by
// hand makes a new one once a quarter, or with the next revocation.
const listLifetime = 90 * 24 * time.Hour

// Revoke makes the list that follows old (empty: the first), with these
// certificates of the root's on it too; none only renews it. It is PEM, one
// X509 CRL block. A certificate stays on the list until it would have ended.
func (c *CA) Revoke(old []byte, leaves ...*x509.Certificate) ([]byte, error) {
	now := time.Now()
	next := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(listLifetime)}
	if len(old) > 0 {
		before, err := ParseList(old)
		if err != nil {
			return nil, err
		}
		if err := before.CheckSignatureFrom(c.cert); err != nil {
			return nil, fmt.Errorf("pki: the list is not of %q: %w", c.Name(), err)
		}
		next.Number = new(big.Int).Add(before.Number, big.NewInt(1))
		next.RevokedCertificateEntries = before.RevokedCertificateEntries
	}
	for _, leaf := range leaves {
		if err := c.issued(leaf); err != nil {
			return nil, err
		}
		if !listed(next, leaf.SerialNumber) {
			next.RevokedCertificateEntries = append(next.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: leaf.SerialNumber, RevocationTime: now})
		}
	}
	der, err := x509.CreateRevocationList(rand.Reader, next, c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("pki: the list of %q: %w", c.Name(), err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), nil
}

func listed(l *x509.RevocationList, serial *big.Int) bool {
	for _, e := range l.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(serial) == 0 {
			return true
		}
	}
	return false
}

// ParseList reads exactly one PEM block of a revocation list. Who signed it is
// for the caller to check.
func ParseList(b []byte) (*x509.RevocationList, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "X509 CRL" || len(rest) != 0 {
		return nil, errors.New("pki: want exactly one X509 CRL block")
	}
	l, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("pki: revocation list: %w", err)
	}
	if l.Number == nil {
		return nil, errors.New("pki: the revocation list has no number")
	}
	return l, nil
}

// ParseCertificate reads exactly one PEM block of a certificate.
func ParseCertificate(b []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" || len(rest) != 0 {
		return nil, errors.New("pki: want exactly one CERTIFICATE block")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("pki: certificate: %w", err)
	}
	return c, nil
}
