package sealed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/awnumar/memguard"

	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// PINJob is the word by which the keeper starts this program once more to change the
// token's PINs: the vendor's library stays out of the keeper, and no worker may be
// logged in meanwhile.
const PINJob = "pins"

// pinVerb is what such a process does; the zero value is none.
type pinVerb string

const (
	pinsTry    pinVerb = "try"    // log in with both of the old ones
	pinsTryOne pinVerb = "user"   // log in with the user's old one
	pinsChange pinVerb = "change" // make the new ones the token's
)

// pinTask is what the keeper tells it. The PINs follow, raw: old, then new, the user's
// first.
type pinTask struct {
	Config  string  `json:"config"` // path of seal.toml
	Verb    pinVerb `json:"verb"`
	Lengths []int   `json:"lengths"` // of the four PINs
}

// pinJobLimit bounds such a process: it makes a handful of calls.
const pinJobLimit = time.Minute

// errPINs says that the token refused the PINs.
var errPINs = errors.New("the token refused the PINs")

// RunPINJob is the whole life of a process that changes PINs, or tries them; it returns
// the exit code. It works only as a keeper's child.
func RunPINJob(log *slog.Logger, level *slog.LevelVar) int {
	err := harden(log)
	if err == nil {
		err = pinJob(os.NewFile(fdDown, "from keeper"), log, level)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, hsm.ErrWrongPIN):
		log.Error("PINs", "error", err)
		return exitPINRefused
	}
	log.Error("PINs", "error", err)
	return 1
}

func pinJob(down *os.File, log *slog.Logger, level *slog.LevelVar) error {
	var task pinTask
	if err := readMessage(down, &task); err != nil {
		return fmt.Errorf("no task from a keeper: %w", err)
	}
	if len(task.Lengths) != 4 {
		return fmt.Errorf("%d PINs, want 4", len(task.Lengths))
	}
	var pins [4]*memguard.LockedBuffer
	for i, n := range task.Lengths {
		pin, err := readPIN(down, n)
		if err != nil {
			return err
		}
		if pin == nil {
			return errors.New("a PIN is empty")
		}
		defer pin.Destroy()
		pins[i] = pin
	}
	c, err := LoadConfig(task.Config)
	if err != nil {
		return err
	}
	level.Set(levels[c.Log.Level])
	if err := workerFence(c, os.Getenv).close(log); err != nil {
		return err
	}
	// Whoever uses the token of ours ends first; and what a killed keeper left running
	// is over before the next one's begins.
	unlock, err := lock(filepath.Join(c.State, "worker.lock"), 0)
	if err != nil {
		return err
	}
	defer unlock()
	ctx := context.Background() // the keeper ends us
	old := hsm.PINs{User: pins[0].Bytes(), SO: pins[1].Bytes()}
	switch task.Verb {
	case pinsTry:
		return hsm.TryPINs(ctx, c.HSM.Module, c.HSM.Token, c.HSM.Serial, old)
	case pinsTryOne:
		return hsm.TryPINs(ctx, c.HSM.Module, c.HSM.Token, c.HSM.Serial, hsm.PINs{User: old.User})
	case pinsChange:
		return hsm.ChangePINs(ctx, c.HSM.Module, c.HSM.Token, c.HSM.Serial, old, hsm.PINs{User: pins[2].Bytes(), SO: pins[3].Bytes()}, log)
	}
	return fmt.Errorf("no such task: %q", task.Verb)
}

// pinJob has a child do it, and waits. errPINs: the token refused them.
func (k *keeper) pinJob(ctx context.Context, verb pinVerb, old, next *seal.PINs) error {
	ctx, cancel := context.WithTimeout(ctx, pinJobLimit)
	defer cancel()
	down, up, err := os.Pipe()
	if err != nil {
		return err
	}
	defer up.Close()
	cmd := exec.CommandContext(ctx, self, PINJob)
	cmd.Args[0] = os.Args[0]
	cmd.ExtraFiles = []*os.File{down}
	report, err := k.start(cmd)
	_ = down.Close()
	if err != nil {
		return err
	}
	pins := []*memguard.LockedBuffer{old.User, old.SO, next.User, next.SO}
	task := pinTask{Config: k.configPath, Verb: verb}
	for _, p := range pins {
		task.Lengths = append(task.Lengths, p.Size())
	}
	told := writeMessage(up, task)
	for _, p := range pins {
		if told == nil {
			_, told = up.Write(p.Bytes())
		}
	}
	err = cmd.Wait()
	report()
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == exitPINRefused {
		return errPINs
	}
	if err != nil {
		return errors.Join(fmt.Errorf("the process that changes PINs: %w", err), told)
	}
	return nil
}
