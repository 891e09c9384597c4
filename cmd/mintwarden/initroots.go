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
	r, err := makeRoots(dir, f.plan.Instance)
	if err != nil {
		return nil, err
	}
	if err := r.writeServer(dir, f.plan.TLS.Hosts); err != nil {
		return nil, err
	}
	return r, r.publish(dir)
}

// rootsAtHand refuses before anything is changed roots that cannot issue the first
// users' certificates in the end.
func (f *founding) rootsAtHand() error {
	dir := f.plan.TLS.Dir
	if !exists(filepath.Join(dir, rootsFile)) || exists(f.plan.Bootstrap) {
		return nil
	}
	if _, err := loadRoots(dir); err != nil {
		return usagef("tls.dir: %s has %s and cannot issue certificates: %w; name the directory that 'mintwarden cert ca' made, or one without %s, where roots are made",
			dir, rootsFile, err, rootsFile)
	}
	return nil
}

// makeRoots makes what a directory lacks of two roots. A root that is there with its
// key stays: everything that it issued hangs on it.
func makeRoots(dir, name string) (*roots, error) {
	r := &roots{}
	for _, x := range []struct {
		file, name string
		algorithm  pki.Algorithm
		root       **pki.CA
	}{{classicRoot, name + " root (ECDSA)", pki.ECDSAP256, &r.classic}, {quantumRoot, name + " root (ML-DSA)", pki.MLDSA65, &r.quantum}} {
		// The certificate is written first: without its key it is what a crash left.
		key := filepath.Join(dir, x.file+".key")
		if !exists(key) {
			root, err := pki.NewCA(x.name, x.algorithm)
			if err != nil {
				return nil, err
			}
			if err := writePair(dir, x.file, root.Pair()); err != nil {
				return nil, err
			}
		}
		var err error
		if *x.root, err = loadRoot(dir, x.file); err != nil {
			return nil, refused("%s is there, and is not written over: %w; put its certificate beside it, or take another directory", key, err)
		}
	}
	return r, nil
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
		if path := filepath.Join(dir, s.name+".crt"); exists(path) { // of the run before this one, or somebody's
			if leaf, err := readCertificate(path); err != nil || !s.ca.Issued(leaf) {
				return refused("%s is there, is not of the roots in that directory, and is not written over; take it away, or leave tls.hosts out", path)
			}
		}
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

// writePair writes a certificate and its key. In the place of a pair it keeps their
// owners and modes: who renews a service's key is not who reads it. A key is nobody
// else's all the same.
func writePair(dir, name string, p pki.Pair) error {
	for _, f := range []struct {
		ending     string
		text       []byte
		mode, most os.FileMode
	}{{".crt", p.Certificate, 0o644, 0o777}, {".key", p.Key, 0o600, 0o770}} {
		path := filepath.Join(dir, name+f.ending)
		var of *owner
		info, err := os.Stat(path)
		if err == nil {
			f.mode, of = info.Mode().Perm()&f.most, ownerOf(info)
		} else if !os.IsNotExist(err) {
			return err
		}
		if err := writeWhole(path, f.text, f.mode, of); err != nil {
			return err
		}
	}
	return nil
}
