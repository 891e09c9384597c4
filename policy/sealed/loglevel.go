package sealed

import (
	"log/slog"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// voice is from which level on keeper and worker log. The keeper alone reads it
// from the configuration, so that both are of one mind; a worker hears it in its
// greeting and, once it was greeted, at each change. Safe for concurrent use.
type voice struct {
	mu     sync.Mutex
	level  *slog.LevelVar
	name   string   // one of levels
	worker *os.File // pipe to a worker that was greeted; nil: there is none
}

func (v *voice) begin(level *slog.LevelVar, name string) {
	v.level, v.name = level, name
	level.Set(levels[name])
}

// greeting has greet tell a worker the level, with what else it needs. No change
// comes between the two, or gets lost.
func (v *voice) greeting(down *os.File, greet func(down *os.File, level string) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := greet(down, v.name); err != nil {
		return err
	}
	v.worker = down
	return nil
}

// left notes that the worker is gone; its pipe is closed after that.
func (v *voice) left() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.worker = nil
}

// tune sets the level here and in the worker. A worker that does not read is not
// waited for longer than it lives, which silence bounds.
func (v *voice) tune(name string, log *slog.Logger) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.name = name
	retuned(log, v.level, name)
	if v.worker == nil {
		return
	}
	if err := writeMessage(v.worker, answer{Level: name}); err != nil {
		log.Warn("the worker did not take the new level of the log", "error", err)
	}
}

// retuned sets the level, and says so at either: who reads the log later shall know
// why it is silent.
func retuned(log *slog.Logger, level *slog.LevelVar, name string) {
	was, next := level.Level(), levels[name]
	level.Set(min(was, next, slog.LevelInfo))
	log.Info("the level of the log is set", "was", was.String(), "now", next.String())
	level.Set(next)
}

// followLevel takes [log] level of the configuration anew at each SIGHUP, and
// nothing else of it, until the returned function is called. A file that cannot be
// taken whole changes nothing.
func (k *keeper) followLevel() (end func()) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGHUP)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-asked:
				k.takeLevel()
			case <-stop:
				return
			}
		}
	}()
	return func() {
		signal.Stop(asked)
		close(stop)
		<-ended
	}
}

func (k *keeper) takeLevel() {
	cfg, err := LoadConfig(k.configPath)
	if err != nil {
		k.log.Error("the level of the log stays as it was", "error", err)
		return
	}
	k.voice.tune(cfg.Log.Level, k.log)
}
