package dev_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/pki"
)

// A real etcd of its own, set up with the commands that mintwardend prints, in
// place of the embedded one, by configuration alone: the first start of a seal
// and of serve over an empty cluster, and a token deployed.
func TestClusterByConfigAlone(t *testing.T) {
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	a.stop()
	s := serving{appliance: a, t: t, etcd: freeAddress(t), rpc: freeAddress(t), api: freeAddress(t), monitor: freeAddress(t)}
	s.configure()
	s.cluster()
	s.start("mintwardend", nil, "devnet", "--dir", filepath.Join(a.dir, "chain"), "--rpc", s.rpc, "--period", "500ms")
	s.start("mintwarden-seal", []string{"SOFTHSM2_CONF=" + filepath.Join(a.dir, "hsm/token/softhsm2.conf")},
		"--config", filepath.Join(a.dir, "config", "seal.toml"))
	s.firstCharter(filepath.Join(a.dir, "run", "seal.sock"), filepath.Join(a.dir, "config", "seal.toml"))
	s.start("mintwardend", nil, "serve", "--config", filepath.Join(a.dir, "config", "serve.toml"))
	s.ready()
	a.url, a.rpc = "https://"+s.api, "http://"+s.rpc

	ctx, operator := a.context(), a.as("operator")
	vault, err := operator.CreateVaultAccount(ctx, client.VaultAccountCreate{Name: "treasury"})
	if err != nil {
		t.Fatal(err)
	}
	wallet, err := operator.CreateWallet(ctx, vault.ID, client.WalletCreate{Network: "quantum-chain-devnet"})
	if err != nil {
		t.Fatal(err)
	}
	a.rpcCall("devnet_fund", `["`+wallet.Address+`"]`)
	p := a.twoOf("dev-default", nil)
	token := a.draft(p.ID)
	op, err := operator.DeployToken(ctx, token.ID, client.DeployRequest{})
	if err != nil {
		t.Fatal(err)
	}
	a.approve(op.OperationID, "approver-1", "approver-2")
	a.completed(op.OperationID)
	a.intact()
}

// cluster starts an etcd process with users and roles, and points the configs
// of serve and seal at it.
func (s *serving) cluster() {
	s.t.Helper()
	dir := s.etcdCertificates()
	s.etcdProcess(dir)
	s.etcdUsers(dir)
	s.onCluster(dir)
}

// etcdCertificates makes a root, a server's pair, and one for each user, in a
// directory. They are ECDSA: Debian's etcdctl knows no other.
func (s *serving) etcdCertificates() string {
	s.t.Helper()
	dir := s.t.TempDir()
	ca, err := pki.NewCA("etcd root", pki.ECDSAP256)
	if err != nil {
		s.t.Fatal(err)
	}
	write := func(name string, p pki.Pair, err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
		for ending, text := range map[string][]byte{".crt": p.Certificate, ".key": p.Key} {
			if err := os.WriteFile(filepath.Join(dir, name+ending), text, 0o600); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	write("ca", ca.Pair(), nil)
	server, err := ca.IssueServer("etcd", []string{"127.0.0.1"}, pki.ECDSAP256)
	write("server", server, err)
	for _, user := range []string{"root", "mintwarden", "mintwarden-seal"} {
		pair, err := ca.IssueClient(user, pki.ECDSAP256)
		write(user, pair, err)
	}
	return dir
}

// onCluster points the configs of serve and seal at s.etcd, with a token and a
// memory of the seal that are new.
func (s *serving) onCluster(dir string) {
	s.t.Helper()
	c, err := config.Load(filepath.Join(s.dir, "config", "serve.toml"))
	if err != nil {
		s.t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	c.Store = config.Store{Endpoints: []string{"https://" + s.etcd}, CA: file("ca.crt"), Cert: file("mintwarden.crt"), Key: file("mintwarden.key")}
	text, err := c.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "config", "serve.toml"), text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.edit("seal.toml", map[string]string{
		filepath.Join(s.dir, "pki/root-mldsa.crt"): file("ca.crt"),
		filepath.Join(s.dir, "pki/etcd-seal.crt"):  file("mintwarden-seal.crt"),
		filepath.Join(s.dir, "pki/etcd-seal.key"):  file("mintwarden-seal.key"),
	})
	s.anew()
}

func (s *serving) etcdProcess(dir string) {
	s.t.Helper()
	program := s.etcdProgram(dir)
	peer := "http://" + freeAddress(s.t)
	s.run(program, nil, "--name", "one", "--data-dir", filepath.Join(dir, "data"),
		"--listen-client-urls", "https://"+s.etcd, "--advertise-client-urls", "https://"+s.etcd,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "one="+peer,
		"--cert-file", filepath.Join(dir, "server.crt"), "--key-file", filepath.Join(dir, "server.key"),
		"--trusted-ca-file", filepath.Join(dir, "ca.crt"), "--client-cert-auth", "--log-level", "error")
}

// etcdProgram builds etcd into dir.
func (s *serving) etcdProgram(dir string) string {
	s.t.Helper()
	program := filepath.Join(dir, "etcd")
	if out, err := exec.Command("go", "build", "-o", program, "go.etcd.io/etcd/server/v3").CombinedOutput(); err != nil {
		s.t.Fatalf("go build etcd: %v\n%s", err, out)
	}
	return program
}

// etcdUsers runs what `mintwardend check --print-etcd-setup` prints.
func (s *serving) etcdUsers(dir string) {
	s.t.Helper()
	bin, err := binaries()
	if err != nil {
		s.t.Fatal(err)
	}
	commands, err := exec.Command(filepath.Join(bin, "mintwardend"), "check", "--print-etcd-setup").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	sh := exec.CommandContext(ctx, "sh", "-ec", "until etcdctl endpoint health >/dev/null 2>&1; do sleep 0.1; done\n"+string(commands))
	sh.Env = append(os.Environ(), "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS=https://"+s.etcd, "ETCDCTL_CACERT="+filepath.Join(dir, "ca.crt"),
		"ETCDCTL_CERT="+filepath.Join(dir, "root.crt"), "ETCDCTL_KEY="+filepath.Join(dir, "root.key"))
	if out, err := sh.CombinedOutput(); err != nil {
		s.t.Fatalf("etcdctl: %v\n%s", err, out)
	}
}
