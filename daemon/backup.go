package daemon

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/daemon/backup"
	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// BackupOptions say what is backed up, or restored.
type BackupOptions struct {
	File       string // the backup
	Config     string // mintwarden.toml
	SealConfig string // seal.toml; empty: the seal's state directory is left alone
	JSON       bool   // the backup's manifest instead of words

	// RootCert and RootKey are the pair of etcd's root, to restore into a cluster; an embedded store's is in the
	// configuration.
	RootCert, RootKey string
	VerifyOnly        bool // restore nothing

	Out io.Writer
	Log *slog.Logger
}

// Exit codes of the operator's program that backup and restore end with, beside 1.
const (
	exitUnreachable = 3
	exitUnverified  = 5
)

// ExitError is an error with an exit code of the operator's program.
type ExitError struct {
	Code int
	err  error
}

func (e *ExitError) Error() string { return e.err.Error() }
func (e *ExitError) Unwrap() error { return e.err }

func exit(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, backup.ErrUnverified):
		return &ExitError{exitUnverified, err}
	case errors.Is(err, store.ErrUnavailable):
		return &ExitError{exitUnreachable, err}
	}
	return err
}

// Backup writes a running appliance into a file.
func Backup(ctx context.Context, o BackupOptions) error {
	cfg, a, err := o.appliance()
	if err != nil {
		return err
	}
	conf := cfg.Store
	endpoints := conf.Endpoints
	if len(endpoints) == 0 {
		endpoints = []string{"https://" + conf.Embedded.Listen}
	}
	a.Store, err = store.Open(ctx, store.Config{Endpoints: endpoints, CAFile: conf.CA, CertFile: conf.Cert, KeyFile: conf.Key, ServerName: conf.ServerName,
		Tenant: cfg.Tenant, RequestTimeout: time.Minute}, o.Log, nil)
	if err != nil {
		return exit(fmt.Errorf("the store is read while the appliance runs: %w", err))
	}
	defer func() { _ = a.Store.Close() }()
	m, err := backup.Take(ctx, a, o.File)
	if err != nil {
		return exit(err)
	}
	if err := m.Note(ctx, a.Store); err != nil { // it is there, and a full store is backed up, too
		o.Log.Error("the store does not know of this backup: metrics tell of the one before", "error", err)
	}
	return o.say(m, "Backed up and verified: %s\n", o.File)
}

// Restore verifies a backup and makes an empty appliance of it.
func Restore(ctx context.Context, o BackupOptions) error {
	cfg, a, err := o.appliance()
	if err != nil {
		return err
	}
	b, err := backup.Open(o.File)
	if err != nil {
		return exit(err)
	}
	defer func() { _ = b.Close() }()
	m, err := b.Verify(a.Charter1)
	if err != nil {
		return exit(err)
	}
	if o.VerifyOnly {
		return o.say(m, "Verified: %s\n", o.File)
	}
	if err := o.restore(ctx, cfg, a, b); err != nil {
		return exit(err)
	}
	return o.say(m, "Restored: %s\n", o.File)
}

func (o *BackupOptions) restore(ctx context.Context, cfg *config.Config, a *backup.Appliance, b *backup.File) (err error) {
	conf := cfg.Store
	to := store.Config{Endpoints: conf.Endpoints, CAFile: conf.CA, CertFile: o.RootCert, KeyFile: o.RootKey, ServerName: conf.ServerName,
		Tenant: cfg.Tenant, RequestTimeout: time.Minute}
	if len(to.Endpoints) == 0 {
		certificates, err := os.MkdirTemp("", "mintwarden-restore")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(certificates) }() // they are good for nothing any more
		e, err := backup.EphemeralEtcd(certificates, conf.Embedded.Listen)
		if err != nil {
			return err
		}
		e.Dir = conf.Embedded.Dir
		to.CAFile, to.CertFile, to.KeyFile, to.ServerName = e.CAFile, e.RootCert, e.RootKey, ""
		etcd, err := store.StartEmbedded(ctx, *e, o.Log)
		if err != nil {
			return fmt.Errorf("the store is restored while the appliance is stopped: %w", err)
		}
		to.Embedded = etcd
	} else if to.CertFile == "" || to.KeyFile == "" {
		return errors.New("the ledger in an etcd cluster is written by etcd's user root alone: name its certificate and key by --root-cert and --root-key")
	}
	err = o.fill(ctx, to, a, b)
	if to.Embedded != nil {
		to.Embedded.Close()
		err = errors.Join(err, backup.AdoptTree(conf.Embedded.Dir, filepath.Dir(conf.Embedded.Dir)))
	}
	return err
}

func (o *BackupOptions) fill(ctx context.Context, to store.Config, a *backup.Appliance, b *backup.File) (err error) {
	if a.Store, err = store.Open(ctx, to, o.Log, nil); err != nil {
		return err
	}
	defer func() { _ = a.Store.Close() }()
	return backup.Restore(ctx, b, a)
}

func (o *BackupOptions) appliance() (*config.Config, *backup.Appliance, error) {
	cfg, err := config.Load(o.Config)
	if err != nil {
		return nil, nil, err
	}
	a := &backup.Appliance{Name: cfg.Appliance, Audit: cfg.Audit.Dir}
	if a.Charter1, err = policy.ParseDigest(cfg.Charter1); err != nil {
		return nil, nil, fmt.Errorf("%s: charter1: %w", o.Config, err)
	}
	if o.SealConfig != "" {
		if a.State, err = sealState(o.SealConfig); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", o.SealConfig, err)
		}
	}
	return cfg, a, nil
}

// maxSealConfig is the seal's own bound of its file, in bytes.
const maxSealConfig = 64 << 10

// sealState is the state directory that seal.toml names; the seal holds the rest to its own rules.
func sealState(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSealConfig+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxSealConfig {
		return "", fmt.Errorf("more than %d bytes", maxSealConfig)
	}
	var named struct {
		State string `toml:"state"`
	}
	if err := toml.Unmarshal(text, &named); err != nil {
		return "", err
	}
	if named.State == "" {
		return "", errors.New("state is missing")
	}
	if filepath.IsAbs(named.State) {
		return named.State, nil
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	return filepath.Join(dir, named.State), err
}

// say tells what a backup holds, and what comes next.
func (o *BackupOptions) say(m *backup.Manifest, format string, args ...any) error {
	if o.JSON {
		if err := json.MarshalWrite(o.Out, m, json.Deterministic(true), jsontext.WithIndent("  ")); err != nil {
			return err
		}
		_, err := fmt.Fprintln(o.Out)
		return err
	}
	text := fmt.Sprintf(format, args...)
	text += fmt.Sprintf("  instance  %s, from %s at %s\n  store     at revision %d\n  ledger    verified from charter 1 to batch %d, head %s\n",
		m.Instance, m.Appliance, m.CreatedAt.Format(time.RFC3339), m.Revision, m.Ledger.Sequence, m.Ledger.Head)
	for _, p := range m.Parts {
		if p.Entries > 0 {
			text += fmt.Sprintf("  %-8s  %d files, %d bytes, %s\n", p.Name, p.Entries, p.Bytes, p.Digest)
		}
	}
	_, err := io.WriteString(o.Out, text)
	return err
}

// newestBackup tells at each scrape of the store's newest backup. While the store does not answer it tells nothing.
type newestBackup struct{ store *store.Store }

var backupTime = prometheus.NewDesc("mintwarden_backup_timestamp_seconds", "When the newest backup of the store was begun, as a Unix time; 0 if there was none.", nil, nil)

// Describe implements prometheus.Collector.
func (newestBackup) Describe(ch chan<- *prometheus.Desc) { ch <- backupTime }

// Collect asks the store.
func (b newestBackup) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapePatience)
	defer cancel()
	at, err := backup.Newest(ctx, b.store)
	if err != nil {
		return
	}
	unix := 0.0
	if !at.IsZero() {
		unix = float64(at.Unix())
	}
	ch <- prometheus.MustNewConstMetric(backupTime, prometheus.GaugeValue, unix)
}
