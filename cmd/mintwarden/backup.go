package main

import (
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

	"github.com/spf13/cobra"
)

// daemonProgram is the program that holds the store. It stands beside this one on an appliance; people's own
// machines have none.
const daemonProgram = "mintwardend"

// backupPatience is how long the daemon's program may take to put down what it is writing once it is interrupted.
const backupPatience = 30 * time.Second

// backupFlags are those that backup and restore share.
type backupFlags struct{ config, sealConfig string }

func (b *backupFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&b.config, "config", "/etc/mintwarden/mintwarden.toml", "the appliance's configuration")
	cmd.Flags().StringVar(&b.sealConfig, "seal-config", "/etc/mintwarden/seal.toml", "the seal's configuration, which names its state directory; empty: leave that out")
}

func (b *backupFlags) args(name, file string) []string {
	return []string{name, "--config", b.config, "--seal-config", b.sealConfig, "--", file}
}

func (c *cli) backupCommand() *cobra.Command {
	var b backupFlags
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write the appliance into one file: store, ledger, audit log",
		Long: `Write the appliance into one file: store, ledger, audit log.

It runs on the appliance, as root, while the appliance goes on. FILE is a tar.gz
with etcd's keys as they were at one revision, audit.dir, the beginning of the
ledger where etcd holds it no more, the custodians' custody.json, which is
ciphertext, and a manifest of digests. It holds no PIN, no key and no
certificate; it holds who asked for what: keep it as you keep the audit log.

Before FILE gets its name it is read back and verified as 'mintwarden restore'
does, the ledger from charter 1 on; if that fails there is no FILE and the exit
code is 5. A file that is there is never overwritten.

What it does not hold: the token's keys (back the token up by its vendor's
tools), the configuration, certificates and their keys, the webhooks' key file.`,
		Example: `  mintwarden backup /backup/mintwarden-2026-04-27.tar.gz
  mintwarden backup --config mintwarden.toml --seal-config seal.toml --json today.tar.gz`,
		Args: exactly(1, "the file to write"),
	}
	b.add(cmd)
	return c.leaf(cmd, func(ctx context.Context, args []string) error { return c.daemon(ctx, b.args("backup", args[0])) })
}

// daemon runs the daemon's program, and ends as it does.
func (c *cli) daemon(ctx context.Context, args []string) error {
	program, err := findDaemon()
	if err != nil {
		return err
	}
	if c.json {
		args = append([]string{args[0], "--json"}, args[1:]...)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = backupPatience
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = c.out, &said
	err = cmd.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		why := strings.TrimSpace(said.String())
		if _, last, ok := strings.Cut(why, daemonProgram+": "); ok {
			why = last
		}
		if why == "" {
			why = fmt.Sprintf("%s ended with %s", program, ended.ProcessState)
		}
		code := ended.ExitCode()
		if code <= exitDone {
			code = exitRefused
		}
		return &codedError{code, errors.New(why)}
	}
	return err
}

func findDaemon() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), daemonProgram)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
			return beside, nil
		}
	}
	program, err := exec.LookPath(daemonProgram)
	if err != nil {
		return "", usagef("this is done on the appliance, by %s, which is neither beside this program nor on the PATH", daemonProgram)
	}
	return program, nil
}
