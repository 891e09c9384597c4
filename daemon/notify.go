package daemon

import (
	"context"
	"log/slog"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// notify tells the service manager that started this process (sd_notify(3)), if
// one did, that it stops as soon as ctx is done, and until the returned function
// is called, at the manager's pace, that it lives.
func notify(ctx context.Context, log *slog.Logger) (end func()) {
	every, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("no watchdog", "error", err)
	}
	stop := make(chan struct{})
	if every > 0 {
		go func() {
			for t := time.NewTicker(every / 3); ; {
				tell(log, systemd.SdNotifyWatchdog)
				select {
				case <-t.C:
				case <-stop:
					t.Stop()
					return
				}
			}
		}()
	}
	silent := context.AfterFunc(ctx, func() { tell(log, systemd.SdNotifyStopping) })
	return func() {
		silent()
		close(stop)
	}
}

func tell(log *slog.Logger, state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		log.Warn("the service manager is not told", "state", state, "error", err)
	}
}
