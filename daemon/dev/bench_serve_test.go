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
	"slices"
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
		CertFile: pki("etcd.crt"), KeyFile: pki("etcd.key"), RootCert: pki("etcd-root.crt"), RootKey: pki("etcd-root.key")}, benchLogger(os.Stderr))
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

// costs are what metrics and the audit's tree take from mints. Two processors that load, chain and appliance share
// are never calm for long, so with and without take turns, ABBA, on the same state, and the median of the turns'
// ratios is told: of rates (what a client sees) and, steadier, of the appliance's processor time a mint (serve,
// etcd and both processes of the seal; not the load's nor the chain's).
func (w *works) costs(b *testing.B) {
	w.scraping(b)
	w.auditing(b)
}

// scrapesAtOnce are as many as it takes to see one: processor time is counted in hundredths of a second.
const scrapesAtOnce = 100

// scraping measures a scrape by itself (processor time of all that answers, beyond what the appliance takes while
// nobody asks), and mints while serve's metrics are read each second, fifteen times as often as Prometheus does.
func (w *works) scraping(b *testing.B) {
	w.settled()
	used, began := w.used(), time.Now()
	for range size(scrapesAtOnce, 2) {
		w.metricsNow()
	}
	scrapes, took := w.used()-used, time.Since(began)
	used = w.used()
	time.Sleep(took)
	scrape := max(0, scrapes-(w.used()-used)) / float64(size(scrapesAtOnce, 2))

	most := size(15*time.Second, 2*time.Second)
	load := w.steady(64)
	time.Sleep(size(3*time.Second, 0))
	var alone slice
	t := turns(size(4, 1), func(scraped bool) slice {
		if scraped {
			defer w.scrape()()
		}
		s := w.slice(load, 64, most)
		if !scraped {
			alone = alone.plus(s)
		}
		return s
	})
	load.stop()
	if alone.mints == 0 {
		b.Fatal("no mint was completed in time: the machine has other things to do")
	}
	b.ReportMetric(scrape*1000, "cpu-ms/scrape")
	b.ReportMetric(1+scrape/(alone.cpu/alone.took.Seconds()), "cpu-with-a-scrape-each-second-of-alone(aim≤1.05)")
	b.ReportMetric(1+scrape/15/(alone.cpu/alone.took.Seconds()), "cpu-with-a-scrape-each-15s-of-alone")
	b.ReportMetric(t.cpu, "cpu/mint-scraped-each-second-of-alone(aim≤1.05)")
	b.ReportMetric(t.rate, "mints/s-scraped-each-second-of-alone(aim≥0.95)")
	b.ReportMetric(alone.cpu/float64(alone.mints)*1000, "cpu-ms/mint")
}

// auditing measures mints with the tree of both logs and without it: serve is started anew for each turn, and its
// sequencer has caught up with what the turn before left.
func (w *works) auditing(b *testing.B) {
	most, warm := size(15*time.Second, 2*time.Second), size(3*time.Second, 0)
	t := turns(size(3, 1), func(audited bool) slice {
		name := "silent.toml"
		if audited {
			name = "serve.toml"
		}
		w.serveWith(name)
		w.again()
		w.reconnect()
		w.settled()
		load := w.steady(64)
		time.Sleep(warm)
		defer load.stop()
		return w.slice(load, 64, most)
	})
	w.serveWith("serve.toml")
	b.ReportMetric(t.cpu, "cpu/mint-with-audit-tree-of-without(aim≤1.1)")
	b.ReportMetric(t.rate, "mints/s-with-audit-tree-of-without(aim≥0.9)")
}

// slice is what a while of a steady load came to.
type slice struct {
	mints int
	took  time.Duration
	cpu   float64 // seconds of the appliance's processes
}

func (s slice) plus(o slice) slice { return slice{s.mints + o.mints, s.took + o.took, s.cpu + o.cpu} }

// ratios are of with to without.
type ratios struct{ rate, cpu float64 }

// turns measures without, with, with, without, so many times, and answers the medians.
func turns(rounds int, measure func(with bool) slice) ratios {
	var rates, cpus []float64
	for range rounds {
		without := measure(false)
		with := measure(true).plus(measure(true))
		without = without.plus(measure(false))
		rates = append(rates, float64(with.mints)/with.took.Seconds()/(float64(without.mints)/without.took.Seconds()))
		cpus = append(cpus, with.cpu/float64(with.mints)/(without.cpu/float64(without.mints)))
	}
	return ratios{median(rates), median(cpus)}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return (of[(len(of)-1)/2] + of[len(of)/2]) / 2
}

// used is the processor time of the appliance's processes until now, in seconds.
func (w *works) used() (all float64) {
	for role, pid := range w.pids() {
		if role != "devnet" {
			all += processor(pid)
		}
	}
	return all
}

// rounds are how many times over a slice sees what is in flight: all of it is often at one step, so that a slice of
// a time would see more of one step than of another.
const rounds = 3

// slice looks at a load of so many in flight until each was completed rounds times, but no longer than most.
func (w *works) slice(l *steady, inFlight int, most time.Duration) slice {
	began, done, used := time.Now(), l.done.Load(), w.used()
	for l.done.Load()-done < int64(inFlight*rounds) && time.Since(began) < most {
		time.Sleep(5 * time.Millisecond)
	}
	return slice{int(l.done.Load() - done), time.Since(began), w.used() - used}
}

// steady is a load of mints that goes on until it is stopped.
type steady struct {
	done atomic.Int64 // mints that are COMPLETED
	stop func()
}

// steady keeps n mints in flight.
func (w *works) steady(n int) *steady {
	w.b.Helper()
	l, quit := &steady{}, make(chan struct{})
	looking := w.watch(n)
	var all sync.WaitGroup
	for k := range n {
		all.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
				}
				id, err := w.mint(k)
				if err == nil {
					err = w.approve(id)
				}
				if err == nil {
					err = looking.wait(id)
				}
				if err != nil {
					w.b.Errorf("mint %s: %v", id, err)
					return
				}
				l.done.Add(1)
			}
		})
	}
	l.stop = func() {
		close(quit)
		all.Wait()
		looking.stop()
		if w.b.Failed() {
			w.b.FailNow()
		}
	}
	return l
}

// settled waits until serve has numbered, and put into its tree, what it has to.
func (w *works) settled() {
	w.b.Helper()
	var last string
	for began := time.Now(); time.Since(began) < patience; time.Sleep(200 * time.Millisecond) {
		var now strings.Builder
		for l := range strings.Lines(w.metricsNow()) {
			for _, name := range []string{"mintwarden_audit_pending_entries ", "mintwarden_audit_sequence ", "mintwarden_audit_tree_leaves "} {
				if strings.HasPrefix(l, name) {
					now.WriteString(l)
				}
			}
		}
		if last == now.String() && strings.Contains(last, "mintwarden_audit_pending_entries 0\n") {
			return
		}
		last = now.String()
	}
	w.b.Fatalf("serve's audit log does not come to rest: %s", last)
}

// metricsNow is one scrape of serve's metrics, the seal's among them, compressed on the way as Prometheus asks for it.
func (w *works) metricsNow() string {
	w.b.Helper()
	r, err := http.Get("http://" + w.monitor + "/metrics")
	w.must(err)
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(r.Body)
	w.must(err)
	return string(text)
}

// scrape reads serve's metrics every second, until it is stopped.
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
