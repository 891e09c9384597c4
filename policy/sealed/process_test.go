package sealed

import (
	"bufio"
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	rtcoverage "runtime/coverage"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/hsm/softhsm"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
	sysjournal "github.com/mintwarden/mintwarden/systemd/journal"
)

// patience bounds what a test waits for a process.
const patience = 3 * time.Minute

// soon is what comes of c, which tells of what.
func soon[T any](t testing.TB, c <-chan T, what string) (got T) {
	t.Helper()
	select {
	case got = <-c:
	case <-time.After(patience):
		require.FailNow(t, "it does not come", what)
	}
	return got
}

var program = sync.OnceValues(func() (string, error) {
	if testing.CoverMode() != "" {
		return os.Executable()
	}
	path := filepath.Join(house.dir, "mintwarden-seal")
	out, err := exec.Command("go", "build", "-o", path, "github.com/mintwarden/mintwarden/cmd/mintwarden-seal").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// asProgram is what this test program is when a process test that measures
// coverage starts it in place of mintwarden-seal: keeper and worker count then
// like everything else.
func asProgram(coverage string) int {
	level := new(slog.LevelVar)
	var out io.Writer = os.Stderr
	if len(os.Args) == 2 { // a keeper's child
		var err error
		if out, err = sysjournal.Stdout(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level}))
	defer func() {
		if err := rtcoverage.WriteCountersDir(coverage); err != nil {
			log.Error("coverage", "error", err)
		}
	}()
	if len(os.Args) == 2 && os.Args[1] == "worker" {
		return RunWorker("test", log.With("process", "worker"), level)
	}
	if len(os.Args) == 2 && os.Args[1] == PINJob {
		return RunPINJob(log.With("process", PINJob), level)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := RunKeeper(ctx, os.Args[2], log.With("process", "keeper"), level); err != nil {
		log.Error("keeper ends", "error", err)
		return 1
	}
	return 0
}

// asProgramEnv names the directory for asProgram's counters.
const asProgramEnv = "SEALED_TEST_COVERAGE"

// programEnv is the environment of a seal that uses the token.
func programEnv(token *softhsm.Token, more ...string) []string {
	env := append(append(os.Environ(), token.Env()), more...)
	if testing.CoverMode() != "" {
		env = append(env, asProgramEnv+"="+flag.Lookup("test.gocoverdir").Value.String())
	}
	return env
}

// process is a running keeper with its worker.
type process struct {
	t      *testing.T
	dir    string
	token  *softhsm.Token
	module string // empty: the token's own
	hsm    string // more lines of [hsm]
	pin    string // the lines of [pin]; empty: the file, "-": none
	label  string // of the token; empty: its own
	head   string // more lines at the top
	store  *StoreConfig
	alone  bool     // in a network of its own
	uid    int      // whose process it is; 0: our own
	exe    string   // empty: program's
	lease  string   // of [store]; empty: the default
	id     string   // of the appliance; empty: testAppliance
	env    []string // more of the environment
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan line // of its log; closed when keeper and worker are gone
	worker int       // pid of the newest worker seen
}

// newProcess prepares a directory with a token, a PIN file and a seal.toml.
func newProcess(t *testing.T) *process {
	t.Helper()
	emptyLog(t)
	dir, err := os.MkdirTemp("", "seal") // short: a socket's path is limited
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &process{t: t, dir: dir}
	p.token, err = softhsm.Create(t.Context(), filepath.Join(dir, "hsm"), "process", []byte("so-pin-1"), []byte("pin-5678"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pin"), []byte("pin-5678\n"), 0o600))
	p.configure("")
	return p
}

func (p *process) configure(charter1 policy.Digest) {
	p.t.Helper()
	if p.module == "" {
		p.module = p.token.ModulePath
	}
	pin, store := p.pin, house.store
	switch pin {
	case "":
		pin = `file = "pin"`
	case "-":
		pin = ""
	}
	if p.label == "" {
		p.label = "process"
	}
	if p.store != nil {
		store = *p.store
	}
	appliance, lease := testAppliance, ""
	if p.id != "" {
		appliance = p.id
	}
	if p.lease != "" {
		lease = fmt.Sprintf("lease = %q", p.lease)
	}
	head := p.head
	if testing.CoverMode() != "" { // its counters are written when it ends
		head += fmt.Sprintf("\n[sandbox]\nwrite = [%q]", flag.Lookup("test.gocoverdir").Value.String())
	}
	text := fmt.Sprintf(`appliance = %q
charter1 = %q
state = "state"
socket = "seal.sock"
parent_pipe = true
%s
[hsm]
module = %q
token = %q
sessions = 4
%s
[pin]
%s
[store]
endpoints = [%q]
ca = %q
cert = %q
key = %q
server_name = %q
%s
[store.sockets]
`, appliance, charter1, head, p.module, p.label, p.hsm, pin, store.Endpoints[0], store.CA, store.Cert, store.Key, store.ServerName, lease)
	for endpoint, socket := range store.Sockets {
		text += fmt.Sprintf("%q = %q\n", endpoint, socket)
	}
	require.NoError(p.t, os.WriteFile(filepath.Join(p.dir, "seal.toml"), []byte(text), 0o600))
}

// start runs the keeper and waits until its worker answers.
func (p *process) start() remote {
	p.t.Helper()
	p.launch()
	p.await("seal answers")
	c, err := seal.Dial(p.t.Context(), filepath.Join(p.dir, "seal.sock"))
	require.NoError(p.t, err)
	p.t.Cleanup(func() { _ = c.Close() })
	return remote{c}
}

// remote is a seal over its socket.
type remote struct{ *seal.Client }

// Cancel asks as a handler is asked.
func (r remote) Cancel(ctx context.Context, q seal.CancelRequest) (*seal.Recorded, error) {
	return r.Client.Cancel(ctx, q.OperationID, q.Reason)
}

func (p *process) launch() {
	p.t.Helper()
	exe, err := program()
	require.NoError(p.t, err)
	if p.exe != "" {
		exe = p.exe
	}
	p.cmd = exec.Command(exe, "--config", filepath.Join(p.dir, "seal.toml"))
	p.cmd.Env = programEnv(p.token, p.env...)
	p.cmd.SysProcAttr = p.attributes()
	p.stdin, err = p.cmd.StdinPipe()
	require.NoError(p.t, err)
	r, w, err := os.Pipe() // ours, so that Wait does not wait for the worker's end of it
	require.NoError(p.t, err)
	p.cmd.Stderr = w
	require.NoError(p.t, p.cmd.Start())
	require.NoError(p.t, w.Close())
	lines := make(chan line, 1000)
	p.lines = lines
	go func() {
		defer close(lines)
		s := bufio.NewScanner(r)
		for s.Scan() {
			var l line
			if json.Unmarshal(s.Bytes(), &l, jsontext.AllowDuplicateNames(true)) != nil {
				p.t.Errorf("no line of a log, and so perhaps a secret: %q", s.Text())
				continue
			}
			lines <- l
		}
	}()
	cmd := p.cmd
	p.t.Cleanup(func() {
		_ = p.stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		p.gone()
	})
}

// attributes are those of a process that is not like ours.
func (p *process) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{}
	if p.uid != 0 {
		a.Credential = &syscall.Credential{Uid: uint32(p.uid), Gid: uint32(p.uid)}
	}
	if p.alone {
		a.Cloneflags = syscall.CLONE_NEWNET
		if me := os.Geteuid(); me != 0 {
			a.Cloneflags |= syscall.CLONE_NEWUSER
			a.UidMappings = []syscall.SysProcIDMap{{ContainerID: me, HostID: me, Size: 1}}
		}
	}
	return a
}

// ended is how the keeper ended; one that does not end is killed.
func (p *process) ended() error {
	late := time.AfterFunc(patience, func() {
		p.t.Error("the keeper does not end")
		_ = p.cmd.Process.Kill()
	})
	defer late.Stop()
	return p.cmd.Wait()
}

// stop ends the keeper as a service manager does.
func (p *process) stop() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(p.t, p.ended())
	p.gone()
}

// found takes a process through the first start.
func found(t *testing.T, p *process, c remote) *instance {
	t.Helper()
	me, err := c.Init(t.Context())
	require.NoError(t, err)
	who := newPeople(t)
	charter := who.charter(me, nil)
	payload, err := charter.Encode()
	e := sign(t, policy.DocCharter, payload, err, who.custodians...)
	p.configure(e.PayloadDigest())
	_, err = c.CharterApply(t.Context(), e)
	require.NoError(t, err)
	return &instance{t: t, door: c, people: who, charter: charter, digest: e.PayloadDigest(), first: e}
}

func TestFirstStart(t *testing.T) {
	p := newProcess(t)
	c := p.start()
	ctx := t.Context()
	status, err := c.Status(ctx)
	require.NoError(t, err)
	require.False(t, status.Initialized)
	require.False(t, status.Sealed)

	// Only status and init are answered before the charter.
	_, err = c.Cancel(ctx, seal.CancelRequest{OperationID: newID("op"), Reason: "early"})
	requireKind(t, seal.KindInvalid, err)
	_, err = c.WalletCreate(ctx, seal.WalletCreateRequest{WalletID: newID("wallet"), VaultAccountID: newID("vault"), Network: testNetwork, Scheme: tx.Dilithium3})
	requireKind(t, seal.KindInvalid, err)
	first, err := c.Init(ctx)
	require.NoError(t, err)
	require.Len(t, first.Token.CheckValues, 3)
	again, err := c.Init(ctx)
	require.NoError(t, err)
	require.Equal(t, first, again)

	who := newPeople(t)
	apply := func(change func(*policy.Charter)) (*policy.Envelope, error) {
		payload, err := who.charter(first, change).Encode()
		e := sign(t, policy.DocCharter, payload, err, who.custodians...)
		_, err = c.CharterApply(ctx, e)
		return e, err
	}
	_, err = apply(nil)
	requireKind(t, seal.KindInvalid, err)
	require.ErrorContains(t, err, "no charter1")

	payload, err := who.charter(first, nil).Encode()
	good := sign(t, policy.DocCharter, payload, err, who.custodians...)
	p.configure(good.PayloadDigest())
	_, err = apply(func(c *policy.Charter) { c.TenantID = "other" })
	requireKind(t, seal.KindInvalid, err)
	two := sign(t, policy.DocCharter, payload, nil, who.custodians[:2]...)
	_, err = c.CharterApply(ctx, two)
	requireKind(t, seal.KindInvalid, err) // not every custodian

	for range 2 { // each step run again finds itself done
		done, err := c.CharterApply(ctx, good)
		require.NoError(t, err)
		require.Equal(t, uint64(1), done.Sequence)
	}
	status, err = c.Status(ctx)
	require.NoError(t, err)
	require.True(t, status.Initialized)
	require.Equal(t, "test", status.Instance)
	require.Equal(t, testAppliance, status.Author)

	i := &instance{t: t, door: c, people: who, charter: who.charter(first, nil), digest: good.PayloadDigest()}
	i.furnish()
	i.deploy()
	w, err := c.WalletCreate(ctx, seal.WalletCreateRequest{WalletID: i.wallet.WalletID, VaultAccountID: i.wallet.VaultAccountID,
		Network: testNetwork, Scheme: tx.Dilithium3, Label: "treasury"})
	require.NoError(t, err)
	require.Equal(t, i.wallet, w, "the same wallet again")
	require.Equal(t, "hsm-wrapped", w.Protection)
	m, err := c.Metrics(ctx)
	require.NoError(t, err)
	for _, name := range []string{"mintwarden_hsm_calls_total", "mintwarden_seal_sequence", "mintwarden_seal_author 1", "mintwarden_seal_sealed 0", "mintwarden_seal_token 1"} {
		require.Contains(t, m.Text, name)
	}
}

// The charter must say of this appliance what is so, and nothing that this
// process does not serve.
func TestCharterThatIsNotOurs(t *testing.T) {
	for name, change := range map[string]func(*policy.Charter){
		"another appliance":  func(c *policy.Charter) { c.Appliances[0].ID = "appliance-9" },
		"another unseal key": func(c *policy.Charter) { c.Appliances[0].UnsealKey = []byte("x") },
		"another token":      func(c *policy.Charter) { c.Appliances[0].Token.Serial = "0" },
		"another key":        func(c *policy.Charter) { c.Appliances[0].Token.CheckValues = map[string]string{"a": "b"} },
		"production":         func(c *policy.Charter) { c.Environment = policy.Production },
	} {
		t.Run(name, func(t *testing.T) {
			emptyLog(t)
			before := newTestRoom(t, "", roomOptions{})
			me, err := before.Init(t.Context())
			require.NoError(t, err)
			who := newPeople(t)
			payload, err := who.charter(me, change).Encode()
			e := sign(t, policy.DocCharter, payload, err, who.custodians...)
			r := newTestRoom(t, e.PayloadDigest(), roomOptions{})
			start(t, r)
			_, err = r.CharterApply(t.Context(), e)
			requireKind(t, seal.KindInvalid, err)
			status, err := r.Status(t.Context())
			require.NoError(t, err)
			require.False(t, status.Initialized, "nothing was recorded")
		})
	}
}

func TestKillingTheWorkerKeepsTheKeeperAndThePIN(t *testing.T) {
	p := newProcess(t)
	c := p.start()
	i := found(t, p, c)
	i.furnish()
	i.deploy()
	require.NoError(t, os.Remove(filepath.Join(p.dir, "pin")), "nobody reads it any more")
	for n := uint64(1); n <= 3; n++ {
		require.NoError(t, syscall.Kill(p.worker, syscall.SIGKILL))
		p.await("worker ended; starting another")
		p.back(c)
		in := i.mint("10")
		i.approve(in, 0, 1)
		out, err := c.Authorize(t.Context(), i.request(in))
		require.NoError(t, err)
		require.Equal(t, n, i.verified(out).Nonce)
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.Signal(0)), "the keeper lives")
}

func TestSealingLasts(t *testing.T) {
	p := newProcess(t)
	c := p.start()
	i := found(t, p, c)
	status, err := c.Seal(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, status.Sealed)
	sealed := func() {
		t.Helper()
		p.back(c)
		status, err := c.Status(t.Context())
		require.NoError(t, err)
		require.True(t, status.Sealed)
		_, err = c.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "x"})
		requireKind(t, seal.KindSealed, err)
		_, err = c.Init(t.Context())
		requireKind(t, seal.KindSealed, err)
		_, err = c.PolicyApply(t.Context(), i.first)
		requireKind(t, seal.KindSealed, err)
	}
	sealed()
	p.stop()
	p.launch()
	sealed() // over a restart, with the PIN file still there
}

func TestAWrongPINIsTriedOnce(t *testing.T) {
	p := newProcess(t)
	p.throughShim("")
	tried := func(want string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(p.dir, "logins"))
		require.NoError(t, err)
		require.Equal(t, want, strings.ReplaceAll(string(text), "F", ""), "logins")
	}
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "pin"), []byte("wrong-pin"), 0o600))
	p.launch()
	p.await("worker ends")
	require.Equal(t, "the token refused the PIN", p.await("sealed").Reason)
	p.await("seal answers")
	p.stop()
	tried("L")
	p.launch()
	require.Contains(t, p.await("sealed").Reason, "refused the PIN of this file before")
	p.await("seal answers")
	p.stop()
	tried("L")

	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "pin.new"), []byte("pin-5678"), 0o600))
	require.NoError(t, os.Rename(filepath.Join(p.dir, "pin.new"), filepath.Join(p.dir, "pin")))
	c := p.start()
	status, err := c.Status(t.Context())
	require.NoError(t, err)
	require.False(t, status.Sealed, "another file is another PIN")
	tried("LL")
}

func TestNothingIsLeftBehind(t *testing.T) {
	for name, end := range map[string]func(*process){
		"parent's pipe closes": func(p *process) { _ = p.stdin.Close() },
		"SIGTERM":              func(p *process) { _ = p.cmd.Process.Signal(syscall.SIGTERM) },
		"SIGKILL":              func(p *process) { _ = p.cmd.Process.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcess(t)
			p.start()
			end(p)
			_ = p.ended()
			p.gone()
			// The kernel closes a process's files before it is a zombie.
			require.Eventually(t, func() bool { return !runs(p.worker) }, patience, 10*time.Millisecond)
		})
	}
}

// A keeper that starts while the worker of its killed predecessor is ending
// waits for it, and keeps its own socket.
func TestStartingRightAfterSIGKILL(t *testing.T) {
	p := newProcess(t)
	c := p.start()
	i := found(t, p, c)
	for range 3 {
		old := *p
		require.NoError(t, p.cmd.Process.Kill())
		p.launch()
		old.gone()
		p.back(c)
		_, err := c.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "still there"})
		require.NoError(t, err)
	}
	status, err := c.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(4), status.Sequence)
	require.Equal(t, i.charter.Instance, status.Instance)
}

func TestOneSealAStateDirectory(t *testing.T) {
	p := newProcess(t)
	p.start()
	exe, err := program()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, "--config", filepath.Join(p.dir, "seal.toml"))
	cmd.Env = programEnv(p.token)
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "in use by another seal")
}

func TestProcessesAreHardened(t *testing.T) {
	p := newProcess(t)
	p.start()
	for name, pid := range map[string]int{"keeper": p.cmd.Process.Pid, "worker": p.worker} {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		require.NoError(t, err)
		for l := range strings.Lines(string(limits)) {
			if rest, ok := strings.CutPrefix(l, "Max core file size"); ok {
				require.Equal(t, []string{"0", "0", "bytes"}, strings.Fields(rest), name)
			}
		}
		// The PIN is not in the environment or the arguments of either.
		for _, file := range []string{"environ", "cmdline"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			require.NoError(t, err)
			require.NotContains(t, string(text), "pin-5678", name)
		}
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.cmd.Process.Pid))
	require.NoError(t, err)
	require.NotContains(t, string(maps), "softhsm", "the keeper loads no PKCS#11 module")
}

// runs is false of a process that ended, whether or not its new parent, after
// its own was killed, has noticed yet.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}
