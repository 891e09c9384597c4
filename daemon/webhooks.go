package daemon

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mintwarden/mintwarden/daemon/webhook"
	"github.com/mintwarden/mintwarden/policy"
)

// openWebhooks makes the webhooks as the config has them.
func (p *parts) openWebhooks() (*webhook.Service, error) {
	c := p.cfg.Webhooks
	d := webhook.Deps{Store: p.store, Log: p.log, Registerer: p.reg, Retention: c.Retention, MaxBacklog: c.MaxBacklog,
		// The charter has the word on what is dev, not a file that an operator edits.
		Plain: func() bool {
			charter, _ := p.registry.Fold().Charter()
			return c.AllowHTTP && charter != nil && charter.Environment == policy.Dev
		}}
	if p.cfg.Audit.Dir != "" {
		d.Archive = webhook.Archive{Dir: filepath.Join(p.cfg.Audit.Dir, "deliveries"), Appliance: p.cfg.Appliance, Appliances: p.appliances}
	}
	var err error
	if d.Networks, err = webhook.Allowed(c.AllowNetworks); err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	if c.KeyFile != "" {
		material, err := os.ReadFile(c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("daemon: webhooks.key_file: %w", err)
		}
		if d.Key, err = webhook.DeriveKey(material); err != nil {
			return nil, fmt.Errorf("daemon: webhooks.key_file %s: %w", c.KeyFile, err)
		}
	}
	if len(c.CA) > 0 {
		if d.Roots, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("daemon: webhooks.ca: the system's roots: %w", err)
		}
		for _, path := range c.CA {
			pem, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("daemon: webhooks.ca: %w", err)
			}
			if !d.Roots.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("daemon: webhooks.ca: no certificate in %s", path)
			}
		}
	}
	s, err := webhook.New(d)
	if err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	return s, nil
}
