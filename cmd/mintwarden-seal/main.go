// Command mintwarden-seal is the sealed process: it alone holds the HSM login,
// and decides whether a key may be used.
//
//	mintwarden-seal --config /etc/mintwarden/seal.toml
//
// It logs JSON lines to standard error, from the level that [log] level of its
// configuration names. It starts itself once more as
// “mintwarden-seal worker”, and once in a renewal of shares as “mintwarden-seal
// pins”, which are of no use to anybody else; what they log goes where its own
// lines go, but nothing that a crash of theirs writes. SIGTERM ends
// it; SIGUSR1 seals it, for good until it is unsealed, and it goes on sealed;
// SIGHUP reads [log] level again, and nothing else.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/mintwarden/mintwarden/policy/sealed"
	"github.com/mintwarden/mintwarden/systemd/journal"
)

// version is set by the linker.
var version = "unknown"

func main() {
	level := new(slog.LevelVar) // info, until the configuration is read
	if len(os.Args) == 2 && os.Args[1] == "worker" {
		os.Exit(sealed.RunWorker(version, childLogger("worker", level), level))
	}
	if len(os.Args) == 2 && os.Args[1] == sealed.PINJob {
		os.Exit(sealed.RunPINJob(childLogger(sealed.PINJob, level), level))
	}
	config := flag.String("config", "/etc/mintwarden/seal.toml", "configuration `file`")
	show := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "mintwarden-seal: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if *show {
		fmt.Println("mintwarden-seal", version)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log := logger(journal.Stderr(), "keeper", level)
	if err := sealed.RunKeeper(ctx, *config, log, level); err != nil {
		log.Error("keeper ends", "error", err)
		os.Exit(1)
	}
}

// childLogger is the log of a process that loads the token's library. Its standard error is the keeper's to judge.
func childLogger(process string, level slog.Leveler) *slog.Logger {
	out, err := journal.Stdout()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mintwarden-seal:", err)
		os.Exit(1)
	}
	return logger(out, process, level)
}

func logger(out io.Writer, process string, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level})).With("process", process)
}
