package dev_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// drained sends a request, by the key in a file of the appliance, whose second half comes after the appliance was told
// to end: it is answered as if nothing were, and nobody new is let in meanwhile.
func (a *appliance) drained(tell func() error, key, path, body string, want int) {
	t := a.t
	t.Helper()
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
	send := func(s string) {
		t.Helper()
		if _, err := io.WriteString(conn, s); err != nil {
			t.Fatal(err)
		}
	}
	bearer, err := os.ReadFile(filepath.Join(a.dir, key))
	if err != nil {
		t.Fatal(err)
	}
	send(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nIdempotency-Key: drained-%s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", path, address, bytes.TrimSpace(bearer), filepath.Base(key), len(body)))
	answers := bufio.NewReader(conn)
	if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") { // its handler runs
		t.Fatalf("%q %v", line, err)
	}
	send(body[:len(body)/2])

	if err := tell(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for refused := false; !refused; { // until the stop has begun
		if time.Since(began) > patience {
			t.Fatal("it was told to stop, and lets new callers in")
		}
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
	if err != nil || answer.StatusCode != want {
		t.Fatalf("%s: %s %v", answer.Status, said, err)
	}
}
