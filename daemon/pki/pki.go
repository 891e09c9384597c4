// Package pki makes certificates for those who have no PKI: the development
// appliance, the tests, and `mintwarden cert`.
//
// # What it promises
//
// Two kinds of key, and nothing else: ML-DSA-65 (FIPS 204), which the
// appliance prefers, and ECDSA P-256 for clients that cannot do it yet. Each
// kind has a root of its own, so a client that knows only one of them can
// still verify the whole chain. Serial numbers are random (128 bits), a
// certificate is valid from an hour before it was made, a server certificate
// names its hosts as subject alternative names, a client certificate names its
// holder as common name (etcd's users are told apart by it).
//
// # What it does not
//
// It keeps no record of what it issued, nor the lists of what it revoked; keys leave it as
// PKCS#8 PEM and it is the caller's job to store them with mode 0600.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/mldsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Algorithm is the kind of key in a certificate.
type Algorithm int

const (
	// MLDSA65 is FIPS 204's ML-DSA-65: post-quantum, the default between parts of the appliance.
	MLDSA65 Algorithm = iota + 1
	// ECDSAP256 is for clients that cannot do ML-DSA yet (any curl).
	ECDSAP256
)

// String is the name that people know the algorithm by.
func (a Algorithm) String() string {
	switch a {
	case MLDSA65:
		return "ML-DSA-65"
	case ECDSAP256:
		return "ECDSA P-256"
	default:
		return fmt.Sprintf("Algorithm(%d)", int(a))
	}
}

const (
	// backdate lets a peer whose clock is a little behind accept a certificate made just now.
	backdate = time.Hour
	// rootLifetime: a root is replaced by hand, so it outlives the hardware.
	rootLifetime = 10 * 365 * 24 * time.Hour
	// leafLifetime is the longest that public CAs still issue (398 days), rounded down.
	leafLifetime = 397 * 24 * time.Hour
)

// Pair is a certificate and its private key, both PEM.
type Pair struct {
	Certificate []byte // one CERTIFICATE block
	Key         []byte // one PRIVATE KEY block, PKCS#8; secret
}

// CA is a root that signs leaf certificates with its own algorithm. It is
// safe for concurrent use.
type CA struct {
	cert *x509.Certificate
	key  crypto.Signer
	pair Pair
}

// NewCA makes a root named name.
func NewCA(name string, alg Algorithm) (*CA, error) {
	key, err := generate(alg)
	if err != nil {
		return nil, fmt.Errorf("pki: root %q: %w", name, err)
	}
	template, err := template(name, rootLifetime)
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.MaxPathLenZero = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	pair, err := sign(template, template, key, key)
	if err != nil {
		return nil, fmt.Errorf("pki: root %q: %w", name, err)
	}
	return LoadCA(pair)
}

// LoadCA reads a root that NewCA made.
func LoadCA(p Pair) (*CA, error) {
	block, rest := pem.Decode(p.Certificate)
	if block == nil || block.Type != "CERTIFICATE" || len(rest) != 0 {
		return nil, errors.New("pki: root: want exactly one CERTIFICATE block")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("pki: root: %w", err)
	}
	if !cert.IsCA {
		return nil, fmt.Errorf("pki: %q is not a root", cert.Subject.CommonName)
	}
	block, _ = pem.Decode(p.Key)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("pki: root: want a PRIVATE KEY block")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("pki: root: the key is not PKCS#8") // the cause could quote the key
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("pki: root: a %T cannot sign", parsed)
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("pki: root %q: the key is not the certificate's", cert.Subject.CommonName)
	}
	return &CA{cert: cert, key: key, pair: p}, nil
}

// Pair is the root's own certificate and key.
func (c *CA) Pair() Pair { return c.pair }

// IssueServer makes a certificate for a server that is reached as one of
// hosts (DNS names or IP addresses; at least one). It serves as a client
// certificate too, since etcd uses one pair for both directions.
func (c *CA) IssueServer(commonName string, hosts []string, alg Algorithm) (Pair, error) {
	if len(hosts) == 0 {
		return Pair{}, fmt.Errorf("pki: server %q: no host named", commonName)
	}
	template, err := template(commonName, leafLifetime)
	if err != nil {
		return Pair{}, err
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, h)
	}
	return c.issue(template, alg)
}

// IssueClient makes a certificate for a client named commonName.
func (c *CA) IssueClient(commonName string, alg Algorithm) (Pair, error) {
	template, err := template(commonName, leafLifetime)
	if err != nil {
		return Pair{}, err
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return c.issue(template, alg)
}

// issue makes what a clock that is wrong, or a root that is over, would make worthless an
// error. Nothing is good for longer than its root.
func (c *CA) issue(template *x509.Certificate, alg Algorithm) (Pair, error) {
	switch now := time.Now(); {
	case now.Before(c.cert.NotBefore):
		return Pair{}, fmt.Errorf("pki: this machine's clock says %s, and the root %q is of %s: set the clock right first",
			now.UTC().Format(time.RFC3339), c.Name(), c.cert.NotBefore.UTC().Format(time.RFC3339))
	case now.After(c.cert.NotAfter):
		return Pair{}, fmt.Errorf("pki: the root %q ended at %s: make new ones", c.Name(), c.cert.NotAfter.UTC().Format(time.RFC3339))
	case template.NotAfter.After(c.cert.NotAfter):
		template.NotAfter = c.cert.NotAfter
	}
	key, err := generate(alg)
	if err != nil {
		return Pair{}, fmt.Errorf("pki: %q: %w", template.Subject.CommonName, err)
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	pair, err := sign(template, c.cert, key, c.key)
	if err != nil {
		return Pair{}, fmt.Errorf("pki: %q: %w", template.Subject.CommonName, err)
	}
	return pair, nil
}

func generate(alg Algorithm) (crypto.Signer, error) {
	switch alg {
	case MLDSA65:
		return mldsa.GenerateKey(mldsa.MLDSA65())
	case ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		return nil, fmt.Errorf("no such algorithm: %v", alg)
	}
}

func template(commonName string, lifetime time.Duration) (*x509.Certificate, error) {
	if commonName == "" {
		return nil, errors.New("pki: a certificate needs a common name")
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, fmt.Errorf("pki: serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(lifetime),
	}, nil
}

func sign(template, parent *x509.Certificate, key, parentKey crypto.Signer) (Pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return Pair{}, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	}, nil
}
