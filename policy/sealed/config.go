package sealed

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/mintwarden/mintwarden/policy"
)

// Config is seal.toml, strict: an unknown key refuses the file. Paths that are
// not absolute are relative to the file's directory.
type Config struct {
	Appliance string `toml:"appliance"` // our id in the charter
	// Charter1 is the digest of charter 1's bytes. Empty before the first start's
	// end: then only status and init are answered.
	Charter1 policy.Digest `toml:"charter1"`
	State    string        `toml:"state"`   // our own directory, 0700
	Socket   string        `toml:"socket"`  // for callers
	Callers  []uint32      `toml:"callers"` // user ids besides our own
	// ParentPipe ends everything when standard input closes (dev: no process is
	// left behind when the parent is killed).
	ParentPipe bool          `toml:"parent_pipe"`
	HSM        HSMConfig     `toml:"hsm"`
	PIN        PINConfig     `toml:"pin"`
	Unseal     UnsealConfig  `toml:"unseal"`
	Sandbox    SandboxConfig `toml:"sandbox"`
	Log        LogConfig     `toml:"log"`
	Store      StoreConfig   `toml:"store"`
	Ledger     LedgerConfig  `toml:"ledger"`
}

// HSMConfig names the token.
type HSMConfig struct {
	Module   string `toml:"module"`
	Token    string `toml:"token"`    // its label
	Serial   string `toml:"serial"`   // empty: any
	Sessions int    `toml:"sessions"` // 0: 16
	// CallTimeout is after what time a call of the token counts as stuck, as
	// "20s"; empty: 20 s. MaxStuck stuck calls end the worker; 0: 4.
	CallTimeout Duration `toml:"call_timeout"`
	MaxStuck    int      `toml:"max_stuck"`
}

// Duration is a time span as Go writes it, "1m30s".
type Duration time.Duration

// UnmarshalText reads the span.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// LogConfig says what keeper and worker log.
type LogConfig struct {
	Level string `toml:"level"` // debug, info, warn or error; empty: info
}

// levels are the names that [log] level takes.
var levels = map[string]slog.Level{
	"": slog.LevelInfo, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// PINConfig says where the PIN comes from; empty: from a quorum of custodians
// alone, who can unseal whatever stands here.
type PINConfig struct {
	File string `toml:"file"` // for dev charters only
	// Credential is the path of a systemd credential as the service gets it,
	// decrypted ($CREDENTIALS_DIRECTORY/…); CredentialSource that of the encrypted
	// one, whose header tells whether a TPM sealed it. A production charter takes one
	// under the host's key only where it says hostKeyAccepted.
	Credential       string `toml:"credential"`
	CredentialSource string `toml:"credential_source"`
	// KeyCredential is the path of another decrypted one, of at least 32 random bytes:
	// under it the PIN that a renewal of the shares draws is left for the next starts.
	// Empty: after a renewal custodians unseal, until there is a new credential.
	KeyCredential       string `toml:"key_credential"`
	KeyCredentialSource string `toml:"key_credential_source"`
}

// source is file, host (which the encrypted credential may better) or quorum.
func (c PINConfig) source() pinSource {
	switch {
	case c.File != "":
		return pinFile
	case c.Credential != "":
		return pinHost
	}
	return pinQuorum
}

// UnsealConfig says how the key is kept to which custodians encrypt shares.
type UnsealConfig struct {
	// KeyCredential is the path of a decrypted systemd credential of at least 32
	// random bytes, under which the key in the state directory is encrypted; empty: it
	// stands there as it is.
	KeyCredential string `toml:"key_credential"`
}

// StoreConfig says how to reach etcd. The server's certificate is checked with
// CA alone, and against ServerName or, where that is empty, the endpoint's host;
// ours authenticates us.
type StoreConfig struct {
	Endpoints  []string          `toml:"endpoints"` // https://host:port
	CA         string            `toml:"ca"`
	Cert       string            `toml:"cert"`
	Key        string            `toml:"key"`
	ServerName string            `toml:"server_name"`
	Sockets    map[string]string `toml:"sockets"` // endpoint to the Unix socket that forwards to it
	// Lease is how long an author that is silent keeps others out, as "10s", which
	// it is if empty. Liveness only.
	Lease Duration `toml:"lease"`
}

// maxCallTimeout bounds hsm.call_timeout: while a call hangs nothing is decided.
const maxCallTimeout = 5 * time.Minute

// maxConfig bounds the file, in bytes.
const maxConfig = 64 << 10

// LoadConfig reads and checks the file whole.
func LoadConfig(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	for _, p := range []*string{&c.State, &c.Socket, &c.HSM.Module, &c.PIN.File, &c.PIN.Credential, &c.PIN.CredentialSource, &c.PIN.KeyCredential, &c.PIN.KeyCredentialSource, &c.Unseal.KeyCredential, &c.Store.CA, &c.Store.Cert, &c.Store.Key} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	for _, paths := range [][]string{c.Sandbox.Read, c.Sandbox.Write} {
		for i, p := range paths {
			if !filepath.IsAbs(p) {
				paths[i] = filepath.Join(dir, p)
			}
		}
	}
	for endpoint, p := range c.Store.Sockets {
		if !filepath.IsAbs(p) {
			c.Store.Sockets[endpoint] = filepath.Join(dir, p)
		}
	}
	return c, nil
}

func parseConfig(text []byte) (*Config, error) {
	if len(text) > maxConfig {
		return nil, fmt.Errorf("file of %d bytes, want at most %d", len(text), maxConfig)
	}
	var c Config
	d := toml.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&c)
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		row, _ := unknown.Errors[0].Position()
		return nil, fmt.Errorf("line %d: unknown key %s", row, strings.Join(unknown.Errors[0].Key(), "."))
	}
	if err != nil {
		return nil, err
	}
	return &c, c.check()
}

func (c *Config) check() error {
	if err := policy.CheckName(c.Appliance); err != nil {
		return fmt.Errorf("appliance: %w", err)
	}
	if c.Charter1 != "" && !c.Charter1.Valid() {
		return fmt.Errorf("charter1 %q is not a digest (sha256: and 64 hex digits)", c.Charter1)
	}
	for _, f := range []struct{ name, value string }{
		{"state", c.State}, {"socket", c.Socket}, {"hsm.module", c.HSM.Module}, {"hsm.token", c.HSM.Token},
		{"store.ca", c.Store.CA}, {"store.cert", c.Store.Cert}, {"store.key", c.Store.Key},
	} {
		if f.value == "" {
			return fmt.Errorf("%s is missing", f.name)
		}
	}
	if c.PIN.File != "" && c.PIN.Credential != "" {
		return errors.New("pin.file and pin.credential: want one of them, or neither")
	}
	if (c.PIN.Credential == "") != (c.PIN.CredentialSource == "") {
		return errors.New("pin.credential and pin.credential_source go together")
	}
	if (c.PIN.KeyCredential == "") != (c.PIN.KeyCredentialSource == "") || c.PIN.KeyCredential != "" && c.PIN.Credential == "" {
		return errors.New("pin.key_credential and pin.key_credential_source go together, and with pin.credential")
	}
	if c.HSM.Sessions < 0 || c.HSM.Sessions > 1024 {
		return fmt.Errorf("hsm.sessions = %d, want 0 to 1024", c.HSM.Sessions)
	}
	if t := time.Duration(c.HSM.CallTimeout); t < 0 || t > maxCallTimeout {
		return fmt.Errorf("hsm.call_timeout = %s, want 0s to %s", t, maxCallTimeout)
	}
	if c.HSM.MaxStuck < 0 || c.HSM.MaxStuck > 1024 {
		return fmt.Errorf("hsm.max_stuck = %d, want 0 to 1024", c.HSM.MaxStuck)
	}
	if _, ok := levels[c.Log.Level]; !ok {
		return fmt.Errorf("log.level = %q, want debug, info, warn or error", c.Log.Level)
	}
	if len(c.Store.Endpoints) == 0 {
		return fmt.Errorf("store.endpoints is empty")
	}
	for endpoint := range c.Store.Sockets {
		if !slices.Contains(c.Store.Endpoints, endpoint) {
			return fmt.Errorf("store.sockets names %q, which is no endpoint", endpoint)
		}
	}
	return errors.Join(c.Store.checkLease(), c.Ledger.check())
}
