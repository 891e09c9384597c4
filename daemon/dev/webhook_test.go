package dev_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
)

// TestWebhookHearsOfAMint: an endpoint that was made from the command line hears of a mint, each event
// verified and in order, though everything is killed while the mint waits for its approvals.
func TestWebhookHearsOfAMint(t *testing.T) {
	t.Parallel()
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	var mu sync.Mutex
	var secret string
	heard := map[string][]string{} // by operation
	seen := map[string]bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		e, verr := client.VerifyWebhook(secret, r.Header, body, time.Now())
		if err != nil || verr != nil {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if _, op, ok := strings.Cut(string(e.Data), `"operationId":"`); ok && !seen[e.ID] {
			op = op[:strings.IndexByte(op, '"')]
			heard[op] = append(heard[op], e.Type)
		}
		seen[e.ID] = true
	}))
	defer s.Close()
	out := filepath.Join(t.TempDir(), "hook.secret")
	mu.Lock()
	a.cli()("webhook", "create", "--url", s.URL, "--event", "token.*", "--event", "approval.*", "--out", out, "--as", "admin")
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	secret = strings.TrimSpace(string(text))
	mu.Unlock()

	token := a.deployed()
	_, wallet, _ := a.treasury()
	mint, err := a.as("operator").MintToken(a.context(), token.ID, client.MintRequest{Amount: "1000",
		Recipient: client.Party{Type: client.PartyTypeWalletID, WalletID: &wallet.ID}})
	if err != nil {
		t.Fatal(err)
	}
	a.kill()
	a = a.again()
	a.approve(mint.OperationID, "approver-1", "approver-2")
	a.completed(mint.OperationID)
	want := []string{"token.mint_requested", "approval.required", "approval.decision", "approval.decision", "token.minted"}
	var got []string
	for deadline := time.Now().Add(patience); !slices.Equal(got, want); time.Sleep(20 * time.Millisecond) {
		mu.Lock()
		got = slices.Clone(heard[mint.OperationID])
		mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatalf("heard %v of the mint, want %v", got, want)
		}
	}
	for w, err := range a.as("admin").Webhooks(a.context()) {
		if err != nil {
			t.Fatal(err)
		}
		cli := a.cli()
		cli("webhook", "test", w.ID, "--as", "admin")
		cli("webhook", "show", w.ID, "--as", "viewer")
		cli("webhook", "deliveries", w.ID, "--as", "viewer")
		cli("webhook", "rotate", w.ID, "--grace", "1h", "--out", out+".new", "--as", "admin")
		cli("webhook", "delete", w.ID, "--as", "admin")
	}
}
