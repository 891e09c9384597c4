package dev_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
