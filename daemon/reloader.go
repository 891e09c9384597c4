package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// reloader keeps what is made of some files as the files are. Nobody who is
// still trusted notices; what does not hold together is left, said once, and
// tried again. It is one goroutine's.
type reloader struct {
	of    string   // whose files: api or link
	files []string // each of at most maxPEM bytes
	// load reads the files whole; what it gives takes them into use, or refuses and changes nothing.
	load func() (take func() error, err error)
	log  *slog.Logger

	seen   [sha256.Size]byte
	failed prometheus.Gauge
	said   string // the last failure, so that it is said once
}

// open takes the files as they are; the metric is registered in reg.
func (r *reloader) open(reg prometheus.Registerer) error {
	r.failed = prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "mintwarden_tls_reload_failing",
		Help:        "1 while certificates, roots or revocation lists on disk cannot be taken and those from before are in use.",
		ConstLabels: prometheus.Labels{"of": r.of},
	})
	if _, err := r.take(); err != nil {
		return fmt.Errorf("daemon: %s: %w", r.of, err)
	}
	return reg.Register(r.failed)
}

// run takes in what changes on disk, until ctx ends.
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
			r.log.Error("certificates were not reloaded; those from before are in use", "of", r.of, "error", err)
		}
	default:
		r.failed.Set(0)
		r.said = ""
		if changed {
			r.log.Info("certificates, roots and revocation lists were reloaded", "of", r.of)
		}
	}
}

var errMoving = errors.New("the files change while they are read")

// take takes in what is on disk, if it is another than before. Files are read
// between two looks that must agree: a certificate is not shown without its key
// because the other one was about to be written.
func (r *reloader) take() (bool, error) {
	before, err := r.digest()
	if err != nil || before == r.seen {
		return false, err
	}
	use, err := r.load()
	if err != nil {
		return false, err
	}
	after, err := r.digest()
	if err != nil {
		return false, err
	}
	if after != before {
		return false, errMoving
	}
	if err := use(); err != nil {
		return false, err
	}
	r.seen = after
	return true, nil
}

// digest changes when one of the files does.
func (r *reloader) digest() ([sha256.Size]byte, error) {
	h := sha256.New()
	for _, path := range r.files {
		b, err := readPEM(path)
		if err != nil {
			return [sha256.Size]byte{}, err
		}
		one := sha256.Sum256(b)
		h.Write(one[:])
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
