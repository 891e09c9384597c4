package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/daemon/config"
)

const (
	// lookEvery is how often certificates, roots and revocation lists are looked
	// at for changes. It is part of the minute within which a revocation counts.
	lookEvery = 10 * time.Second
	// maxPEM bounds each of those files, in bytes: a revocation list of 100,000
	// certificates has 5 MiB.
	maxPEM = 16 << 20
)

// trustFiles are the files that the API's TLS stands on.
type trustFiles struct{ config.API }

// paths are all of them.
func (f trustFiles) paths() []string {
	var all []string
	for _, c := range f.Certificates {
		all = append(all, c.Cert, c.Key)
	}
	all = append(all, f.ClientCA...)
	return append(all, f.ClientCRL...)
}

// load reads all of them.
func (f trustFiles) load() (api.Trust, error) {
	var t api.Trust
	for _, c := range f.Certificates {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return t, fmt.Errorf("daemon: api certificate %s: %w", c.Cert, err)
		}
		t.Certificates = append(t.Certificates, pair)
	}
	for _, path := range f.ClientCA {
		roots, err := blocks(path, "CERTIFICATE", x509.ParseCertificate)
		if err != nil {
			return t, fmt.Errorf("daemon: client_ca: %w", err)
		}
		t.Roots = append(t.Roots, roots...)
	}
	for _, path := range f.ClientCRL {
		lists, err := blocks(path, "X509 CRL", x509.ParseRevocationList)
		if err != nil {
			return t, fmt.Errorf("daemon: client_crl: %w", err)
		}
		t.Revocations = append(t.Revocations, lists...)
	}
	return t, nil
}

func readPEM(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxPEM {
		return nil, fmt.Errorf("%s: %d bytes, at most %d", path, info.Size(), maxPEM)
	}
	return os.ReadFile(path)
}

// blocks reads a file of one or more PEM blocks of one kind, and nothing else.
func blocks[T any](path, kind string, parse func([]byte) (T, error)) ([]T, error) {
	text, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	var all []T
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != kind {
			return nil, fmt.Errorf("%s: a %s stands among the blocks, which are %s", path, block.Type, kind)
		}
		one, err := parse(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: block %d: %w", path, len(all)+1, err)
		}
		all, text = append(all, one), rest
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no %s", path, kind)
	}
	return all, nil
}

// openTLS makes the API's TLS of its files, and what keeps it as they are.
func (p *parts) openTLS() (*api.TLS, *reloader, error) {
	var served *api.TLS
	files := trustFiles{p.cfg.API}
	r := &reloader{of: "api", files: files.paths(), log: p.log, load: func() (func() error, error) {
		trust, err := files.load()
		if err != nil {
			return nil, err
		}
		return func() error {
			if served != nil {
				return served.Replace(trust)
			}
			var err error
			if served, err = api.NewTLS(trust, p.reg); err != nil {
				return fmt.Errorf("daemon: %w", err)
			}
			return nil
		}, nil
	}}
	if err := r.open(p.reg); err != nil {
		return nil, nil, err
	}
	return served, r, nil
}
