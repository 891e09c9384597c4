package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/pki"
)

// What the environment of 'mintwardend dev' names is enough to connect.
func ExampleNew() {
	c, err := client.New(client.Config{
		URL:        os.Getenv("MINTWARDEN_URL"),
		CAFile:     os.Getenv("MINTWARDEN_CA"),
		CertFile:   os.Getenv("MINTWARDEN_CERT"),
		KeyFile:    os.Getenv("MINTWARDEN_KEY"),
		APIKeyFile: os.Getenv("MINTWARDEN_API_KEY_FILE"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
}

// A mint is asked for, approved by people, and waited for. The key makes the
// request the same one however often the program is started again.
func ExampleClient_MintToken() {
	c, stop := demo(
		say(202, map[string]any{"operationId": "op_1", "tokenId": "token_1", "operationType": "MINT", "status": "PENDING_AUTHORIZATION", "amount": "1000"}),
		say(200, map[string]any{"operationId": "op_1", "operationType": "MINT", "status": "PENDING_AUTHORIZATION"}),
		say(200, map[string]any{"operationId": "op_1", "operationType": "MINT", "status": "COMPLETED"}),
	)
	defer stop()
	ctx := context.Background()
	to := "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
	asked, err := c.MintToken(ctx, "token_1", client.MintRequest{
		Amount: "1000", Recipient: client.Party{Type: client.PartyTypeAddress, Address: &to},
	}, client.WithIdempotencyKey("invoice-4711"))
	if err != nil {
		fmt.Println(err)
		return
	}
	op, err := c.WaitOperation(ctx, asked.OperationID, client.Done, func(op *client.Operation) { fmt.Println(op.Status) })
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ended", op.Status)
	// Output:
	// PENDING_AUTHORIZATION
	// COMPLETED
	// ended COMPLETED
}

// A refusal is an *Error, with the code of the API's table.
func ExampleError() {
	c, stop := demo(refuse(422, client.CodePolicyDenied, "POLICY_DENIED", "policy dev-default version 1, MAX_AMOUNT: 2000 is above 1000"))
	defer stop()
	_, err := c.PauseToken(context.Background(), "token_1", client.PauseRequest{})
	if refused, ok := errors.AsType[*client.Error](err); ok && refused.Code == client.CodePolicyDenied {
		fmt.Println("denied:", refused.Message)
	}
	// Output: denied: policy dev-default version 1, MAX_AMOUNT: 2000 is above 1000
}

// A list is gone through page by page, newest first.
func ExampleClient_Transactions() {
	page := func(next string, ids ...string) http.HandlerFunc {
		var data []map[string]any
		for _, id := range ids {
			data = append(data, map[string]any{"id": id, "status": "COMPLETED"})
		}
		p := map[string]any{"total": 3, "limit": 200, "offset": 0}
		if next != "" {
			p["nextCursor"] = next
		}
		return say(200, map[string]any{"data": data, "pagination": p})
	}
	c, stop := demo(page("txreq_2", "txreq_3", "txreq_2"), page("", "txreq_1"))
	defer stop()
	for t, err := range c.Transactions(context.Background(), client.ListTransactionsParams{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(t.ID, t.Status)
	}
	// Output:
	// txreq_3 COMPLETED
	// txreq_2 COMPLETED
	// txreq_1 COMPLETED
}

// demo is a client of an appliance that gives these answers.
func demo(answers ...http.HandlerFunc) (*client.Client, func()) {
	dir, err := os.MkdirTemp("", "example")
	check(err)
	ca, err := pki.NewCA("example", pki.ECDSAP256)
	check(err)
	server, err := ca.IssueServer("mintwarden", []string{"127.0.0.1"}, pki.ECDSAP256)
	check(err)
	mine, err := ca.IssueClient("example", pki.ECDSAP256)
	check(err)
	pair, err := tls.X509KeyPair(server.Certificate, server.Key)
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.Pair().Certificate)
	a := &appliance{answers: answers}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	a.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}
	a.StartTLS()
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		check(os.WriteFile(path, b, 0o600))
		return path
	}
	c, err := client.New(client.Config{
		URL: a.URL, CAFile: file("ca.crt", ca.Pair().Certificate), CertFile: file("client.crt", mine.Certificate), KeyFile: file("client.key", mine.Key),
		APIKeyFile: file("apikey", []byte("qcs_test_key\n")), Patience: 5 * time.Second, Poll: time.Millisecond,
	})
	check(err)
	return c, func() { c.Close(); a.Close(); _ = os.RemoveAll(dir) }
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
