package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (c *cli) restoreCommand() *cobra.Command {
	var b backupFlags
	var verify bool
	var cert, key string
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make an empty appliance of a backup",
		Long: `Make an empty appliance of a backup.

It runs on the appliance, as root, while mintwarden and mintwarden-seal are
stopped. First FILE is verified: every byte, every part, and the ledger from the
charter 1 that the configuration names; if that fails nothing is written and the
exit code is 5. Then it is written into etcd and audit.dir, and what it holds of
the seal's into the seal's state directory: all of them must be empty (exit
code 1). If it is interrupted, run it again with the same file; until it came to
its end the appliance does not start. An etcd cluster runs, empty and set up as
'mintwardend check --print-etcd-setup' says, and takes --root-cert and --root-key.

A backup is older than what the seal and its token remember, if anything was
signed or decided since. Then the seal refuses the store, as it must, until the
custodians accept it: mintwarden recover. Look at the chain first.`,
		Example: `  mintwarden restore --verify /backup/mintwarden-2026-04-27.tar.gz
  systemctl stop mintwarden mintwarden-seal
  mintwarden restore /backup/mintwarden-2026-04-27.tar.gz
  systemctl start mintwarden-seal mintwarden
  mintwarden recover --socket /run/mintwarden-seal/seal.sock --document recover.json --key carol.pem`,
		Args: exactly(1, "the backup"),
	}
	b.add(cmd)
	f := cmd.Flags()
	f.BoolVar(&verify, "verify", false, "verify the backup, offline, and restore nothing")
	f.StringVar(&cert, "root-cert", "", "certificate of etcd's user root, for a cluster")
	f.StringVar(&key, "root-key", "", "its key, a file")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		more := []string{"restore", "--root-cert", cert, "--root-key", key}
		if verify {
			more = append(more, "--verify")
		}
		if err := c.daemon(ctx, append(more, b.args("restore", args[0])[1:]...)); err != nil || verify {
			return err
		}
		c.say("Next: start the seal and the appliance. Where the seal says that the store is behind what it knows, custodians accept it: mintwarden recover --help. " +
			"A seal whose own state was lost joins first: mintwarden init --join. What was revoked since the backup, keys and users, is good again: revoke it anew. Then mintwarden audit verify, and each token's mintwarden token reconciliation.")
		return nil
	})
}
