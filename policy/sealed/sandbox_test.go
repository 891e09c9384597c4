package sealed

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json/v2"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// probe is what a child tries once it shut itself in as keeper or worker.
type probe struct {
	Config string // seal.toml
	Keeper bool
	Read   []string // files
	Write  []string // files to make
	Dial   []string // TCP addresses
	Unix   []string // sockets
	Exec   []string // programs
}

// probeEnv holds a probe; the test program is then that child.
const probeEnv = "SEALED_TEST_PROBE"

// probeNothing is the probe of a child that was started at all.
const probeNothing = "nothing"

// runProbe tries everything and prints what was not allowed, one a line.
func runProbe(text string) int {
	if text == probeNothing {
		return 0
	}
	var p probe
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		log.Error("probe", "error", err)
		return 1
	}
	c, err := LoadConfig(p.Config)
	if err != nil {
		log.Error("probe", "error", err)
		return 1
	}
	f := workerFence(c, os.Getenv)
	if p.Keeper {
		f = keeperFence(c, p.Config, os.Getenv)
	}
	if err := f.close(log); err != nil {
		log.Error("probe", "error", err)
		return 1
	}
	try := func(what string, f func() error) {
		if err := f(); errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
			fmt.Println("denied", what)
		} else if err != nil {
			fmt.Println("failed", what, err)
		}
	}
	for _, path := range p.Read {
		try(path, func() error { _, err := os.ReadFile(path); return err })
	}
	for _, path := range p.Write {
		try(path, func() error { return os.WriteFile(path, []byte("x"), 0o600) })
	}
	for _, address := range p.Dial {
		try(address, func() error {
			c, err := net.Dial("tcp", address)
			if err == nil {
				_ = c.Close()
			}
			return err
		})
	}
	for _, path := range p.Unix {
		try(path, func() error {
			c, err := net.Dial("unix", path)
			if err == nil {
				_ = c.Close()
			}
			return err
		})
	}
	for _, path := range p.Exec {
		try(path, func() error {
			cmd := exec.Command(path)
			cmd.Env = append(os.Environ(), probeEnv+"="+probeNothing) // or this very program would shut itself in again, and again
			return cmd.Run()
		})
	}
	return 0
}

// shutIn runs a probe, with the environment of a process's token, and gives what
// was denied, and the child's log.
func shutIn(t *testing.T, p *process, what probe) (denied []string, log string) {
	t.Helper()
	text, err := json.Marshal(what)
	require.NoError(t, err)
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), p.token.Env(), probeEnv+"="+string(text))
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	require.NoError(t, cmd.Run(), "%s", said.String())
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		name, ok := strings.CutPrefix(lines.Text(), "denied ")
		require.True(t, ok, lines.Text())
		denied = append(denied, name)
	}
	return denied, said.String()
}

// A worker reaches its state, its socket, the token and the store, and nothing
// else; a keeper the PIN's sources and its own program besides. What the kernel
// lacks of Landlock the log says: a process is not taken for shut in that is not.
func TestTheSandbox(t *testing.T) {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		abi = 0
	}
	p := newProcess(t)
	elsewhere := t.TempDir()
	secret := filepath.Join(elsewhere, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("x"), 0o600))
	pins := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(pins, "pin"), []byte(processPIN), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(p.dir, "state"), 0o700))
	w, forwarded := newWire(t)
	etcd := w.etcd
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close() })
	p.pin = fmt.Sprintf("file = %q", filepath.Join(pins, "pin"))
	self, err := os.Executable()
	require.NoError(t, err)

	in := func(name string) string { return filepath.Join(p.dir, name) }
	tokens := filepath.Dir(p.token.ConfPath)
	all := probe{Config: in("seal.toml"),
		Read: []string{in("state/x"), in("seal.toml"), p.token.ConfPath, p.token.ModulePath, house.store.CA, "/proc/sys/kernel/random/boot_id",
			filepath.Join(pins, "pin"), secret, "/etc/shadow", "/root/.profile", "/var/log/dpkg.log"},
		Write: []string{in("state/x"), in("y"), filepath.Join(tokens, "tokens", "z"), filepath.Join(elsewhere, "new"), filepath.Join(os.TempDir(), "mintwarden-sandbox-test")},
		Dial:  []string{etcd, other.Addr().String()},
		Unix:  []string{forwarded.Sockets[forwarded.Endpoints[0]]},
		Exec:  []string{"/bin/true", self},
	}
	require.NoError(t, os.WriteFile(in("state/x"), nil, 0o600))
	all.Read = existing(all.Read)
	files := append(existing([]string{secret, "/etc/shadow", "/root/.profile", "/var/log/dpkg.log"}),
		filepath.Join(elsewhere, "new"), filepath.Join(os.TempDir(), "mintwarden-sandbox-test"))
	for name, x := range map[string]struct {
		keeper  bool
		sockets bool
		want    []string
		network []string // from ABI 4 on
	}{
		"worker, store by TCP":    {false, false, append(files, filepath.Join(pins, "pin"), "/bin/true", self), []string{other.Addr().String()}},
		"worker, store forwarded": {false, true, append(files, filepath.Join(pins, "pin"), "/bin/true", self), []string{etcd, other.Addr().String()}},
		"keeper":                  {true, true, append(files, "/bin/true"), []string{etcd, other.Addr().String()}},
	} {
		t.Run(name, func(t *testing.T) {
			p.store = nil
			if x.sockets {
				p.store = &forwarded
			}
			p.configure("")
			all.Keeper = x.keeper
			denied, log := shutIn(t, p, all)
			if abi < 1 {
				require.Empty(t, denied)
				require.Contains(t, log, "this kernel has no Landlock")
				return
			}
			want := x.want
			if abi >= 4 {
				want = append(want, x.network...)
			} else {
				require.Contains(t, log, "does not know networks")
			}
			require.ElementsMatch(t, want, denied)
			require.Contains(t, log, "shut in by Landlock")
		})
	}
	_ = os.Remove(filepath.Join(os.TempDir(), "mintwarden-sandbox-test"))
}

func existing(paths []string) (out []string) {
	for _, p := range paths {
		if _, err := os.Stat(p); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// What the configuration adds is in reach, by its path or its port, and nothing
// beside it.
func TestTheSandboxIsWidenedByName(t *testing.T) {
	dir := t.TempDir()
	c := &Config{State: dir, Socket: filepath.Join(dir, "run", "s"), HSM: HSMConfig{Module: "/opt/vendor/lib.so"},
		Sandbox: SandboxConfig{Read: []string{"/etc/vendor.conf"}, Write: []string{"/var/lock/vendor"}, Connect: []uint16{1792}},
		Store: StoreConfig{Endpoints: []string{"https://a:2379", "https://b", "https://c:1", ":"}, CA: "/e/ca", Cert: "/e/crt", Key: "/k/key",
			Sockets: map[string]string{"https://c:1": "/run/c.sock"}}}
	conf := filepath.Join(dir, "softhsm2.conf")
	require.NoError(t, os.WriteFile(conf, []byte("log.level = ERROR\ndirectories.tokendir = /var/tokens\n"), 0o600))
	env := func(name string) string { return map[string]string{"SOFTHSM2_CONF": conf}[name] }
	f := workerFence(c, env)
	require.Subset(t, f.read, []string{"/opt/vendor", "/etc/vendor.conf", "/e", "/k", dir, "/etc/resolv.conf"})
	require.ElementsMatch(t, []string{dir, filepath.Join(dir, "run"), "/var/lock/vendor", "/var/tokens"}, f.write)
	require.ElementsMatch(t, []uint16{2379, 443, 1792}, f.connect)
	require.Empty(t, f.execute)
	c.Store.Endpoints, c.Sandbox.Connect = []string{"https://c:1"}, nil
	f = keeperFence(c, "/etc/mintwarden/seal.toml", env)
	require.Empty(t, f.connect)
	require.NotContains(t, f.read, "/etc/resolv.conf")
	require.Contains(t, f.read, "/etc/mintwarden")
	require.Equal(t, self, f.execute[0])
	require.Empty(t, interpreter(conf))
	require.Empty(t, softTokens(conf+".none"))
	require.NoError(t, os.WriteFile(conf, nil, 0o600))
	require.Empty(t, softTokens(conf))
}

// Keeper and worker of a running seal: no core dumps, not dumpable, no new
// privileges, memory locked where the system allows it.
func TestProcessesThatNobodyLooksInto(t *testing.T) {
	p := newProcess(t)
	c := p.start()
	found(t, p, c)
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		abi = 0
	}
	for name, pid := range map[string]int{"keeper": p.cmd.Process.Pid, "worker": p.worker} {
		status := procFields(t, pid, "status", ":")
		require.Equal(t, map[bool]string{true: "1", false: "0"}[abi >= 1], status["NoNewPrivs"], name)
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		require.NoError(t, err)
		require.Regexp(t, `Max core file size\s+0\s+0\s`, string(limits), name)
		locked, err := strconv.Atoi(strings.Fields(status["VmLck"])[0])
		require.NoError(t, err)
		if mayLockAll() {
			require.Greater(t, locked, 1024, "%s: kB locked", name)
		} else {
			require.Positive(t, locked, "%s: PIN and seeds at least", name)
		}
	}
}

// The same under a user of its own, as in production: files of /proc that belong
// to root show that the process is not dumpable (proc(5)), so that its own user
// cannot look into it either.
func TestASealUnderAUserOfItsOwn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: the seal runs as the user who tests in every other test; that others cannot look in is not tried")
		return
	}
	const uid = 4711
	p := newProcess(t)
	exe, err := program()
	require.NoError(t, err)
	p.exe, p.uid = filepath.Join(p.dir, "mintwarden-seal"), uid
	copyFile(t, exe, p.exe, 0o755)
	store := house.store
	for _, path := range []*string{&store.CA, &store.Cert, &store.Key} {
		mine := filepath.Join(p.dir, filepath.Base(*path))
		copyFile(t, *path, mine, 0o600)
		*path = mine
	}
	p.store = &store
	p.head = "callers = [0]"
	p.configure("")
	require.NoError(t, filepath.WalkDir(p.dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, uid))
	}))
	c := p.start()
	_, err = c.Init(t.Context())
	require.NoError(t, err)
	for name, pid := range map[string]int{"keeper": p.cmd.Process.Pid, "worker": p.worker} {
		require.Equal(t, "4711", strings.Fields(procFields(t, pid, "status", ":")["Uid"])[1], name)
		for _, file := range []string{"mem", "environ", "maps", "coredump_filter"} {
			info, err := os.Stat(fmt.Sprintf("/proc/%d/%s", pid, file))
			require.NoError(t, err)
			require.Zero(t, info.Sys().(*syscall.Stat_t).Uid, "%s: /proc/%d/%s is root's, not its user's", name, pid, file)
		}
		require.ErrorIs(t, readAs(t, uid, fmt.Sprintf("/proc/%d/mem", pid)), unix.EACCES, name)
	}
	// A control: a process of that user's that is dumpable is in his reach.
	sleeper := exec.Command("/bin/sleep", "60")
	sleeper.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	require.NoError(t, sleeper.Start())
	t.Cleanup(func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() })
	require.NoError(t, readAs(t, uid, fmt.Sprintf("/proc/%d/environ", sleeper.Process.Pid)))
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	text, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, text, mode))
}

// as does something as another user: on a thread that ends with it.
func as(t *testing.T, uid int, do func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends, and its user with it
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
			done <- e
			return
		}
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
			done <- e
			return
		}
		done <- do()
	}()
	return soon(t, done, "what another user does")
}

func readAs(t *testing.T, uid int, path string) error {
	t.Helper()
	return as(t, uid, func() error {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Close(fd)
		}
		return err
	})
}

// askAs asks for the status as another user; whether there was an answer.
func askAs(t *testing.T, uid int, path string) (answered bool) {
	t.Helper()
	require.NoError(t, as(t, uid, func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			return err
		}
		body := `{"id":1,"op":"status"}`
		frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
		if _, err := unix.SendmsgN(fd, frame, nil, nil, unix.MSG_NOSIGNAL); err != nil && !errors.Is(err, unix.EPIPE) {
			return err
		}
		n, err := unix.Read(fd, make([]byte, 4))
		answered = n > 0
		if errors.Is(err, unix.ECONNRESET) {
			return nil
		}
		return err
	}))
	return answered
}

// procFields reads a file of /proc that has a name and a value a line.
func procFields(t *testing.T, pid int, file, cut string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	require.NoError(t, err)
	out := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), cut)
		out[name] = strings.TrimSpace(value)
	}
	return out
}

// Whatever thread of the keeper hears that it shall end, it can end the worker
// that another started: shut in as they are, signals pass between them.
func TestAKeeperEndsItsWorkerFromAnyThread(t *testing.T) {
	p := newProcess(t)
	for range 12 {
		p.launch()
		p.await("seal answers")
		p.stop()
	}
}

// A seal in a network of its own, without any interface, has etcd by TLS through
// a Unix socket, and needs nothing more: from its first start to a signature.
func TestASealWithoutANetwork(t *testing.T) {
	p := newProcess(t)
	_, forwarded := newWire(t)
	p.store = &forwarded
	p.alone = true
	p.configure("")
	c := p.start()
	if os.Geteuid() == 0 {
		for _, pid := range []int{p.cmd.Process.Pid, p.worker} {
			ours, err := os.Readlink("/proc/self/ns/net")
			require.NoError(t, err)
			its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
			require.NoError(t, err)
			require.NotEqual(t, ours, its)
			devices, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
			require.NoError(t, err)
			require.Len(t, strings.Split(strings.TrimSpace(string(devices)), "\n"), 3, "its loopback, which is down, and nothing else")
		}
	}
	i := found(t, p, c)
	i.furnish()
	i.deploy()
	in := i.mint("5")
	i.approve(in, 0, 1)
	out, err := c.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
	i.verified(out)
	tcp, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", p.worker))
	require.NoError(t, err)
	if os.Geteuid() == 0 {
		require.Len(t, strings.Split(strings.TrimSpace(string(tcp)), "\n"), 1, "no TCP socket there")
	}
}

// Through the forwarder the server's name is pinned all the same: a seal that
// wants another name than the certificate has gets no ledger.
func TestAForwarderCannotPutAnotherServerThere(t *testing.T) {
	p := newProcess(t)
	_, forwarded := newWire(t)
	forwarded.ServerName = "other.test"
	p.store = &forwarded
	p.configure(policy.NoDigest)
	c := p.start()
	_, err := c.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "x"})
	requireKind(t, seal.KindStore, err)
	u, err := url.Parse(forwarded.Endpoints[0])
	require.NoError(t, err)
	require.NotEmpty(t, u.Port())
}

// Callers are known by the kernel's word: another user's connection is closed
// before it is answered, whatever the socket's mode lets him do.
func TestAnotherUserIsTurnedAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: nobody else can be played; package seal's tests play the kernel's word")
		return
	}
	p := newProcess(t)
	p.head = "callers = [4711]"
	p.configure("")
	require.NoError(t, os.Chmod(p.dir, 0o711))
	p.start()
	path := filepath.Join(p.dir, "seal.sock")
	for uid, want := range map[int]bool{4711: true, 4712: false, 65534: false} {
		answered := askAs(t, uid, path)
		require.Equal(t, want, answered, "uid %d", uid)
	}
}
