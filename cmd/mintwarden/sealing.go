package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func (c *cli) sealCommand() *cobra.Command {
	var o consent
	var reason, socket string
	cmd := &cobra.Command{
		Use:   "seal",
		Short: "Seal the appliance at once; one custodian may, or root on the appliance itself",
		Long: `Seal the appliance at once; one custodian may, or root on the appliance itself.

Nothing is signed any more, over restarts too, until custodians unseal it. With
--socket it is asked at the seal's own socket, by root or the seal's user, without
a document; else a custodian signs one, which counts for a day and for this
appliance alone.`,
		Example: `  mintwarden seal --reason "key ceremony at noon" --key ~/keys/custodian.pem
  mintwarden seal --socket /run/mintwarden-seal/seal.sock`,
		Args: none,
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record; signed too")
	cmd.Flags().StringVar(&socket, "socket", "", "ask at the seal's socket, on the appliance")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		if socket != "" {
			return c.sealHere(ctx, socket)
		}
		return c.sealBySignature(ctx, &o, reason)
	})
}

// sealHere is the word of local root.
func (c *cli) sealHere(ctx context.Context, socket string) error {
	door, err := seal.Dial(ctx, socket)
	if err != nil {
		return usage(err)
	}
	defer door.Close()
	status, err := door.Seal(ctx, nil)
	if err != nil {
		return sealAway(socket, err)
	}
	if c.json {
		return c.showJSON(status)
	}
	c.say("Appliance %s is sealed.", status.ApplianceID)
	return nil
}

func (c *cli) sealBySignature(ctx context.Context, o *consent, reason string) error {
	if err := o.check(); err != nil {
		return err
	}
	if err := policy.CheckText(reason, 1000); err != nil {
		return usagef("--reason: %w", err)
	}
	signer, fold, err := c.signing(ctx, o.key)
	if err != nil {
		return err
	}
	charter, _ := fold.Charter()
	custodian, err := c.custodian(charter, signer)
	if err != nil {
		return err
	}
	appliance, _, err := c.applianceOf(ctx, charter)
	if err != nil {
		return err
	}
	doc := &policy.Seal{Format: policy.Format, Instance: charter.Instance, ApplianceID: appliance.ID, Reason: reason, CreatedAt: policy.Seconds(time.Now())}
	payload, err := doc.Encode()
	if err != nil {
		return err
	}
	if err := o.askable(c, charter); err != nil {
		return err
	}
	c.people().printf("This seals appliance %s of %s at once: nothing is signed until %d custodians unseal it.\n", printable(appliance.ID), printable(charter.Instance), charter.Custodians.Threshold)
	// What is signed here is no more than what was typed, so --yes needs no digest.
	if err := c.ask(ctx, o, fmt.Sprintf("Sign this as %s?", custodian.Name)); err != nil {
		return err
	}
	e, err := policy.Sign(policy.PayloadType(policy.DocSeal), payload, signer)
	if err != nil {
		return err
	}
	body, err := wire(e)
	if err != nil {
		return err
	}
	status, err := c.api.SealSeal(ctx, body)
	if err != nil {
		return err
	}
	if c.json {
		return c.showJSON(status)
	}
	c.say("Appliance %s is sealed.", appliance.ID)
	return nil
}

// errSealSilent says that the API answers and the seal behind it does not.
var errSealSilent = errors.New("the appliance's seal does not answer its API; look at the service mintwarden-seal there")

// applianceOf is the appliance that answers, as the verified charter has it.
func (c *cli) applianceOf(ctx context.Context, charter *policy.Charter) (*policy.Appliance, *client.Seal, error) {
	status, err := c.sealStatus(ctx)
	if err != nil {
		return nil, nil, err
	}
	a, ok := charter.Appliance(*status.ApplianceID)
	if !ok {
		return nil, nil, unverified("the appliance says that it is %q, which is none of the charter's", *status.ApplianceID)
	}
	return a, status, nil
}

// sealStatus is the seal's, by the API's word. A seal whose worker is just being
// started again is waited for, as long as an appliance that does not answer is.
func (c *cli) sealStatus(ctx context.Context) (*client.Seal, error) {
	ctx, cancel := context.WithTimeout(ctx, max(c.patience, time.Millisecond))
	defer cancel()
	tick := time.NewTicker(sealPoll)
	defer tick.Stop()
	for {
		status, err := c.api.GetSeal(context.WithoutCancel(ctx))
		if err != nil {
			return nil, err
		}
		if status.Reachable && status.ApplianceID != nil {
			return status, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, &codedError{exitUnreachable, errSealSilent}
		}
	}
}
