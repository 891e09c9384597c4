package dev

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	// stopGrace is how long a child may take to drain before it is killed.
	stopGrace = 10 * time.Second
	// restartDelay keeps a child that dies at once from spinning.
	restartDelay = 500 * time.Millisecond
)

// child is a process that lives no longer than this one: its standard input is
// a pipe that nobody writes to, and it ends when that pipe closes, which the
// kernel does for us even on SIGKILL. One that dies first is started again.
type child struct {
	name string
	argv []string
	env  []string
	log  *slog.Logger

	onLine func(line string) // standard output, line by line; may be nil

	stop context.CancelFunc
	done chan struct{}
}

// environment is what children get of this process's: where programs are and
// how people write, nothing that loads code or tells secrets of others.
func environment() []string {
	var env []string
	for _, name := range []string{"PATH", "LANG", "TZ", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// startChild runs argv, with env as its whole environment, until the returned
// child is closed, and not until a stop comes: what drains then still needs it.
func startChild(name string, argv, env []string, log *slog.Logger, onLine func(string)) *child {
	ctx, cancel := context.WithCancel(context.Background())
	c := &child{name: name, argv: argv, env: env, log: log.With("child", name), onLine: onLine,
		stop: cancel, done: make(chan struct{})}
	go c.supervise(ctx)
	return c
}

// close asks the child to end and waits until it has.
func (c *child) close() {
	c.stop()
	<-c.done
}

func (c *child) supervise(ctx context.Context) {
	defer close(c.done)
	for ctx.Err() == nil {
		err := c.run(ctx)
		if ctx.Err() != nil {
			return
		}
		c.log.Error("child ended; starting it again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(restartDelay):
		}
	}
}

func (c *child) run(ctx context.Context) error {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Env = c.env
	alive, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	c.log.Debug("child started", "pid", cmd.Process.Pid)
	ended := make(chan struct{})
	go func() { // closing the pipe is the request to end; the kill is for one that does not listen
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		_ = alive.Close()
		select {
		case <-ended:
		case <-time.After(stopGrace):
			c.log.Warn("child does not end; killing it")
			_ = cmd.Process.Kill()
		}
	}()
	var readers sync.WaitGroup
	readers.Go(func() { lines(stdout, c.onLine) })
	readers.Go(func() { // a child logs by itself, in the same form
		_, _ = io.Copy(os.Stderr, stderr)
	})
	readers.Wait() // before Wait, which closes the pipes
	err = cmd.Wait()
	close(ended)
	_ = alive.Close()
	return err
}

func lines(r io.Reader, f func(string)) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		if f != nil {
			f(strings.TrimSpace(s.Text()))
		}
	}
}

// self is the path of this program, which is its own child's too.
func self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", errors.Join(errors.New("dev: where is this program?"), err)
	}
	return path, nil
}
