package backup

import (
	"fmt"
	"net"
	"path/filepath"

	"github.com/mintwarden/mintwarden/daemon/disk"
	"github.com/mintwarden/mintwarden/daemon/pki"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// EphemeralEtcd is how an embedded etcd is started for one restoration, with certificates of its own, which it
// writes into a directory: those of the configuration are often credentials that are there only while the
// service runs. Nobody else can speak to it. It listens where the service does, so that it never runs beside it.
func EphemeralEtcd(dir, listen string) (*store.EmbeddedConfig, error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("store.embedded.listen: %w", err)
	}
	ca, err := pki.NewCA("mintwarden restore", pki.ECDSAP256)
	if err != nil {
		return nil, err
	}
	server, err := ca.IssueServer("etcd", []string{host}, pki.ECDSAP256)
	if err != nil {
		return nil, err
	}
	root, err := ca.IssueClient("root", pki.ECDSAP256)
	if err != nil {
		return nil, err
	}
	if err := disk.Write(dir, map[string][]byte{"ca.crt": ca.Pair().Certificate, "server.crt": server.Certificate, "server.key": server.Key,
		"root.crt": root.Certificate, "root.key": root.Key}); err != nil {
		return nil, err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	return &store.EmbeddedConfig{Addr: listen, CAFile: at("ca.crt"), CertFile: at("server.crt"), KeyFile: at("server.key"),
		RootCert: at("root.crt"), RootKey: at("root.key")}, nil
}
