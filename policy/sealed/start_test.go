package sealed

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Every way in which the PIN's file can be wrong ends the keeper, and none of
// its bytes is told.
func TestPINFiles(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string // empty: taken
		pin  string
	}{
		"plain":              {"1234", 0o600, "", "1234"},
		"with a line's end":  {"1234\r\n", 0o400, "", "1234"},
		"as long as can be":  {strings.Repeat("7", maxPIN), 0o600, "", strings.Repeat("7", maxPIN)},
		"empty":              {"", 0o600, "holds 0 bytes", ""},
		"only a line's end":  {"\n\n", 0o600, "holds 0 bytes", ""},
		"too long by one":    {strings.Repeat("7", maxPIN+1), 0o600, "256 bytes", ""},
		"far too long":       {strings.Repeat("7", 1000), 0o600, "longer than", ""},
		"readable by others": {"1234", 0o644, "owner only", ""},
		"no file":            {"", 0, "no such file", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			k := &keeper{cfg: &Config{State: dir, PIN: PINConfig{File: filepath.Join(dir, "pin")}}, log: slog.New(slog.DiscardHandler)}
			if c.mode != 0 {
				require.NoError(t, os.WriteFile(k.cfg.PIN.File, []byte(c.text), c.mode))
			}
			err := k.loadPIN()
			if c.want != "" {
				require.ErrorContains(t, err, c.want)
				require.NotContains(t, err.Error(), strings.Repeat("7", 12), "of the PIN")
				require.Nil(t, k.pin)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.pin, string(k.pin.Bytes()))
			k.forget("over")
			require.Nil(t, k.pin)
		})
	}
}

// The unseal key is made once and found again; with a credential it stands in the
// state directory under that alone.
func TestUnsealKeyIsMadeOnce(t *testing.T) {
	wrap := filepath.Join(t.TempDir(), "wrap")
	require.NoError(t, os.WriteFile(wrap, bytes.Repeat([]byte("w"), 32), 0o600))
	for name, u := range map[string]unsealKeyFile{"bare": {}, "under a credential": {wrap: wrap}} {
		t.Run(name, func(t *testing.T) {
			u.state = t.TempDir()
			_, err := u.private()
			require.ErrorIs(t, err, fs.ErrNotExist)
			first, err := u.public()
			require.NoError(t, err)
			again, err := u.public()
			require.NoError(t, err)
			require.Equal(t, first, again)
			key, err := u.private()
			require.NoError(t, err)
			raw, err := key.Bytes()
			require.NoError(t, err)
			text, err := os.ReadFile(u.path())
			require.NoError(t, err)
			require.Equal(t, u.wrap == "", bytes.Contains(text, raw))
			require.NoError(t, os.Chmod(u.path(), 0o640))
			_, err = u.public()
			require.ErrorContains(t, err, "owner only")
			require.NoError(t, os.Chmod(u.path(), 0o600))
			for _, bad := range []string{"short", strings.Repeat("long", 30), ""} {
				require.NoError(t, os.WriteFile(u.path(), []byte(bad), 0o600))
				_, err = u.public()
				require.ErrorContains(t, err, u.path())
			}
		})
	}
	_, err := unsealKeyFile{state: filepath.Join(t.TempDir(), "none")}.public()
	require.Error(t, err)
}

func TestAnUnsealKeysCredentialThatDoesNotDo(t *testing.T) {
	dir := t.TempDir()
	wrap := filepath.Join(dir, "wrap")
	u := unsealKeyFile{state: dir, wrap: wrap}
	_, err := u.public()
	require.ErrorContains(t, err, "credential")
	require.NoError(t, os.WriteFile(wrap, []byte("a password"), 0o600))
	_, err = u.public()
	require.ErrorContains(t, err, "holds 10 bytes, want at least 32")
	require.NoError(t, os.WriteFile(wrap, bytes.Repeat([]byte("1"), 32), 0o600))
	_, err = u.public()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(wrap, bytes.Repeat([]byte("2"), 32), 0o600))
	_, err = u.public()
	require.ErrorContains(t, err, "does not decrypt")

	bare := unsealKeyFile{state: t.TempDir()}
	_, err = bare.public()
	require.NoError(t, err)
	_, err = unsealKeyFile{bare.state, wrap}.public()
	require.ErrorContains(t, err, "unencrypted", "nothing is left beside the new one")
}

// What cannot be started says why, and leaves no worker behind.
func TestKeeperThatCannotStart(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*process)
		want   string
	}{
		"no configuration": {func(p *process) { require.NoError(t, os.Remove(filepath.Join(p.dir, "seal.toml"))) }, "no such file"},
		"unknown key":      {func(p *process) { p.hsm = "pin = 1"; p.configure("") }, "unknown key hsm.pin"},
		"no PIN":           {func(p *process) { require.NoError(t, os.Remove(filepath.Join(p.dir, "pin"))) }, "PIN file"},
		"state is a file":  {func(p *process) { require.NoError(t, os.WriteFile(filepath.Join(p.dir, "state"), nil, 0o600)) }, "state"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcess(t)
			c.change(p)
			exe, err := program()
			require.NoError(t, err)
			cmd := exec.CommandContext(t.Context(), exe, "--config", filepath.Join(p.dir, "seal.toml"))
			cmd.Env = programEnv(p.token)
			out, err := cmd.CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(out), c.want)
			require.NotContains(t, string(out), "worker started")
		})
	}
}

// A worker without a keeper does nothing.
func TestWorkerOnItsOwn(t *testing.T) {
	p := newProcess(t)
	exe, err := program()
	require.NoError(t, err)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, w.Close())
	cmd := exec.CommandContext(t.Context(), exe, "worker")
	cmd.Env = programEnv(p.token)
	cmd.ExtraFiles = []*os.File{r, r}
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "no greeting from a keeper")
}

// A worker that cannot serve is tried again, and the reason is in the log: here
// something else stands where the socket is to be.
func TestSomethingElseAtTheSocketsPlace(t *testing.T) {
	p := newProcess(t)
	path := filepath.Join(p.dir, "seal.sock")
	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
	p.launch()
	p.await("worker ends")
	p.await("worker ended; starting another")
	require.FileExists(t, path)
	require.NoError(t, os.Remove(path))
	p.await("seal answers")
}

// With callers of other users the socket is open to all: the kernel's word on who
// connects decides.
func TestSocketModes(t *testing.T) {
	for others, want := range map[bool]os.FileMode{false: 0o600, true: 0o666} {
		path := filepath.Join(t.TempDir(), "s")
		for range 2 { // the second finds the first one's file
			l, err := listen(path, others)
			require.NoError(t, err)
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, want, info.Mode().Perm())
			require.NoError(t, l.Close())
			require.FileExists(t, path, "the next worker removes it")
		}
	}
	_, err := listen(filepath.Join(t.TempDir(), "none", "s"), false)
	require.Error(t, err)
}

func TestStoreThatCannotBeOpened(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad")
	require.NoError(t, os.WriteFile(bad, []byte("no PEM"), 0o600))
	for name, change := range map[string]func(*StoreConfig){
		"no CA":          func(c *StoreConfig) { c.CA = "/nonexistent" },
		"CA of nothing":  func(c *StoreConfig) { c.CA = bad },
		"no certificate": func(c *StoreConfig) { c.Cert = "/nonexistent" },
		"wrong key":      func(c *StoreConfig) { c.Key = filepath.Join(filepath.Dir(c.Key), "server.key") },
		"no endpoint":    func(c *StoreConfig) { c.Endpoints = nil },
		"odd socket":     func(c *StoreConfig) { c.Sockets = map[string]string{"https://a b": "/s"} },
	} {
		cfg := house.store
		change(&cfg)
		_, err := openStore(t.Context(), cfg)
		require.Error(t, err, name)
	}
}

// A server that is not the one in the configuration is not talked to: the CA and
// the name are pinned, the endpoint's host counts only where no name is set.
func TestTheStoresServerIsPinned(t *testing.T) {
	_, forwarded := newWire(t)
	elsewhere := "https://elsewhere.test:2379"
	socket := forwarded.Sockets[forwarded.Endpoints[0]]
	other := t.TempDir()
	require.NoError(t, issue(other))
	for name, c := range map[string]struct {
		change func(*StoreConfig)
		takes  bool
	}{
		"its name": {func(*StoreConfig) {}, true},
		"its name, another host": {func(c *StoreConfig) {
			c.Endpoints, c.Sockets = []string{elsewhere}, map[string]string{elsewhere: socket}
		}, true},
		"its host":     {func(c *StoreConfig) { c.ServerName = "" }, true},
		"another name": {func(c *StoreConfig) { c.ServerName = "other.test" }, false},
		"another host and no name": {func(c *StoreConfig) {
			c.ServerName, c.Endpoints, c.Sockets = "", []string{elsewhere}, map[string]string{elsewhere: socket}
		}, false},
		"another CA":          {func(c *StoreConfig) { c.CA = filepath.Join(other, "ca.crt") }, false},
		"another CA, no name": {func(c *StoreConfig) { c.ServerName, c.CA = "", filepath.Join(other, "ca.crt") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := forwarded
			c.change(&cfg)
			s := openLog(t, cfg)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if !c.takes {
				ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
			}
			_, err := s.c.Get(ctx, "/seal/none")
			require.Equal(t, c.takes, err == nil, "%v", err)
		})
	}
}

// The token is looked at even while nobody asks for anything.
func TestTheTokenIsWatched(t *testing.T) {
	_, r, _ := inProcess(t, roomOptions{}, nil)
	w := &worker{log: slog.New(slog.DiscardHandler)}
	ticks := make(chan time.Time)
	ended := make(chan struct{})
	go func() { w.watch(t.Context(), r.token, ticks); close(ended) }()
	before := calls(t, "sign_ed25519")
	for range 3 {
		ticks <- time.Now()
	}
	close(ticks)
	soon(t, ended, "the end of the watch")
	require.Equal(t, before+3, calls(t, "sign_ed25519"))
}

// A store that opens beside the seal and takes longer is no doubt: nobody is alarmed, and nobody has to help.
func TestAStoreThatIsNotThereYet(t *testing.T) {
	etcd, store := newWire(t)
	p := newProcess(t)
	p.store = &store
	p.configure("")
	found(t, p, p.start())
	p.stop()
	etcd.set(false, true)
	p.launch()
	p.await("the ledger is not read yet; it is tried again")
	etcd.set(false, false)
	require.NotEqual(t, "ledger in doubt; nothing is decided", p.awaitAny("ledger in doubt; nothing is decided", "author of the ledger").Message)
}
