package daemon

import (
	"crypto/x509"
	"fmt"
	"os"

	"github.com/mintwarden/mintwarden/daemon/callback"
)

// openCallback makes the signer for Qustody as the config has it; nil where it has none.
func (p *parts) openCallback() (*callback.Service, error) {
	c := p.cfg.Callback
	if !c.Configured() {
		return nil, nil
	}
	key, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("daemon: callback.key_file: %w", err)
	}
	d := callback.Deps{Store: p.store, Registry: p.registry, Operations: p.operations, Seal: p.seal, Log: p.log, Registerer: p.reg,
		URL: c.URL, Key: string(key), Requester: c.Requester, Broadcast: c.Broadcast, Poll: c.Poll}
	for _, w := range c.Wallets {
		d.Wallets = append(d.Wallets, callback.Wallet{ID: w.Wallet, VaultID: w.VaultAccount, AssetID: w.Asset, Label: w.Label})
	}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("daemon: callback.ca: %w", err)
		}
		d.Roots = x509.NewCertPool()
		if !d.Roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("daemon: callback.ca: no certificate in %s", c.CA)
		}
	}
	s, err := callback.New(d)
	if err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	return s, nil
}
