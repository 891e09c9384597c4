package dev_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/dev"
	"github.com/mintwarden/mintwarden/policy/sealed"
)

// The programs have no profiler, and the seal shall have none. So that a
// benchmark can say where the time goes, this test binary plays them: the same
// dev.Run, RunKeeper and RunWorker, and a profile from SIGUSR1 to SIGUSR2.
const (
	envProfiles = "MINTWARDEN_BENCH_PROFILES" // where profiles go; set: this process is a program
	envDevnet   = "MINTWARDEN_BENCH_DEVNET"   // the program that plays the devnet, unprofiled
)

func init() {
	dir := os.Getenv(envProfiles)
	if dir == "" || len(os.Args) < 2 {
		return
	}
	code := 0
	switch os.Args[1] {
	case "dev":
		profiled(dir, "serve")
		code = playDev(os.Args[2])
	case "devnet":
		err := syscall.Exec(os.Getenv(envDevnet), os.Args, os.Environ())
		fmt.Fprintln(os.Stderr, err)
		code = 1
	case "--config":
		profiled(dir, "keeper")
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		if err := sealed.RunKeeper(ctx, os.Args[2], benchLogger(), new(slog.LevelVar)); err != nil {
			code = 1
		}
	case "worker":
		profiled(dir, "worker")
		code = sealed.RunWorker("profiled", benchLogger(), new(slog.LevelVar))
	default:
		return
	}
	os.Exit(code)
}

func benchLogger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

func playDev(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	self, err := os.Executable()
	if err == nil {
		err = dev.Run(ctx, dev.Options{Dir: dir, API: "127.0.0.1:0", Monitor: "127.0.0.1:0", RPC: "127.0.0.1:0", Period: blockPeriod,
			SealBin: self, Version: "profiled", Log: benchLogger(), Stdout: os.Stdout})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// profiled writes what this process does between the two signals.
func profiled(dir, role string) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		var f *os.File
		for s := range signals {
			var err error
			if s == syscall.SIGUSR1 {
				if f, err = os.Create(filepath.Join(dir, role+".partial")); err == nil {
					err = pprof.StartCPUProfile(f)
				}
			} else if f != nil {
				pprof.StopCPUProfile()
				err = errors.Join(f.Close(), os.Rename(f.Name(), filepath.Join(dir, role+".pprof")))
				f = nil
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "profile:", err)
			}
		}
	}()
}

// profile runs load on the appliance while serve and the seal's worker are
// profiled, and prints what took most.
func (p *plant) profile(b *testing.B, load func()) {
	b.Helper()
	bin, err := binaries()
	p.must(err)
	self, err := os.Executable()
	p.must(err)
	dir := b.TempDir()
	p.start([]string{envProfiles + "=" + dir, envDevnet + "=" + filepath.Join(bin, "mintwardend")}, self, "dev", p.dir)
	pids := p.processes()
	tell := func(s syscall.Signal) {
		for _, role := range []string{"serve", "worker"} {
			p.must(syscall.Kill(pids[role], s))
		}
	}
	tell(syscall.SIGUSR1)
	load()
	tell(syscall.SIGUSR2)
	for _, role := range []string{"serve", "worker"} {
		file := filepath.Join(dir, role+".pprof")
		for began := time.Now(); time.Since(began) < patience; time.Sleep(20 * time.Millisecond) {
			if _, err := os.Stat(file); err == nil {
				break
			}
		}
		fmt.Printf("\nProcessor time of %s, by function\n%s", role, top(b, self, file, "-nodecount=12"))
		fmt.Printf("\nProcessor time of %s, by function of ours and what it calls\n%s\n", role,
			top(b, self, file, "-cum", "-nodecount=40", "-show=mintwarden/mintwarden|go.etcd.io|crypto/tls.*Handshake|gcBgMarkWorker"))
	}
	p.stop()
}

// top is pprof's table without its preamble.
func top(b *testing.B, binary, file string, flags ...string) string {
	b.Helper()
	args := append([]string{"tool", "pprof", "-top"}, flags...)
	out, err := exec.Command("go", append(args, binary, file)...).Output()
	if err != nil {
		b.Fatalf("go tool pprof: %v", err)
	}
	_, table, _ := strings.Cut(string(out), "Showing nodes")
	_, table, _ = strings.Cut(table, "      flat")
	return "      flat" + table
}
