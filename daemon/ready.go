package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/mintwarden/mintwarden/api"
)

// checks are what /readyz asks: each names one part without which privileged
// operations do not go on.
func (p *parts) checks() []api.Check {
	checks := []api.Check{
		{Name: "seal", Ready: p.sealReady},
		{Name: "ledger", Ready: p.registry.WaitReady},
		{Name: "store", Ready: func(ctx context.Context) error {
			_, _, _, err := p.store.Get(ctx, readyKey)
			return err
		}},
	}
	for name, c := range p.chains {
		checks = append(checks, api.Check{Name: "node " + name, Ready: func(ctx context.Context) error {
			_, err := c.Head(ctx)
			return err
		}})
	}
	return checks
}

// readyKey is never written: reading it through etcd's quorum is the check.
const readyKey = "/mw/ready"

// sealReady is nil while the seal answers, unsealed, with its token: a seal
// that lost its HSM starts its worker again and does not answer meanwhile.
func (p *parts) sealReady(ctx context.Context) error {
	s, err := p.seal.Status(ctx)
	switch {
	case err != nil:
		return err
	case s.Sealed:
		return errors.New("sealed; unseal it")
	case !s.Initialized:
		return errors.New("charter 1 is not applied")
	case s.HSM.Serial == "":
		return fmt.Errorf("no HSM token %q", s.HSM.Label)
	}
	return nil
}

// sealMetrics are the sealed process's figures, for a scrape.
func (p *parts) sealMetrics(ctx context.Context) (string, error) {
	m, err := p.seal.Metrics(ctx)
	if err != nil {
		return "", err
	}
	return m.Text, nil
}
