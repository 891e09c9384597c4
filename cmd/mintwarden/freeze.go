package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/policy"
)

func (c *cli) charterFreeze() *cobra.Command {
	return c.freezing(true, &cobra.Command{
		Use:   "freeze --token TOKEN | --person NAME | --appliance ID",
		Short: "Stop a token, suspend a person or an appliance; one custodian may",
		Long: `Stop a token, suspend a person or an appliance; one custodian may.

A stopped token has no operation signed any more. A suspended person's approvals
count no more, their rejections do. A suspended appliance signs nothing. It holds
from the moment when the seal has recorded it, also for what was approved before.

This is about what the seal signs. 'mintwarden token freeze' is another thing: it
freezes an account on the chain.`,
		Example: `  mintwarden charter freeze --person bob --key ~/keys/custodian.pem
  mintwarden charter freeze --token token_01J… --as custodian-1`,
	})
}

func (c *cli) charterUnfreeze() *cobra.Command {
	return c.freezing(false, &cobra.Command{
		Use:   "unfreeze --token TOKEN | --person NAME | --appliance ID --document FILE",
		Short: "Lift a freeze; it takes the custodians' threshold",
		Long: `Lift a freeze; it takes the custodians' threshold.

The document goes from one custodian to the next in a file, and is handed in by
the one whose signature is the last that is needed.`,
		Example: `  mintwarden charter unfreeze --person bob --document lift.json --key ~/keys/custodian.pem
  mintwarden charter unfreeze --document lift.json --as custodian-2`,
	})
}

func (c *cli) freezing(frozen bool, cmd *cobra.Command) *cobra.Command {
	var g gathering
	var subject policy.Subject
	cmd.Args = none
	g.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&subject.TokenID, "token", "", "the token, token_…")
	f.StringVar(&subject.Person, "person", "", "the person, by the charter's name")
	f.StringVar(&subject.ApplianceID, "appliance", "", "the appliance, by the charter's id")
	cmd.MarkFlagsMutuallyExclusive("token", "person", "appliance")
	if frozen {
		cmd.MarkFlagsOneRequired("token", "person", "appliance")
	} else {
		cmd.MarkFlagsOneRequired("token", "person", "appliance", "document")
	}
	return c.leaf(cmd, func(ctx context.Context, _ []string) error { return c.freeze(ctx, &g, subject, frozen) })
}

func (c *cli) freeze(ctx context.Context, g *gathering, subject policy.Subject, frozen bool) error {
	if err := g.check(); err != nil {
		return err
	}
	signer, fold, err := c.signing(ctx, g.key)
	if err != nil {
		return err
	}
	charter, _ := fold.Charter()
	a := act{kind: policy.DocFreeze, need: int(charter.Custodians.Threshold), next: "mintwarden charter unfreeze"}
	if frozen {
		a.need = 1
	}
	a.draft = func() (interface{ Encode() ([]byte, error) }, error) {
		if subject == (policy.Subject{}) {
			return nil, usagef("%s is not there yet; say what it is about with --token, --person or --appliance", g.file)
		}
		if err := known(charter, subject); err != nil {
			return nil, err
		}
		if fold.Frozen(subject) == frozen {
			return nil, refused("by the ledger %s is %s already", subjectWords(subject), frozenWords(frozen))
		}
		created, err := behind(ctx, fold.LastTime())
		if err != nil {
			return nil, err
		}
		return &policy.Freeze{Format: policy.Format, Instance: charter.Instance, Subject: subject, Frozen: frozen, CreatedAt: created}, nil
	}
	a.show = func(payload []byte) error {
		d, err := policy.ParseFreeze(payload)
		switch {
		case err != nil:
			return unverified("%w", err)
		case d.Instance != charter.Instance || d.Frozen != frozen || subject != (policy.Subject{}) && d.Subject != subject:
			return unverified("the document says that %s of instance %s is %s", subjectWords(d.Subject), d.Instance, frozenWords(d.Frozen))
		}
		subject = d.Subject
		c.people().printf("From when the seal records it, %s is %s. (Document of %s.)\n", printable(subjectWords(d.Subject)), frozenWords(frozen), stamp(d.CreatedAt))
		return nil
	}
	a.apply = func(ctx context.Context, e *policy.Envelope) error {
		body, err := wire(e)
		if err != nil {
			return err
		}
		if _, err := c.api.Freeze(ctx, body); err != nil {
			return err
		}
		c.say("Recorded: %s is %s.", subjectWords(subject), frozenWords(frozen))
		return nil
	}
	return c.gather(ctx, g, a, charter, signer)
}

// behind is now, in whole seconds, and behind the moment: of two documents about one
// subject the later counts, so they must not be of the same second.
func behind(ctx context.Context, moment time.Time) (time.Time, error) {
	wait := time.Until(moment.Add(time.Second))
	if wait > 2*time.Second {
		return time.Time{}, refused("the ledger is of %s, this machine's clock says %s: set it right first", stamp(moment), stamp(time.Now()))
	}
	select {
	case <-time.After(wait):
		return policy.Seconds(time.Now()), nil
	case <-ctx.Done():
		return time.Time{}, errors.New("interrupted")
	}
}

// known refuses a subject that the charter does not have. A token may be stopped
// before it is bound.
func known(charter *policy.Charter, s policy.Subject) error {
	switch {
	case s.TokenID != "":
		return checkID("token", s.TokenID)
	case s.Person != "":
		if _, ok := charter.Person(s.Person); !ok {
			return usagef("the charter has no person %q", s.Person)
		}
	default:
		if _, ok := charter.Appliance(s.ApplianceID); !ok {
			return usagef("the charter has no appliance %q", s.ApplianceID)
		}
	}
	return nil
}

func subjectWords(s policy.Subject) string {
	switch {
	case s.TokenID != "":
		return "token " + s.TokenID
	case s.Person != "":
		return "person " + s.Person
	}
	return "appliance " + s.ApplianceID
}

func frozenWords(frozen bool) string {
	return map[bool]string{true: "stopped", false: "free again"}[frozen]
}
