package config

import (
	"fmt"
	"net/url"
	"regexp"
	"time"
)

// Callback is the signer for Qustody's callback mode. All of it that has no default is set, or nothing.
// Appliances that share a store have the same table.
type Callback struct {
	URL     string `toml:"url,omitempty"`      // https, up to what stands before /transactions
	KeyFile string `toml:"key_file,omitempty"` // holds the API key
	CA      string `toml:"ca,omitempty"`       // PEM file of the roots of Qustody's certificate; empty: the system's
	// Requester is the person of the charter in whose name Qustody's transactions are asked for.
	Requester string `toml:"requester,omitempty"`
	// Broadcast sends signed bytes to this appliance's nodes as well, once Qustody has the signature.
	Broadcast bool             `toml:"broadcast,omitempty"`
	Poll      time.Duration    `toml:"-"`
	PollText  string           `toml:"poll,omitempty"` // Go duration; how often Qustody is asked for work, default 5s
	Wallets   []CallbackWallet `toml:"wallets,omitempty"`
}

// CallbackWallet is one of our wallets that signs for Qustody.
type CallbackWallet struct {
	Wallet       string `toml:"wallet"`          // our id of it
	VaultAccount string `toml:"vault_account"`   // Qustody's id of the vault account that it is registered in
	Asset        string `toml:"asset"`           // Qustody's id of the asset that it is registered for
	Label        string `toml:"label,omitempty"` // at Qustody
}

// Configured tells whether this appliance signs for Qustody.
func (c *Callback) Configured() bool {
	return c.URL != "" || c.KeyFile != "" || c.CA != "" || c.Requester != "" || c.Broadcast || c.PollText != "" || len(c.Wallets) > 0
}

var (
	walletShape  = regexp.MustCompile(`^wallet_[0-9A-HJKMNP-TV-Z]{26}$`)
	qustodyShape = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$`)
	labelShape   = regexp.MustCompile(`^[ -~]{0,64}$`)
)

func (c *Callback) check(f *faults) {
	if !c.Configured() {
		return
	}
	if u, err := url.Parse(c.URL); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		f.add("callback.url", "is not an https URL without user and query; write for example \"https://api.example.com/v1\"") // it may hold a secret
	}
	f.require("callback.key_file", c.KeyFile)
	if !nameShape.MatchString(c.Requester) {
		f.add("callback.requester", "%q: want a person's name in the charter: lower-case letters, digits and hyphens, at most 63", c.Requester)
	}
	poll := c.PollText
	if poll == "" {
		poll = "5s"
	}
	c.Poll = f.duration("callback.poll", poll, 100*time.Millisecond, time.Hour)
	if len(c.Wallets) == 0 {
		f.add("callback.wallets", "no wallet; add one [[callback.wallets]] table, or leave the table out")
	}
	seen := map[string]bool{}
	for i, w := range c.Wallets {
		key := func(field string) string { return fmt.Sprintf("callback.wallets[%d].%s", i, field) }
		if !walletShape.MatchString(w.Wallet) {
			f.add(key("wallet"), "%q is no wallet's id", w.Wallet)
		}
		if seen[w.Wallet] {
			f.add(key("wallet"), "%q stands twice", w.Wallet)
		}
		seen[w.Wallet] = true
		if !qustodyShape.MatchString(w.VaultAccount) {
			f.add(key("vault_account"), "%q: want Qustody's id: 1 to 64 letters, digits, hyphens and underscores", w.VaultAccount)
		}
		if !qustodyShape.MatchString(w.Asset) {
			f.add(key("asset"), "%q: want Qustody's id: 1 to 64 letters, digits, hyphens and underscores", w.Asset)
		}
		if !labelShape.MatchString(w.Label) {
			f.add(key("label"), "%q: want at most 64 printable ASCII characters", w.Label)
		}
	}
}
