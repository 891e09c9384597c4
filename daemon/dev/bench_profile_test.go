package dev_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/dev"
	"github.com/mintwarden/mintwarden/policy/sealed"
	"github.com/mintwarden/mintwarden/systemd/journal"
)

// The programs have no profiler, and the seal shall have none. So that a
// benchmark can say where the time goes, a copy of this test binary plays them:
// the same dev.Run, RunKeeper and RunWorker, and a profile from one signal to
// another, written where the copy lies. It knows that it is one by its name, for
// children are given no environment of ours.
const (
	profiledProgram = "mintwarden-profiled"
	devnetProgram   = "mintwardend" // beside it: plays the devnet, unprofiled

	// Signals that mean nothing to the programs; SIGUSR1 seals.
	profileFrom = syscall.SIGWINCH
	profileTo   = syscall.SIGUSR2
)

func init() {
	self, err := os.Executable()
	if err != nil || filepath.Base(self) != profiledProgram || len(os.Args) < 2 {
		return
	}
	dir, level := filepath.Dir(self), new(slog.LevelVar)
	switch os.Args[1] {
	case "dev":
		profiled(dir, "serve")
		err = playDev(self, os.Args[2])
	case "devnet":
		err = syscall.Exec(filepath.Join(dir, devnetProgram), os.Args, os.Environ())
	case "--config":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		err = sealed.RunKeeper(ctx, os.Args[2], benchLogger(os.Stderr), level)
	case "worker":
		var log io.Writer
		if log, err = journal.Stdout(); err == nil {
			os.Exit(sealed.RunWorker("profiled", benchLogger(log), level))
		}
	default:
		err = fmt.Errorf("%s plays no %q", profiledProgram, os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func benchLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelError}))
}

func playDev(self, dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return dev.Run(ctx, dev.Options{Dir: dir, API: "127.0.0.1:0", Monitor: "127.0.0.1:0", RPC: "127.0.0.1:0", Period: blockPeriod,
		SealBin: self, Version: "profiled", Log: benchLogger(os.Stderr), Level: "error", Stdout: os.Stdout, Stderr: os.Stderr})
}

// profiled writes what this process does between the two signals.
func profiled(dir, role string) {
	f, err := os.Create(filepath.Join(dir, role+".pprof"))
	if err == nil {
		var ended *os.File
		if ended, err = os.Create(filepath.Join(dir, role+".ended")); err == nil {
			signals := make(chan os.Signal, 2)
			signal.Notify(signals, profileFrom, profileTo)
			go profiling(signals, f, ended)
			return
		}
	}
	fmt.Fprintln(os.Stderr, "profile:", err)
}

// profiling writes one byte into ended when the profile is whole.
func profiling(signals <-chan os.Signal, f, ended *os.File) {
	for s := range signals {
		var err error
		if s == profileFrom {
			err = pprof.StartCPUProfile(f)
		} else {
			pprof.StopCPUProfile()
			_, werr := ended.WriteString("1")
			err = errors.Join(f.Close(), werr, ended.Close())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
		}
	}
}

// profile runs load on an appliance of its own, whose keys have nothing open yet, while its serve is profiled (the
// seal's processes, shut in, open no file for that), and prints what took most. The profiles stay in the directory
// that MINTWARDEN_BENCH_KEEP names, if it does.
func (p *plant) profile(b *testing.B, load func(*plant)) {
	b.Helper()
	bin, err := binaries()
	p.must(err)
	q, err := p.second(b, filepath.Join(bin, "mintwardend"))
	p.must(err)
	dir := b.TempDir()
	if keep := os.Getenv("MINTWARDEN_BENCH_KEEP"); keep != "" {
		dir = filepath.Join(keep, b.Name())
		p.must(errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)))
	}
	self := filepath.Join(dir, profiledProgram)
	copyTestBinary(q, self)
	p.must(os.Symlink(filepath.Join(bin, "mintwardend"), filepath.Join(dir, devnetProgram)))
	q.start(self, "dev", q.dir)
	serve := q.processes()["serve"]
	p.must(syscall.Kill(serve, profileFrom))
	load(q)
	p.must(syscall.Kill(serve, profileTo))
	for began := time.Now(); time.Since(began) < patience; time.Sleep(20 * time.Millisecond) {
		if i, err := os.Stat(filepath.Join(dir, "serve.ended")); err == nil && i.Size() > 0 {
			break
		}
	}
	file := filepath.Join(dir, "serve.pprof")
	fmt.Printf("\nProcessor time of serve in %s by room\n%s", b.Name(), shares(b, self, file))
	fmt.Printf("\nProcessor time of serve in %s by function\n%s\n", b.Name(), top(b, self, file))
}

// second is a furnished appliance beside p's, stopped and gone when b has ended, however it does.
func (p *plant) second(b *testing.B, program string) (*plant, error) {
	b.Helper()
	dir, err := os.MkdirTemp("", "bench") // short: a socket's path is limited
	if err != nil {
		return nil, err
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	q := &plant{b: b, dir: filepath.Join(dir, "appliance")}
	b.Cleanup(q.stop)
	q.start(program, "dev", "--dir", q.dir, "--api", "127.0.0.1:0", "--monitor", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--period", blockPeriod.String())
	q.furnish()
	q.stop()
	return q, nil
}

// copyTestBinary copies this test binary to path.
func copyTestBinary(p *plant, path string) {
	p.b.Helper()
	self, err := os.Executable()
	p.must(err)
	program, err := os.ReadFile(self)
	p.must(err)
	p.must(os.WriteFile(path, program, 0o700))
}

type purpose struct {
	name   string
	frames []string // parts of a function's name
}

// purposes name the rooms: a stack belongs to the first of them that has a frame in it.
var purposes = []purpose{
	{"collecting garbage", []string{"runtime.gcBgMarkWorker", "runtime.gcAssistAlloc", "runtime.bgsweep", "runtime.bgscavenge"}},
	{"etcd: who may write what", []string{"auth.(*authStore)", "apply.checkLeasePutsKeys"}},
	{"etcd: its log on disk", []string{"wal.(*WAL)"}},
	{"etcd: its database", []string{"bbolt.", "storage/backend", "storage/mvcc"}},
	{"etcd, the rest", []string{"go.etcd.io/etcd/server", "go.etcd.io/raft", "go.etcd.io/etcd/pkg"}},
	{"chain: questions to the node", []string{"mintwarden/chain.", "ethereum/go-ethereum/rpc"}},
	{"policy/ledger: folding", []string{"ledger.(*Fold)", "ledger.(*memo)"}},
	{"daemon/registry and operation: carrying the ledger", []string{"registry.(*Service).takeBatch", "operation.(*Service).carry"}},
	{"daemon/operation: submission", []string{"operation.(*Service).Submit"}},
	{"daemon/operation: decisions", []string{"operation.(*Service).Decide"}},
	{"daemon/operation: reads", []string{"operation.(*Service).List", "operation.(*Service).Get"}},
	{"daemon/operation: lanes (sign, send, confirm)", []string{"operation.(*lane)", "operation.(*worker)"}},
	{"daemon/operation: index", []string{"operation.(*index)"}},
	{"daemon/store", []string{"daemon/store."}},
	{"daemon/audit", []string{"daemon/audit"}},
	{"api", []string{"api.(*Server)"}},
	{"policy/sealed: deciding", []string{"sealed.(*room).Decide.func", "sealed.(*room).Authorize.func", "sealed.(*room).Settle.func"}},
	{"policy/sealed: batch, the rest", []string{"sealed.(*room).commit", "sealed.(*room).decideSome"}},
	{"hsm: the token's library", []string{"runtime.cgocall"}},
	{"hsm: signing around it, in the pool", []string{"hsm."}},
	{"policy/sealed: signing, around the pool", []string{"sealed.(*room).sign"}},
	{"policy/seal: the socket", []string{"policy/seal."}},
	{"HTTP, TLS", []string{"net/http", "crypto/tls"}},
	{"gRPC, etcd's client", []string{"google.golang.org/grpc", "go.etcd.io/etcd/client"}},
	{"scheduling", []string{"runtime.mcall", "runtime.schedule", "runtime.findRunnable", "runtime.park_m"}},
	{"the rest", []string{""}},
}

// shares is a table of the processor time by purpose.
func shares(b *testing.B, binary, file string) string {
	b.Helper()
	out, err := exec.Command("go", "tool", "pprof", "-traces", "-unit=ms", binary, file).Output()
	if err != nil {
		b.Fatalf("go tool pprof: %v", err)
	}
	took, all := make([]float64, len(purposes)), 0.0
	for _, block := range strings.Split(string(out), "-----------+-------------------------------------------------------")[1:] {
		fields := strings.Fields(block)
		if len(fields) < 2 {
			continue
		}
		ms, err := strconv.ParseFloat(strings.TrimSuffix(fields[0], "ms"), 64)
		if err != nil {
			continue
		}
		all += ms
		took[slices.IndexFunc(purposes, func(p purpose) bool {
			return slices.ContainsFunc(p.frames, func(f string) bool { return strings.Contains(block, f) })
		})] += ms
	}
	var table strings.Builder
	for i, p := range purposes {
		if took[i] > 0 {
			fmt.Fprintf(&table, "  %8.0f ms %5.1f %%  %s\n", took[i], 100*took[i]/all, p.name)
		}
	}
	return table.String()
}

// top is pprof's table of functions, without its preamble.
func top(b *testing.B, binary, file string) string {
	b.Helper()
	out, err := exec.Command("go", "tool", "pprof", "-top", "-nodecount=15", binary, file).Output()
	if err != nil {
		b.Fatalf("go tool pprof: %v", err)
	}
	_, table, _ := strings.Cut(string(out), "      flat")
	return "      flat" + table
}
