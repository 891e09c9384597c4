package dev_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
)

// drained asks for a mint whose second half comes after the daemon was told to end: it is answered as if nothing were,
// nobody new is let in meanwhile, and only then the daemon ends.
func (a *appliance) drained(daemon *exec.Cmd, token *client.Token) {
	t := a.t
	t.Helper()
	_, wallet, _ := a.treasury()
	address := strings.TrimPrefix(a.url, "https://")
	cert, err := tls.LoadX509KeyPair(filepath.Join(a.dir, "tls/client.crt"), filepath.Join(a.dir, "tls/client.key"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(a.dir, "tls/ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"amount":"1000","recipient":{"type":"walletId","walletId":%q}}`, wallet.ID)
	send := func(s string) {
		t.Helper()
		if _, err := io.WriteString(conn, s); err != nil {
			t.Fatal(err)
		}
	}
	send(fmt.Sprintf("POST /v1/tokens/%s/mint HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nIdempotency-Key: drained\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", token.ID, address, a.secrets()["keys/operator.apikey"], len(body)))
	answers := bufio.NewReader(conn)
	if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") { // its handler runs
		t.Fatalf("%q %v", line, err)
	}
	send(body[:len(body)/2])

	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for refused := false; !refused; { // until the stop has begun
		door, err := net.Dial("tcp", address)
		if refused = err != nil; !refused {
			_ = door.Close()
		}
	}
	send(body[len(body)/2:])
	if _, err := answers.ReadString('\n'); err != nil { // what ends 100 Continue
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatalf("the request was cut off: %v", err)
	}
	defer func() { _ = answer.Body.Close() }()
	said, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusAccepted {
		t.Fatalf("%s: %s %v", answer.Status, said, err)
	}
	_ = conn.Close()
	if err := daemon.Wait(); err != nil {
		t.Errorf("it ended with %v on SIGTERM", err)
	}
}
