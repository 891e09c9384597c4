package dev_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A directory may be moved between two starts: nothing in it is tied to where
// it was made. One with a long path works too, though no socket would fit in it.
func TestMovedDirectory(t *testing.T) {
	parent := t.TempDir()
	a := startAppliance(t, filepath.Join(parent, "here"))
	vault, wallet, _ := a.treasury()
	a.stop()
	there := filepath.Join(parent, strings.Repeat("a-long-name-", 8), "there")
	if err := os.MkdirAll(filepath.Dir(there), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(a.dir, there); err != nil {
		t.Fatal(err)
	}
	a.dir = there
	a = a.again()
	if v, w, _ := a.treasury(); v.ID != vault.ID || w.ID != wallet.ID {
		t.Errorf("after the move: vault %s, wallet %s; before: %s, %s", v.ID, w.ID, vault.ID, wallet.ID)
	}
	run, err := os.Readlink(filepath.Join(there, "run"))
	if err != nil {
		t.Fatalf("run/ of a long path is no link: %v", err)
	}
	a.stop()
	if _, err := os.Stat(run); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s stays behind: %v", run, err)
	}
}

// What cannot work is said at once, before anything is made: an address that
// somebody has, one off loopback, a directory that another dev runs on.
func TestDevRefuses(t *testing.T) {
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	fresh := filepath.Join(t.TempDir(), "fresh")
	for _, c := range []struct {
		name, dir, flag, value, want string
	}{
		{"taken API address", fresh, "--api", taken.Addr().String(), "is in use"},
		{"taken node address", fresh, "--rpc", taken.Addr().String(), "--rpc"},
		{"all interfaces", fresh, "--monitor", "0.0.0.0:0", "not on loopback"},
		{"no port", fresh, "--api", "127.0.0.1", "not host:port"},
		{"a directory in use", a.dir, "--log", "error", "another mintwardend dev runs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"dev", "--dir", c.dir, "--api", "127.0.0.1:0", "--monitor", "127.0.0.1:0", "--rpc", "127.0.0.1:0", c.flag, c.value}
			out, err := exec.Command(a.cmd.Path, args...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), c.want) || !strings.Contains(string(out), c.value) && c.flag != "--log" {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(fresh, "etcd", "member")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a refused start made a store")
	}
}

// A directory is reopened for ever: certificates that ended since are made anew.
func TestCertificatesThatEnded(t *testing.T) {
	t.Parallel()
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	vault, _, _ := a.treasury()
	a.stop()
	a.hangUp()
	roots := map[x509.PublicKeyAlgorithm]tls.Certificate{}
	for _, name := range []string{"root-ecdsa", "root-mldsa"} {
		root := a.pair("pki/" + name)
		roots[root.Leaf.PublicKeyAlgorithm] = root
	}
	paths := []string{"tls/client", "tls/pq/client", "pki/api-ecdsa", "pki/api-mldsa", "pki/etcd", "pki/etcd-root", "pki/etcd-mintwarden", "pki/etcd-seal"}
	for _, path := range paths {
		leaf := a.pair(path).Leaf
		root := roots[leaf.PublicKeyAlgorithm]
		leaf.NotBefore, leaf.NotAfter = leaf.NotBefore.Add(-48*time.Hour), time.Now().Add(-time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, leaf, root.Leaf, leaf.PublicKey, root.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(a.dir, path+".crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a = a.again()
	if v, _, _ := a.treasury(); v.ID != vault.ID {
		t.Errorf("vault %s, before: %s", v.ID, vault.ID)
	}
	for _, path := range paths {
		if leaf := a.pair(path).Leaf; time.Until(leaf.NotAfter) < 300*24*time.Hour {
			t.Errorf("%s ends on %s", path, leaf.NotAfter)
		}
	}
}

// pair is a certificate of the directory with its key.
func (a *appliance) pair(path string) tls.Certificate {
	a.t.Helper()
	p, err := tls.LoadX509KeyPair(filepath.Join(a.dir, path+".crt"), filepath.Join(a.dir, path+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	return p
}
