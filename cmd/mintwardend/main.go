// Command mintwardend is the daemon: the API, the workers and, in one box, the
// store. What it may use keys for is decided by mintwarden-seal, another
// process, behind a socket.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/devnet/geth"
	"github.com/mintwarden/mintwarden/daemon"
	"github.com/mintwarden/mintwarden/daemon/dev"
	"github.com/mintwarden/mintwarden/systemd/journal"
)

// version is set by the linker.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil && !(ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		journal.End("mintwardend", err)
		stop()
		var coded *daemon.ExitError
		if errors.As(err, &coded) {
			os.Exit(coded.Code)
		}
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "mintwardend",
		Short:         "The mintwarden daemon: holds supply and role keys behind a policy",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(serveCommand(), devCommand(), devnetCommand(), checkCommand(), backupCommand(), restoreCommand())
	return root
}

const defaultConfig = "/etc/mintwarden/mintwarden.toml"

func serveCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:     "serve",
		Short:   "Run the appliance's API and workers",
		Example: "  mintwardend serve --config /etc/mintwarden/mintwarden.toml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return daemon.Serve(c.Context(), path, version, journal.Stderr())
		},
	}
	c.Flags().StringVar(&path, "config", defaultConfig, "configuration file")
	return c
}

func checkCommand() *cobra.Command {
	var path string
	var etcd, configOnly bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Look at configuration, permissions, certificates, clock, seal, HSM, etcd and nodes, a line each",
		Long: "Looks at all that the configuration names, as it is now: a line about each thing, with what to do where it is WRONG.\n" +
			"It changes nothing and may run beside the appliance, as root, who may read the keys. It ends with 1 if anything is wrong.",
		Example: "  mintwardend check\n  mintwardend check --config-only --config mintwarden.toml\n  mintwardend check --print-etcd-setup",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if etcd {
				return daemon.PrintEtcdSetup(c.OutOrStdout())
			}
			if !configOnly {
				return daemon.Check(c.Context(), path, c.OutOrStdout())
			}
			if err := daemon.CheckConfig(path); err != nil {
				return err
			}
			_, err := fmt.Fprintln(c.OutOrStdout(), path+": nothing wrong")
			return err
		},
	}
	c.Flags().StringVar(&path, "config", defaultConfig, "configuration file")
	c.Flags().BoolVar(&configOnly, "config-only", false, "look at the file alone, before anything is started")
	c.Flags().BoolVar(&etcd, "print-etcd-setup", false, "print the etcdctl commands that make users and roles")
	return c
}

func devCommand() *cobra.Command {
	var o dev.Options
	var level string
	var pipe bool
	c := &cobra.Command{
		Use:     "dev",
		Short:   "Run a whole appliance with a devnet, demo users and a SoftHSM2 token",
		Example: "  mintwardend dev --dir ./.dev\n  . ./.dev/env && mintwarden token list",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := logger(level, c.ErrOrStderr())
			if err != nil {
				return err
			}
			o.Version, o.Log, o.Level, o.Stdout, o.Stderr = version, log, level, c.OutOrStdout(), c.ErrOrStderr()
			ctx := c.Context()
			if pipe {
				ctx = whileOpen(ctx, c.InOrStdin())
			}
			return dev.Run(ctx, o)
		},
	}
	c.Flags().StringVar(&o.Dir, "dir", "", "directory to make or reopen (required)")
	c.Flags().StringVar(&o.API, "api", "127.0.0.1:8443", "address of the API; port 0 picks a free one")
	c.Flags().StringVar(&o.Monitor, "monitor", "127.0.0.1:9464", "address of /metrics, /healthz and /readyz")
	c.Flags().StringVar(&o.RPC, "rpc", "127.0.0.1:8545", "address of the devnet's JSON-RPC")
	c.Flags().DurationVar(&o.Period, "period", devnet.DefaultPeriod, "time between the devnet's blocks")
	c.Flags().StringVar(&o.Network, "network", "", "kind of the network, chosen at the first start: quantum (default), or evm, on go-ethereum's own node")
	c.Flags().StringVar(&o.Retention, "retention", "", "how long operations that are over stay in etcd (default as serve has it)")
	c.Flags().StringVar(&o.Scheme, "scheme", "", "signatures of the network, chosen at the first start: dilithium3 (default) or ml-dsa-65")
	c.Flags().StringVar(&o.SealBin, "seal", "", "path of mintwarden-seal (default beside this program)")
	c.Flags().StringVar(&o.HSM.Module, "hsm-module", "", "PKCS#11 library of a token of yours, instead of SoftHSM2")
	c.Flags().StringVar(&o.HSM.Label, "hsm-token", "", "label of that token, which must be initialized")
	c.Flags().StringVar(&o.HSM.PIN, "hsm-pin", "", "file with the token's user PIN")
	c.Flags().StringVar(&o.HSM.SOPIN, "hsm-so-pin", "", "file with its security officer's PIN")
	c.Flags().StringSliceVar(&o.HSM.Paths, "hsm-paths", nil, "what the library must reach beside what every one may, comma-separated")
	c.Flags().StringVar(&o.Trace, "trace", "", "URL of an OpenTelemetry collector (OTLP/HTTP) on this machine; default: nothing is traced")
	c.Flags().BoolVar(&pipe, "parent-pipe", false, "end when standard input closes")
	c.Flags().StringVar(&level, "log", "error", "least level to log: debug, info, warn, error")
	if err := c.MarkFlagRequired("dir"); err != nil {
		panic(err) // the flag is defined above
	}
	return c
}

func devnetCommand() *cobra.Command {
	var cfg devnet.Config
	var level, kind string
	var pipe bool
	c := &cobra.Command{
		Use:     "devnet",
		Short:   "Run a Quantum Chain of one node, or go-ethereum's own, for development and tests",
		Example: "  mintwardend devnet --dir ./chain --rpc 127.0.0.1:8545",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := logger(level, c.ErrOrStderr())
			if err != nil {
				return err
			}
			cfg.Log = log
			ctx := c.Context()
			if pipe {
				ctx = whileOpen(ctx, c.InOrStdin())
			}
			switch kind {
			case "quantum":
				return runNode(ctx, c.OutOrStdout(), func() (node, error) { return devnet.Start(ctx, cfg) })
			case "evm":
				if c.Flags().Changed("chain-id") && cfg.ChainID != geth.ChainID {
					return fmt.Errorf("--chain-id %d: kind evm has chain id %d", cfg.ChainID, geth.ChainID)
				}
				return runNode(ctx, c.OutOrStdout(), func() (node, error) {
					return geth.Start(ctx, geth.Config{Dir: cfg.Dir, Addr: cfg.Addr, Period: cfg.Period, Log: log})
				})
			}
			return fmt.Errorf("--kind %q is neither quantum nor evm", kind)
		},
	}
	c.Flags().StringVar(&cfg.Dir, "dir", "", "directory of the chain (required)")
	c.Flags().StringVar(&kind, "kind", "quantum", "quantum, or evm: go-ethereum's own node")
	c.Flags().StringVar(&cfg.Addr, "rpc", "127.0.0.1:8545", "address of the JSON-RPC; port 0 picks a free one")
	c.Flags().DurationVar(&cfg.Period, "period", devnet.DefaultPeriod, "time between blocks; 0 makes one at each transaction")
	c.Flags().Uint64Var(&cfg.ChainID, "chain-id", devnet.DefaultChainID, "chain id")
	c.Flags().StringVar(&level, "log", "error", "least level to log: debug, info, warn, error")
	c.Flags().BoolVar(&pipe, "parent-pipe", false, "end when standard input closes")
	if err := c.MarkFlagRequired("dir"); err != nil {
		panic(err) // as above
	}
	return c
}

// node is a chain's node that runs in this process.
type node interface {
	URL() string
	Close() error
}

func runNode(ctx context.Context, stdout io.Writer, start func() (node, error)) (err error) {
	n, err := start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if _, err := fmt.Fprintln(stdout, "ready rpc="+n.URL()); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// stopPatience is longer than a drained stop takes, and short enough that
// nobody wonders who is still there.
const stopPatience = 45 * time.Second

// whileOpen is done when r closes, which the kernel sees to when a parent dies. Ctrl-C, which a terminal tells parent
// and child, is the parent's: it may still need its child.
func whileOpen(ctx context.Context, r io.Reader) context.Context {
	signal.Ignore(syscall.SIGINT)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, r)
		cancel()
		// A stop that does not come to its end must not outlive the parent for long.
		time.AfterFunc(stopPatience, func() { os.Exit(1) })
	}()
	return ctx
}

func logger(level string, w io.Writer) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log %q is none of debug, info, warn, error", level)
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l})), nil
}
