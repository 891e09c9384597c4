package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

func (c *cli) operationCommand() *cobra.Command {
	return group("operation", "See, follow, sign and cancel operations", `  mintwarden operation list --awaiting approver-1
  mintwarden operation watch op_01J…`,
		c.operationList(), c.operationShow(), c.operationWatch(), c.operationSign(), c.operationCancel())
}

func (c *cli) operationList() *cobra.Command {
	var token, kind, status, by, awaiting string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List operations, newest first",
		Example: "  mintwarden operation list --status PENDING_AUTHORIZATION --awaiting approver-1", Args: none,
	}
	f := cmd.Flags()
	f.StringVar(&token, "token", "", "only those of a token, token_…")
	f.StringVar(&kind, "type", "", "only of a type: DEPLOY_TOKEN, MINT, BURN, GRANT_ROLE, REVOKE_ROLE, …")
	f.StringVar(&status, "status", "", "only in a status: PENDING_AUTHORIZATION, COMPLETED, …")
	f.StringVar(&by, "requested-by", "", "only those that a person asked for")
	f.StringVar(&awaiting, "awaiting", "", "only those that wait for a person's approval")
	limitFlag(cmd, &limit)
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		all, err := upTo(limit, api.Operations(ctx, client.ListTokenOperationsParams{TokenID: pointer(token), OperationType: pointer(client.OperationType(kind)),
			Status: pointer(client.OperationStatus(status)), RequestedBy: pointer(by), AwaitingApprovalBy: pointer(awaiting)}))
		if err != nil {
			return err
		}
		return c.show(listed[client.OperationSummary]{all}, func() *rows {
			r := &rows{header: []string{"operation", "type", "status", "approved", "amount", "base units", "token", "asked by", "created"},
				spare: []string{"base units", "token", "created"}}
			n := c.names(ctx)
			for _, o := range all {
				amount, base := "–", "–"
				if moves(o.OperationType, o.Amount) {
					base = *o.Amount
					if u, ok := n.token(ctx, text(o.TokenID)); ok {
						amount = u.of(base)
					}
				}
				r.add(o.OperationID, string(o.OperationType), string(o.Status), fmt.Sprintf("%d of %d", len(o.ApprovedBy), o.RequiredApprovals),
					amount, base, text(o.TokenID), o.RequestedBy, stamp(o.CreatedAt))
			}
			return r
		})
	})
}

// moves tells whether an operation is about an amount: a deployment without an
// initial supply has one of 0.
func moves(t client.OperationType, amount *string) bool {
	return amount != nil && (*amount != "0" || policy.OperationType(t) != policy.OpDeployToken)
}

// operation asks for an operation by id.
func (c *cli) operation(ctx context.Context, id string) (*client.Operation, error) {
	if err := checkID("op", id); err != nil {
		return nil, err
	}
	api, err := c.connect()
	if err != nil {
		return nil, err
	}
	op, err := api.GetTokenOperation(ctx, id)
	if err == nil && op.OperationID != id {
		return nil, &client.AnswerError{HTTPStatus: http.StatusOK, Err: fmt.Errorf("it is operation %q, asked for was %s", op.OperationID, id)}
	}
	return op, err
}

func (c *cli) operationShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show OPERATION", Short: "Show an operation: what it asks, who approved it, what became of it",
		Long: `Show an operation: what it asks, who approved it, what became of it.

This is the appliance's word. What is verified is shown by 'mintwarden approve'.`,
		Example: "  mintwarden operation show op_01J…", Args: exactly(1, "one operation id, op_…"),
	}
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		op, err := c.operation(ctx, args[0])
		if err != nil {
			return err
		}
		return c.show(op, func() *rows { return operationRows(ctx, c.names(ctx), op) })
	})
}

func operationRows(ctx context.Context, n *names, o *client.Operation) *rows {
	r := &rows{header: []string{"operation", o.OperationID}}
	r.add("type", string(o.OperationType))
	r.add("status", string(o.Status))
	present := func(what string, v *string) {
		if v != nil {
			r.add(what, *v)
		}
	}
	intent, err := policy.ParseIntent(o.Intent)
	if err != nil {
		intent = &policy.Intent{} // what it says is not shown then
	}
	party := func(what string, v *string) {
		if v != nil {
			r.add(what, n.address(ctx, intent.Network, *v))
		}
	}
	if o.TokenID != nil {
		r.add("token", beside(*o.TokenID, intent.Token.Symbol))
	}
	if moves(o.OperationType, o.Amount) {
		r.add("amount", quantity(o, intent))
	}
	present("role", o.Role)
	party("recipient", o.RecipientAddress)
	party("source", o.FromAddress)
	party("subject", o.SubjectAddress)
	if intent.Performer.WalletID != "" {
		r.add("performed by", n.wallet(ctx, intent.Performer.WalletID))
	}
	r.add("asked by", o.RequestedBy)
	if len(intent.Policies) == 0 {
		r.add("policy", fmt.Sprintf("%s v%d", n.policy(o.Policy.ID), o.Policy.Version))
	}
	for _, p := range intent.Policies { // all that were in force when it was asked for
		r.add("policy", fmt.Sprintf("%s v%d", n.policy(p.ID), p.Version))
	}
	if o.RequiredApprovals > 0 {
		r.add("approved", fmt.Sprintf("%d of %d of %s", len(o.ApprovedBy), o.RequiredApprovals, text(o.ApprovalGroup)))
	}
	for _, a := range o.Approvals {
		said := fmt.Sprintf("%s by %s, %s", a.Decision, a.Approver, stamp(a.DecidedAt))
		if a.Reason != "" {
			said += ": " + a.Reason
		}
		r.add("decision", said)
	}
	present("transaction", o.BlockchainTransactionHash)
	if o.BlockNumber != nil {
		r.add("block", fmt.Sprintf("%d, %s", *o.BlockNumber, count(o.Confirmations, "confirmation")))
	}
	present("attention", o.Attention)
	present("reason", o.Reason)
	present("failure", o.FailureReason)
	present("replaces", o.Replaces)
	r.add("intent", o.IntentDigest)
	r.add("created", stamp(o.CreatedAt))
	if !o.Status.Terminal() {
		r.add("expires", stamp(o.ExpiresAt))
	}
	for _, h := range o.History {
		r.add("", stamp(h.At)+"  "+string(h.Status))
	}
	return r
}

// quantity is the amount in tokens where the intent says how many decimals they have.
func quantity(o *client.Operation, i *policy.Intent) string {
	if i.Token.Symbol == "" {
		return *o.Amount + " base units"
	}
	return unit{i.Token.Symbol, int(i.Token.Decimals)}.of(*o.Amount) + " (" + *o.Amount + ")"
}

func (c *cli) operationWatch() *cobra.Command {
	var until string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "watch OPERATION", Short: "Follow an operation to its end",
		Long: `Follow an operation to its end, a line for each change.

Exit code 0 if it ends COMPLETED, or reaches the status of --until; 6 if it ends
otherwise; 1 if --timeout passes before.`,
		Example: `  mintwarden operation watch op_01J…
  mintwarden operation watch op_01J… --until SIGNED --timeout 1m`,
		Args: exactly(1, "one operation id, op_…"),
	}
	cmd.Flags().StringVar(&until, "until", "", "stop at this status already")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up after so long (default: never)")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		if err := checkID("op", args[0]); err != nil {
			return err
		}
		reached := client.OperationStatus(strings.ToUpper(until))
		if until != "" && !reached.Valid() {
			return usagef("--until %q is no status of an operation", until)
		}
		if timeout > 0 {
			limited, cancel := context.WithTimeoutCause(ctx, timeout, refused("%s did not come to its end within %s", args[0], timeout))
			defer cancel()
			ctx = limited
		}
		// It may pass through a status between two readings, so its history is asked.
		return c.watch(ctx, args[0], func(op *client.Operation) bool {
			return slices.ContainsFunc(op.History, func(h client.StatusChange) bool { return h.Status == reached })
		})
	})
}

// watch prints changes until the operation ends or enough says so.
func (c *cli) watch(ctx context.Context, id string, enough func(*client.Operation) bool) error {
	api, err := c.connect()
	if err != nil {
		return err
	}
	var printing error
	op, err := api.WaitOperation(ctx, id, enough, func(op *client.Operation) {
		if c.json {
			printing = c.lineJSON(op)
			return
		}
		c.say("%s", progress(op))
	})
	switch {
	case err != nil && context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case printing != nil:
		return printing
	case op.Status == client.OperationStatusCOMPLETED || enough != nil && enough(op):
		return nil
	}
	why := ""
	if op.FailureReason != nil {
		why = ": " + *op.FailureReason
	}
	return &codedError{exitOtherEnd, fmt.Errorf("%s ended %s%s", id, op.Status, why)}
}

// progress is an operation's state on one line.
func progress(o *client.Operation) string {
	s := stamp(o.UpdatedAt) + "  " + string(o.Status)
	if o.Status == client.OperationStatusPENDINGAUTHORIZATION {
		s += fmt.Sprintf("  %d of %d approvals", len(o.ApprovedBy), o.RequiredApprovals)
	}
	if o.BlockchainTransactionHash != nil {
		s += "  tx " + *o.BlockchainTransactionHash
	}
	if o.BlockNumber != nil {
		s += fmt.Sprintf("  block %d, %s", *o.BlockNumber, count(o.Confirmations, "confirmation"))
	}
	if o.Attention != nil {
		s += "  attention: " + *o.Attention
	}
	return s
}

func (c *cli) operationCancel() *cobra.Command {
	var reason, key string
	cmd := &cobra.Command{
		Use: "cancel OPERATION", Short: "Withdraw an operation for which nothing was signed",
		Example: `  mintwarden operation cancel op_01J… --reason "wrong amount"`, Args: exactly(1, "one operation id, op_…"),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	keyFlag(cmd.Flags(), &key)
	return c.leafOf("op", cmd, func(ctx context.Context, api *client.Client, id string) error {
		op, err := api.CancelTokenOperation(ctx, id, client.CancelRequest{Reason: pointer(reason)}, keyed(key)...)
		if err != nil {
			return err
		}
		return c.tell(op, "%s is %s", op.OperationID, op.Status)
	})
}
