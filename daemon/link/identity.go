package link

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// prefix begins the common name of an appliance's certificate.
const prefix = "appliance:"

// Identity is what both ends know each other by. It does not change.
type Identity struct {
	pair  tls.Certificate
	roots []*x509.Certificate
	pool  *x509.CertPool // of the roots
}

// NewIdentity is of the appliance's own pair and the roots of all appliances'
// pairs. It refuses a pair that is another appliance's, and a root that is one
// of callers' too: whoever issues certificates to people could name one of them
// appliance:….
func NewIdentity(appliance string, pair tls.Certificate, roots, callers []*x509.Certificate) (*Identity, error) {
	if name := pair.Leaf.Subject.CommonName; name != prefix+appliance {
		return nil, fmt.Errorf("link: the certificate names %q, this is %s%s", name, prefix, appliance)
	}
	pool := x509.NewCertPool()
	for _, root := range roots {
		pool.AddCert(root)
	}
	for _, caller := range callers {
		if slices.ContainsFunc(roots, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubjectPublicKeyInfo, caller.RawSubjectPublicKeyInfo)
		}) {
			return nil, fmt.Errorf("link: the roots hold the key of %q, a root of callers too; appliances need a root of their own", caller.Subject.CommonName)
		}
	}
	return &Identity{pair, roots, pool}, nil
}

// Certificate is our own.
func (i *Identity) Certificate() *x509.Certificate { return i.pair.Leaf }

// Roots are those of all appliances' pairs.
func (i *Identity) Roots() []*x509.Certificate { return i.roots }

// groups are the link's key exchanges: both ends are ours, so the hybrid
// is the only one.
var groups = []tls.CurveID{tls.X25519MLKEM768}

func (i *Identity) server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: i.pool,
		NextProtos: []string{"h2", "http/1.1"}, CurvePreferences: groups, SessionTicketsDisabled: true,
	}
}

// client verifies that who answers is the peer that was meant, and not merely
// one of us.
func (i *Identity) client(peer string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{i.pair}, RootCAs: i.pool, CurvePreferences: groups,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if name := cs.PeerCertificates[0].Subject.CommonName; name != prefix+peer {
				return fmt.Errorf("link: who answers for %s is %q", peer, name)
			}
			return nil
		},
	}
}

// trusts is nil of a peer that showed these certificates, the leaf first, and
// would be believed with them, for that use, at that time.
func (i *Identity) trusts(shown []*x509.Certificate, use x509.ExtKeyUsage, at time.Time) error {
	between := x509.NewCertPool()
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	if _, err := shown[0].Verify(x509.VerifyOptions{Roots: i.pool, Intermediates: between, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
		return fmt.Errorf("the certificate of %.80q: %w", shown[0].Subject.CommonName, err)
	}
	return nil
}
