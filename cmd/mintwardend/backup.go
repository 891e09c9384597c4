package main

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/daemon"
)

// backupCommand and restoreCommand do what `mintwarden backup` and `mintwarden restore` ask for: the operator's
// program holds no store.
func backupCommand() *cobra.Command {
	var o daemon.BackupOptions
	c := &cobra.Command{
		Use:     "backup FILE",
		Short:   "Write the appliance into a file; see mintwarden backup --help",
		Example: "  mintwardend backup /backup/mintwarden.tar.gz",
		RunE:    backupRun(&o, daemon.Backup),
	}
	backupFlags(c, &o)
	return c
}

func restoreCommand() *cobra.Command {
	var o daemon.BackupOptions
	c := &cobra.Command{
		Use:     "restore FILE",
		Short:   "Make an empty appliance of a backup; see mintwarden restore --help",
		Example: "  mintwardend restore /backup/mintwarden.tar.gz",
		RunE:    backupRun(&o, daemon.Restore),
	}
	backupFlags(c, &o)
	c.Flags().StringVar(&o.RootCert, "root-cert", "", "certificate of etcd's user root, for a cluster")
	c.Flags().StringVar(&o.RootKey, "root-key", "", "its key")
	c.Flags().BoolVar(&o.VerifyOnly, "verify", false, "verify the backup and restore nothing")
	return c
}

func backupFlags(c *cobra.Command, o *daemon.BackupOptions) {
	c.Args = cobra.ExactArgs(1)
	c.Flags().StringVar(&o.Config, "config", defaultConfig, "configuration file")
	c.Flags().StringVar(&o.SealConfig, "seal-config", "", "seal.toml, which names the seal's state directory")
	c.Flags().BoolVar(&o.JSON, "json", false, "print the manifest")
}

func backupRun(o *daemon.BackupOptions, do func(context.Context, daemon.BackupOptions) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		o.File, o.Out = args[0], c.OutOrStdout()
		o.Log = slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelError}))
		return do(c.Context(), *o)
	}
}
