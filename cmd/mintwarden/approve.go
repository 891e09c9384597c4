package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

func (c *cli) approveCommand() *cobra.Command {
	return c.decideCommand(policy.Approve, &cobra.Command{
		Use:   "approve OPERATION",
		Short: "See what an operation does, in words, and sign your approval",
		Long: `See what an operation does, in words, and sign your approval.

The operation's intent is fetched and every fact in it is checked against the
ledger, which this machine verifies itself: chain, contract, wallets, policies,
creation code. If one does not hold, nothing is signed (exit code 5). What a rule
of a policy says against the operation is shown as a warning: the seal judges by
it when it would sign.

Your signature is over exactly the bytes that are shown in words. Nothing can be
changed behind it.`,
		Example: `  mintwarden approve op_01J… --key ~/keys/me.pem
  mintwarden approve op_01J… --as approver-1
  mintwarden approve op_01J… --key ~/keys/me.pem --yes --expect-digest sha256:…`,
	})
}

func (c *cli) rejectCommand() *cobra.Command {
	return c.decideCommand(policy.Reject, &cobra.Command{
		Use:   "reject OPERATION",
		Short: "Sign that an operation must not happen",
		Long: `Sign that an operation must not happen.

One rejection by a member of a group that is asked ends the operation, and you
may reject what you approved, until the seal has authorized it. Facts that do
not hold are shown, and do not keep you from rejecting.`,
		Example: `  mintwarden reject op_01J… --reason "not agreed with treasury" --key ~/keys/me.pem`,
	})
}

// decision is what a person asks for on the command line.
type decision struct {
	consent
	verb   policy.Verb
	reason string
}

func (c *cli) decideCommand(verb policy.Verb, cmd *cobra.Command) *cobra.Command {
	d := &decision{verb: verb}
	d.flags(cmd)
	cmd.Flags().StringVar(&d.reason, "reason", "", "why, for the record; signed too")
	cmd.Args = exactly(1, "one operation id, op_…")
	return c.leaf(cmd, func(ctx context.Context, args []string) error { return c.decide(ctx, d, args[0]) })
}

// decided is what --json prints of approve and reject.
type decided struct {
	OperationID     string        `json:"operationId"`
	Decision        policy.Verb   `json:"decision"`
	Approver        string        `json:"approver"`
	IntentDigest    policy.Digest `json:"intentDigest"`
	Words           string        `json:"words"`
	Notes           []string      `json:"notes"`
	Warnings        []string      `json:"warnings"`
	Status          string        `json:"status"`
	Approved        int           `json:"approved"`
	Required        int           `json:"required"`
	AlreadyRecorded bool          `json:"alreadyRecorded"`
}

func (c *cli) decide(ctx context.Context, d *decision, id string) error {
	if err := checkID("op", id); err != nil {
		return err
	}
	if err := d.check(); err != nil {
		return err
	}
	if err := policy.CheckText(d.reason, 1000); err != nil {
		return usagef("--reason: %w", err)
	}
	signer, fold, err := c.signing(ctx, d.key)
	if err != nil {
		return err
	}
	api := c.api
	op, err := api.GetTokenOperation(ctx, id)
	if err != nil {
		return err
	}
	r, err := reviewIntent(fold, id, policy.Digest(op.IntentDigest), op.Intent, time.Now())
	if err != nil {
		return err
	}
	charter, _ := fold.Charter()
	person, err := c.approver(charter, signer, r)
	if err != nil {
		return err
	}
	if err := d.askable(c, charter); err != nil {
		return err
	}
	out := decided{OperationID: id, Decision: d.verb, Approver: person.Name, IntentDigest: r.digest, Words: r.words}
	out.AlreadyRecorded, err = d.standing(r, fold, person.Name)
	if err != nil {
		return err
	}
	if !out.AlreadyRecorded {
		if d.verb == policy.Approve && op.Status.Terminal() {
			return refused("operation %s is %s already", id, op.Status)
		}
		if d.verb == policy.Approve && !time.Now().Before(r.intent.ExpiresAt) {
			return refused("operation %s expired at %s; it has to be asked for again", id, stamp(r.intent.ExpiresAt))
		}
		d.weigh(r, charter, person.Name)
		if op.Attention != nil { // an equal operation that is open, say: no ledger tells of those
			r.warn("the appliance says: %s", *op.Attention)
		}
		c.showReview(r, fold, d.verb)
		if err := d.facts(r); err != nil {
			return err
		}
		if op, err = c.sign(ctx, api, d, signer, charter, r, op.Intent, person.Name); err != nil {
			return err
		}
	}
	out.Notes, out.Warnings = r.notes, r.warnings
	out.Status, out.Approved, out.Required = string(op.Status), len(op.ApprovedBy), op.RequiredApprovals
	if c.json {
		return c.showJSON(out)
	}
	what := map[policy.Verb]string{policy.Approve: "approved", policy.Reject: "rejected"}[d.verb]
	if out.AlreadyRecorded {
		what = "already " + what + " by " + person.Name
	}
	if d.verb == policy.Approve {
		what += fmt.Sprintf(": %d of %d", out.Approved, out.Required)
	}
	c.say("%s; %s is %s", what, id, out.Status)
	return nil
}

// standing says whether the ledger holds this decision already, and refuses one
// that comes too late.
func (d *decision) standing(r *review, fold *ledger.Fold, person string) (done bool, err error) {
	op, id := &r.recorded, r.intent.OperationID
	charter, _ := fold.Charter()
	if last, _, ok := op.DecisionBy(person); ok {
		switch {
		case last.Verb == policy.Approve && !charter.Signed(last):
			// The charter took that key away since: it counts no more, and may be given again.
		case last.Verb == d.verb && (last.Intent == r.digest || d.verb == policy.Reject):
			return true, nil
		case last.Verb == d.verb:
			return false, unverified("%s approved another intent of %s, %s, in batch %d; now the appliance shows %s", person, id, last.Intent, last.Sequence, r.digest)
		case last.Verb == policy.Reject:
			return false, refused("%s rejected %s in batch %d of the ledger, which stands", person, id, last.Sequence)
		}
	}
	switch {
	case op.Authorized != nil:
		return false, refused("%s was authorized in batch %d of the ledger; it is too late to decide", id, op.AuthorizedAt.Sequence)
	case op.Cancelled != nil:
		return false, refused("%s was cancelled in batch %d of the ledger", id, op.CancelledAt.Sequence)
	case op.Rejected && d.verb == policy.Approve:
		return false, refused("%s was rejected by another approver", id)
	case fold.Frozen(policy.Subject{Person: person}):
		return false, refused("%s is suspended by a custodian", person)
	case d.verb == policy.Approve && r.intent.Requester == person:
		return false, refused("%s asked for %s; others have to approve it", person, id)
	}
	return false, nil
}

// weigh adds what speaks against this person's decision.
func (d *decision) weigh(r *review, charter *policy.Charter, person string) {
	if !r.counts(charter, person) {
		r.warn("%s is of no group that is asked about this operation: the decision does not count; asked are %s", person, r.askedWords(charter))
	}
}

// facts lets nothing be approved that does not fit. A rejection stops, whatever
// the intent says, so there misfits are warnings.
func (d *decision) facts(r *review) error {
	if len(r.misfits) == 0 {
		return nil
	}
	if d.verb == policy.Reject {
		r.warnings = append(r.warnings, r.misfits...)
		return nil
	}
	return unverified("operation %s does not hold against the ledger, so nothing was signed: %s", r.intent.OperationID, list(r.misfits))
}

// sign asks, signs the decision over the exact intent, and sends it.
func (c *cli) sign(ctx context.Context, api *client.Client, d *decision, s *policy.Signer, charter *policy.Charter, r *review, intent []byte, person string) (*client.Operation, error) {
	if err := d.settled(charter, r.digest); err != nil {
		return nil, err
	}
	verb := map[policy.Verb]string{policy.Approve: "Approve", policy.Reject: "Reject"}[d.verb]
	if err := c.ask(ctx, &d.consent, fmt.Sprintf("%s this as %s?", verb, person)); err != nil {
		return nil, err
	}
	doc := &policy.Decision{Format: policy.Format, Decision: d.verb, Intent: intent, Approver: person, Reason: d.reason, DecidedAt: policy.Seconds(time.Now())}
	payload, err := doc.Encode()
	if err != nil {
		return nil, err
	}
	e, err := policy.Sign(policy.PayloadType(policy.DocDecision), payload, s)
	if err != nil {
		return nil, err
	}
	body, err := wire(e)
	if err != nil {
		return nil, err
	}
	if d.verb == policy.Reject {
		return api.RejectTokenOperation(ctx, r.intent.OperationID, body)
	}
	return api.ApproveTokenOperation(ctx, r.intent.OperationID, body)
}

// showReview is what an approver reads before he decides. Words and verdicts
// come escaped; notes and warnings are escaped here.
func (c *cli) showReview(r *review, fold *ledger.Fold, verb policy.Verb) {
	w := c.people()
	sequence, _ := fold.Head()
	charter, _ := fold.Charter()
	w.printf("%s\n\n", wrapped(r.words, w.width()))
	w.printf("%s\n", wrapped(fmt.Sprintf("Checked against the ledger of %s, verified here up to batch %d (charter %d, %s):",
		charter.Instance, sequence, charter.Version, charter.Environment), w.width()))
	say := func(head, text string) { w.printf("%s\n", hanging(head, printable(text), w.width())) }
	for _, n := range r.notes {
		say("  - ", n)
	}
	for _, o := range r.verdict.Rules {
		if o.Outcome == policy.Wait {
			say("  - ", ruleName(o)+" waits: "+o.Message)
		}
	}
	for _, n := range r.warnings {
		say("WARNING: ", n)
	}
	for _, n := range r.misfits {
		say("DOES NOT HOLD: ", n)
	}
	w.printf("Digest of the intent: %s\n", r.digest)
}
