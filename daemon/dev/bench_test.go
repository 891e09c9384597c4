package dev_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/mintwarden/mintwarden/api/client"
)

// envOperations is how many operations a start is measured with; the aim is stated for mostOperations. A
// machine that does not get there in fillTime measures with what there is, and says how many that were.
const (
	envOperations  = "MINTWARDEN_BENCH_OPERATIONS"
	mostOperations = 10_000
	fillTime       = 150 * time.Second
)

// mostPosts of one key that wait for approvals, below the API's limit of 64.
const mostPosts = 60

// size picks the run's own or, with -short, a tiny one that shows that all works.
func size[T any](full, short T) T {
	if testing.Short() {
		return short
	}
	return full
}

// BenchmarkAppliance is the whole appliance, `mintwardend dev` on a chain with a
// block every 50 ms and 2 confirmations: mints from the request over two signed
// approvals to COMPLETED, requests up to their 202, memory, disk, a start with
// many operations, and where the time goes. Load generator, chain and appliance
// share the machine; the ratios are to its own embedded etcd, asked directly in
// the same run. One iteration is one measurement.
func BenchmarkAppliance(b *testing.B) {
	dir, err := os.MkdirTemp("", "bench") // short: a socket's path is limited
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	bin, err := binaries()
	if err != nil {
		b.Fatal(err)
	}
	p := &plant{b: b, dir: filepath.Join(dir, "appliance")}
	start := func() {
		p.start(filepath.Join(bin, "mintwardend"), "dev", "--dir", p.dir, "--api", "127.0.0.1:0", "--monitor", "127.0.0.1:0",
			"--rpc", "127.0.0.1:0", "--period", blockPeriod.String())
	}
	start()
	b.Cleanup(func() { p.stop() })
	p.furnish()
	run := func(name string, f func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			whole := p.b
			p.b = b
			defer func() { p.b = whole }()
			for n := 0; b.Loop(); n++ {
				if n == 0 { // every one of these takes longer than a second
					f(b)
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
	run("idle", p.idle)
	for _, n := range []int{1, 16, 64} {
		run(fmt.Sprintf("mint/in-flight=%d", n), func(b *testing.B) { p.mints(b, n) })
	}
	run("post/clients=64", p.posts)
	run("backlog", p.backlog)
	run("start", func(b *testing.B) {
		p.fill()
		p.stop()
		start()
		listed := time.Now()
		n := p.count("")
		b.ReportMetric(float64(n), "operations")
		b.ReportMetric(p.started.Seconds(), "s-to-ready(aim≤5@10000)")
		b.ReportMetric(p.started.Seconds()/5*mostOperations/float64(max(n, 1)), "of_the_aim_by_operation(aim≤1)")
		b.ReportMetric(time.Since(listed).Seconds(), "s-to-first-list")
		p.report(b, "after-start")
	})
	p.stop()
	run("production", p.production)
	run("production/open", p.crowded)
	run("profile/mint", func(b *testing.B) {
		p.profile(b, func(q *plant) { q.flow(64, size(10*time.Second, time.Second), 0) })
	})
	run("profile/post", func(b *testing.B) {
		p.profile(b, func(q *plant) { q.post(size(8*time.Second, 100*time.Millisecond)) })
	})
}

// report says how much memory the processes have.
func (p *plant) report(b *testing.B, when string) {
	pids := p.processes()
	b.ReportMetric(resident(pids["serve"]), "MiB-serve-"+when+"(aim≤400)")
	b.ReportMetric(mapped(pids["serve"]), "MiB-serve-"+when+"-of-files")
	b.ReportMetric(resident(pids["keeper"])+resident(pids["worker"]), "MiB-seal-"+when+"(aim≤100)")
}

// idle is memory before any load.
func (p *plant) idle(b *testing.B) {
	time.Sleep(size(3*time.Second, 100*time.Millisecond)) // until what the start left is collected
	b.ReportMetric(p.started.Seconds(), "s-to-ready-first")
	p.report(b, "idle")
}

// flown is what flow measured.
type flown struct {
	took []time.Duration // from POST to COMPLETED, of those that were asked for after the warm-up
	rate float64         // of those that ended between warm-up and end, a second
	all  int
}

// flow keeps n mints in flight for so long.
func (p *plant) flow(n int, span, warm time.Duration) flown {
	p.b.Helper()
	var out flown
	var mu sync.Mutex
	inside := 0
	w := p.watch(n)
	begun := time.Now()
	deadline := begun.Add(warm + span)
	var all sync.WaitGroup
	for k := range n {
		all.Go(func() {
			for time.Now().Before(deadline) && !p.b.Failed() {
				asked := time.Now()
				id, err := p.mint(k)
				if err == nil {
					err = p.approve(id)
				}
				if err == nil {
					err = w.wait(id)
				}
				if err != nil {
					p.b.Errorf("mint %s: %v", id, err)
					return
				}
				ended := time.Now()
				mu.Lock()
				out.all++
				if ended.After(begun.Add(warm)) && ended.Before(deadline) {
					inside++
				}
				if asked.After(begun.Add(warm)) {
					out.took = append(out.took, ended.Sub(asked))
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	w.stop()
	if p.b.Failed() {
		p.b.FailNow()
	}
	out.rate = float64(inside) / span.Seconds()
	slices.Sort(out.took)
	return out
}

func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*q))].Seconds() * 1000
}

// watcher looks for completed operations on behalf of all who wait: one list for
// all of them, where a read each would measure the reads.
type watcher struct {
	p    *plant
	quit chan struct{}
	done sync.WaitGroup
	mu   sync.Mutex
	open map[string]chan struct{}
}

// lookLate is after what time who waits asks for himself, too.
const lookLate = time.Second

// watch looks often for few and seldom for many: 64 mints in flight take long
// enough, and the looking is work for the appliance, too.
func (p *plant) watch(n int) *watcher {
	lookEvery := min(100*time.Millisecond, 20*time.Millisecond+time.Duration(n)*2*time.Millisecond)
	w := &watcher{p: p, quit: make(chan struct{}), open: map[string]chan struct{}{}}
	w.done.Go(func() {
		t := time.NewTicker(lookEvery)
		defer t.Stop()
		limit, status := min(100, 2*n), client.OperationStatusCOMPLETED
		for {
			select {
			case <-w.quit:
				return
			case <-t.C:
			}
			l, err := p.operators[0].ListTokenOperations(p.b.Context(), client.ListTokenOperationsParams{Limit: &limit, Status: &status})
			if err != nil {
				continue // who waits sees it, too
			}
			w.mu.Lock()
			for _, o := range l.Data {
				if c, ok := w.open[o.OperationID]; ok {
					close(c)
					delete(w.open, o.OperationID)
				}
			}
			w.mu.Unlock()
		}
	})
	return w
}

func (w *watcher) stop() {
	close(w.quit)
	w.done.Wait()
}

// wait returns when the operation has completed.
func (w *watcher) wait(id string) error {
	c := make(chan struct{})
	w.mu.Lock()
	w.open[id] = c
	w.mu.Unlock()
	for began := time.Now(); ; {
		select {
		case <-c:
			return nil
		case <-time.After(lookLate):
		}
		op, err := w.p.operators[0].GetTokenOperation(w.p.b.Context(), id)
		switch {
		case err != nil:
			return err
		case op.Status == client.OperationStatusCOMPLETED:
			return nil
		case op.Status.Terminal():
			return fmt.Errorf("ended as %s: %v", op.Status, op.FailureReason)
		case time.Since(began) > patience:
			return fmt.Errorf("is %s after %s", op.Status, patience)
		}
	}
}

// mints measures n in flight, etcd's own rate with as many clients, and what of
// processor, memory and disk the mints took.
func (p *plant) mints(b *testing.B, n int) {
	etcd := p.dialEtcd()
	defer func() { _ = etcd.Close() }()
	raw, _ := p.raw(etcd, n)
	kept, revision := p.kept(etcd)
	lived := p.live(etcd)
	pids := p.processes()
	spent := p.spending(b)
	var most sync.Map
	sampling, sampled := make(chan struct{}), sync.WaitGroup{}
	sampled.Go(func() {
		for {
			select {
			case <-sampling:
				return
			case <-time.After(100 * time.Millisecond):
			}
			for _, role := range []string{"serve", "keeper", "worker"} {
				now := resident(pids[role])
				if was, ok := most.Load(role); !ok || now > was.(float64) {
					most.Store(role, now)
				}
			}
		}
	})
	f := p.flow(n, size(10*time.Second, time.Second), size(2*time.Second, 100*time.Millisecond))
	close(sampling)
	sampled.Wait()
	b.ReportMetric(f.rate, "mints/s(aim≥100@64)")
	b.ReportMetric(quantile(f.took, .5), "p50-ms")
	b.ReportMetric(quantile(f.took, .99), "p99-ms")
	b.ReportMetric(raw, "etcd-txn/s")
	b.ReportMetric(f.rate/raw, "of_etcd")
	spent(f.all, "mint")
	seal := 0.0
	for _, role := range []string{"serve", "keeper", "worker"} {
		v, _ := most.Load(role)
		mib, _ := v.(float64)
		if role == "serve" {
			b.ReportMetric(mib, "MiB-serve(aim≤400)")
		} else {
			seal += mib
		}
	}
	b.ReportMetric(seal, "MiB-seal(aim≤100)")
	bytes, last := p.kept(etcd)
	b.ReportMetric((bytes-kept)/float64(f.all), "etcd-B/operation")
	b.ReportMetric((p.live(etcd)-lived)/float64(f.all), "live-B/operation(aim≤16384)")
	b.ReportMetric(float64(last-revision)/float64(f.all), "etcd-txn/operation")
}

// spending begins to measure the processor time of every process, the clients' included; what it returns
// reports it for each of n things done.
func (p *plant) spending(b *testing.B) func(n int, thing string) {
	pids := p.processes()
	pids["clients"] = os.Getpid()
	used := map[string]float64{}
	for role, pid := range pids {
		used[role] = processor(pid)
	}
	return func(n int, thing string) {
		all := 0.0
		for role, pid := range pids {
			ms := (processor(pid) - used[role]) * 1000 / float64(max(n, 1))
			all += ms
			b.ReportMetric(ms, "cpu-ms/"+thing+"-"+role)
		}
		b.ReportMetric(all, "cpu-ms/"+thing)
	}
}

// posts is POST mint up to its 202 by 64 clients, each with a key of its own and
// so many mints as may wait for approval, against etcd's own transactions. Beside
// it are requests of the same size that are refused for their shape, before anything
// is read or written: what client, TLS, HTTP, the key and JSON take of the same
// processors, and thereby what no 202 can pass. With one raw transaction behind each of them the same processors
// would do 1/(1/refused + 1/raw) a second, which is told as a share of raw, too: a 202 that writes its ten keys with
// company has to stay below that share as long as they cost more than one key alone.
func (p *plant) posts(b *testing.B) {
	etcd := p.dialEtcd()
	defer func() { _ = etcd.Close() }()
	before, _ := p.raw(etcd, mostKeys)
	spent := p.spending(b)
	start := time.Now()
	took := p.post(size(8*time.Second, 100*time.Millisecond))
	rate := float64(len(took)) / time.Since(start).Seconds()
	spent(len(took), "post")
	after, _ := p.raw(etcd, mostKeys)
	raw := (before + after) / 2
	spentToo := p.spending(b)
	start = time.Now()
	n := p.refused(size(3*time.Second, 100*time.Millisecond))
	refused := float64(n) / time.Since(start).Seconds()
	spentToo(n, "refused")
	b.ReportMetric(rate, "accepted/s")
	b.ReportMetric(refused, "refused/s")
	b.ReportMetric(rate/refused, "of_refused")
	b.ReportMetric(quantile(took, .5), "p50-ms")
	b.ReportMetric(quantile(took, .99), "p99-ms")
	b.ReportMetric(raw, "etcd-txn/s")
	b.ReportMetric(rate/raw, "of_etcd(aim≥0.5)")
	b.ReportMetric(refused/(refused+raw), "of_etcd-of-refused-and-one-txn")
}

// refused asks for mints without a recipient for so long, and returns how many were refused.
func (p *plant) refused(span time.Duration) int {
	p.b.Helper()
	var n atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for k := range mostKeys {
		all.Go(func() {
			for time.Since(start) < span && !p.b.Failed() {
				_, err := p.operators[k].MintToken(p.b.Context(), p.token, client.MintRequest{Amount: "1",
					PerformedBy: &client.Performer{Type: client.PerformerTypeWalletID, WalletID: &p.wallets[k%len(p.wallets)]}})
				var refusal *client.Error
				if !errors.As(err, &refusal) || refusal.HTTPStatus != http.StatusBadRequest {
					p.b.Errorf("a mint without a recipient: %v", err)
					return
				}
				n.Add(1)
			}
		})
	}
	all.Wait()
	return int(n.Load())
}

// post asks for mints for so long, or until every key has as many as may wait,
// and returns how long each took, sorted.
func (p *plant) post(span time.Duration) []time.Duration {
	p.b.Helper()
	took := make([][]time.Duration, mostKeys)
	var all sync.WaitGroup
	start := time.Now()
	for k := range mostKeys {
		all.Go(func() {
			for len(took[k]) < mostPosts && time.Since(start) < span {
				began := time.Now()
				_, err := p.mint(k)
				var refusal *client.Error
				if errors.As(err, &refusal) && refusal.Code == client.CodeRateLimited {
					return // what an earlier measurement left waits still
				}
				if err != nil {
					p.b.Errorf("mint: %v", err)
					return
				}
				took[k] = append(took[k], time.Since(began))
			}
		})
	}
	all.Wait()
	if p.b.Failed() {
		p.b.FailNow()
	}
	return slices.Sorted(slices.Values(slices.Concat(took...)))
}

// backlog approves what posts left, and waits until all that was approved is
// done: what the appliance does when nobody has to wait for his own.
func (p *plant) backlog(b *testing.B) {
	var ids []string
	status := client.OperationStatusPENDINGAUTHORIZATION
	for o, err := range p.operators[0].Operations(b.Context(), client.ListTokenOperationsParams{Status: &status}) {
		p.must(err)
		ids = append(ids, o.OperationID)
	}
	span := size(20*time.Second, time.Second)
	done := p.count(client.OperationStatusCOMPLETED)
	start := time.Now()
	var next, approved atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for n := int(next.Add(1) - 1); n < len(ids) && time.Since(start) < span; n = int(next.Add(1) - 1) {
				if err := p.approve(ids[n]); err != nil {
					b.Errorf("approve %s: %v", ids[n], err)
					return
				}
				approved.Add(1)
			}
		})
	}
	all.Wait()
	took, n := time.Since(start), int(approved.Load())
	for p.count(client.OperationStatusCOMPLETED) < done+n && !b.Failed() {
		if time.Since(start) > span+patience {
			b.Fatalf("%d of %d are not done after %s", done+n-p.count(client.OperationStatusCOMPLETED), n, time.Since(start))
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.ReportMetric(float64(len(ids)), "pending-before")
	b.ReportMetric(2*float64(n)/took.Seconds(), "approvals/s")
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "completed/s")
}

// fill mints until there are as many operations as a start is measured with, or fillTime is over.
func (p *plant) fill() {
	want := size(mostOperations, 0)
	if text := os.Getenv(envOperations); text != "" {
		var err error
		want, err = strconv.Atoi(text)
		p.must(err)
	}
	for began := time.Now(); p.count("") < want && time.Since(began) < fillTime; {
		p.flow(64, 5*time.Second, 0)
	}
}

// dialEtcd connects to the appliance's own etcd as its root.
func (p *plant) dialEtcd() *clientv3.Client {
	p.b.Helper()
	_, endpoint, _ := strings.Cut(p.config(), "endpoints = ['")
	endpoint, _, _ = strings.Cut(endpoint, "'")
	pem, err := os.ReadFile(filepath.Join(p.dir, "pki", "root-mldsa.crt"))
	p.must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	pair, err := tls.LoadX509KeyPair(filepath.Join(p.dir, "pki", "etcd-root.crt"), filepath.Join(p.dir, "pki", "etcd-root.key"))
	p.must(err)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second, Logger: zap.NewNop(),
		TLS: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{pair}}})
	p.must(err)
	return c
}

// raw is how many transactions a second etcd does for so many clients: one
// comparison and one value of a kilobyte.
func (p *plant) raw(c *clientv3.Client, clients int) (rate, p99 float64) {
	p.b.Helper()
	const prefix = "/bench/"
	value := strings.Repeat("x", 1024)
	span := size(2*time.Second, 50*time.Millisecond)
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	start := time.Now()
	for k := range clients {
		all.Go(func() {
			for n := 0; time.Since(start) < span; n++ {
				key := fmt.Sprintf("%s%d/%d", prefix, k, n)
				began := time.Now()
				if _, err := c.Txn(p.b.Context()).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).Then(clientv3.OpPut(key, value)).Commit(); err != nil {
					p.b.Errorf("etcd: %v", err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	rate = float64(len(took)) / time.Since(start).Seconds()
	_, err := c.Delete(p.b.Context(), prefix, clientv3.WithPrefix())
	p.must(err)
	slices.Sort(took)
	return rate, quantile(took, .99)
}

// kept is what etcd's database holds when old revisions are gone, in bytes, and
// its revision, which counts its transactions.
func (p *plant) kept(c *clientv3.Client) (bytes float64, revision int64) {
	p.b.Helper()
	ctx, cancel := context.WithTimeout(p.b.Context(), patience)
	defer cancel()
	r, err := c.Get(ctx, "/bench/none")
	p.must(err)
	_, err = c.Compact(ctx, r.Header.Revision, clientv3.WithCompactPhysical())
	p.must(err)
	s, err := c.Status(ctx, c.Endpoints()[0])
	p.must(err)
	return float64(s.DbSizeInUse), r.Header.Revision
}
