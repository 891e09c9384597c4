package dev_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/dev"
)

// `mintwardend serve` is the same appliance with nothing of dev's around it:
// the store embedded, seal and node started by somebody else, in any order. It
// goes on with what dev left in the store, and drains on SIGTERM.
func TestServe(t *testing.T) {
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	token := a.deployed()
	a.stop()

	s := serving{appliance: a, t: t}
	s.etcd, s.rpc, s.api, s.monitor = freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
	s.configure()
	daemon := s.start("mintwardend", nil, "serve", "--config", filepath.Join(a.dir, "config", "serve.toml"))
	if code, _ := s.get("/healthz"); code != http.StatusOK && code != 0 {
		t.Errorf("/healthz answers %d", code)
	}
	s.start("mintwardend", nil, "devnet", "--dir", filepath.Join(a.dir, "chain"), "--rpc", s.rpc, "--period", "500ms")
	s.start("mintwarden-seal", []string{"SOFTHSM2_CONF=" + filepath.Join(a.dir, "hsm/token/softhsm2.conf")},
		"--config", filepath.Join(a.dir, "config", "seal.toml"))
	s.ready()

	a.url = "https://" + s.api
	id, err := jobs[1].ask(a, token, "served")
	if err != nil {
		t.Fatal(err)
	}
	a.approve(id, "approver-1", "approver-3")
	a.completed(id)
	if got := a.supply(token.ID); got != "1000" {
		t.Errorf("supply is %s", got)
	}
	a.intact()
	s.metrics("mintwarden_build_info", "mintwarden_seal_up 1", "mintwarden_store_size_bytes", "mintwarden_api_requests_total",
		"mintwarden_chain_head_age_seconds", `mintwarden_chain_nodes{network="quantum-chain-devnet"} 1`, `mintwarden_chain_nodes_usable{network="quantum-chain-devnet"} 1`, "mintwarden_ledger_sequence", "mintwarden_hsm_calls_total", "mintwarden_open_operations",
		`mintwarden_certificate_days{algorithm="ml-dsa",name="mintwarden",use="store"} 39`, `mintwarden_certificate_days{algorithm="ml-dsa",name="etcd",use="store_server"} 39`)

	s.checked(true, "ok    config", "ok    permissions", "ok    certificates  api: ", "ok    certificates  store: mintwarden, good until", "ok    certificates  store_server: etcd, good until", "clock", "ok    history", "ok    seal          unsealed", "ok    hsm           token", "ok    etcd", "ok    node")

	_, wallet, _ := a.treasury()
	a.drained(func() error { return daemon.Process.Signal(syscall.SIGTERM) }, "keys/operator.apikey", "/v1/tokens/"+token.ID+"/mint",
		fmt.Sprintf(`{"amount":"1000","recipient":{"type":"walletId","walletId":%q}}`, wallet.ID), http.StatusAccepted)
	defer time.AfterFunc(patience, func() { _ = daemon.Process.Kill() }).Stop()
	if err := daemon.Wait(); err != nil {
		t.Errorf("it ended with %v on SIGTERM", err)
	}
	key := filepath.Join(a.dir, "pki", "etcd.key")
	if err := os.Chmod(key, 0o604); err != nil {
		t.Fatal(err)
	}
	s.checked(false, "WRONG permissions   "+key, "chmod o=", "ok    hsm", "WRONG etcd", "systemctl status mintwarden")
}

// checked has `mintwardend check` look at the appliance.
func (s *serving) checked(well bool, lines ...string) {
	s.t.Helper()
	bin, err := binaries()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := exec.Command(filepath.Join(bin, "mintwardend"), "check", "--config", filepath.Join(s.dir, "config", "serve.toml")).CombinedOutput()
	if (err == nil) != well {
		s.t.Errorf("it ended with %v", err)
	}
	for _, line := range lines {
		if !strings.Contains(string(out), line) {
			s.t.Errorf("it does not say %q", line)
		}
	}
	if s.t.Failed() {
		s.t.Logf("%s", out)
	}
}

// A config with faults is refused before anything starts, each fault by name.
func TestServeRefusesABadConfig(t *testing.T) {
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "mintwarden.toml")
	if err := os.WriteFile(path, []byte("tenant = \"acme\"\nappliance = \"a\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"serve", "check"} {
		out, err := exec.Command(filepath.Join(bin, "mintwardend"), command, "--config", path).CombinedOutput()
		if err == nil {
			t.Errorf("%s took it", command)
		}
		for _, key := range []string{path, "charter1:", "api.listen:", "networks:"} {
			if !strings.Contains(string(out), key) {
				t.Errorf("%s does not name %q:\n%s", command, key, out)
			}
		}
	}
}

// serving is an appliance whose processes a test starts one by one.
type serving struct {
	*appliance
	t                       *testing.T
	etcd, rpc, api, monitor string
}

func (s *serving) configure() {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Join(s.dir, "run"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	c, err := config.Load(filepath.Join(s.dir, "config", "mintwarden.toml"))
	if err != nil {
		s.t.Fatal(err)
	}
	was := c.Store.Endpoints[0]
	pki := func(name string) string { return filepath.Join(s.dir, "pki", name) }
	c.Store.Endpoints = nil
	c.Store.Embedded = config.Embedded{Dir: filepath.Join(s.dir, "etcd"), Listen: s.etcd, ServerCert: pki("etcd.crt"),
		ServerKey: pki("etcd.key"), RootCert: pki("etcd-root.crt"), RootKey: pki("etcd-root.key")}
	c.API.Listen, c.Monitor.Listen = s.api, s.monitor
	c.Networks[0].RPCURLs = []string{"http://" + s.rpc}
	text, err := c.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "config", "serve.toml"), text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.edit("seal.toml", map[string]string{was: "https://" + s.etcd, "parent_pipe = true": "parent_pipe = false"})
}

// edit replaces texts in a file of config/, each of which must stand there.
func (s *serving) edit(name string, texts map[string]string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "config", name)
	content, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	for was, is := range texts {
		if !strings.Contains(string(content), was) {
			s.t.Fatalf("%s does not say %q:\n%s", name, was, content)
		}
		content = []byte(strings.ReplaceAll(string(content), was, is))
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// start runs one of the binaries until the test ends.
func (s *serving) start(name string, env []string, args ...string) *exec.Cmd {
	s.t.Helper()
	bin, err := binaries()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.run(filepath.Join(bin, name), env, args...)
}

func (s *serving) run(program string, env []string, args ...string) *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	var log strings.Builder
	cmd.Stderr = &log
	cmd.WaitDelay = patience // for what it started itself, and has its output
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		defer time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }).Stop()
		_ = cmd.Wait()
		if s.t.Failed() {
			s.t.Logf("%s %s wrote:\n%s", filepath.Base(program), args[0], log.String())
		}
	})
	return cmd
}

func (s *serving) get(path string) (int, string) {
	s.t.Helper()
	r, err := http.Get("http://" + s.monitor + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	return r.StatusCode, string(body)
}

func (s *serving) ready() {
	s.t.Helper()
	var last string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		code, body := s.get("/readyz")
		if code == http.StatusOK {
			return
		}
		last = fmt.Sprint(code, " ", body)
	}
	s.t.Fatalf("not ready: %s", last)
}

func (s *serving) metrics(names ...string) {
	s.t.Helper()
	_, body := s.get("/metrics")
	for _, n := range names {
		if !strings.Contains(body, "\n"+n) {
			s.t.Errorf("/metrics has no %s", n)
		}
	}
}

// given are the addresses that freeAddress gave away in this run: nobody may listen there yet.
var given sync.Map

// freeAddress is a loopback address that nobody listens on now, and that nobody else was given.
func freeAddress(t *testing.T) string {
	t.Helper()
	for {
		l, err := dev.ListenFree("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		_ = l.Close()
		if _, taken := given.LoadOrStore(address, true); !taken {
			return address
		}
	}
}
