package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// checks are what /readyz asks: each names one part without which privileged
// operations do not go on.
func (p *parts) checks() []api.Check {
	checks := []api.Check{
		{Name: "seal", Ready: p.sealReady},
		{Name: "ledger", Ready: func(context.Context) error { return p.registry.Ready() }},
		{Name: "store", Ready: func(ctx context.Context) error {
			if _, _, _, err := p.store.Get(ctx, readyKey); err != nil {
				return err
			}
			// Near its quota it still takes what was begun; full, it takes nothing.
			if err := p.store.Room(); errors.Is(err, store.ErrFull) {
				return err
			}
			return nil
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

// maxBehind is how many batches a seal may be behind what this process has
// followed: it reads the same log, a moment later.
const maxBehind = 1000

// sealReady is nil while the seal answers, unsealed, with its token, over the
// ledger that this process follows: as the author, or beside it. A seal that
// lost its HSM starts its worker again and does not answer meanwhile.
func (p *parts) sealReady(ctx context.Context) error {
	head, _ := p.registry.Fold().Head() // before the seal's, which only rises
	s, err := p.seal.Status(ctx)
	if err != nil {
		return err
	}
	return notReady(s, head)
}

// notReady is why a seal of that status cannot do its part where the ledger's
// head is the given one; nil if it can.
func notReady(s *seal.Status, head uint64) error {
	switch {
	case s.Sealed && s.Unsealing != nil:
		return fmt.Errorf("sealed%s; %d of %d shares are there to unseal it", because(s.Why), len(s.Unsealing.Shares), s.Unsealing.Need)
	case s.Sealed:
		return fmt.Errorf("sealed%s; unseal it", because(s.Why))
	case !s.Initialized:
		return errors.New("charter 1 is not applied")
	case s.HSM.Serial == "":
		return fmt.Errorf("no HSM token %q", s.HSM.Label)
	case s.Doubt != nil && s.Doubt.Kind == "stranger":
		return fmt.Errorf("not joined: %s", s.Doubt.Reason)
	case s.Doubt != nil && s.Doubt.Kind == "store":
		return fmt.Errorf("the store is in doubt: %s", s.Doubt.Reason)
	case s.Doubt != nil:
		return fmt.Errorf("the store is %s: %s", s.Doubt.Kind, s.Doubt.Reason)
	case s.Sequence+maxBehind < head:
		return fmt.Errorf("behind: the seal is at batch %d, the ledger at %d", s.Sequence, head)
	}
	return nil
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}

// sealMetrics are the sealed process's figures, for a scrape.
func (p *parts) sealMetrics(ctx context.Context) (string, error) {
	m, err := p.seal.Metrics(ctx)
	if err != nil {
		return "", err
	}
	return m.Text, nil
}
