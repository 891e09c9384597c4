package dev_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json/v2"
	"encoding/pem"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/trace/tracetest"
	"github.com/mintwarden/mintwarden/policy"
)

// Nothing that the appliance logs, exports, traces, answers in lists or leaves in its store and memory of decisions has
// a PIN, a key, a share or a bearer key in it: a whole run at the most talkative level, with what goes wrong in
// it, and a dump of every goroutine at its end.
func TestNoSecretIsTold(t *testing.T) {
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "appliance")
	collector := tracetest.Start(t)
	a := program{bin: bin, period: 200 * time.Millisecond, monitor: freeAddress(t), flags: []string{"--log", "debug", "--trace", collector.URL}}.start(t, dir)
	token := a.deployed()
	_, wallet, _ := a.treasury()
	id, err := jobs[1].ask(a, token, "told")
	if err != nil {
		t.Fatal(err)
	}
	a.approve(id, "approver-1")
	a.sealBy("custodian-2")
	if _, err := a.decide("approver-2", policy.Approve, id); !refusedAs(err, 1603) {
		t.Fatalf("an approval while sealed: %v", err)
	}
	for _, c := range []string{"custodian-1", "custodian-3"} {
		if _, err := a.unsealBy(c, a.nonce(), c); err != nil {
			t.Fatal(err)
		}
	}
	a.sealState(func(s *client.Seal) bool { return s.Reachable && !s.Sealed })
	a.approve(id, "approver-2")
	a.completed(id)
	admin := a.as("admin")
	user, err := admin.CreateUser(a.context(), client.UserCreate{Name: "quentin", Role: "viewer"})
	if err != nil {
		t.Fatal(err)
	}
	made, err := admin.CreateCredential(a.context(), client.CredentialCreate{UserID: user.ID})
	if err != nil {
		t.Fatal(err)
	}
	a.clumsy(*made.Key)
	told(a, collector, id, "seal.authorize", "seal.settle")

	told := map[string][]byte{"metrics": a.monitored("/metrics"), "readyz": a.monitored("/readyz")}
	for e, err := range admin.AuditEntries(a.context(), client.ListAuditEntriesParams{}) {
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		told["audit"] = append(told["audit"], text...)
	}
	for b, err := range a.as("viewer").Batches(a.context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		told["ledger"] = append(told["ledger"], b...)
	}
	if err := a.cmd.Process.Signal(syscall.SIGQUIT); err != nil { // the runtime writes every goroutine's stack
		t.Fatal(err)
	}
	a.awaitEnd()
	a.readAll(told)
	told["traces"] = collector.Raw()

	secrets := a.secrets()
	secrets["the new credential"] = []byte(*made.Key)
	if len(secrets) < 15 {
		t.Fatalf("only %d secrets are looked for", len(secrets))
	}
	if !bytes.Contains(told["log"], []byte("goroutine ")) || !bytes.Contains(told["log"], []byte(`"level":"DEBUG"`)) {
		t.Error("the log has no dump, or nothing of level debug: the test looks at too little")
	}
	stored := false // what is no secret is found, in the store's files too: the search is not blind
	for where, text := range told {
		stored = stored || strings.Contains(where, "/etcd/") && bytes.Contains(text, []byte("quentin"))
	}
	if !stored || !bytes.Contains(told["audit"], []byte("quentin")) {
		t.Error("the store and the audit log do not know a user who was made: the test looks at too little")
	}
	for _, known := range []string{id, token.ID, "POST /v1/credentials", "GET /v1/tokens/{tokenId}", "mintwarden-seal"} {
		if !bytes.Contains(told["traces"], []byte(known)) {
			t.Errorf("no trace tells of %s: the test looks at too little", known)
		}
	}
	namesNobody(t, told["traces"], wallet.Address)
	for name, secret := range secrets {
		for where, text := range told {
			for _, form := range forms(secret) {
				if bytes.Contains(text, form) {
					t.Errorf("%s is in %s", name, where)
				}
			}
		}
	}
}

// clumsy puts a bearer key where it does not belong.
func (a *appliance) clumsy(key string) {
	a.t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(a.dir, "tls/client.crt"), filepath.Join(a.dir, "tls/client.key"))
	if err != nil {
		a.t.Fatal(err)
	}
	roots, err := os.ReadFile(filepath.Join(a.dir, "tls/ca.crt"))
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool}}}
	defer c.CloseIdleConnections()
	for _, r := range []struct{ path, header string }{
		{"/v1/tokens?api_key=" + key, "Bearer " + key},
		{"/v1/tokens/" + key, "Bearer " + key},
		{"/" + key, "Basic " + key},
		{"/v1/tokens", "Bearer " + key + "x"},
	} {
		q, err := http.NewRequestWithContext(a.context(), http.MethodGet, a.url+r.path, nil)
		if err != nil {
			a.t.Fatal(err)
		}
		q.Header.Set("Authorization", r.header)
		q.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		q.Header.Set("Tracestate", "key="+key)
		answer, err := c.Do(q)
		if err != nil {
			a.t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
}

// namesNobody holds that traces have no person, address or amount in them, nor what people wrote.
func namesNobody(t *testing.T, traces []byte, wallet string) {
	t.Helper()
	for _, private := range []string{"quentin", "approver-1", "custodian", "operator", "127.0.0.1", "Go-http-client", wallet} {
		if bytes.Contains(traces, []byte(private)) {
			t.Errorf("%q is in the traces", private)
		}
	}
}

func (a *appliance) monitored(path string) []byte {
	a.t.Helper()
	r, err := http.Get("http://" + a.program.monitor + path)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return text
}

// readAll adds the log and every file of the appliance that is not there to hold a secret.
func (a *appliance) readAll(told map[string][]byte) {
	a.t.Helper()
	keeps := func(path string) bool { // in a directory or file that is the secret's own place
		for _, own := range []string{"/keys/", "/approvers/", "/custodians/", "/hsm/", "/pki/", "/tls/"} {
			if strings.Contains(path, own) {
				return true
			}
		}
		return strings.HasSuffix(path, ".key")
	}
	err := filepath.WalkDir(filepath.Dir(a.dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || keeps(strings.TrimPrefix(path, a.dir)) {
			return err
		}
		text, err := os.ReadFile(path)
		told[strings.TrimPrefix(path, filepath.Dir(a.dir)+"/")] = text
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// secrets are what the appliance's directory holds of them, by file.
func (a *appliance) secrets() map[string][]byte {
	a.t.Helper()
	found := map[string][]byte{}
	for _, pattern := range []string{"hsm/pin", "hsm/so-pin", "keys/*.apikey", "*/*.apikey", "custodians/*.share", "approvers/*.key", "custodians/*.key", "pki/*.key", "tls/*.key", "tls/pq/*.key", "seal/unseal.key"} {
		paths, err := filepath.Glob(filepath.Join(a.dir, pattern))
		if err != nil || len(paths) == 0 {
			a.t.Fatalf("nothing is %s: %v", pattern, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				a.t.Fatal(err)
			}
			found[strings.TrimPrefix(path, a.dir+"/")] = private(bytes.TrimSpace(text))
		}
	}
	return found
}

// private is what must not be told of a file: the secret part of a key, or all of it.
func private(text []byte) []byte {
	block, _ := pem.Decode(text)
	if block == nil {
		return text
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err == nil {
		switch k := key.(type) {
		case *ecdsa.PrivateKey:
			if raw, err := k.Bytes(); err == nil {
				return raw
			}
		case ed25519.PrivateKey:
			return k.Seed()
		}
	}
	return block.Bytes[len(block.Bytes)-32:] // a seed stands last
}

// forms are the ways in which bytes get into text.
func forms(secret []byte) [][]byte {
	quoted := base64.StdEncoding.EncodeToString(secret)
	return [][]byte{secret, []byte(hex.EncodeToString(secret)), []byte(strings.ToUpper(hex.EncodeToString(secret))),
		[]byte(strings.TrimRight(quoted, "=")), []byte(base64.RawURLEncoding.EncodeToString(secret)), slices.Concat([]byte("\\\""), secret)}
}
