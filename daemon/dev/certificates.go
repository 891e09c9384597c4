package dev

import (
	"bytes"
	"os"

	"github.com/mintwarden/mintwarden/daemon/pki"
)

// makeCertificates makes the development appliance's two PKIs, one per
// algorithm, unless they are there. tls/ca.crt is written last: its presence
// says that all the others are whole.
func (d *directory) makeCertificates() error {
	if d.exists("tls", "ca.crt") {
		return nil
	}
	classic, err := pki.NewCA("mintwarden dev root (ECDSA)", pki.ECDSAP256)
	if err != nil {
		return err
	}
	quantum, err := pki.NewCA("mintwarden dev root (ML-DSA)", pki.MLDSA65)
	if err != nil {
		return err
	}
	hosts := []string{"127.0.0.1", "::1", "localhost"}
	type leaf struct {
		path  string
		ca    *pki.CA
		alg   pki.Algorithm
		name  string
		serve bool
	}
	for _, l := range []leaf{
		{"tls/client", classic, pki.ECDSAP256, "dev-client", false},
		{"tls/pq/client", quantum, pki.MLDSA65, "dev-client", false},
		{"pki/api-ecdsa", classic, pki.ECDSAP256, "mintwarden", true},
		{"pki/api-mldsa", quantum, pki.MLDSA65, "mintwarden", true},
		{"pki/etcd", quantum, pki.MLDSA65, "etcd", true},
		{"pki/etcd-root", quantum, pki.MLDSA65, "root", false},
		{"pki/etcd-mintwarden", quantum, pki.MLDSA65, "mintwarden", false},
		{"pki/etcd-seal", quantum, pki.MLDSA65, "mintwarden-seal", false},
	} {
		var p pki.Pair
		var err error
		if l.serve {
			p, err = l.ca.IssueServer(l.name, hosts, l.alg)
		} else {
			p, err = l.ca.IssueClient(l.name, l.alg)
		}
		if err != nil {
			return err
		}
		if err := d.writePair(l.path, p); err != nil {
			return err
		}
	}
	roots := bytes.Join([][]byte{classic.Pair().Certificate, quantum.Pair().Certificate}, nil)
	if err := d.writePair("pki/root-ecdsa", classic.Pair()); err != nil {
		return err
	}
	if err := d.writePair("pki/root-mldsa", quantum.Pair()); err != nil {
		return err
	}
	if err := d.write(roots, "tls", "pq", "ca.crt"); err != nil {
		return err
	}
	return d.write(roots, "tls", "ca.crt")
}

func (d *directory) writePair(path string, p pki.Pair) error {
	if err := d.write(p.Certificate, path+".crt"); err != nil {
		return err
	}
	return d.write(p.Key, path+".key")
}

// read is the content of a file of the directory.
func (d *directory) read(elements ...string) ([]byte, error) {
	return os.ReadFile(d.path(elements...))
}
