package config

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"time"
)

var (
	tenantShape = regexp.MustCompile(`^[!-~]{1,64}$`)
	digestShape = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	nameShape   = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
)

// schemes that a network of each kind may use, the default first.
var schemes = map[string][]string{
	"quantum": {"dilithium3", "ml-dsa-65"},
	"evm":     {"secp256k1"},
}

// What etcd's quota may be, in bytes: below it has no room for its own pages, above its start takes minutes.
const (
	minQuota = 256 << 20
	maxQuota = 64 << 30
)

// faults collects what is wrong, so that an operator mends a file in one go.
type faults []error

func (f *faults) add(key, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %w", key, fmt.Errorf(format, args...)))
}

func (f *faults) require(key, value string) {
	if value == "" {
		f.add(key, "is missing; set it")
	}
}

func (f *faults) address(key, value string) {
	host, port, err := net.SplitHostPort(value)
	if err != nil || port == "" || host == "" {
		f.add(key, "%q is not host:port; write for example \"127.0.0.1:8443\"", value)
	}
}

func (f *faults) duration(key, value string, low, high time.Duration) time.Duration {
	d, err := time.ParseDuration(value)
	if err != nil {
		f.add(key, "%q is not a duration; write for example \"24h\" or \"15s\"", value)
		return 0
	}
	if d < low || d > high {
		f.add(key, "%s is outside %s to %s", d, low, high)
	}
	return d
}

func (c *Config) check() error {
	var f faults
	if !tenantShape.MatchString(c.Tenant) {
		f.add("tenant", "%q: want 1 to 64 visible ASCII characters", c.Tenant)
	}
	if !nameShape.MatchString(c.Appliance) {
		f.add("appliance", "%q: want this box's name in the charter: lower-case letters, digits and hyphens, at most 63", c.Appliance)
	}
	if !digestShape.MatchString(c.Charter1) {
		f.add("charter1", "%q is not a digest; write sha256: and 64 hex digits", c.Charter1)
	}
	c.API.check(&f)
	f.address("monitor.listen", c.Monitor.Listen)
	f.require("seal.socket", c.Seal.Socket)
	c.Store.check(&f)
	c.checkLink(&f)
	c.checkNetworks(&f)
	c.checkOperation(&f)
	c.Limits.check(&f)
	c.Webhooks.check(&f)
	c.Callback.check(&f)
	c.Audit.check(&f)
	c.Trace.check(&f)
	if _, err := c.Log.Slog(); err != nil {
		f.add("log.level", "%q is none of debug, info, warn, error", c.Log.Level)
	}
	return errors.Join(f...)
}

func (a *API) check(f *faults) {
	f.address("api.listen", a.Listen)
	if len(a.Certificates) == 0 {
		f.add("api.certificates", "no certificate; name at least one pair {cert, key}")
	}
	for i, p := range a.Certificates {
		f.require(fmt.Sprintf("api.certificates[%d].cert", i), p.Cert)
		f.require(fmt.Sprintf("api.certificates[%d].key", i), p.Key)
	}
	if len(a.ClientCA) == 0 {
		f.add("api.client_ca", "no root; clients could not be told apart")
	}
}

func (s *Store) check(f *faults) {
	f.require("store.ca", s.CA)
	f.require("store.cert", s.Cert)
	f.require("store.key", s.Key)
	if s.QuotaBytes != 0 && (s.QuotaBytes < minQuota || s.QuotaBytes > maxQuota) {
		f.add("store.quota_bytes", "%d is outside %d to %d", s.QuotaBytes, int64(minQuota), int64(maxQuota))
	}
	if len(s.Endpoints) > 0 {
		if s.Embedded != (Embedded{}) {
			f.add("store.embedded", "is set beside store.endpoints; keep one of the two")
		}
		for i, e := range s.Endpoints {
			u, err := url.Parse(e)
			if err != nil || u.Scheme != "https" || u.Host == "" {
				f.add(fmt.Sprintf("store.endpoints[%d]", i), "%q is not an https URL", e)
			}
		}
		return
	}
	e := s.Embedded
	f.require("store.embedded.dir", e.Dir)
	f.require("store.embedded.server_cert", e.ServerCert)
	f.require("store.embedded.server_key", e.ServerKey)
	f.require("store.embedded.root_cert", e.RootCert)
	f.require("store.embedded.root_key", e.RootKey)
	host, _, err := net.SplitHostPort(e.Listen)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		f.add("store.embedded.listen", "%q is not on loopback; write for example \"127.0.0.1:2379\"", e.Listen)
	}
}

func (c *Config) checkLink(f *faults) {
	l := &c.Link
	if !l.Configured() {
		return
	}
	f.address("link.listen", l.Listen)
	f.require("link.cert", l.Cert)
	f.require("link.key", l.Key)
	f.require("link.ca", l.CA)
	if len(c.Store.Endpoints) == 0 {
		f.add("link", "is set, but etcd is embedded here; appliances share a cluster, so name store.endpoints")
	}
	if len(l.Peers) == 0 {
		f.add("link.peers", "no peer; name at least one other appliance, or leave the table out")
	}
	for _, id := range slices.Sorted(maps.Keys(l.Peers)) {
		key := "link.peers." + id
		u, err := url.Parse(l.Peers[id])
		switch {
		case !nameShape.MatchString(id):
			f.add(key, "%q: want an appliance's name in the charter", id)
		case id == c.Appliance:
			f.add(key, "is this appliance itself")
		case err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
			f.add(key, "%q is not an https URL of host and port alone", l.Peers[id])
		}
	}
}

func (c *Config) checkNetworks(f *faults) {
	if len(c.Networks) == 0 {
		f.add("networks", "no network; add one [[networks]] table")
	}
	for i := range c.Networks {
		n := &c.Networks[i]
		key := func(field string) string { return fmt.Sprintf("networks[%d].%s", i, field) }
		if !nameShape.MatchString(n.Name) {
			f.add(key("name"), "%q: want lower-case letters, digits and hyphens, at most 63", n.Name)
		}
		for j := range i {
			if c.Networks[j].Name == n.Name {
				f.add(key("name"), "%q stands twice", n.Name)
			}
			if c.Networks[j].ChainID == n.ChainID {
				f.add(key("chain_id"), "%d stands twice; a chain has one name", n.ChainID)
			}
		}
		if allowed, ok := schemes[n.Kind]; !ok {
			f.add(key("kind"), "%q is neither quantum nor evm", n.Kind)
		} else if !slices.Contains(allowed, n.Scheme) {
			f.add(key("scheme"), "%q is none of %v, which a network of kind %s has", n.Scheme, allowed, n.Kind)
		}
		if n.ChainID == 0 {
			f.add(key("chain_id"), "is missing; set it")
		}
		if n.Confirmations < 1 || n.Confirmations > 1000 {
			f.add(key("confirmations"), "%d is outside 1 to 1000", n.Confirmations)
		}
		f.require(key("currency"), n.Currency)
		if len(n.RPCURLs) == 0 {
			f.add(key("rpc_urls"), "no node; name at least one URL")
		}
		for j, r := range n.RPCURLs {
			u, err := url.Parse(r)
			if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
				f.add(key(fmt.Sprintf("rpc_urls[%d]", j)), "is not an http or https URL; write for example \"http://127.0.0.1:8545\"") // it may hold a secret
			}
		}
		if n.ResubmitAfter > 1000 {
			f.add(key("resubmit_after"), "%d is outside 1 to 1000", n.ResubmitAfter)
		}
		n.BlockPeriod = f.duration(key("block_period"), n.Period, 10*time.Millisecond, time.Hour)
	}
}

func (w *Webhooks) check(f *faults) {
	for i, n := range w.AllowNetworks {
		if p, err := netip.ParsePrefix(n); err != nil || p != p.Masked() {
			f.add(fmt.Sprintf("webhooks.allow_networks[%d]", i), "%q is not a network; write for example \"10.20.0.0/16\"", n)
		}
	}
	w.Retention = f.duration("webhooks.retention", w.RetentionText, time.Hour, 10*365*24*time.Hour)
	if w.MaxBacklog < 1000 || w.MaxBacklog > 1e7 {
		f.add("webhooks.max_backlog", "%d is outside 1000 to 10000000", w.MaxBacklog)
	}
}

func (a *Audit) check(f *faults) {
	a.CheckpointEvery = f.duration("audit.checkpoint_every", a.CheckpointText, 100*time.Millisecond, time.Hour)
	a.Retention = f.duration("audit.retention", a.RetentionText, 0, 100*365*24*time.Hour)
}

func (c *Config) checkOperation(f *faults) {
	o := &c.Operation
	o.TTL = f.duration("operation.ttl", o.TTLText, time.Minute, 30*24*time.Hour)
	o.Retention = f.duration("operation.retention", o.RetentionText, 0, 100*365*24*time.Hour)
	if o.Retention > 0 && c.Audit.Dir == "" {
		f.add("operation.retention", "is set without audit.dir, below which operations go then")
	}
}

// Slog is the level as log/slog has it.
func (l Log) Slog() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return 0, err
	}
	return level, nil
}
