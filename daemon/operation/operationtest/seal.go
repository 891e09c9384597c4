package operationtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/hsm/softhsm"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Appliance is the name of the one that the seal belongs to.
const Appliance = "appliance-1"

const (
	pin = "unit-1234"
	// patience is after what time a test gives up; nothing is measured by it.
	patience = 2 * time.Minute
)

// programs holds the real mintwarden-seal, built once a test run that needs it.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

func sealProgram() (string, error) {
	programs.once.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "operationtest"); programs.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", programs.dir, "github.com/mintwarden/mintwarden/cmd/mintwarden-seal")
		if out, err := build.CombinedOutput(); err != nil {
			programs.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	return filepath.Join(programs.dir, "mintwarden-seal"), programs.err
}

// Main runs a package's tests and removes what was built for them.
func Main(m *testing.M) {
	code := m.Run()
	programs.once.Do(func() {}) // or nobody built it
	if programs.dir != "" {
		_ = os.RemoveAll(programs.dir)
	}
	os.Exit(code)
}

// Seal is a running seal after its first start, until the test ends.
type Seal struct {
	Socket   string
	Charter1 policy.Digest
}

// StartSeal makes a token, starts the seal, and takes it through the first start: these people's charter 1, for that
// chain.
func StartSeal(tb testing.TB, etcd *storetest.Server, people *People, c *Chain) *Seal {
	tb.Helper()
	s, err := startSeal(tb, etcd, people, c)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func startSeal(tb testing.TB, etcd *storetest.Server, people *People, c *Chain) (*Seal, error) {
	program, err := sealProgram()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "mw") // short: the socket's path is bounded
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	token, err := softhsm.Create(tb.Context(), filepath.Join(dir, "hsm"), "unit", []byte("so-pin-1"), []byte(pin))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "pin"), []byte(pin), 0o600); err != nil {
		return nil, err
	}
	s := &Seal{Socket: filepath.Join(dir, "seal.sock")}
	configFile := filepath.Join(dir, "seal.toml")
	configure := func() error {
		return os.WriteFile(configFile, []byte(s.configuration(dir, token, etcd.ClientConfig(store.UserSeal))), 0o600)
	}
	if err := configure(); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "--config", configFile)
	cmd.Env = append(os.Environ(), softhsm.EnvConf+"="+token.ConfPath)
	alive, err := cmd.StdinPipe() // it ends when this does
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	tb.Cleanup(func() {
		_ = alive.Close()
		late := time.AfterFunc(patience, func() {
			tb.Errorf("operationtest: the seal does not end within %s", patience)
			_ = cmd.Process.Kill()
		})
		_ = cmd.Wait()
		late.Stop()
	})
	door := s.Door(tb)
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if status, err := door.Status(tb.Context()); err == nil && !status.Sealed {
			break
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("operationtest: the seal does not answer within %s", patience)
		}
	}
	keys, err := door.Init(tb.Context())
	if err != nil {
		return nil, err
	}
	charter, err := people.charter(keys, c)
	if err != nil {
		return nil, err
	}
	body, err := charter.Encode()
	if err != nil {
		return nil, err
	}
	e := people.Sign(tb, policy.DocCharter, body, Custodians...)
	s.Charter1 = e.PayloadDigest()
	if err := configure(); err != nil {
		return nil, err
	}
	_, err = door.CharterApply(tb.Context(), e)
	return s, err
}

// configuration is the seal's file.
func (s *Seal) configuration(dir string, token *softhsm.Token, client store.Config) string {
	text := ""
	if s.Charter1 != "" {
		text = fmt.Sprintf("charter1 = %q\n", s.Charter1)
	}
	return text + fmt.Sprintf("appliance = %q\nstate = %q\nsocket = %q\nparent_pipe = true\n[hsm]\nmodule = %q\ntoken = \"unit\"\nsessions = 4\n[pin]\nfile = %q\n",
		Appliance, filepath.Join(dir, "state"), s.Socket, token.ModulePath, filepath.Join(dir, "pin")) +
		fmt.Sprintf("[store]\nendpoints = [%q]\nca = %q\ncert = %q\nkey = %q\nserver_name = \"127.0.0.1\"\n",
			client.Endpoints[0], client.CAFile, client.CertFile, client.KeyFile)
}

// Door is a connection of the test's own to the seal.
func (s *Seal) Door(tb testing.TB) *seal.Client {
	tb.Helper()
	door, err := seal.Dial(tb.Context(), s.Socket)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = door.Close() })
	return door
}
