package callback_test

import (
	"context"
	"encoding/json/v2"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon"
	"github.com/mintwarden/mintwarden/daemon/callback/callbacktest"
	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/operation/operationtest"
	"github.com/mintwarden/mintwarden/daemon/pki"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// The whole daemon, from the text of its configuration: with [callback] it registers the wallet, takes a
// transaction and signs it once its people approved.
func TestTheDaemonSignsForQustodyAsConfigured(t *testing.T) {
	overKinds(t, theDaemonSignsForQustodyAsConfigured)
}

func theDaemonSignsForQustodyAsConfigured(t *testing.T, kind tx.Kind) {
	h := furnishedHouse(t, kind)
	h.stop()
	cfg, err := config.Parse([]byte(h.configuration()), t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.Chmod(cfg.Callback.KeyFile, 0o644))
	err = daemon.Run(h.patient(), cfg, daemon.Options{Version: "test", Log: slog.New(slog.NewTextHandler(h.logs, nil))})
	require.ErrorContains(t, err, "must not be readable by others")
	require.NoError(t, os.Chmod(cfg.Callback.KeyFile, 0o600))

	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, cfg, daemon.Options{Version: "test", Log: slog.New(slog.NewTextHandler(h.logs, nil)),
			OnWallet: func(ctx context.Context, w *registry.Wallet) error { return h.node.Fund(ctx, w.Address) },
			Ready:    func(net.Addr, net.Addr) { close(ready) }})
	}()
	defer func() {
		cancel()
		select {
		case err := <-ended:
			require.NoError(t, err)
		case <-time.After(patience):
			t.Fatalf("the daemon does not end within %s", patience)
		}
		h.start() // which the house stops
	}()
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatalf("the daemon is not ready within %s", patience)
	}
	h.store = h.etcd.Open(store.UserServe)
	ref := h.create(mint(12))
	var became struct{ OperationID string }
	h.until("it is an operation", func() bool { return h.stored(store.Foreign(ref), &became) })
	intent, _, ok, err := h.store.Get(t.Context(), store.OpIntent(became.OperationID))
	require.NoError(t, err)
	require.True(t, ok)
	intent, err = operation.IntentText(intent)
	require.NoError(t, err)
	door := h.sealed.Door(t)
	for _, who := range []string{"approver-2", "approver-3"} {
		d := policy.Decision{Format: policy.Format, Decision: policy.Approve, Intent: intent, Approver: who, DecidedAt: policy.Seconds(time.Now())}
		body, err := d.Encode()
		require.NoError(t, err)
		_, err = door.Decide(h.patient(), h.sign(policy.DocDecision, body, who))
		require.NoError(t, err)
	}
	var o struct{ Status operation.Status }
	h.until("it is completed", func() bool {
		return h.stored(store.OpIndexKey(became.OperationID), &o) && o.Status == operation.Completed
	})
	require.Equal(t, 1, h.qustody.Count("register"))
	require.Equal(t, 1, h.qustody.Posted(ref))
}

// stored reads some members of a value of the store.
func (h *house) stored(key string, v any) bool {
	b, _, ok, err := h.store.Get(h.t.Context(), key)
	return err == nil && ok && json.Unmarshal(b, v, json.MatchCaseInsensitiveNames(true)) == nil
}

// configuration is the daemon's, with the signer for Qustody in it.
func (h *house) configuration() string {
	t, dir := h.t, h.t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		return path
	}
	ca, err := pki.NewCA("root", pki.ECDSAP256)
	require.NoError(t, err)
	pair, err := ca.IssueServer("mintwarden", []string{"127.0.0.1"}, pki.ECDSAP256)
	require.NoError(t, err)
	etcd := h.etcd.ClientConfig(store.UserServe)
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.qustody.Certificate})
	return fmt.Sprintf(`
appliance = "appliance-1"
tenant = %q
charter1 = %q
[api]
listen = "127.0.0.1:0"
certificates = [{cert = %q, key = %q}]
client_ca = [%q]
[monitor]
listen = "127.0.0.1:0"
[seal]
socket = %q
[store]
endpoints = [%q]
ca = %q
cert = %q
key = %q
server_name = "127.0.0.1"
[callback]
url = %q
key_file = %q
ca = %q
requester = "operator"
poll = "100ms"
[[callback.wallets]]
wallet = %q
vault_account = "vault-at-qustody"
asset = "asset-at-qustody"
[[networks]]
name = %q
kind = %q
chain_id = %d
rpc_urls = [%q]
confirmations = 2
scheme = %q
currency = "QC"
block_period = "100ms"
`, operationtest.Tenant, h.sealed.Charter1, write("api.crt", pair.Certificate), write("api.key", pair.Key), write("ca.crt", ca.Pair().Certificate), h.sealed.Socket,
		etcd.Endpoints[0], etcd.CAFile, etcd.CertFile, etcd.KeyFile,
		h.qustody.URL, write("qustody.apikey", []byte(callbacktest.Key+"\n")), write("qustody.crt", roots), h.wallet.ID, operationtest.Network, h.node.Kind, h.node.ID, h.node.URL(), h.node.Scheme)
}
