package sealed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/awnumar/memguard"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Descriptors that the keeper leaves to its worker.
const (
	fdDown = 3 // keeper to worker
	fdUp   = 4 // worker to keeper
)

// orphanLimit is how long a worker whose keeper is gone may take to end.
const orphanLimit = 3 * time.Second

// worker is one life of the process that holds the HSM login.
type worker struct {
	log     *slog.Logger
	level   *slog.LevelVar
	version string
	hello   hello
	cfg     *Config
	pipe    keeperPipe

	stopOnce sync.Once
	stop     context.CancelFunc
	code     int
}

// RunWorker is the worker's whole life; it returns the process's exit code. It
// works only as a keeper's child. The program's version is what status says;
// level, by which log should be filtered, is set to what the keeper says.
func RunWorker(version string, log *slog.Logger, level *slog.LevelVar) int {
	if err := harden(log); err != nil {
		log.Error("worker cannot start", "error", err)
		return 1
	}
	signal.Ignore(syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGINT) // they are for the keeper, who ends us in order and tells us the level
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	w := &worker{log: log, level: level, version: version, pipe: keeperPipe{up: os.NewFile(fdUp, "to keeper")}, stop: stop}
	if err := w.run(ctx, os.NewFile(fdDown, "from keeper")); err != nil {
		log.Error("worker ends", "error", err)
		if w.code == 0 {
			return 1
		}
	}
	return w.code
}

// end stops the worker with an exit code; the first one counts.
func (w *worker) end(code int) {
	w.stopOnce.Do(func() { w.code = code })
	w.stop()
}

func (w *worker) run(ctx context.Context, down *os.File) error {
	if err := readMessage(down, &w.hello); err != nil {
		return fmt.Errorf("no greeting from a keeper (start mintwarden-seal without “worker”): %w", err)
	}
	pin, err := readPIN(down, w.hello.PINLength)
	if err != nil {
		return err
	}
	w.level.Set(levels[w.hello.Level])
	w.pipe.leveled = func(level string) { retuned(w.log, w.level, level) }
	go w.listen(down)
	go w.beat(ctx)
	if w.cfg, err = LoadConfig(w.hello.Config); err != nil {
		return err
	}
	fence := workerFence(w.cfg, os.Getenv)
	fence.read = append(fence.read, filepath.Dir(w.hello.Config))
	if err := fence.close(w.log); err != nil {
		return err
	}
	// A worker whose keeper was killed may still be ending: journal and socket
	// are its own until it has.
	unlock, err := lock(filepath.Join(w.cfg.State, "worker.lock"), 0)
	if err != nil {
		return err
	}
	defer unlock()
	reg := prometheus.NewRegistry()
	token, fault := w.openToken(ctx, pin, reg)
	if w.code != 0 || ctx.Err() != nil {
		return fault
	}
	store, err := openStore(ctx, w.cfg.Store)
	if err != nil {
		return err
	}
	defer func() { _ = store.close() }() // nothing of ours is under way any more
	if err := reg.Register(store.certificates); err != nil {
		return err
	}
	j, err := openJournal(w.cfg.State)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer func() { _ = j.close() }() // every mark was synced
	r, err := newRoom(roomConfig{
		version: w.version, appliance: w.cfg.Appliance, charter1: w.cfg.Charter1, configPath: w.hello.Config,
		custody: custody{keeper: w, state: w.cfg.State, source: w.hello.PIN, bareKey: w.hello.BareKey}, sealedWhy: w.hello.Why, unsealKey: w.hello.UnsealKey, tokenLabel: w.cfg.HSM.Token, tokenFault: fault,
		token: token, store: store, journal: j, clock: systemClock, log: w.log, registry: reg, seal: w.seal,
		ledger: w.cfg.Ledger, state: w.cfg.State,
	})
	if err != nil {
		return err
	}
	err = w.serve(ctx, r)
	w.closeToken(token)
	return err
}

// closeToken leaves a broken token alone: the process's end closes it, and what
// it would wait for may never come.
func (w *worker) closeToken(token *hsm.Token) {
	if token == nil {
		return
	}
	select {
	case <-token.Broken():
		return
	default:
	}
	if err := token.Close(); err != nil {
		w.log.Warn("token not closed", "error", err)
	}
}

// tokenRetry is how long a worker whose token did not open says so to callers
// before it ends; only a new process can try again.
const tokenRetry = 2 * time.Second

// openToken logs in; without a PIN there is no token and the worker is sealed.
// An error is why there is no token although there is a PIN.
func (w *worker) openToken(ctx context.Context, pin *memguard.LockedBuffer, reg prometheus.Registerer) (*hsm.Token, error) {
	if pin == nil {
		return nil, nil
	}
	defer pin.Destroy()
	token, err := hsm.Open(ctx, hsm.Config{Module: w.cfg.HSM.Module, TokenLabel: w.cfg.HSM.Token,
		TokenSerial: w.cfg.HSM.Serial, Sessions: w.cfg.HSM.Sessions, CallTimeout: time.Duration(w.cfg.HSM.CallTimeout),
		MaxStuck: w.cfg.HSM.MaxStuck}, pin.Bytes(), w.log, reg)
	if errors.Is(err, hsm.ErrWrongPIN) {
		w.code = exitPINRefused
	}
	if err != nil {
		return nil, err
	}
	if err := token.Canary(ctx, canaryKey); err != nil && !errors.Is(err, hsm.ErrNotFound) {
		w.closeToken(token)
		return nil, err
	}
	if err := token.KeepEd25519Public(ctx, canaryKey); err != nil {
		w.log.Warn("the canary's public key is not kept beside its public half", "error", err)
	}
	return token, nil
}

// tokenWatch is how often the token is looked at, so that one that is gone is
// known, and tried again, before somebody needs it.
const tokenWatch = 10 * time.Second

// watch uses the canary at every tick. What it finds wrong breaks the token, or
// was a passing fault.
func (w *worker) watch(ctx context.Context, token *hsm.Token, ticks <-chan time.Time) {
	for {
		select {
		case _, more := <-ticks:
			if !more {
				return
			}
		case <-token.Broken():
			return
		case <-ctx.Done():
			return
		}
		if err := token.Canary(ctx, canaryKey); err != nil && !errors.Is(err, hsm.ErrNotFound) && ctx.Err() == nil {
			w.log.Warn("the token's canary failed", "error", err)
		}
	}
}

// serve answers callers until the worker is told to stop, or the room or the
// token fails.
func (w *worker) serve(ctx context.Context, r *room) error {
	l, err := listen(w.cfg.Socket, len(w.cfg.Callers) > 0)
	if err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	paceGC(inner)
	go r.keepCustodians(inner)
	if r.token != nil {
		tick := time.NewTicker(tokenWatch)
		defer tick.Stop()
		go w.watch(inner, r.token, tick.C)
		if r.halfRotated(inner) {
			go r.finishRotation(inner)
		}
		go func() {
			select {
			case <-r.token.Broken():
				w.end(1)
			case <-inner.Done():
			}
		}()
	}
	// The room outlives the door, for requests under way still need it.
	roomCtx, stopRoom := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRoom()
	ended := make(chan error, 1)
	go func() {
		err := r.run(roomCtx)
		if err != nil {
			w.log.Error("nothing is decided any more", "error", err)
			w.end(1)
		}
		ended <- err
	}()
	if r.tokenFault != nil {
		w.log.Error("the token cannot be used", "error", r.tokenFault)
		retry := time.AfterFunc(tokenRetry, func() { w.end(exitNoToken) })
		defer retry.Stop()
	}
	w.log.Info("seal answers", "socket", w.cfg.Socket, "sealed", r.sealed(), "token", r.token != nil)
	letGo(w.log)
	w.ready(inner)
	err = seal.Serve(inner, l, r, seal.Options{Callers: w.cfg.Callers, InFlight: maxWaiting, Log: w.log})
	stopRoom()
	return errors.Join(err, <-ended)
}

// listen makes the callers' socket. With callers of other users it is open to
// all: the kernel's word on who connects decides, not the file's mode.
func listen(path string, others bool) (net.Listener, error) {
	switch info, err := os.Lstat(path); {
	case err == nil && info.Mode().Type() == fs.ModeSocket:
		if err := os.Remove(path); err != nil { // of a worker that was killed
			return nil, err
		}
	case err == nil:
		return nil, fmt.Errorf("socket %s: something else is there", path)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	old := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, err
	}
	// The next worker removes the file; this one, when it ends, might remove the
	// next one's.
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	if others {
		if err := os.Chmod(path, 0o666); err != nil {
			_ = l.Close()
			return nil, err
		}
	}
	return l, nil
}

// listen hears the keeper. When the pipe closes the keeper is gone, and so are
// we, within orphanLimit whatever hangs.
func (w *worker) listen(down *os.File) {
	_ = w.pipe.hear(down)
	w.end(1)
	time.AfterFunc(orphanLimit, func() { os.Exit(1) })
}
