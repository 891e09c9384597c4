package dev_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/metrics/guidetest"
)

// A disk that fills up under an appliance at work, and the guide's page "Disk full", command by command: what could
// not be written did not happen, the page's alert has what it goes by, and after the page everything that was asked
// for is done once. The disk is a small one of its own, seen by the appliance alone; what the journal gives back is
// somebody else's file here, and mintwarden.service is this appliance.
func TestGuideDiskFull(t *testing.T) {
	t.Parallel()
	if os.Getenv("MINTWARDEN_LONG") == "" {
		t.Skip("mounts a file system: make test-long")
	}
	commands := guidetest.Commands(t, "Disk full")
	if len(commands) != 3 {
		t.Fatalf("the page has %q", commands)
	}
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	d := mountDisk(t, bin)
	a := program{bin: d.bin, period: 200 * time.Millisecond, monitor: freeAddress(t)}.start(t, filepath.Join(d.root, "var/lib/mintwarden/appliance"))
	token := a.deployed()
	id, err := jobs[1].ask(a, token, "before")
	if err != nil {
		t.Fatal(err)
	}
	a.approve(id, "approver-1")

	d.fill()
	if _, err := a.decide("approver-2", "APPROVE", id); err == nil {
		t.Log("the approval was recorded: there was room for it")
	}
	alerted := func() bool {
		select {
		case <-a.ended: // etcd gave up: MintwardenDown
			return true
		default:
		}
		out, _ := exec.Command("curl", "-s", "http://"+a.program.monitor+"/metrics").Output()
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, `mintwarden_audit_tree_fault{what="disk"} 1`) ||
				strings.HasPrefix(line, "mintwarden_store_errors_total") && !strings.HasSuffix(strings.TrimSpace(line), " 0") ||
				strings.HasPrefix(line, "mintwarden_seal_up 0") {
				return true
			}
		}
		return false
	}
	for deadline := time.Now().Add(patience); !alerted(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing tells of the full disk")
		}
	}

	if out := d.run(commands[0]); strings.Count(out, "100%") != 2 {
		t.Errorf("df says\n%s", out)
	}
	d.run(commands[1])
	if out := d.run(commands[0]); strings.Contains(out, "100%") {
		t.Errorf("afterwards df says\n%s", out)
	}
	d.restart = func() {
		select {
		case <-a.ended:
			a.hangUp()
		default:
			a.stop()
		}
		a = a.again()
	}
	d.run(commands[2])
	if op, err := a.as("operator").GetTokenOperation(a.context(), id); err != nil {
		t.Fatal(err)
	} else if op.Status == client.OperationStatusPENDINGAUTHORIZATION {
		a.approve(id, "approver-2")
	}
	a.completed(id)
	if got := a.supply(token.ID); got != "1000" {
		t.Errorf("supply is %s", got)
	}
	a.intact()
}

// disk is a file system of its own at /var/lib, in a mount namespace that a process holds.
type disk struct {
	t       *testing.T
	root    string // of the namespace, as this process reaches it
	bin     string // programs that run in it
	shims   string // of what a test machine has no service for
	pid     int
	restart func()
}

// diskSize holds an appliance with the 128 MiB that etcd takes from the start, and little more.
const diskSize = "320m"

func mountDisk(t *testing.T, bin string) *disk {
	t.Helper()
	flags := "-m"
	if os.Getuid() != 0 {
		flags = "-rm"
	}
	holder := exec.Command("unshare", flags, "sh", "-c", "mount -t tmpfs -o size="+diskSize+" tmpfs /var/lib && mkdir /var/lib/mintwarden /var/lib/mintwarden-seal && echo ready && exec cat")
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	holder.Stderr = t.Output()
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = holder.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("no disk of its own: a mount namespace takes root with CAP_SYS_ADMIN, or user namespaces: %v", err)
	}
	d := &disk{t: t, pid: holder.Process.Pid, root: fmt.Sprintf("/proc/%d/root", holder.Process.Pid), bin: t.TempDir(), shims: t.TempDir()}
	// Inside, the same file has the name without the way into the namespace.
	d.write(d.bin, "mintwardend", fmt.Sprintf("#!/bin/sh\nset -- $(printf '%%s\\n' \"$@\" | sed 's#^%s##')\nexec %s %s/mintwardend \"$@\"\n", d.root, d.enter(), bin))
	d.write(d.shims, "journalctl", "#!/bin/sh\nrm -f /var/lib/mintwarden/others\n")
	return d
}

func (d *disk) enter() string {
	if os.Getuid() != 0 {
		return fmt.Sprintf("nsenter -t %d -U -m --preserve-credentials", d.pid)
	}
	return fmt.Sprintf("nsenter -t %d -m", d.pid)
}

func (d *disk) write(dir, name, text string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
		d.t.Fatal(err)
	}
}

// fill leaves no byte.
func (d *disk) fill() {
	d.t.Helper()
	f, err := os.Create(filepath.Join(d.root, "var/lib/mintwarden/others"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &st); err != nil || st.Bavail > 1 {
		d.t.Fatalf("%d blocks are left, %v", st.Bavail, err)
	}
}

// run is a command of the page; a restart of the service is the test's to do.
func (d *disk) run(command string) string {
	d.t.Helper()
	if command == "systemctl restart mintwarden" {
		d.restart()
		return ""
	}
	cmd := exec.Command("sh", "-c", d.enter()+" sh -c '"+command+"'")
	cmd.Env = append(os.Environ(), "PATH="+d.shims+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}
