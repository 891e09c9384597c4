package dev_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/dev"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// etcdProgram is a copy of this test binary that plays an etcd of its own: the appliance's database, in a
// process whose memory is not serve's.
const etcdProgram = "mintwarden-etcd"

func init() {
	self, err := os.Executable()
	if err != nil || filepath.Base(self) != etcdProgram || len(os.Args) != 3 {
		return
	}
	if err := playEtcd(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func playEtcd(appliance, address string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	pki := func(name string) string { return filepath.Join(appliance, "pki", name) }
	e, err := store.StartEmbedded(ctx, store.EmbeddedConfig{Dir: filepath.Join(appliance, "etcd"), Addr: address, CAFile: pki("root-mldsa.crt"),
		CertFile: pki("etcd.crt"), KeyFile: pki("etcd.key"), RootCert: pki("etcd-root.crt"), RootKey: pki("etcd-root.key")}, benchLogger())
	if err != nil {
		return err
	}
	defer e.Close()
	fmt.Println("ready")
	select {
	case err := <-e.Failed():
		return err
	case <-ctx.Done():
		return nil
	}
}

// manyOpen is how many operations of one key may wait in the production processes, where a start with
// mostOperations open ones is measured.
const manyOpen = 10 * mostOperations

// unit is one of the production processes.
type unit struct {
	role string
	argv []string
	env  []string
	cmd  *exec.Cmd
	dead chan struct{}
}

// works are the processes of an appliance in production, each by itself as systemd starts them, on the
// directory of a plant that stands still: etcd, the node, the seal and `mintwardend serve`.
type works struct {
	*plant
	b                       *testing.B
	units                   map[string]*unit
	etcd, rpc, api, monitor string
}

func (p *plant) works(b *testing.B) *works {
	b.Helper()
	bin, err := binaries()
	p.must(err)
	w := &works{plant: p, b: b, units: map[string]*unit{}}
	for _, address := range []*string{&w.etcd, &w.rpc, &w.api, &w.monitor} {
		l, err := dev.ListenFree("tcp", "127.0.0.1:0")
		p.must(err)
		*address = l.Addr().String()
		p.must(l.Close())
	}
	p.must(os.MkdirAll(filepath.Join(p.dir, "run"), 0o700))
	w.configure("serve.toml", func(*config.Config) {})
	w.configure("silent.toml", func(c *config.Config) { c.Audit.Dir, c.Operation.RetentionText = "", "0s" })
	text, err := os.ReadFile(filepath.Join(p.dir, "config", "seal.toml"))
	p.must(err)
	_, endpoint, _ := strings.Cut(string(text), "endpoints = ['")
	endpoint, _, _ = strings.Cut(endpoint, "'")
	text = []byte(strings.NewReplacer(endpoint, "https://"+w.etcd, "parent_pipe = true", "parent_pipe = false").Replace(string(text)))
	p.must(os.WriteFile(filepath.Join(p.dir, "config", "production-seal.toml"), text, 0o600))
	programs := b.TempDir()
	copyTestBinary(p, filepath.Join(programs, etcdProgram))
	for _, u := range []*unit{
		{role: "etcd", argv: []string{filepath.Join(programs, etcdProgram), p.dir, w.etcd}},
		{role: "devnet", argv: []string{filepath.Join(bin, "mintwardend"), "devnet", "--dir", filepath.Join(p.dir, "chain"), "--rpc", w.rpc, "--period", blockPeriod.String()}},
		{role: "seal", argv: []string{filepath.Join(bin, "mintwarden-seal"), "--config", filepath.Join(p.dir, "config", "production-seal.toml")},
			env: []string{"SOFTHSM2_CONF=" + filepath.Join(p.dir, "hsm/token/softhsm2.conf")}},
		{role: "serve"},
	} {
		w.units[u.role] = u
	}
	w.serveWith("serve.toml")
	return w
}

// serveWith has the next start of serve take a configuration.
func (w *works) serveWith(name string) {
	bin, err := binaries()
	w.must(err)
	w.units["serve"].argv = []string{filepath.Join(bin, "mintwardend"), "serve", "--config", filepath.Join(w.dir, "config", name)}
}

// configure writes a configuration of serve: the plant's own, but for addresses, for limits that a start with
// many open operations would run into, and for what change changes.
func (w *works) configure(name string, change func(*config.Config)) {
	w.b.Helper()
	c, err := config.Load(filepath.Join(w.dir, "config", "mintwarden.toml"))
	w.must(err)
	c.Store.Endpoints = []string{"https://" + w.etcd}
	c.API.Listen, c.Monitor.Listen = w.api, w.monitor
	c.Networks[0].RPCURLs = []string{"http://" + w.rpc}
	c.Limits.MaxPending = manyOpen
	change(c)
	text, err := c.Encode()
	w.must(err)
	w.must(os.WriteFile(filepath.Join(w.dir, "config", name), text, 0o600))
}

// start executes a process; it does not wait for it.
func (w *works) start(role string) {
	w.b.Helper()
	u := w.units[role]
	log, err := os.OpenFile(filepath.Join(filepath.Dir(w.dir), "log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	w.must(err)
	u.cmd, u.dead = exec.Command(u.argv[0], u.argv[1:]...), make(chan struct{})
	u.cmd.Env, u.cmd.Stderr = append(os.Environ(), u.env...), log
	u.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	stdout, err := u.cmd.StdoutPipe()
	w.must(err)
	w.must(u.cmd.Start())
	lines := bufio.NewScanner(stdout)
	if role == "etcd" && !lines.Scan() {
		w.b.Fatalf("etcd did not start; its log ends:\n%s", w.logTail())
	}
	go func() {
		for lines.Scan() { // so that it never blocks
		}
		_ = u.cmd.Wait()
		_ = log.Close()
		close(u.dead)
	}()
}

// stop ends processes, in this order.
func (w *works) stop(roles ...string) {
	for _, role := range roles {
		u := w.units[role]
		if u.cmd == nil {
			continue
		}
		_ = u.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-u.dead:
		case <-time.After(patience):
			w.b.Errorf("%s did not stop on SIGTERM", role)
			_ = syscall.Kill(-u.cmd.Process.Pid, syscall.SIGKILL)
			<-u.dead
		}
		u.cmd = nil
	}
}

// ready waits until serve's monitor says that every part of the appliance is there, and tells how long that took.
func (w *works) ready(since time.Time) time.Duration {
	w.b.Helper()
	var last string
	for time.Since(since) < patience {
		select {
		case <-w.units["serve"].dead:
			w.b.Fatalf("serve ended; its log ends:\n%s", w.logTail())
		case <-time.After(10 * time.Millisecond):
		}
		r, err := http.Get("http://" + w.monitor + "/readyz")
		if err != nil {
			continue
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if r.StatusCode == http.StatusOK {
			return time.Since(since)
		}
		last = string(body)
	}
	w.b.Fatalf("serve is not ready after %s: %s; its log ends:\n%s", patience, last, w.logTail())
	return 0
}

// again stops serve, starts it and tells how long it took to be ready, with all that it stands on there.
func (w *works) again() time.Duration {
	w.b.Helper()
	w.stop("serve")
	began := time.Now()
	w.start("serve")
	return w.ready(began)
}

// all starts every process at once, as a boot does, and tells when serve was ready. etcd is one of them: it has
// its own start first.
func (w *works) all() time.Duration {
	w.b.Helper()
	began := time.Now()
	for _, role := range []string{"devnet", "etcd", "seal", "serve"} {
		w.start(role)
	}
	return w.ready(began)
}

// pids are those of every process, the seal's worker too.
func (w *works) pids() map[string]int {
	w.b.Helper()
	out := map[string]int{}
	for role, u := range w.units {
		out[role] = u.cmd.Process.Pid
	}
	out["keeper"] = out["seal"]
	delete(out, "seal")
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", out["keeper"]))
	for _, t := range tasks {
		text, _ := os.ReadFile(t)
		for _, f := range strings.Fields(string(text)) {
			var pid int
			if _, err := fmt.Sscan(f, &pid); err == nil {
				out["worker"] = pid
			}
		}
	}
	if out["worker"] == 0 {
		w.b.Fatal("the seal has no worker")
	}
	return out
}

// residents are the memory of each process now, in MiB: what is theirs and what of files they have mapped.
func (w *works) residents() map[string]float64 {
	out := map[string]float64{}
	for role, pid := range w.pids() {
		out[role] = resident(pid)
	}
	out["etcd-of-files"] = mapped(w.units["etcd"].cmd.Process.Pid)
	return out
}

// tell reports memory.
func tell(b *testing.B, memory map[string]float64, when string) {
	b.ReportMetric(memory["serve"], "MiB-serve-"+when+"(aim≤400)")
	b.ReportMetric(memory["keeper"]+memory["worker"], "MiB-seal-"+when+"(aim≤100)")
	for _, role := range []string{"etcd", "etcd-of-files", "devnet"} {
		b.ReportMetric(memory[role], "MiB-"+role+"-"+when)
	}
}

// most samples memory while f runs and answers the most of each process.
func (w *works) most(f func()) map[string]float64 {
	out := map[string]float64{}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			for role, mib := range w.residents() {
				out[role] = max(out[role], mib)
			}
			select {
			case <-quit:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	f()
	close(quit)
	<-done
	return out
}

// reconnect makes new clients of serve.
func (w *works) reconnect() {
	w.url = "https://" + w.api
	w.connect()
}

// production measures the processes of production on what the plant left: start, memory of each process idle and
// under load, and what metrics and the audit's tree cost mints from the request to COMPLETED.
func (p *plant) production(b *testing.B) {
	w := p.works(b)
	defer w.stop("serve", "seal", "devnet", "etcd")
	b.ReportMetric(w.all().Seconds(), "s-to-ready-all")
	b.ReportMetric(w.again().Seconds(), "s-to-ready(aim≤5@10000)")
	b.ReportMetric(processor(w.units["serve"].cmd.Process.Pid), "cpu-s-to-ready-serve")
	w.reconnect()
	b.ReportMetric(float64(p.count("")), "operations")
	time.Sleep(size(3*time.Second, 100*time.Millisecond)) // until what the start left is collected
	tell(b, w.residents(), "idle")
	span := size(8*time.Second, time.Second)
	tell(b, w.most(func() { b.ReportMetric(p.flow(64, span, size(2*time.Second, 0)).rate, "mints/s") }), "loaded")
	w.costs(b)
}

// costs are mints with and without, in turns, each beginning as often as the other.
func (w *works) costs(b *testing.B) {
	const rounds = 2
	span, warm := size(5*time.Second, 500*time.Millisecond), size(2*time.Second, 0)
	var scraped, alone float64
	for round := range 2 * rounds {
		if round%2 == 0 {
			alone += w.flow(64, span, warm).rate
			continue
		}
		stop := w.scrape()
		scraped += w.flow(64, span, warm).rate
		stop()
	}
	if alone == 0 {
		b.Fatal("no mint was completed in time: the machine has other things to do")
	}
	b.ReportMetric(scraped/alone, "scraped-each-second-of-alone(aim≥0.95)")
	rates := map[string]float64{}
	for round := range 2 * rounds {
		name := []string{"silent.toml", "serve.toml"}[(round+round/2)%2]
		w.serveWith(name)
		w.again()
		w.reconnect()
		rates[name] += w.flow(64, span, warm).rate
	}
	w.serveWith("serve.toml")
	b.ReportMetric(rates["serve.toml"]/rates["silent.toml"], "audit-tree-of-without(aim≥0.9)")
}

// scrape reads serve's metrics every second, fifteen times as often as Prometheus does, until it is stopped.
func (w *works) scrape() (stop func()) {
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			r, err := http.Get("http://" + w.monitor + "/metrics")
			if err == nil {
				_, err = io.Copy(io.Discard, r.Body)
				_ = r.Body.Close()
			}
			if err != nil {
				w.b.Errorf("scraping: %v", err)
				return
			}
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	})
	return func() {
		close(quit)
		done.Wait()
	}
}

// crowded measures a start of serve with as many operations that wait for approvals as there are operations
// in the others, or as were asked for in fillTime.
func (p *plant) crowded(b *testing.B) {
	w := p.works(b)
	defer w.stop("serve", "seal", "devnet", "etcd")
	w.all()
	w.reconnect()
	want := int64(size(mostOperations, 100))
	var asked atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for k := range mostKeys {
		all.Go(func() {
			for asked.Add(1) <= want && time.Since(began) < fillTime {
				if _, err := p.mint(k); err != nil {
					var refusal *client.Error
					if errors.As(err, &refusal) && refusal.Code == client.CodeRateLimited {
						asked.Add(-1)
						continue
					}
					b.Errorf("mint: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	took := w.again()
	b.ReportMetric(processor(w.units["serve"].cmd.Process.Pid), "cpu-s-to-ready-serve")
	w.reconnect()
	b.ReportMetric(float64(p.count(client.OperationStatusPENDINGAUTHORIZATION)), "open-operations")
	b.ReportMetric(took.Seconds(), "s-to-ready(aim≤3@10000)")
	tell(b, w.residents(), "with-open-ones")
}
