package dev_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/policy"
)

// testApproverRequests: whoever asked for an operation cannot approve it, though
// an approver otherwise. No built-in role may do both at one time, so the person
// changes roles in between, in the store, as an admin's PATCH would have it.
func (e *edge) testApproverRequests(t *testing.T) {
	const name = "approver-2"
	user := e.user(t, name)
	e.becomes(t, user, "operator")
	mint := e.mint(e.tokenID, `"2"`, addressParty(e.stranger))
	mint.as = name
	var id string
	e.until(t, func() bool {
		a := e.send(t, mint)
		var to struct {
			OperationID string `json:"operationId"`
		}
		_ = json.Unmarshal(a.body, &to)
		id = to.OperationID
		return a.status == http.StatusAccepted
	})
	e.becomes(t, user, "approver")
	e.until(t, func() bool {
		return e.send(t, call{method: "POST", path: "/v1/token-operations/" + id + "/approve", as: name, body: `{}`}).status == http.StatusBadRequest
	})
	own := e.envelope(t, name, "decision", e.decision(t, name, policy.Approve, id, "mine"))
	e.refused(t, decide(name, "approve", id, own), want{422, 1202, name})
	if n := e.total(t, "/v1/token-operations?limit=1&tokenId="+e.tokenID+"&awaitingApprovalBy="+name+"&requestedBy="+name); n != 0 {
		t.Errorf("%d operations of %s's own wait for him", n, name)
	}
	// The two others are enough.
	e.approve(id, "approver-1", "approver-3")
	e.completed(id)
}

// becomes gives a user another role, in the store.
func (e *edge) becomes(t *testing.T, user, role string) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(e.dir, "pki/etcd-mintwarden.crt"), filepath.Join(e.dir, "pki/etcd-mintwarden.key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(mustRead(t, filepath.Join(e.dir, "pki/root-mldsa.crt"))) {
		t.Fatal("no root")
	}
	_, rest, _ := strings.Cut(string(mustRead(t, filepath.Join(e.dir, "config/mintwarden.toml"))), "endpoints = ['")
	endpoint, _, _ := strings.Cut(rest, "'")
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, TLS: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}, DialTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	key := "/mw/user/" + user
	at, err := c.Get(e.context(), key)
	if err != nil || len(at.Kvs) != 1 {
		t.Fatalf("%s: %v, %v", key, at, err)
	}
	var value map[string]any
	if err := json.Unmarshal(at.Kvs[0].Value, &value); err != nil {
		t.Fatal(err)
	}
	value["role"] = role
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(e.context(), key, string(text)); err != nil {
		t.Fatal(err)
	}
}

// until asks again until done.
func (e *edge) until(t *testing.T, done func() bool) {
	t.Helper()
	ctx := e.context()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatal("it did not come")
		case <-time.After(20 * time.Millisecond):
		}
	}
}
