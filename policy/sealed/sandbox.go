package sealed

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// SandboxConfig is what a token's library needs beside what every one does. It
// widens what keeper and worker may touch, never what they decide.
type SandboxConfig struct {
	Read    []string `toml:"read"`    // paths, with what is below
	Write   []string `toml:"write"`   // paths, with what is below
	Connect []uint16 `toml:"connect"` // TCP ports, of a network HSM
}

// What a library is loaded with and finds its way by. None of it is a secret.
var (
	systemRead = []string{"/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/ssl", "/etc/pkcs11", "/etc/softhsm",
		"/etc/localtime", "/etc/passwd", "/etc/group", "/proc", "/sys/devices/system/cpu", "/sys/fs/cgroup", "/sys/kernel/mm"}
	systemFiles = []string{"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"}
	// namesRead is what finds a host by its name.
	namesRead = []string{"/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"}
)

// readOnly does not execute: a library is mapped, not executed.
const readOnly landlock.AccessFSSet = ll.AccessFSReadFile | ll.AccessFSReadDir

// fence is what a process may still reach once it shut itself in.
type fence struct {
	read, write []string // paths, with what is below; files of directories that are replaced by rename stay in reach
	execute     []string // files
	files       []string // device files, read and written
	connect     []uint16 // TCP ports
}

// workerFence is what a worker needs: its state, its socket, the token's library
// with its configuration, the store. It executes nothing.
func workerFence(c *Config, env func(string) string) fence {
	f := fence{
		read: slices.Concat(systemRead, []string{filepath.Dir(c.HSM.Module), filepath.Dir(c.Store.CA), filepath.Dir(c.Store.Cert),
			filepath.Dir(c.Store.Key)}, c.Sandbox.Read),
		write:   slices.Concat([]string{c.State, filepath.Dir(c.Socket)}, c.Sandbox.Write),
		files:   systemFiles,
		connect: slices.Concat(storePorts(c.Store), c.Sandbox.Connect),
	}
	if len(f.connect) > 0 {
		f.read = append(f.read, namesRead...)
	}
	conf := env("SOFTHSM2_CONF")
	if conf == "" {
		conf = "/etc/softhsm/softhsm2.conf"
	}
	if tokens := softTokens(conf); tokens != "" {
		f.read, f.write = append(f.read, filepath.Dir(conf)), append(f.write, tokens)
	}
	return f
}

// keeperFence is a worker's, who inherits it, and what only the keeper needs: the
// PIN's sources, and to execute itself.
func keeperFence(c *Config, configPath string, env func(string) string) fence {
	f := workerFence(c, env)
	f.read = append(f.read, filepath.Dir(configPath))
	for _, p := range []string{c.PIN.File, c.PIN.Credential, c.PIN.CredentialSource, c.PIN.KeyCredential, c.PIN.KeyCredentialSource, c.Unseal.KeyCredential} {
		if p != "" {
			f.read = append(f.read, filepath.Dir(p))
		}
	}
	f.execute = []string{self}
	if loader := interpreter(self); loader != "" {
		f.execute = append(f.execute, loader)
	}
	return f
}

// self is this program, also after its file was replaced.
const self = "/proc/self/exe"

// interpreter is the dynamic loader that a program asks for, empty for none.
func interpreter(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name, err := io.ReadAll(io.LimitReader(p.Open(), 4096))
		if err != nil {
			return ""
		}
		return strings.TrimRight(string(name), "\x00")
	}
	return ""
}

// storePorts are those of endpoints that no Unix socket forwards to.
func storePorts(c StoreConfig) []uint16 {
	var out []uint16
	for _, endpoint := range c.Endpoints {
		if _, ok := c.Sockets[endpoint]; ok {
			continue
		}
		u, err := url.Parse(endpoint)
		if err != nil {
			continue // the store says what is wrong with it
		}
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil {
			port = 443
		}
		out = append(out, uint16(port))
	}
	return out
}

// softTokens is where SoftHSM2 keeps its tokens, by its configuration.
func softTokens(conf string) string {
	f, err := os.Open(conf)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(io.LimitReader(f, maxConfig)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "=")
		if strings.TrimSpace(name) == "directories.tokendir" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// close shuts the process, every thread of it, and its children in. What this
// kernel does not have of Landlock is left open, and the log says so; what it has
// and refuses is an error.
func (f fence) close(log *slog.Logger) error {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		log.Warn("this kernel has no Landlock: the process is not kept from files and networks that it does not need")
		return nil
	}
	for _, p := range slices.Concat(f.write, f.read) {
		if _, err := os.Stat(p); errors.Is(err, os.ErrNotExist) {
			log.Debug("a path of the sandbox is not there, and stays out of reach", "path", p)
		}
	}
	rules := []landlock.Rule{
		landlock.PathAccess(readOnly, directories(f.read)...).IgnoreIfMissing(),
		landlock.PathAccess(ll.AccessFSReadFile, plain(f.read)...).IgnoreIfMissing(),
		landlock.PathAccess(readOnly|writing, directories(f.write)...).WithRefer().IgnoreIfMissing(),
		landlock.RWFiles(plain(f.write)...).IgnoreIfMissing(),
		landlock.RWFiles(f.files...).IgnoreIfMissing(),
		landlock.PathAccess(ll.AccessFSReadFile|ll.AccessFSExecute, f.execute...),
	}
	for _, port := range f.connect {
		rules = append(rules, landlock.ConnectTCP(port))
	}
	// V8 is the last that leaves Unix sockets to the file's mode: what forwards to
	// the store, and a token's own daemon, are reached by them. Before it each thread
	// gets a domain of its own, and with signals kept inside (from V6 on) one thread of
	// the keeper could not end the worker that another started.
	known := landlock.V8
	if abi < 8 {
		known = landlock.V5
	}
	if err := known.BestEffort().Restrict(rules...); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	if abi < 4 {
		log.Warn("this kernel's Landlock does not know networks", "abi", abi)
	}
	log.Info("shut in by Landlock", "abi", abi, "tcp", len(f.connect) > 0)
	return nil
}

// writing is what may be done below a directory that is written to: files,
// directories and sockets come and go, no devices.
const writing landlock.AccessFSSet = ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSRemoveDir | ll.AccessFSRemoveFile |
	ll.AccessFSMakeDir | ll.AccessFSMakeReg | ll.AccessFSMakeSock

func directories(paths []string) []string { return kind(paths, true) }

func plain(paths []string) []string { return kind(paths, false) }

// kind is those paths that are directories, or those that are something else.
func kind(paths []string, wantDir bool) (out []string) {
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil && info.IsDir() == wantDir {
			out = append(out, p)
		}
	}
	return out
}
