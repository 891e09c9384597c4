package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func (c *cli) charterAdmit() *cobra.Command {
	var g gathering
	var socket string
	cmd := &cobra.Command{
		Use:   "admit --document FILE",
		Short: "Sign that an appliance may join, in the file that its 'init --join' left",
		Long: `Sign that an appliance may join, in the file that its 'init --join' left.

The appliance must be in the charter in force, with the keys of the document, and
what it found in the store must be in the ledger that is verified here. With enough
signatures the file goes to the appliance that writes the ledger, where --socket
hands it in, or, where no other appliance runs, back to the one that joins.`,
		Example: `  mintwarden charter admit --document join.json --key ~/keys/custodian.pem
  mintwarden charter admit --document join.json --socket /run/mintwarden-seal/seal.sock`,
		Args: none,
	}
	g.flags(cmd)
	cmd.Flags().StringVar(&socket, "socket", "", "hand it in at the seal's socket, on the appliance")
	required(cmd, "document")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		if err := g.check(); err != nil {
			return err
		}
		return c.admit(ctx, &g, socket)
	})
}

func (c *cli) admit(ctx context.Context, g *gathering, socket string) error {
	signer, err := g.signer(ctx, c)
	if err != nil {
		return err
	}
	_, fold, err := c.verified(ctx)
	if err != nil {
		return err
	}
	charter, _ := fold.Charter()
	a := act{kind: policy.DocJoin, need: int(charter.Custodians.Threshold), next: "mintwarden charter admit"}
	a.draft = func() (interface{ Encode() ([]byte, error) }, error) {
		return nil, usagef("there is neither %s nor %s: 'mintwarden init --join' makes them", g.file, g.file+draftEnding)
	}
	a.show = func(payload []byte) error {
		d, err := ledger.ParseJoin(payload)
		if err != nil {
			return unverified("%w", err)
		}
		if err := c.fitsJoin(charter, d); err != nil {
			return err
		}
		c.people().printf("Appliance %s, with the ledger key %s, takes part from batch %d on, %s.\n", printable(d.ApplianceID), d.LedgerKey, d.Sequence, d.Head)
		return nil
	}
	a.apply = func(ctx context.Context, e *policy.Envelope) error {
		door, err := seal.Dial(ctx, socket)
		if err != nil {
			return usage(err)
		}
		defer door.Close()
		done, err := door.Join(ctx, e)
		if err != nil {
			return sealAway(socket, err)
		}
		c.say("Recorded in batch %d.", done.Sequence)
		return nil
	}
	if socket == "" {
		a.elsewhere = " that writes the ledger: mintwarden charter admit"
	}
	return c.gather(ctx, g, a, charter, signer)
}

// fitsJoin holds a join to the verified ledger.
func (c *cli) fitsJoin(charter *policy.Charter, d *ledger.Join) error {
	a, ok := charter.Appliance(d.ApplianceID)
	if d.Instance != charter.Instance || !ok || a.LedgerKey != d.LedgerKey || string(a.UnsealKey) != string(d.UnsealKey) {
		return unverified("the charter in force has no appliance %s of instance %s with the keys of the document", d.ApplianceID, d.Instance)
	}
	at := uint64(0)
	for value, err := range keptBatches(c.dir) {
		if err != nil {
			return err
		}
		if at++; at == d.Sequence {
			if policy.DigestOf(value) == d.Head {
				return nil
			}
			return unverified("batch %d is %s by the ledger that is verified here, the document says %s", at, policy.DigestOf(value), d.Head)
		}
	}
	return unverified("the document names batch %d; the ledger that is verified here ends at %d", d.Sequence, at)
}
