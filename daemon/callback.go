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
	key, err := readKey(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("daemon: callback.key_file: %w", err)
	}
	d := callback.Deps{Store: p.store, Registry: p.registry, Operations: p.operations, Seal: p.seal, Log: p.log, Registerer: p.reg,
		URL: c.URL, Key: key, Requester: c.Requester, Broadcast: c.Broadcast, Poll: c.Poll}
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

// readKey reads an API key that not everybody on this machine can read. A group may, for systemd gives a
// credential to the service's user by an ACL, whose mask looks like the group's rights.
func readKey(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("%s must not be readable by others; chmod 600 it, and have Qustody give out another key", path)
	}
	text, err := os.ReadFile(path)
	return string(text), err
}
