package dev_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// restartAfter is how long systemd waits before it starts a program of ours
// again (RestartSec of the units).
const restartAfter = time.Second

// process is a program that is started again when it ends, as systemd does, and
// that a test kills and pauses. Its methods are safe for concurrent use.
type process struct {
	name string
	path string
	args []string
	env  []string
	log  string

	mu      sync.Mutex
	cmd     *exec.Cmd
	ended   chan struct{} // of cmd
	down    bool          // it is to stay down
	killed  bool          // a signal of ours ended it, or will
	starts  int
	crashes []string // ends that nobody asked for
	panics  []string // of which those were the Go runtime's
}

func (p *process) start(t *testing.T) {
	t.Helper()
	if err := p.up(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.gone)
}

// up starts it, unless it runs.
func (p *process) up() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
	if p.cmd != nil {
		return nil
	}
	return p.launch()
}

func (p *process) launch() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.ended, p.killed = cmd, make(chan struct{}), false
	p.starts++
	go p.watch(cmd, p.ended)
	return nil
}

func (p *process) watch(cmd *exec.Cmd, ended chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	if !p.killed {
		p.crashes = append(p.crashes, fmt.Sprintf("%s %s: %v", time.Now().UTC().Format("15:04:05.000"), p.name, err))
		if cmd.ProcessState.ExitCode() == exitOfAPanic {
			p.panics = append(p.panics, p.crashes[len(p.crashes)-1])
		}
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // as systemd does with what a main process leaves behind
	p.cmd = nil
	close(ended)
	down := p.down
	p.mu.Unlock()
	if down {
		return
	}
	time.Sleep(restartAfter) // systemd's RestartSec
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil && !p.down {
		if err := p.launch(); err != nil {
			p.crashes = append(p.crashes, err.Error())
		}
	}
}

// kill is SIGKILL to all of it; it stays down until up.
func (p *process) kill() {
	p.mu.Lock()
	p.down, p.killed = true, true
	cmd, ended := p.cmd, p.ended
	if cmd != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	p.mu.Unlock()
	if cmd != nil {
		<-ended
	}
}

// end is SIGTERM, and waits; it stays down until up.
func (p *process) end() {
	p.mu.Lock()
	p.down, p.killed = true, true
	cmd, ended := p.cmd, p.ended
	if cmd != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	p.mu.Unlock()
	if cmd != nil {
		defer time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }).Stop()
		<-ended
	}
}

func (p *process) gone() { p.kill() }

// signal goes to the whole group.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = syscall.Kill(-p.cmd.Process.Pid, s)
	}
}

// signalMain goes to the main process, which is expected to end by it or to go on.
func (p *process) signalMain(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	if s == syscall.SIGKILL || s == syscall.SIGTERM {
		p.killed = true
	}
	_ = syscall.Kill(p.cmd.Process.Pid, s)
}

// signalChildren goes to what the main process started.
func (p *process) signalChildren(s syscall.Signal) {
	for _, pid := range p.children() {
		_ = syscall.Kill(pid, s)
	}
}

// pids are the main process and its children; none while it is down.
func (p *process) pids() []int {
	p.mu.Lock()
	cmd := p.cmd
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	return append([]int{cmd.Process.Pid}, p.children()...)
}

func (p *process) children() (pids []int) {
	p.mu.Lock()
	cmd := p.cmd
	p.mu.Unlock()
	if cmd == nil {
		return nil
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", cmd.Process.Pid))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, task := range tasks {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", cmd.Process.Pid, task.Name()))
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// descriptors is how many files its processes have open.
func (p *process) descriptors() (n int) {
	for _, pid := range p.pids() {
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err == nil {
			n += len(open)
		}
	}
	return n
}
