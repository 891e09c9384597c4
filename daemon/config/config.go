// Package config reads the daemon's one configuration file.
//
// # What it promises
//
// The file is TOML, strict: an unknown key refuses it. It is checked whole
// before anything starts, and every fault found is reported at once, each with
// the key's path, the value and what to do. Relative paths are taken from the
// file's own directory. No secret stands in it: keys and certificates are
// named by path.
//
// # What it does not
//
// It opens none of the files that it names and dials nobody; who uses a value
// says what is wrong with what it finds there. The seal has a file of its own
// (seal.toml), which this package never reads.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// maxSize of the file, in bytes: a real one is under 8 KiB.
const maxSize = 256 << 10

// Config is the whole file.
type Config struct {
	Appliance string    `toml:"appliance"`           // this box's name in the charter
	Tenant    string    `toml:"tenant"`              // name of the one organization that this appliance serves: 1–64 visible ASCII
	Charter1  string    `toml:"charter1"`            // digest of charter 1 (sha256:…), the root of all that the ledger says
	Bootstrap string    `toml:"bootstrap,omitempty"` // path of bootstrap.json, taken once while there is no user; may be absent
	API       API       `toml:"api"`
	Monitor   Monitor   `toml:"monitor"`
	Seal      Seal      `toml:"seal"`
	Store     Store     `toml:"store"`
	Link      Link      `toml:"link,omitempty"`
	Networks  []Network `toml:"networks"`
	Operation Operation `toml:"operation,omitempty"`
	Limits    Limits    `toml:"limits,omitempty"`
	Webhooks  Webhooks  `toml:"webhooks,omitempty"`
	Callback  Callback  `toml:"callback,omitempty"`
	Audit     Audit     `toml:"audit,omitempty"`
	Log       Log       `toml:"log,omitempty"`
	Trace     Trace     `toml:"trace,omitempty"`
}

// API is the mTLS listener.
type API struct {
	Listen       string        `toml:"listen"`       // host:port
	Certificates []Certificate `toml:"certificates"` // one per algorithm; the client's offer chooses
	ClientCA     []string      `toml:"client_ca"`    // PEM files of the roots that client certificates chain to
	// ClientCRL are PEM files of those roots' revocation lists.
	ClientCRL []string `toml:"client_crl,omitempty"`
}

// Certificate is a PEM pair by path.
type Certificate struct {
	Cert string `toml:"cert"`
	Key  string `toml:"key"`
}

// Monitor is the second listener: /metrics, /healthz, /readyz. It asks for no
// certificate, so it belongs on loopback or the monitoring network.
type Monitor struct {
	Listen string `toml:"listen"`
}

// Seal is where the sealed process listens.
type Seal struct {
	Socket string `toml:"socket"`
}

// Link is the way between appliances that share one store: what only the
// ledger's author can record is passed on to it. All of it is set, or nothing:
// an appliance that is alone has none.
type Link struct {
	Listen string `toml:"listen,omitempty"` // host:port of this appliance's end
	// Cert and Key are this appliance's pair, for both directions; its common
	// name is appliance:<its id in the charter>.
	Cert  string            `toml:"cert,omitempty"`
	Key   string            `toml:"key,omitempty"`
	CA    string            `toml:"ca,omitempty"`    // PEM file of the root of all appliances' pairs
	Peers map[string]string `toml:"peers,omitempty"` // https URL of each other appliance's end, by its id in the charter
}

// Configured tells whether this appliance has peers.
func (l *Link) Configured() bool {
	return l.Listen != "" || l.Cert != "" || l.Key != "" || l.CA != "" || len(l.Peers) > 0
}

// Store is etcd: a cluster where Endpoints are given, else one embedded here.
type Store struct {
	Endpoints  []string `toml:"endpoints,omitempty"` // https URLs
	CA         string   `toml:"ca"`                  // PEM file of etcd's root
	Cert       string   `toml:"cert"`                // client certificate, common name mintwarden
	Key        string   `toml:"key"`
	ServerName string   `toml:"server_name,omitempty"` // name in etcd's certificate, where it is not the endpoint's host
	// QuotaBytes is the size of the database at which etcd refuses writes: the embedded etcd's (0: 8 GiB), or
	// that of a cluster before 3.6, which does not tell it (0: 2 GiB).
	QuotaBytes int64    `toml:"quota_bytes,omitempty"`
	Embedded   Embedded `toml:"embedded,omitempty"`
}

// Embedded is the single box's own etcd.
type Embedded struct {
	Dir        string `toml:"dir"`    // data directory
	Listen     string `toml:"listen"` // host:port on loopback
	ServerCert string `toml:"server_cert"`
	ServerKey  string `toml:"server_key"`
	RootCert   string `toml:"root_cert"` // client certificate of etcd's user root, used for setting up users only
	RootKey    string `toml:"root_key"`
}

// Network is a chain that tokens may live on. Name, kind, chain id and scheme
// must be those of the charter, which the seal goes by.
type Network struct {
	Name          string        `toml:"name"`
	Kind          string        `toml:"kind"` // quantum or evm
	ChainID       uint64        `toml:"chain_id"`
	RPCURLs       []string      `toml:"rpc_urls"`
	Confirmations uint64        `toml:"confirmations,omitempty"` // blocks from its own to the newest, 1 to 1,000; default of kind quantum 12
	Scheme        string        `toml:"scheme,omitempty"`        // dilithium3 (default) or ml-dsa-65; of kind evm secp256k1
	Currency      string        `toml:"currency"`                // symbol of the fee's coin
	BlockPeriod   time.Duration `toml:"-"`
	Period        string        `toml:"block_period,omitempty"` // Go duration, e.g. "15s"
	// ResubmitAfter is for how many blocks a transaction waits before its fees are raised, 1 to 1,000; default 3.
	ResubmitAfter uint64 `toml:"resubmit_after,omitempty"`
}

// Operation is what the worker goes by.
type Operation struct {
	TTL     time.Duration `toml:"-"`
	TTLText string        `toml:"ttl,omitempty"` // Go duration; how long an operation waits for approvals, default 24h

	Retention     time.Duration `toml:"-"`
	RetentionText string        `toml:"retention,omitempty"` // Go duration; how long what is over stays in the store, default 720h with audit.dir; 0s: for ever
}

// Webhooks is how events are delivered.
type Webhooks struct {
	// KeyFile holds at least 32 random bytes, under which the endpoints' secrets are kept; the same on every
	// appliance of a store. Without it no endpoint can be made.
	KeyFile string `toml:"key_file,omitempty"`
	// AllowHTTP takes http:// beside https://, under a charter whose environment is dev.
	AllowHTTP bool `toml:"allow_http,omitempty"`
	// AllowNetworks are those beside the public Internet to which events may go, as "10.20.0.0/16".
	AllowNetworks []string `toml:"allow_networks,omitempty"`
	CA            []string `toml:"ca,omitempty"` // PEM files of roots for endpoints' certificates, beside the system's

	Retention     time.Duration `toml:"-"`
	RetentionText string        `toml:"retention,omitempty"`   // Go duration; how long finished deliveries stay in the store, default 168h
	MaxBacklog    int           `toml:"max_backlog,omitempty"` // deliveries that may wait for one endpoint, default 250,000
}

// Audit is how the audit log is kept.
type Audit struct {
	// Dir is where this appliance keeps the tree of both logs and the archive; its own, on a disk that lasts.
	// Without it there are no checkpoints and no receipts.
	Dir string `toml:"dir,omitempty"`

	CheckpointEvery time.Duration `toml:"-"`
	CheckpointText  string        `toml:"checkpoint_every,omitempty"` // Go duration; how long what is new waits for a signed checkpoint, default 5s
	Retention       time.Duration `toml:"-"`
	RetentionText   string        `toml:"retention,omitempty"` // Go duration; how long entries stay in the store, default 720h; 0s: for ever
}

// Log says how much is logged.
type Log struct {
	Level string `toml:"level,omitempty"` // debug, info (default), warn, error
}

// Load reads and checks the file at path. The error joins every fault found.
func Load(path string) (*Config, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if info.Size() > maxSize {
		return nil, fmt.Errorf("config: %s: %d bytes, at most %d", path, info.Size(), maxSize)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	c, err := Parse(text, filepath.Dir(abs))
	if err != nil {
		return nil, fmt.Errorf("config: %s: %w", path, err)
	}
	return c, nil
}

// Parse reads and checks a file's text; relative paths are taken from dir.
func Parse(text []byte, dir string) (*Config, error) {
	if len(text) > maxSize {
		return nil, fmt.Errorf("%d bytes, at most %d", len(text), maxSize)
	}
	c := &Config{}
	d := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		var unknown *toml.StrictMissingError
		if errors.As(err, &unknown) {
			return nil, fmt.Errorf("unknown key:\n%s", unknown.String())
		}
		var syntax *toml.DecodeError
		if errors.As(err, &syntax) {
			line, column := syntax.Position()
			return nil, fmt.Errorf("line %d, column %d: %w", line, column, err)
		}
		return nil, err
	}
	c.resolve(dir)
	c.defaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// Encode writes c as TOML that Parse reads back.
func (c *Config) Encode() ([]byte, error) { return toml.Marshal(c) }

func (c *Config) resolve(dir string) {
	paths := []*string{&c.Bootstrap, &c.Seal.Socket, &c.Store.CA, &c.Store.Cert, &c.Store.Key,
		&c.Store.Embedded.Dir, &c.Store.Embedded.ServerCert, &c.Store.Embedded.ServerKey,
		&c.Store.Embedded.RootCert, &c.Store.Embedded.RootKey, &c.Link.Cert, &c.Link.Key, &c.Link.CA, &c.Webhooks.KeyFile,
		&c.Callback.KeyFile, &c.Callback.CA, &c.Audit.Dir, &c.Trace.CA}
	for i := range c.API.Certificates {
		paths = append(paths, &c.API.Certificates[i].Cert, &c.API.Certificates[i].Key)
	}
	for i := range c.Webhooks.CA {
		paths = append(paths, &c.Webhooks.CA[i])
	}
	for i := range c.API.ClientCA {
		paths = append(paths, &c.API.ClientCA[i])
	}
	for i := range c.API.ClientCRL {
		paths = append(paths, &c.API.ClientCRL[i])
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

func (c *Config) defaults() {
	if c.Operation.TTLText == "" {
		c.Operation.TTLText = "24h"
	}
	if c.Operation.RetentionText == "" {
		c.Operation.RetentionText = "720h"
		if c.Audit.Dir == "" {
			c.Operation.RetentionText = "0s" // there is nowhere to go
		}
	}
	c.Limits.defaults()
	if c.Webhooks.RetentionText == "" {
		c.Webhooks.RetentionText = "168h"
	}
	if c.Audit.CheckpointText == "" {
		c.Audit.CheckpointText = "5s"
	}
	if c.Audit.RetentionText == "" {
		c.Audit.RetentionText = "720h"
	}
	if c.Webhooks.MaxBacklog == 0 {
		c.Webhooks.MaxBacklog = 250_000
	}
	c.Trace.defaults()
	if c.Log.Level == "" {
		c.Log.Level = "info"
	}
	for i := range c.Networks {
		n := &c.Networks[i]
		if n.Period == "" {
			n.Period = "15s"
		}
		if n.Kind == "quantum" && n.Confirmations == 0 {
			n.Confirmations = 12 // as Quantum Chain's public documentation has it
		}
		if allowed := schemes[n.Kind]; n.Scheme == "" && len(allowed) > 0 {
			n.Scheme = allowed[0]
		}
	}
}
