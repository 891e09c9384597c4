package sealed

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	// beatEvery is how often a worker says that it lives, and silence how long it
	// may not: a stopped process, which answers nobody, is killed and started again
	// with the PIN, so that no custodian has to come.
	beatEvery = 5 * time.Second
	silence   = 30 * time.Second
)

// life is what is known of who lives: the worker by its beats, the keeper by
// what it tells the service manager that started it (sd_notify(3)), if one did.
type life struct {
	beats chan struct{} // capacity 1; nil: nobody listens
}

// begin tells the service manager at its pace that the keeper lives; the
// returned function, that it is about to end.
func (l *life) begin(log *slog.Logger) (end func()) {
	l.beats = make(chan struct{}, 1)
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("no watchdog", "error", err)
	}
	stop := make(chan struct{})
	if every > 0 {
		go func() {
			for t := time.NewTicker(every / 3); ; {
				tellManager(log, daemon.SdNotifyWatchdog)
				select {
				case <-t.C:
				case <-stop:
					t.Stop()
					return
				}
			}
		}()
	}
	return func() { close(stop) }
}

// tellManager says it to the service manager.
func tellManager(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("the service manager is not told", "state", state, "error", err)
	}
}

// beat notes that the worker lives.
func (l *life) beat() {
	select {
	case l.beats <- struct{}{}:
	default:
	}
}

// guard kills a worker that was silent for too long.
func (l *life) guard(worker *os.Process, limit time.Duration, ended <-chan struct{}, log *slog.Logger) {
	t := time.NewTimer(limit)
	defer t.Stop()
	for {
		select {
		case <-l.beats:
			t.Reset(limit)
		case <-ended:
			return
		case <-t.C:
			log.Error("the worker is silent; it is killed", "pid", worker.Pid, "for", limit)
			if err := worker.Kill(); err != nil {
				log.Error("a silent worker cannot be killed", "error", err)
			}
			return
		}
	}
}

// beat says to the keeper that this process lives, until ctx ends.
func (w *worker) beat(ctx context.Context) {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	for {
		if _, err := w.pipe.ask(ctx, asking{Word: wordBeat}); err != nil && ctx.Err() == nil {
			w.log.Debug("the keeper did not take a beat", "error", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// ready says to the keeper that callers are answered.
func (w *worker) ready(ctx context.Context) {
	if _, err := w.pipe.ask(ctx, asking{Word: wordReady}); err != nil && ctx.Err() == nil {
		w.log.Warn("the keeper was not told that callers are answered", "error", err)
	}
}
