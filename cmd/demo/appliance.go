package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
)

// stopGrace is how long the appliance may drain before it is killed.
const stopGrace = 40 * time.Second

// appliance is a running `mintwardend dev`.
type appliance struct {
	bin, dir, url string
	cmd           *exec.Cmd
	ended         chan error
}

// startAppliance returns when the appliance says that it is ready. The flags are
// mintwardend dev's, beside the ones that the demo needs.
func startAppliance(ctx context.Context, bin, dir string, flags []string) (*appliance, error) {
	a := &appliance{bin: bin, dir: dir, ended: make(chan error, 1)}
	a.cmd = exec.Command(filepath.Join(bin, "mintwardend"), append([]string{"dev", "--dir", dir,
		"--api", "127.0.0.1:0", "--monitor", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--log", "error", "--parent-pipe"}, flags...)...)
	// Nobody writes to it. It closes with this process, however that ends, and the appliance with it.
	if _, err := a.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	a.cmd.Stderr = os.Stderr
	stdout, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := a.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start mintwardend: %w", err)
	}
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), "ready url="); ok {
				url, _, _ := strings.Cut(rest, " ")
				ready <- url
			}
		}
		a.ended <- a.cmd.Wait()
	}()
	select {
	case a.url = <-ready:
		return a, nil
	case err := <-a.ended:
		return nil, fmt.Errorf("mintwardend ended before it was ready: %w", errors.Join(err, errors.New("see its message above")))
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), a.stop())
	}
}

// stop asks the appliance to end and waits until it and its children have.
func (a *appliance) stop() error {
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop mintwardend: %w", err)
	}
	select {
	case err := <-a.ended:
		if err != nil {
			return fmt.Errorf("mintwardend ended with: %w", err)
		}
		return nil
	case <-time.After(stopGrace):
		return errors.Join(errors.New("mintwardend did not stop; killed"), a.cmd.Process.Kill())
	}
}

// as is an API client of one of the demo users.
func (a *appliance) as(name string) (*client.Client, error) {
	return client.New(client.Config{URL: a.url,
		CAFile: filepath.Join(a.dir, "tls/ca.crt"), CertFile: filepath.Join(a.dir, "tls/client.crt"), KeyFile: filepath.Join(a.dir, "tls/client.key"),
		APIKeyFile: filepath.Join(a.dir, "keys", name+".apikey"), UserAgent: "mintwarden-demo", Poll: 100 * time.Millisecond})
}

// cli runs the mintwarden command as a person at a terminal would, after
// sourcing the appliance's env file.
func (a *appliance) cli(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(a.bin, "mintwarden"), args...)
	cmd.Env = append(os.Environ(),
		"MINTWARDEN_URL="+a.url, "MINTWARDEN_DIR="+a.dir,
		"MINTWARDEN_CA="+filepath.Join(a.dir, "tls/ca.crt"), "MINTWARDEN_CERT="+filepath.Join(a.dir, "tls/client.crt"),
		"MINTWARDEN_KEY="+filepath.Join(a.dir, "tls/client.key"),
		"MINTWARDEN_API_KEY_FILE="+filepath.Join(a.dir, "keys/operator.apikey"),
		"XDG_STATE_HOME="+filepath.Join(a.dir, "cli-state"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("mintwarden %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
