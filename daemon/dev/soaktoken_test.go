package dev_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/hsm/softhsm"
)

// The token misbehaves in the ways of hsm/testdata/shim.c, a module between each
// seal and SoftHSM2. What it is told to do once it does to one call, in the middle
// of whatever is under way; what lasts, lasts for the fault's time.

// sporadic are what a token does once: a session or a handle is lost, another
// object has the number, the device reports an error, the library crashes, hangs
// longer than a call may take, or is logged out behind our back.
var sporadic = []string{"C_Sign 0xB3", "C_Decrypt 0xB0", "C_SignInit 0x60", "C_DecryptInit 0x82", "C_GetAttributeValue 0x82", "C_Sign 0x05", "C_Sign 0x21",
	"C_Decrypt 0x40", "C_SignInit shuffle 1", "C_DecryptInit shuffle 2", "C_Decrypt 0x101", "C_SignInit closeall", "C_DecryptInit logout", "C_Sign abort", "C_Decrypt segv",
	"C_CreateObject 0x31", "C_DestroyObject 0x30"}

// lasting are what it does until it is told to behave.
var lasting = []string{"* gone", "C_Sign hang", "C_Decrypt hang", "C_CreateObject hang", "C_Sign 0x05 keep", "C_Decrypt 0x06 keep", "C_CreateObject 0x31 keep", "C_GenerateRandom 0x30 keep"}

// tokenFaults are one appliance's: the other one has the same token in sound
// hands.
func (h *soakHouse) tokenFaults(n int) (all []fault) {
	tell := func(what string) fault {
		return fault{name: "token of " + applianceIDs[n] + ": " + what, rooms: []string{fmt.Sprint("token ", n)}, weight: 1, most: time.Second,
			begin: func(context.Context) { h.misbehave(n, what) }, end: func(context.Context) { h.behave(n) }}
	}
	for _, what := range sporadic {
		all = append(all, tell(what))
	}
	for _, what := range lasting {
		f := tell(what)
		f.most = 6 * time.Second
		all = append(all, f)
	}
	return all
}

func (h *soakHouse) misbehave(n int, what string) {
	path := h.file(n, "token", "control")
	if err := os.WriteFile(path+".new", []byte(what+"\n"), 0o600); err != nil {
		h.t.Error(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		h.t.Error(err)
	}
}

func (h *soakHouse) behave(n int) {
	if err := os.Remove(h.file(n, "token", "control")); err != nil && !os.IsNotExist(err) {
		h.t.Error(err)
	}
}

// throughShim puts the module between a seal and its token, and gives a call the
// time that lets a hang be noticed. It returns what the seal's environment says.
func (h *soakHouse) throughShim(n int) []string {
	h.t.Helper()
	module, err := softhsm.Module()
	if err != nil {
		h.t.Fatal(err)
	}
	shim := h.file(n, "token", "shim.so")
	if err := os.MkdirAll(filepath.Dir(shim), 0o700); err != nil {
		h.t.Fatal(err)
	}
	source := filepath.Join(moduleRoot(h.t), "hsm", "testdata", "shim.c")
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", shim, source, "-ldl", "-lpthread").CombinedOutput(); err != nil {
		h.t.Fatalf("gcc: %v\n%s", err, out)
	}
	path := h.file(n, "seal.toml")
	old, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	was := "module = '" + module + "'\n"
	if !strings.Contains(string(old), was) {
		h.t.Fatalf("seal.toml does not say %s:\n%s", was, old)
	}
	text := strings.Replace(string(old), was, fmt.Sprintf("module = '%s'\ncall_timeout = '2s'\nmax_stuck = 2\n", shim), 1)
	text += fmt.Sprintf("\n[sandbox]\nread = ['%s']\nwrite = ['%s']\n", module, filepath.Dir(shim))
	h.write(path, text)
	return []string{"SOFTHSM2_CONF=" + filepath.Join(h.dir, "hsm/token/softhsm2.conf"), "SHIM_MODULE=" + module,
		"SHIM_CONTROL=" + h.file(n, "token", "control"), "SHIM_LOGINS=" + h.file(n, "token", "logins")}
}
