package dev

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"time"

	"github.com/mintwarden/mintwarden/daemon/pki"
)

// renewBefore its end a certificate is made anew at a start.
const renewBefore = 30 * 24 * time.Hour

// makeCertificates makes the development appliance's two PKIs, one per
// algorithm, and at a later start what has ended, or soon will. tls/ca.crt is
// written last: its presence says that all the others are whole.
func (d *directory) makeCertificates() error {
	first := !d.exists("tls", "ca.crt")
	classic, err := d.ca("pki/root-ecdsa", "mintwarden dev root (ECDSA)", pki.ECDSAP256, first)
	if err != nil {
		return err
	}
	quantum, err := d.ca("pki/root-mldsa", "mintwarden dev root (ML-DSA)", pki.MLDSA65, first)
	if err != nil {
		return err
	}
	hosts := []string{"127.0.0.1", "::1", "localhost"}
	for _, l := range []struct {
		path  string
		ca    *pki.CA
		alg   pki.Algorithm
		name  string
		serve bool
	}{
		{"tls/client", classic, pki.ECDSAP256, "dev-client", false},
		{"tls/pq/client", quantum, pki.MLDSA65, "dev-client", false},
		{"pki/api-ecdsa", classic, pki.ECDSAP256, "mintwarden", true},
		{"pki/api-mldsa", quantum, pki.MLDSA65, "mintwarden", true},
		{"pki/etcd", quantum, pki.MLDSA65, "etcd", true},
		{"pki/etcd-root", quantum, pki.MLDSA65, "root", false},
		{"pki/etcd-mintwarden", quantum, pki.MLDSA65, "mintwarden", false},
		{"pki/etcd-seal", quantum, pki.MLDSA65, "mintwarden-seal", false},
	} {
		if !first && d.good(l.path) {
			continue
		}
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
	if !first {
		return nil
	}
	roots := bytes.Join([][]byte{classic.Pair().Certificate, quantum.Pair().Certificate}, nil)
	if err := d.write(roots, "tls", "pq", "ca.crt"); err != nil {
		return err
	}
	return d.write(roots, "tls", "ca.crt")
}

// ca makes a root at the first start, and reads it later.
func (d *directory) ca(path, name string, alg pki.Algorithm, first bool) (*pki.CA, error) {
	if first {
		ca, err := pki.NewCA(name, alg)
		if err != nil {
			return nil, err
		}
		return ca, d.writePair(path, ca.Pair())
	}
	cert, err := d.read(path + ".crt")
	if err != nil {
		return nil, fmt.Errorf("dev: %w", err)
	}
	key, err := d.read(path + ".key")
	if err != nil {
		return nil, fmt.Errorf("dev: %w", err)
	}
	return pki.LoadCA(pki.Pair{Certificate: cert, Key: key})
}

// good tells whether a pair is whole and does not end soon.
func (d *directory) good(path string) bool {
	pair, err := tls.LoadX509KeyPair(d.path(path+".crt"), d.path(path+".key"))
	return err == nil && time.Until(pair.Leaf.NotAfter) > renewBefore
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
