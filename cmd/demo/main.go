// Command demo does mintwarden's main job, start to end, on a fresh appliance:
// it starts `mintwardend dev` in a new directory and then is what users are, a
// back-end team at the public API and approvers at the CLI. It exits 0 only if
// every figure is as expected, and leaves no process behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// limit for the whole demo; it takes about a minute.
const limit = 10 * time.Minute

func main() {
	bin := flag.String("bin", "bin", "directory of mintwardend, mintwarden-seal and mintwarden")
	keep := flag.Bool("keep", false, "keep the appliance's directory")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "demo [flags] [-- flags of mintwardend dev]")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := run(ctx, *bin, *keep, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo: FAILED:", err)
		cancel()
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, bin string, keep bool, flags []string) (err error) {
	started := time.Now()
	bin, err = filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mintwarden-demo-")
	if err != nil {
		return err
	}
	heading("An appliance of your own")
	say("starting mintwardend dev in %s", dir)
	a, err := startAppliance(ctx, bin, dir, flags)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	defer func() {
		err = errors.Join(err, a.stop())
		if keep {
			say("kept %s", dir)
		} else {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		if err == nil {
			farewell(time.Since(started))
		}
	}()
	token := "SoftHSM2 token"
	if len(flags) > 0 {
		token = "token"
	}
	say("ready at %s: embedded etcd, %s, devnet, sealed process, demo users", a.url, token)
	s, err := newStory(ctx, a)
	if err != nil {
		return err
	}
	defer s.close()
	return s.tell()
}

func farewell(took time.Duration) {
	fmt.Printf(`
Every figure is as expected (%s).

What to try next:
  make run                                   # the same appliance, kept in ./.dev, until Ctrl-C
  . ./.dev/env                               # in a second terminal: where it is and who you are
  bin/mintwarden vault list
  bin/mintwarden token --help                # create, deploy, mint, burn, grant, revoke …
  bin/mintwarden approve op_… --as approver-1
  README.md                                  # a first mint by hand, with curl and with the CLI
`, took.Round(time.Second))
}
