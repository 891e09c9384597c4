package daemon

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"

	auditlog "github.com/mintwarden/mintwarden/daemon/audit/log"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// openAudit makes the audit log as the config has it. What it needs to know of the ledger it is told from
// the fold that this process verifies.
func (p *parts) openAudit(sealer auditlog.Sealer) (*auditlog.Log, error) {
	c := p.cfg.Audit
	l, err := auditlog.Open(p.store, auditlog.Options{Dir: c.Dir, Appliance: p.cfg.Appliance, Seal: sealer, Cosigner: p.seal,
		CheckpointEvery: c.CheckpointEvery, Retention: c.Retention,
		Ledger: auditlog.Ledger{LastCheckpoint: p.lastCheckpoint, Check: p.checkKeys, Epoch: p.epoch, Charters: p.charters, Appliances: p.appliances}}, p.log, p.reg)
	if err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	return l, nil
}

func (p *parts) lastCheckpoint() (seal.Tree, bool) {
	c := p.registry.Fold().LastCheckpoint()
	if c == nil {
		return seal.Tree{}, false
	}
	return seal.Tree{Size: c.Size, Root: c.Root}, true
}

// checkKeys is nil of the keys of an appliance that the charter in force has.
func (p *parts) checkKeys(ctx context.Context, k *seal.CheckpointKeys) error {
	if err := p.registry.WaitReady(ctx); err != nil {
		return err
	}
	c, _ := p.registry.Fold().Charter()
	if c == nil {
		return fmt.Errorf("daemon: the ledger has no charter that could name the appliance %.80q", k.ApplianceID)
	}
	return k.Check(c)
}

func (p *parts) epoch(ctx context.Context) (uint64, error) {
	if err := p.registry.WaitReady(ctx); err != nil {
		return 0, err
	}
	return p.registry.Fold().Epoch(), nil
}

func (p *parts) charters() ([]jsontext.Value, error) {
	var out []jsontext.Value
	for _, e := range p.registry.Fold().Charters() {
		text, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, nil
}

func (p *parts) appliances() []string {
	var out []string
	if c, _ := p.registry.Fold().Charter(); c != nil {
		for _, a := range c.Appliances {
			out = append(out, a.ID)
		}
	}
	return out
}
