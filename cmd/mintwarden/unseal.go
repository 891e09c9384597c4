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

// unsealing is what a custodian says on the command line. A request file takes consent to
// its unseal key; elsewhere the verified charter says which that is.
type unsealing struct {
	consent
	share, name, request, out, socket string
}

func (c *cli) unsealCommand() *cobra.Command {
	var u unsealing
	cmd := &cobra.Command{
		Use:   "unseal",
		Short: "Give your share as a custodian; enough of them unseal the appliance",
		Long: `Give your share as a custodian; enough of them unseal the appliance.

The share is read from a file, or typed without being shown. It leaves this
machine only encrypted to the appliance's unseal key, which is read from the
verified charter, for this one unsealing, and signed by you: whoever is between
learns nothing.

During the first ceremony there is no charter yet: then 'mintwarden init' leaves a
request file, which nobody signed. Compare the digest of its unseal key with what the
appliance's terminal shows before you say yes, or give what is shown there as
--expect-digest with --yes, and bring back what --out writes.`,
		Example: `  mintwarden unseal --key ~/keys/custodian.pem --share ~/keys/custodian.share
  mintwarden unseal --as custodian-1
  mintwarden unseal --request unseal.json --name carol --key ~/keys/carol.pem --out carol.json`,
		Args: none,
	}
	u.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&u.share, "share", "", "file with your share, which only you can read; default: that of --as, or you type it")
	f.StringVar(&u.socket, "socket", "", "give it at the seal's socket, on the appliance")
	f.StringVar(&u.request, "request", "", "a request file of the first ceremony, in place of the appliance")
	f.StringVar(&u.out, "out", "", "with --request: where the encrypted share goes")
	f.StringVar(&u.name, "name", "", "with --request: your name as a custodian")
	cmd.MarkFlagsRequiredTogether("request", "out", "name")
	cmd.MarkFlagsMutuallyExclusive("request", "socket")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		switch {
		case u.request != "":
			return c.answerRequest(ctx, &u)
		case u.yes || u.expect != "":
			return usagef("--yes and --expect-digest are for --request: the appliance's unseal key is read from the verified charter, and nothing is asked")
		}
		return c.unseal(ctx, &u)
	})
}

func (c *cli) unseal(ctx context.Context, u *unsealing) error {
	signer, fold, err := c.signing(ctx, u.key)
	if err != nil {
		return err
	}
	charter, _ := fold.Charter()
	custodian, err := c.custodian(charter, signer)
	if err != nil {
		return err
	}
	now, err := c.collected(ctx, u.socket, nil)
	if err != nil {
		return err
	}
	if !now.sealed {
		return c.tell(now.answer, "Appliance %s is not sealed.", now.applianceID)
	}
	q, err := now.request(charter)
	if err != nil {
		return err
	}
	if len(now.shares) > 0 {
		c.say("Given so far: %d of %d (%s).", len(now.shares), now.need, list(now.shares))
	}
	share, err := c.ownShare(ctx, u, custodian.Name)
	if err != nil {
		return err
	}
	defer share.Destroy()
	e, err := q.answer(custodian.Name, share, signer)
	if err != nil {
		return err
	}
	if now, err = c.collected(ctx, u.socket, e); err != nil {
		return err
	}
	if now, err = c.opened(ctx, u.socket, now); err != nil {
		return err
	}
	return c.sayCollected(now)
}

// opened waits for the token, where the share was the last that was needed.
func (c *cli) opened(ctx context.Context, socket string, k *collection) (*collection, error) {
	ctx, cancel := context.WithTimeout(ctx, sealPatience)
	defer cancel()
	tick := time.NewTicker(sealPoll)
	defer tick.Stop()
	for k.sealed && len(k.nonce) == 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, refused("there are enough shares, and appliance %s is still sealed after %s: %s; see the seal's log", k.applianceID, sealPatience, orNothing(policy.Digest(k.why)))
		}
		now, err := c.collected(ctx, socket, nil)
		var away *codedError
		if errors.As(err, &away) && away.code == exitUnreachable {
			continue // the worker gives way to one that has the login
		}
		if err != nil {
			return nil, err
		}
		if k = now; k.sealed && len(k.nonce) > 0 && len(k.shares) == 0 {
			return nil, refused("there were enough shares, and appliance %s is sealed again: %s", k.applianceID, orNothing(policy.Digest(k.why)))
		}
	}
	return k, nil
}

// collection is how far an unsealing has come, by the seal's word or the API's.
type collection struct {
	applianceID string
	sealed      bool
	nonce       []byte // empty: no shares are asked for
	need        int
	shares      []string
	why         string // why it is sealed
	answer      any    // as it came
}

// collected asks the seal, or with an envelope gives it a share.
func (c *cli) collected(ctx context.Context, socket string, e *policy.Envelope) (*collection, error) {
	if socket != "" {
		return collectedHere(ctx, socket, e)
	}
	var status *client.Seal
	var err error
	if e == nil {
		status, err = c.sealStatus(ctx)
	} else {
		var body client.EnvelopeRequest
		if body, err = wire(e); err == nil {
			status, err = c.api.UnsealSeal(ctx, body)
		}
	}
	if err != nil {
		return nil, err
	}
	if status.ApplianceID == nil {
		return nil, &codedError{exitUnreachable, errSealSilent}
	}
	out := &collection{applianceID: *status.ApplianceID, sealed: status.Sealed, answer: status}
	if status.Why != nil {
		out.why = *status.Why
	}
	if u := status.Unsealing; u != nil {
		out.nonce, out.need, out.shares = u.Nonce, u.Need, u.Shares
	}
	return out, nil
}

func collectedHere(ctx context.Context, socket string, e *policy.Envelope) (*collection, error) {
	door, err := seal.Dial(ctx, socket)
	if err != nil {
		return nil, usage(err)
	}
	defer door.Close()
	var status *seal.Status
	if e == nil {
		status, err = door.Status(ctx)
	} else {
		status, err = door.Unseal(ctx, e)
	}
	if err != nil {
		return nil, sealAway(socket, err)
	}
	out := &collection{applianceID: status.ApplianceID, sealed: status.Sealed, why: status.Why, answer: status}
	if u := status.Unsealing; u != nil {
		out.nonce, out.need, out.shares = u.Nonce, u.Need, u.Shares
	}
	return out, nil
}

// request is what the seal asks for, with the unseal key of the verified charter,
// whatever anybody else says of it.
func (k *collection) request(charter *policy.Charter) (*unsealRequest, error) {
	a, ok := charter.Appliance(k.applianceID)
	if !ok {
		return nil, unverified("the appliance says that it is %q, which is none of the charter's", k.applianceID)
	}
	if len(k.nonce) == 0 {
		return nil, refused("appliance %s is sealed and asks for no shares: its PIN is not in custodians' hands", a.ID)
	}
	return &unsealRequest{Format: policy.Format, Instance: charter.Instance, ApplianceID: a.ID, Nonce: k.nonce, UnsealKey: a.UnsealKey}, nil
}

// sayCollected says how far it is after a share.
func (c *cli) sayCollected(k *collection) error {
	switch {
	case c.json:
		return c.showJSON(k.answer)
	case !k.sealed:
		c.say("Your share was the last that was needed: the appliance is unsealed.")
	default:
		c.say("Your share is taken: %d of %d (%s).", len(k.shares), k.need, list(k.shares))
	}
	return nil
}

// ownShare is the custodian's, from a file or the terminal.
func (c *cli) ownShare(ctx context.Context, u *unsealing, custodian string) (seal.Share, error) {
	switch {
	case u.share != "":
		return readShare(u.share)
	case c.as != "":
		if path, err := c.identityFile(".share"); err == nil {
			return readShare(path)
		}
	}
	return c.typedShare(ctx, custodian)
}

// answerRequest is a custodian's part of the first ceremony on another machine.
func (c *cli) answerRequest(ctx context.Context, u *unsealing) error {
	if err := u.check(); err != nil {
		return err
	}
	if err := replaceable(u.out, policy.MaxEnvelope+1, policy.ParseEnvelope); err != nil {
		return err
	}
	q, err := readUnsealRequest(u.request)
	if err != nil {
		return err
	}
	if err := policy.CheckName(u.name); err != nil {
		return usagef("--name: %w", err)
	}
	signer, err := c.signer(ctx, u.key)
	if err != nil {
		return err
	}
	c.people().printf("This gives your share to appliance %s of %s. Its unseal key is\n  %s\nCompare that with what the appliance's own terminal shows.\n", printable(q.ApplianceID), printable(q.Instance), q.digest())
	if err := u.askable(c, nil); err != nil {
		return err
	}
	if err := u.settled(nil, q.digest()); err != nil {
		return err
	}
	if err := c.ask(ctx, &u.consent, fmt.Sprintf("Give the share of %s to that key?", u.name)); err != nil {
		return err
	}
	share, err := c.ownShare(ctx, u, u.name)
	if err != nil {
		return err
	}
	defer share.Destroy()
	e, err := q.answer(u.name, share, signer)
	if err != nil {
		return err
	}
	if err := writeWhole(u.out, append(e.Encode(), '\n'), 0o644, nil); err != nil {
		return err
	}
	return c.tell(e, "Bring %s to the appliance.", u.out)
}
