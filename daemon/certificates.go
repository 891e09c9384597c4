package daemon

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// digest changes when one of the files does.
func (f trustFiles) digest() ([sha256.Size]byte, error) {
	h := sha256.New()
	for _, path := range f.paths() {
		b, err := readPEM(path)
		if err != nil {
			return [sha256.Size]byte{}, err
		}
		one := sha256.Sum256(b)
		h.Write(one[:])
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
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

// reloader keeps the API's TLS as the files are.
type reloader struct {
	files  trustFiles
	tls    *api.TLS
	p      *parts
	seen   [sha256.Size]byte
	failed prometheus.Gauge
	said   string // the last failure, so that it is said once
}

func (p *parts) openTLS() (*reloader, error) {
	files := trustFiles{p.cfg.API}
	seen, err := files.digest()
	if err != nil {
		return nil, fmt.Errorf("daemon: api: %w", err)
	}
	trust, err := files.load()
	if err != nil {
		return nil, err
	}
	served, err := api.NewTLS(trust, p.reg)
	if err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	r := &reloader{files: files, tls: served, p: p, seen: seen, failed: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mintwarden_tls_reload_failing",
		Help: "1 while certificates, roots or revocation lists on disk cannot be taken and those from before are in use.",
	})}
	return r, p.reg.Register(r.failed)
}

// run takes in what changes on disk, until ctx ends. Nobody who is still trusted
// notices; what does not hold together is left, said once, and tried again.
func (r *reloader) run(ctx context.Context) error {
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
			r.reload()
		}
	}
}

func (r *reloader) reload() {
	changed, err := r.take()
	switch {
	case err != nil:
		r.failed.Set(1)
		if r.said != err.Error() {
			r.said = err.Error()
			r.p.log.Error("certificates were not reloaded; those from before are in use", "error", err)
		}
	default:
		r.failed.Set(0)
		r.said = ""
		if changed {
			r.p.log.Info("certificates, roots and revocation lists were reloaded")
		}
	}
}

var errMoving = errors.New("the files change while they are read")

// take takes in what is on disk, if it is another than before. Files are read
// between two looks that must agree: a certificate is not shown without its key
// because the other one was about to be written.
func (r *reloader) take() (bool, error) {
	before, err := r.files.digest()
	if err != nil || before == r.seen {
		return false, err
	}
	trust, err := r.files.load()
	if err != nil {
		return false, err
	}
	after, err := r.files.digest()
	if err != nil {
		return false, err
	}
	if after != before {
		return false, errMoving
	}
	if err := r.tls.Replace(trust); err != nil {
		return false, err
	}
	r.seen = after
	return true, nil
}
