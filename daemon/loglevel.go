package daemon

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/mintwarden/mintwarden/daemon/config"
)

// followLevel sets level to log.level of the config at path whenever this
// process gets SIGHUP, until the returned function is called. Nothing else of
// the file is taken in; one that cannot be taken whole changes nothing.
func followLevel(ctx context.Context, path string, level *slog.LevelVar, log *slog.Logger) (end func()) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-asked:
				takeLevel(path, level, log)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-ended
		signal.Stop(asked)
	}
}

func takeLevel(path string, level *slog.LevelVar, log *slog.Logger) {
	cfg, err := config.Load(path)
	if err != nil {
		log.Error("the level of the log stays as it was", "error", err)
		return
	}
	next, err := cfg.Log.Slog()
	if err != nil {
		log.Error("the level of the log stays as it was", "error", err)
		return
	}
	was := level.Level()
	level.Set(min(was, next, slog.LevelInfo)) // that it changes is told at either level
	log.Info("the level of the log is set", "was", was.String(), "now", next.String())
	level.Set(next)
}
