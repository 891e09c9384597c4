package config_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/config"
)

const whole = `
appliance = "appliance-1"
tenant = "acme"
charter1 = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
[api]
listen = "127.0.0.1:8443"
certificates = [{cert = "tls/server.crt", key = "tls/server.key"}]
client_ca = ["/etc/mintwarden/ca.crt"]
[monitor]
listen = "127.0.0.1:9464"
[seal]
socket = "run/seal.sock"
[store]
ca = "tls/ca.crt"
cert = "tls/mintwarden.crt"
key = "tls/mintwarden.key"
[store.embedded]
dir = "etcd"
listen = "127.0.0.1:2379"
server_cert = "tls/etcd.crt"
server_key = "tls/etcd.key"
root_cert = "tls/root.crt"
root_key = "tls/root.key"
[[networks]]
name = "quantum-chain-devnet"
kind = "quantum"
chain_id = 2080377
rpc_urls = ["http://127.0.0.1:8545"]
confirmations = 2
scheme = "dilithium3"
currency = "QC"
block_period = "1s"
`

func TestParse(t *testing.T) {
	c, err := config.Parse([]byte(whole), "/srv")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.API.Certificates[0].Cert; got != "/srv/tls/server.crt" {
		t.Errorf("relative path resolved to %q", got)
	}
	if got := c.API.ClientCA[0]; got != "/etc/mintwarden/ca.crt" {
		t.Errorf("absolute path became %q", got)
	}
	if c.Operation.TTL != 24*time.Hour || c.Limits.MaxPending != 64 || c.Limits.WritesInFlight != 512 || c.Limits.Body != 30*time.Second || c.Networks[0].BlockPeriod != time.Second {
		t.Errorf("defaults: %+v %+v %+v", c.Operation, c.Limits, c.Networks[0])
	}
	text, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.Parse(text, "/elsewhere"); err != nil {
		t.Errorf("what Encode wrote is not read back: %v", err)
	}
}

// Each fault names the key, the value and what to do.
func TestFaults(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", `tenant = "acme"`, "tenant = \"acme\"\ntennant = 1", "tennant"},
		{"syntax", `tenant = "acme"`, `tenant = acme`, "line 3"},
		{"no charter", `charter1 = "sha256:00`, `charter1 = "00`, "charter1"},
		{"port missing", `"127.0.0.1:8443"`, `"127.0.0.1"`, "api.listen"},
		{"etcd off loopback", `"127.0.0.1:2379"`, `"0.0.0.0:2379"`, "store.embedded.listen"},
		{"both stores", "[store]", "[store]\nendpoints = [\"https://etcd:2379\"]", "keep one of the two"},
		{"kind", `"quantum"`, `"bitcoin"`, "networks[0].kind"},
		{"scheme of the other kind", `"dilithium3"`, `"secp256k1"`, "networks[0].scheme"},
		{"no room for writes", "[monitor]", "[limits]\nwrites_in_flight = 1\n[monitor]", "limits.writes_in_flight"},
		{"a limit without a unit", "[monitor]", "[limits]\nbody_timeout = \"30\"\n[monitor]", "limits.body_timeout"},
		{"a body without end", "[monitor]", "[limits]\nbody_timeout = \"24h\"\n[monitor]", "limits.body_timeout"},
		{"no confirmations", "kind = \"quantum\"\nchain_id = 2080377\nrpc_urls = [\"http://127.0.0.1:8545\"]\nconfirmations = 2\nscheme = \"dilithium3\"",
			"kind = \"evm\"\nchain_id = 1\nrpc_urls = [\"http://127.0.0.1:8545\"]", "networks[0].confirmations: 0 is outside"},
		{"confirmations without end", "confirmations = 2", "confirmations = 1001", "networks[0].confirmations"},
		{"never resubmitted", "confirmations = 2", "confirmations = 2\nresubmit_after = 1001", "networks[0].resubmit_after"},
		{"ftp node", `"http://127`, `"ftp://127`, "rpc_urls[0]"},
		{"period", `"1s"`, `"1 second"`, "block_period"},
		{"traces over plain http", "[monitor]", "[trace]\nendpoint = \"http://collector.example.com:4318\"\n[monitor]", "plain http leaves this machine"},
		{"traces to nowhere", "[monitor]", "[trace]\nsample_ratio = 0.1\n[monitor]", "trace.endpoint: is missing"},
		{"a secret in the collector's URL", "[monitor]", "[trace]\nendpoint = \"https://me:secret@collector:4318\"\n[monitor]", "trace.endpoint: is not a URL without user"},
		{"a root for plain http", "[monitor]", "[trace]\nendpoint = \"http://127.0.0.1:4318\"\nca = \"ca.crt\"\n[monitor]", "trace.ca"},
		{"more than all", "[monitor]", "[trace]\nendpoint = \"http://127.0.0.1:4318\"\nsample_ratio = 1.5\n[monitor]", "trace.sample_ratio"},
		{"no number", "[monitor]", "[trace]\nendpoint = \"http://127.0.0.1:4318\"\nsample_ratio = nan\n[monitor]", "trace.sample_ratio"},
		{"level", "[monitor]", "[log]\nlevel = \"loud\"\n[monitor]", "log.level"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(whole, c.old, c.new, 1)
			if text == whole {
				t.Fatal("the case changes nothing")
			}
			_, err := config.Parse([]byte(text), "/srv")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want it to name %q", err, c.want)
			}
		})
	}
}

// What Quantum Chain's documentation says of it need not be said again, and kind evm has one scheme.
func TestWhatAKindOfNetworkHas(t *testing.T) {
	silent := strings.Replace(whole, "confirmations = 2\nscheme = \"dilithium3\"\n", "", 1)
	c, err := config.Parse([]byte(silent), "/srv")
	if err != nil || c.Networks[0].Confirmations != 12 || c.Networks[0].Scheme != "dilithium3" {
		t.Errorf("got %+v, %v", c, err)
	}
	evm := strings.Replace(silent, `kind = "quantum"`, "kind = \"evm\"\nconfirmations = 3", 1)
	c, err = config.Parse([]byte(evm), "/srv")
	if err != nil || c.Networks[0].Confirmations != 3 || c.Networks[0].Scheme != "secp256k1" {
		t.Errorf("got %+v, %v", c, err)
	}
}

// linked is an appliance with a peer, over a store of their own.
var linked = strings.Replace(whole[:strings.Index(whole, "[store.embedded]")], "[store]", "[store]\nendpoints = [\"https://etcd:2379\"]", 1) + `[link]
listen = "10.0.0.1:8444"
cert = "tls/link.crt"
key = "tls/link.key"
ca = "tls/link-ca.crt"
[link.peers]
"appliance-2" = "https://10.0.0.2:8444"
` + whole[strings.Index(whole, "[[networks]]"):]

func TestLink(t *testing.T) {
	c, err := config.Parse([]byte(linked), "/srv")
	if err != nil {
		t.Fatal(err)
	}
	if c.Link.Cert != "/srv/tls/link.crt" || c.Link.CA != "/srv/tls/link-ca.crt" || c.Link.Peers["appliance-2"] != "https://10.0.0.2:8444" || !c.Link.Configured() {
		t.Errorf("link: %+v", c.Link)
	}
	text, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := config.Parse(text, "/srv"); err != nil || again.Link.Peers["appliance-2"] != c.Link.Peers["appliance-2"] {
		t.Errorf("what Encode wrote is read back as %+v, %v", again, err)
	}
	if alone, err := config.Parse([]byte(whole), "/srv"); err != nil || alone.Link.Configured() {
		t.Errorf("an appliance that is alone has a link: %v", err)
	}
	for _, f := range []struct{ name, old, new, want string }{
		{"no listener", `listen = "10.0.0.1:8444"`, "", "link.listen"},
		{"no pair", `cert = "tls/link.crt"`, "", "link.cert"},
		{"no key", `key = "tls/link.key"`, "", "link.key"},
		{"no root", `ca = "tls/link-ca.crt"`, "", "link.ca"},
		{"no peer", `"appliance-2" = "https://10.0.0.2:8444"`, "", "link.peers"},
		{"itself", `"appliance-2" = `, `"appliance-1" = `, "is this appliance itself"},
		{"name", `"appliance-2" = `, `"Appliance 2" = `, "name in the charter"},
		{"plain http", `"https://10.0.0.2:8444"`, `"http://10.0.0.2:8444"`, "link.peers.appliance-2"},
		{"path", `"https://10.0.0.2:8444"`, `"https://10.0.0.2:8444/v1"`, "host and port alone"},
		{"user", `"https://10.0.0.2:8444"`, `"https://me@10.0.0.2:8444"`, "host and port alone"},
	} {
		t.Run(f.name, func(t *testing.T) {
			text := strings.Replace(linked, f.old, f.new, 1)
			if _, err := config.Parse([]byte(text), "/srv"); text == linked || err == nil || !strings.Contains(err.Error(), f.want) {
				t.Fatalf("got %v, want it to name %q", err, f.want)
			}
		})
	}
	embedded := strings.Replace(whole, "[[networks]]", "[link]\nlisten = \"10.0.0.1:8444\"\n[[networks]]", 1)
	if _, err := config.Parse([]byte(embedded), "/srv"); err == nil || !strings.Contains(err.Error(), "store.endpoints") {
		t.Errorf("a link beside an embedded etcd: %v", err)
	}
}

// signing is an appliance that signs for Qustody.
var signing = strings.Replace(whole, "[[networks]]", `[callback]
url = "https://qustody.example.com/v1"
key_file = "qustody.apikey"
ca = "tls/qustody.crt"
requester = "operator"
[[callback.wallets]]
wallet = "wallet_01J00000000000000000000000"
vault_account = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
asset = "QUANTUM"
label = "Hot wallet"
[[networks]]`, 1)

func TestCallback(t *testing.T) {
	c, err := config.Parse([]byte(signing), "/srv")
	if err != nil {
		t.Fatal(err)
	}
	if k := c.Callback; k.KeyFile != "/srv/qustody.apikey" || k.CA != "/srv/tls/qustody.crt" || k.Poll != 5*time.Second || k.Broadcast || !k.Configured() || len(k.Wallets) != 1 {
		t.Errorf("callback: %+v", k)
	}
	text, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := config.Parse(text, "/srv"); err != nil || again.Callback.Wallets[0] != c.Callback.Wallets[0] {
		t.Errorf("what Encode wrote is read back as %+v, %v", again, err)
	}
	if none, err := config.Parse([]byte(whole), "/srv"); err != nil || none.Callback.Configured() {
		t.Errorf("an appliance without the table signs for Qustody: %v", err)
	}
	for _, f := range []struct{ name, old, new, want string }{
		{"no URL", `url = "https://qustody.example.com/v1"`, "", "callback.url"},
		{"plain http", "https://qustody", "http://qustody", "callback.url"},
		{"a secret in the URL", "https://qustody", "https://me:secret@qustody", "callback.url"},
		{"no key", `key_file = "qustody.apikey"`, "", "callback.key_file"},
		{"nobody asks", `requester = "operator"`, "", "callback.requester"},
		{"all the time", "[[callback", "poll = \"1ms\"\n[[callback", "callback.poll"},
		{"no wallet's id", `"wallet_01J00000000000000000000000"`, `"hot"`, "callback.wallets[0].wallet"},
		{"a path for an id", `"3c90c3cc-0d44-4b50-8888-8dd25736052a"`, `"../admin"`, "callback.wallets[0].vault_account"},
		{"no asset", `asset = "QUANTUM"`, "", "callback.wallets[0].asset"},
		{"a label in two lines", `"Hot wallet"`, `"Hot\nwallet"`, "callback.wallets[0].label"},
		{"one wallet twice", "[[networks]]", "[[callback.wallets]]\nwallet = \"wallet_01J00000000000000000000000\"\nvault_account = \"a\"\nasset = \"b\"\n[[networks]]", "stands twice"},
		{"no wallet", signing[strings.Index(signing, "[[callback"):strings.Index(signing, "[[networks]]")], "", "callback.wallets"},
	} {
		t.Run(f.name, func(t *testing.T) {
			text := strings.Replace(signing, f.old, f.new, 1)
			_, err := config.Parse([]byte(text), "/srv")
			if text == signing || err == nil || !strings.Contains(err.Error(), f.want) {
				t.Fatalf("got %v, want it to name %q", err, f.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Fatal("a secret is told")
			}
		})
	}
}

func TestEveryFaultAtOnce(t *testing.T) {
	_, err := config.Parse([]byte(`tenant = ""`), "/srv")
	if err == nil {
		t.Fatal("an empty config was taken")
	}
	for _, key := range []string{"appliance", "tenant", "charter1", "api.listen", "monitor.listen", "seal.socket", "store.ca", "networks"} {
		if !strings.Contains(err.Error(), key+":") {
			t.Errorf("%s is not named in:\n%v", key, err)
		}
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent.toml")
	if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(signing))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse(text, "/srv")
		if err != nil {
			return
		}
		again, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Parse(again, "/srv"); err != nil {
			t.Fatalf("accepted, encoded, then refused: %v", err)
		}
	})
}

func TestTrace(t *testing.T) {
	off, err := config.Parse([]byte(whole), "/srv")
	if err != nil || off.Trace.Configured() {
		t.Fatalf("an appliance without the table traces: %v", err)
	}
	for endpoint, want := range map[string]string{
		"https://collector.example.com:4318":      "https://collector.example.com:4318/v1/traces",
		"https://collector.example.com/otlp/mine": "https://collector.example.com/otlp/mine",
		"http://[::1]:4318":                       "http://[::1]:4318/v1/traces",
	} {
		c, err := config.Parse([]byte(strings.Replace(whole, "[monitor]", "[trace]\nendpoint = \""+endpoint+"\"\nsample_ratio = 0\n[monitor]", 1)), "/srv")
		if err != nil || c.Trace.Endpoint != want || *c.Trace.SampleRatio != 0 {
			t.Errorf("%s: %+v, %v", endpoint, c, err)
			continue
		}
		text, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := config.Parse(text, "/elsewhere"); err != nil || again.Trace.Endpoint != want || *again.Trace.SampleRatio != 0 {
			t.Errorf("what Encode wrote is read back as %+v, %v", again, err)
		}
	}
	c, err := config.Parse([]byte(strings.Replace(whole, "[monitor]", "[trace]\nendpoint = \"https://a\"\nca = \"tls/c.crt\"\n[monitor]", 1)), "/srv")
	if err != nil || c.Trace.CA != "/srv/tls/c.crt" || *c.Trace.SampleRatio != 1 {
		t.Errorf("got %+v, %v", c, err)
	}
}

// What a node is asked with may stand in its URL; what is wrong with the file goes to the journal.
func TestANodesSecretIsNotTold(t *testing.T) {
	text := strings.Replace(whole, `"http://127.0.0.1:8545"`, `"ws://warden:hunter2@127.0.0.1:8545"`, 1)
	_, err := config.Parse([]byte(text), "/etc/mintwarden")
	if err == nil || !strings.Contains(err.Error(), "rpc_urls[0]") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}
