package sealed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/awnumar/memguard"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// Exit codes of a worker that its keeper acts upon; any other means: again.
const (
	exitPINRefused = 10 // the token refused the PIN: never try it again
	exitSealed     = 11 // sealed on request: go on without a PIN
	exitNoToken    = 12 // the token did not open; it was told for tokenRetry already
	exitUnsealed   = 13 // a quorum is complete: the next worker has the PIN
	exitRenewed    = 14 // a renewal is complete: the token's PINs change before the next worker
)

const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = 10 * time.Second
	// healthyAfter is how long a worker must have run for its death to count as
	// the first one again.
	healthyAfter = 30 * time.Second
	// stopLimit is how long a worker may take to end before it is killed; it is
	// longer than requests under way are given.
	stopLimit = 15 * time.Second
	// sealLimit is how long a worker may take to end, with its login, once the
	// keeper was told to seal; what it was signing does not matter any more.
	sealLimit = 3 * time.Second
)

// keeper holds what must outlive a worker.
type keeper struct {
	configPath string
	cfg        *Config
	log        *slog.Logger
	unsealKey  []byte // public half
	source     pinSource
	pin        *memguard.LockedBuffer // nil: sealed
	pinID      string                 // names the PIN, or where it is from, without saying anything of it
	why        string                 // why it is sealed
	quorum     *collection
	renewal    *renewing
	documents  usedDocuments
	signals    chan os.Signal // SIGUSR1: seal
	life       life
	asked      chan struct{} // a worker with a login asked to be sealed
	voice      voice

	marking sync.Mutex // of the file that keeps it sealed
	pending *change    // to be done before the next worker
	told    bool       // a signal seals us: no quorum counts any more in this worker's life
}

// RunKeeper holds the PIN and keeps a worker running until ctx ends or, where
// the config says so, standard input closes. A worker that dies is started
// again, after 50 ms at first and 10 s at most. SIGUSR1 seals: the PIN is
// forgotten for good and the worker that holds the login ends, by force after
// 3 s. It sets level, by which log should be filtered, to what the config says,
// and again at each SIGHUP; its worker follows.
func RunKeeper(ctx context.Context, configPath string, log *slog.Logger, level *slog.LevelVar) error {
	if err := harden(log); err != nil {
		return err
	}
	path, err := filepath.Abs(configPath)
	if err != nil {
		return err
	}
	k := &keeper{configPath: path, log: log, signals: make(chan os.Signal, 1), asked: make(chan struct{}, 1)}
	signal.Notify(k.signals, unix.SIGUSR1)
	defer signal.Stop(k.signals)
	if k.cfg, err = LoadConfig(path); err != nil {
		return err
	}
	k.voice.begin(level, k.cfg.Log.Level)
	defer k.followLevel()()
	if err := os.MkdirAll(k.cfg.State, 0o700); err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(k.cfg.State, "lock"), unix.LOCK_NB)
	if err != nil {
		return err
	}
	defer unlock()
	key := unsealKeyFile{k.cfg.State, k.cfg.Unseal.KeyCredential}
	if k.unsealKey, err = key.public(); err != nil {
		return err
	}
	log.Info("unseal key", "encrypted", k.cfg.Unseal.KeyCredential != "")
	if err := keeperFence(k.cfg, path, os.Getenv).close(log); err != nil {
		return err
	}
	k.quorum = &collection{state: k.cfg.State, appliance: k.cfg.Appliance, life: collectionLife, unsealKey: key.private, refused: k.refused}
	defer k.quorum.reset()
	k.renewal = &renewing{state: k.cfg.State, appliance: k.cfg.Appliance, unsealKey: key.private, now: time.Now}
	defer k.renewal.reset()
	k.documents.path = k.marker("seals")
	if err := k.loadPIN(); err != nil {
		return err
	}
	defer k.forget("")
	if k.cfg.ParentPipe {
		signal.Ignore(unix.SIGINT) // Ctrl-C: the terminal tells the parent, too, who still needs us while it drains
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // ends when the parent does
			cancel()
		}()
	}
	defer k.life.begin(log)()
	defer context.AfterFunc(ctx, func() { tellManager(log, daemon.SdNotifyStopping) })()
	return k.keep(ctx)
}

// dying is how long a lock may still be held by a process that was killed: the
// kernel tears it down in its own time, after whoever killed it went on.
const dying = 2 * time.Second

// lock makes sure that one keeper, and one worker, uses the state directory. It
// waits for another to end; with LOCK_NB only for one that is dying.
func lock(path string, how int) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for since := time.Now(); ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|how)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) && time.Since(since) < dying {
			time.Sleep(dying / 100)
			continue
		}
		if !errors.Is(err, unix.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("%s is in use by another seal: %w", path, err)
		}
	}
}

// sealedMarker is, in the state directory, what keeps it sealed.
const sealedMarker = "sealed"

func (k *keeper) marker(name string) string { return filepath.Join(k.cfg.State, name) }

// forget wipes the PIN.
func (k *keeper) forget(why string) {
	if k.pin != nil {
		k.pin.Destroy()
		k.pin = nil
	}
	k.why = why
}

// keep runs one worker after the other.
func (k *keeper) keep(ctx context.Context) error {
	backoff := firstBackoff
	for {
		start := time.Now()
		code, told, err := k.run(ctx)
		if told {
			k.sealed(sealedBySignal)
		}
		if ctx.Err() != nil {
			k.awaits(nil)
			return nil
		}
		if c := k.due(); c != nil {
			k.change(ctx, c)
			if code != exitUnsealed {
				code = exitRenewed // whatever it ended with was about another PIN
			}
		}
		switch code {
		case exitPINRefused:
			k.forget("the token refused the PIN")
			k.log.Error("sealed", "reason", k.why)
			if err := k.noteRefused(k.pinID); err != nil {
				return err
			}
		case exitSealed:
			k.log.Warn("sealed", "reason", k.why)
		case exitUnsealed:
			if k.pin != nil { // not sealed again since
				k.log.Warn("unsealed by a quorum of custodians")
			}
			backoff = firstBackoff
		case exitRenewed:
			backoff = firstBackoff
		case exitNoToken:
			k.log.Warn("trying the token again")
			backoff = firstBackoff
		default:
			if told {
				backoff = firstBackoff
				break
			}
			k.log.Error("worker ended; starting another", "code", code, "error", err, "after", backoff)
		}
		if time.Since(start) > healthyAfter {
			backoff = firstBackoff
		}
		select {
		case <-time.After(backoff):
		case <-k.signals:
			_ = k.mark()
			k.sealed(sealedBySignal)
		case <-ctx.Done():
			return nil
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

const sealedBySignal = "sealed by a signal"

// sealed wipes the PIN and says so. The caller made it last.
func (k *keeper) sealed(why string) {
	k.forget(why)
	k.log.Warn("sealed", "reason", why)
}

// mark makes sealing last over restarts, and forgets what shares there are.
func (k *keeper) mark() error {
	k.marking.Lock()
	defer k.marking.Unlock()
	if k.pending != nil {
		k.pending.unseal = false // it may be finished; it gives nobody a login
	}
	k.quorum.reset()
	k.renewal.reset()
	f, err := writeDurably(k.marker(sealedMarker), []byte(time.Now().UTC().Format(time.RFC3339)+"\n"))
	if err != nil {
		// The PIN goes all the same; that it stays gone is not promised.
		k.log.Error("sealing is not durable", "error", err)
		return err
	}
	return f.Close()
}

// awaits has a change done before the next worker, in place of any other.
func (k *keeper) awaits(c *change) {
	k.marking.Lock()
	defer k.marking.Unlock()
	k.pending.destroy()
	k.pending = c
}

// completing is true while new PINs wait for the worker to end.
func (k *keeper) completing() bool {
	k.marking.Lock()
	defer k.marking.Unlock()
	return k.pending != nil
}

// due is the change that is to be done now, nil for none. Nobody else has it then.
func (k *keeper) due() *change {
	k.marking.Lock()
	defer k.marking.Unlock()
	c := k.pending
	k.pending = nil
	return c
}

// unmark ends what mark did, on a quorum's word; false if a signal seals us.
func (k *keeper) unmark() (bool, error) {
	k.marking.Lock()
	defer k.marking.Unlock()
	if k.told {
		return false, nil
	}
	if err := os.Remove(k.marker(sealedMarker)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, syncDir(k.cfg.State)
}

// tell notes whether a signal seals us.
func (k *keeper) tell(told bool) {
	k.marking.Lock()
	defer k.marking.Unlock()
	k.told = told
}

// run starts a worker, hands it what it needs, serves its words, and returns
// how it ended; told is true if that was because a signal seals us.
func (k *keeper) run(ctx context.Context) (code int, told bool, err error) {
	fromKeeper, down, err := os.Pipe()
	if err != nil {
		return -1, false, err
	}
	defer down.Close() // a worker whose pipe closes ends
	up, fromWorker, err := os.Pipe()
	if err != nil {
		_ = fromKeeper.Close()
		return -1, false, err
	}
	defer up.Close()
	k.tell(false)
	select {
	case <-k.asked: // the last worker's
	default:
	}
	cmd := exec.Command(self, "worker")
	cmd.Args[0] = os.Args[0]
	cmd.ExtraFiles = []*os.File{fromKeeper, fromWorker} // 3 and 4 there
	report, err := k.start(cmd)
	_ = fromKeeper.Close()
	_ = fromWorker.Close()
	if err != nil {
		return -1, false, err
	}
	k.log.Info("worker started", "pid", cmd.Process.Pid, "sealed", k.pin == nil)
	ended, watched := make(chan struct{}), make(chan bool, 1)
	go func() { watched <- k.watch(ctx, cmd.Process, ended) }()
	go k.life.guard(cmd.Process, silence, ended, k.log)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		k.hear(up, down)
	}()
	if err := k.voice.greeting(down, k.greet); err != nil {
		k.log.Error("worker did not take its greeting", "error", err)
	}
	err = cmd.Wait()
	report()
	k.voice.left()
	<-heard // the worker's end of the pipe closed with it; k.pin is ours again
	close(ended)
	return cmd.ProcessState.ExitCode(), <-watched, err
}

// watch ends the worker when ctx does, or a signal seals us, which is true.
func (k *keeper) watch(ctx context.Context, worker *os.Process, ended <-chan struct{}) (told bool) {
	limit := stopLimit
	select {
	case <-ended:
		return false
	case <-k.asked:
		// It ends by itself once its caller was answered, or does not end at all.
		select {
		case <-ended:
			return false
		case <-time.After(sealLimit):
			limit = 0
		}
	case <-k.signals:
		told, limit = true, sealLimit
		k.tell(true)
		_ = k.mark() // first, for whatever comes after must find us sealed
	case <-ctx.Done():
	}
	if err := worker.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		k.log.Error("the worker is not told to end", "error", err)
	}
	select {
	case <-ended:
	case <-time.After(limit):
		if err := worker.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			k.log.Error("a worker that does not end cannot be killed", "error", err)
		}
	}
	return told
}

func (k *keeper) greet(down *os.File, level string) error {
	h := hello{Config: k.configPath, UnsealKey: k.unsealKey, BareKey: k.cfg.Unseal.KeyCredential == "", PIN: k.source, Why: k.why, Level: level}
	if k.pin != nil {
		h.PINLength = len(k.pin.Bytes())
	}
	if err := writeMessage(down, h); err != nil {
		return err
	}
	if k.pin == nil {
		return nil
	}
	_, err := down.Write(k.pin.Bytes())
	return err
}

// hear does what the worker asks until its pipe closes.
func (k *keeper) hear(up, down *os.File) {
	for {
		var q asking
		if err := readMessage(up, &q); err != nil {
			return
		}
		a := answer{ID: q.ID}
		var err error
		switch q.Word {
		case wordSeal:
			err = k.sealOn(q)
		case wordShare:
			a.Open, err = k.share(q)
		case wordRenew:
			a.Renewal, a.Open, err = k.renew(q.Renew)
		case wordLook:
		case wordBeat:
			k.life.beat()
		case wordReady:
			tellManager(k.log, daemon.SdNotifyReady)
			letGo(k.log)
		default:
			k.log.Error("worker says what no worker says", "word", string(q.Word))
			return
		}
		if err == nil {
			a.Progress, err = k.quorum.look()
		}
		a.Error = refusedBy(err)
		if err := writeMessage(down, a); err != nil {
			return
		}
	}
}

// sealOn seals on a worker's word. A document that did before has no say any more:
// on a sealed appliance it changes nothing, on another it is refused, so that
// nobody who kept it can undo what a quorum did since.
func (k *keeper) sealOn(q asking) error {
	if q.Document != "" {
		used, err := k.documents.counted(q.Document)
		if err != nil {
			k.log.Error("which seal documents counted is not known", "error", err)
		}
		if used && k.pin == nil {
			return nil
		}
		if used {
			return seal.Errorf(seal.KindDuplicate, "this document sealed the appliance before; a custodian who wants it sealed signs another")
		}
	}
	if k.pin != nil {
		select {
		case k.asked <- struct{}{}:
		default: // it is being ended
		}
	}
	err := k.mark()
	k.forget("sealed on request")
	if err == nil && q.Document != "" { // not before it lasts: else it may be asked again
		err = k.documents.note(q.Document, q.Until, time.Now())
	}
	return err
}

// share takes a custodian's share; open is true if it was the last that was
// needed: then the PIN is here, and the next worker gets it.
func (k *keeper) share(q asking) (open bool, err error) {
	if k.pin != nil {
		return false, seal.Errorf(seal.KindConflict, "this seal is not sealed")
	}
	if k.completing() {
		return false, seal.Errorf(seal.KindConflict, "a renewal is being completed: these shares give a PIN that the token is about to take no more; unseal by the new ones")
	}
	opened, err := k.quorum.take(q)
	if err != nil {
		k.log.Warn("share refused", "custodian", q.Custodian, "error", err)
		return false, err
	}
	k.log.Info("share taken", "custodian", q.Custodian)
	if opened == nil {
		return false, nil
	}
	if ok, err := k.unmark(); err != nil || !ok {
		opened.destroy()
		return false, errors.Join(err, seal.Errorf(seal.KindSealed, "it was sealed meanwhile, or that it was not could not be made to last"))
	}
	if opened.before != nil {
		k.log.Warn("a renewal that was cut short goes on")
		k.awaits(opened)
		return true, nil
	}
	k.takePIN(opened, opened.now)
	opened.destroy()
	return true, nil
}

// renew takes a custodian's part in a renewal; open is true if it was the last: then
// the worker ends, so that the token's PINs can change.
func (k *keeper) renew(p *renewPart) (_ *seal.Renewal, open bool, err error) {
	if p == nil {
		return nil, false, seal.Errorf(seal.KindInvalid, "no part of a renewal")
	}
	out, complete, err := k.renewal.take(p)
	if err != nil {
		k.log.Warn("part in a renewal refused", "custodian", p.Custodian, "error", err)
		return nil, false, err
	}
	if p.Custodian != "" {
		k.log.Info("part in a renewal taken", "custodian", p.Custodian, "share", len(p.Share) > 0, "key", len(p.ReceiveKey) > 0, "received", p.Received != "")
	}
	if complete == nil {
		return out, false, nil
	}
	complete.unseal = k.pin != nil
	k.awaits(complete)
	select {
	case k.asked <- struct{}{}:
	default: // it is being ended
	}
	return out, true, nil
}
