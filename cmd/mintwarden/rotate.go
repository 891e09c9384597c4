package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// rotation is what is said on the command line.
type rotation struct {
	gathering
	socket, to, appliance string
}

func (c *cli) rotateCommand() *cobra.Command {
	var r rotation
	cmd := &cobra.Command{
		Use:   "rotate --document FILE",
		Short: "Rotate the key that wallets' keys are wrapped under, with the custodians' threshold",
		Long: `Rotate the key that wallets' keys are wrapped under, with the custodians' threshold.

The token makes a new key; every post-quantum key that it keeps wrapped is wrapped
under that, and must sign before the old one is destroyed. Addresses stay as they are,
and wallets sign meanwhile. Cut short anywhere, it goes on when the appliance starts.

Back the token up again afterwards: in older copies of it the wallets are under the
old key still. The next charter says the new key's check value, which is printed.

The keys of wallets themselves are not changed by this. For that a new wallet is made,
each role is granted to it and then revoked from the old one, ADMIN last, each by an
operation that people approve: 'wallet create', 'token grant', 'token revoke'.`,
		Example: `  mintwarden rotate --document rotate.json --appliance appliance-1 --to mintwarden-wrapping-2 --key carol.pem
  mintwarden rotate --document rotate.json --key ~/keys/dave.pem --socket /run/mintwarden-seal/seal.sock`,
		Args: none,
	}
	r.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&r.socket, "socket", "", "the seal's socket, on the appliance: there it is handed in")
	f.StringVar(&r.to, "to", "", "the new key's id: that of the key in use with the next number behind it, as mintwarden-wrapping-2")
	f.StringVar(&r.appliance, "appliance", "", "of the charter; default: its only one")
	required(cmd, "document")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		if err := r.check(); err != nil {
			return err
		}
		return c.rotate(ctx, &r)
	})
}

func (c *cli) rotate(ctx context.Context, r *rotation) error {
	signer, err := r.signer(ctx, c)
	if err != nil {
		return err
	}
	_, fold, err := c.verified(ctx)
	if err != nil {
		return err
	}
	charter, digest := fold.Charter()
	a := act{kind: policy.DocRotate, need: int(charter.Custodians.Threshold), next: "mintwarden rotate"}
	a.draft = func() (interface{ Encode() ([]byte, error) }, error) { return r.draft(charter, digest) }
	a.show = func(payload []byte) error {
		if err := r.said(payload); err != nil {
			return err
		}
		return c.showRotate(payload, charter, digest)
	}
	a.apply = func(ctx context.Context, e *policy.Envelope) error { return c.applyRotate(ctx, r.socket, e) }
	if r.socket == "" {
		a.elsewhere = ": mintwarden rotate"
	}
	return c.gather(ctx, &r.gathering, a, charter, signer)
}

func (r *rotation) draft(charter *policy.Charter, digest policy.Digest) (*policy.Rotate, error) {
	if r.to == "" {
		return nil, usagef("--to says which key comes next, as mintwarden-wrapping-2")
	}
	appliance := r.appliance
	if appliance == "" && len(charter.Appliances) == 1 {
		appliance = charter.Appliances[0].ID
	}
	if _, ok := charter.Appliance(appliance); !ok {
		return nil, usagef("--appliance %q is none of the charter's", appliance)
	}
	return &policy.Rotate{Format: policy.Format, Instance: charter.Instance, ApplianceID: appliance, Charter: digest, WrappingKey: r.to, CreatedAt: policy.Seconds(time.Now())}, nil
}

// said refuses a document that says otherwise than the flags: it was drafted by an
// earlier run, and stays as it is.
func (r *rotation) said(payload []byte) error {
	d, err := policy.ParseRotate(payload)
	if err != nil {
		return unverified("%w", err)
	}
	for _, f := range []struct{ flag, typed, says string }{{"to", r.to, d.WrappingKey}, {"appliance", r.appliance, d.ApplianceID}} {
		if f.typed != "" && f.typed != f.says {
			return usagef("--%s %s: the document of before says %s; take %s and %s away to begin anew", f.flag, f.typed, f.says, r.file, r.file+draftEnding)
		}
	}
	return nil
}

// showRotate is what a custodian reads.
func (c *cli) showRotate(payload []byte, charter *policy.Charter, digest policy.Digest) error {
	d, err := policy.ParseRotate(payload)
	if err != nil {
		return unverified("%w", err)
	}
	if d.Instance != charter.Instance || d.Charter != digest {
		return unverified("the document is of instance %s and charter %s; here it is %s, and in force is %s", d.Instance, d.Charter, charter.Instance, digest)
	}
	w := c.people()
	w.printf("%s\n", wrapped(fmt.Sprintf("Appliance %s of %s makes the key %s in its token, wraps every wrapped key under it, and destroys the wrapping key that it has now. In copies of the token from before, keys stay under the old one.",
		printable(d.ApplianceID), printable(d.Instance), printable(d.WrappingKey)), w.width()))
	return nil
}

func (c *cli) applyRotate(ctx context.Context, socket string, e *policy.Envelope) error {
	door, err := seal.Dial(ctx, socket)
	if err != nil {
		return usage(err)
	}
	defer door.Close()
	done, err := door.Rotate(ctx, e)
	if err != nil {
		return sealAway(socket, err)
	}
	c.say("Keys are wrapped under %s now, %d of them anew; its check value for the next charter is %s.", done.WrappingKey, done.Rewrapped, done.CheckValue)
	return nil
}
