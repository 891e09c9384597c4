package main

import (
	"os"
	"path/filepath"

	"github.com/mintwarden/mintwarden/daemon/pki"
)

// roots are the two that client and server certificates chain to.
type roots struct{ classic, quantum *pki.CA }

// Files of tls.dir. ca.crt, which holds both roots, is written last: its presence
// says that the others are whole.
const (
	rootsFile   = "ca.crt"
	classicRoot = "root-ecdsa"
	quantumRoot = "root-mldsa"
	classicAPI  = "api-ecdsa"
	quantumAPI  = "api-mldsa"
)

// roots reads the roots in tls.dir, made where there are none, with certificates
// for the API's names.
func (f *founding) roots() (*roots, error) {
	dir := f.plan.TLS.Dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if exists(filepath.Join(dir, rootsFile)) {
		return loadRoots(dir)
	}
	r, err := newRoots(f.plan.Instance)
	if err != nil {
		return nil, err
	}
	if err := r.writeServer(dir, f.plan.TLS.Hosts); err != nil {
		return nil, err
	}
	return r, r.keep(dir)
}

func newRoots(instance string) (*roots, error) {
	classic, err := pki.NewCA(instance+" root (ECDSA)", pki.ECDSAP256)
	if err != nil {
		return nil, err
	}
	quantum, err := pki.NewCA(instance+" root (ML-DSA)", pki.MLDSA65)
	return &roots{classic, quantum}, err
}

func loadRoots(dir string) (*roots, error) {
	classic, err := loadRoot(dir, classicRoot)
	if err != nil {
		return nil, err
	}
	quantum, err := loadRoot(dir, quantumRoot)
	return &roots{classic, quantum}, err
}

func loadRoot(dir, name string) (*pki.CA, error) {
	var p pki.Pair
	var err error
	if p.Certificate, err = os.ReadFile(filepath.Join(dir, name+".crt")); err != nil {
		return nil, err
	}
	if p.Key, err = os.ReadFile(filepath.Join(dir, name+".key")); err != nil {
		return nil, err
	}
	return pki.LoadCA(p)
}

func (r *roots) writeServer(dir string, hosts []string) error {
	if len(hosts) == 0 {
		return nil
	}
	for _, s := range []struct {
		name string
		ca   *pki.CA
		alg  pki.Algorithm
	}{{classicAPI, r.classic, pki.ECDSAP256}, {quantumAPI, r.quantum, pki.MLDSA65}} {
		pair, err := s.ca.IssueServer("mintwarden", hosts, s.alg)
		if err != nil {
			return err
		}
		if err := writePair(dir, s.name, pair); err != nil {
			return err
		}
	}
	return nil
}

func writePair(dir, name string, p pki.Pair) error {
	if err := writeWhole(filepath.Join(dir, name+".crt"), p.Certificate, 0o644, nil); err != nil {
		return err
	}
	return writeWhole(filepath.Join(dir, name+".key"), p.Key, 0o600, nil)
}
