package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

func (c *cli) operationSign() *cobra.Command {
	var o consent
	cmd := &cobra.Command{
		Use:   "sign OPERATION",
		Short: "Sign an operation that you asked for, where the charter wants the requester's signature",
		Long: `Sign an operation that you asked for, where the charter wants the requester's signature.

Under a charter with signedRequests no operation is approved before its requester
has signed the very intent that approvers sign. Commands that ask for operations do
it at once if they are given a key; this does it afterwards.`,
		Example: `  mintwarden operation sign op_01J… --key ~/keys/me.pem`,
		Args:    exactly(1, "one operation id, op_…"),
	}
	o.flags(cmd)
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		if err := o.check(); err != nil {
			return err
		}
		op, err := c.operation(ctx, args[0])
		if err != nil {
			return err
		}
		if op, err = c.signRequest(ctx, &o, op, nil); err != nil {
			return err
		}
		return c.tell(op, "Signed; %s is %s.", op.OperationID, op.Status)
	})
}

// requestWanted tells whether the charter in force wants the requester's own
// signature for the operation and it is missing.
func (c *cli) requestWanted(ctx context.Context, op *client.Operation) bool {
	if op.Status != client.OperationStatusPENDINGAUTHORIZATION {
		return false
	}
	fold := c.names(ctx).fold
	if fold == nil {
		return false
	}
	charter, _ := fold.Charter()
	recorded, _ := fold.Operation(op.OperationID)
	return charter.Flags.SignedRequests && !slices.ContainsFunc(recorded.Requests, func(r policy.RecordedRequest) bool {
		return r.Intent == policy.Digest(op.IntentDigest) && charter.Requested(r)
	})
}

// signRequest reviews the intent as an approver would, signs it as its requester
// and hands it in. Where it is not known what was
// asked, or nobody said yes, the person reads it.
func (c *cli) signRequest(ctx context.Context, o *consent, op *client.Operation, asked *expectation) (*client.Operation, error) {
	signer, fold, err := c.signing(ctx, o.key)
	if err != nil {
		return nil, err
	}
	charter, _ := fold.Charter()
	r, err := reviewIntent(fold, op.OperationID, policy.Digest(op.IntentDigest), op.Intent, time.Now())
	if err != nil {
		return nil, err
	}
	if signer == nil {
		return nil, c.notHis(signer, "%s signs nothing; %s asked for %s", c.as, r.intent.Requester, op.OperationID)
	}
	person, _, ok := charter.PersonByKey(signer.Public().KeyID())
	if !ok || person.Name != r.intent.Requester {
		return nil, c.notHis(signer, "%s; %s asked for %s and signs it", c.stranger(charter, signer, "requester of it"), r.intent.Requester, op.OperationID)
	}
	if slices.ContainsFunc(r.recorded.Requests, func(q policy.RecordedRequest) bool {
		return q.Person == person.Name && q.Intent == r.digest && charter.Requested(q)
	}) {
		return op, nil // once is enough
	}
	if len(r.misfits) > 0 {
		return nil, unverified("operation %s does not hold against the ledger, so nothing was signed: %s", op.OperationID, list(r.misfits))
	}
	if asked != nil {
		if err := asked.met(fold, r.intent); err != nil {
			return nil, unverified("the appliance made another operation than you asked for, so nothing was signed: %w", err)
		}
	}
	if asked == nil || !asked.whole() || !o.yes {
		c.showReview(r, fold, policy.Approve)
		if err := o.askable(c, charter); err != nil {
			return nil, err
		}
		if err := o.settled(charter, r.digest); err != nil {
			return nil, err
		}
	}
	if err := c.ask(ctx, o, fmt.Sprintf("Sign this as %s, who asks for it?", person.Name)); err != nil {
		return nil, err
	}
	doc := &policy.Request{Format: policy.Format, Intent: op.Intent, Requester: person.Name, RequestedAt: policy.Seconds(time.Now())}
	payload, err := doc.Encode()
	if err != nil {
		return nil, err
	}
	e, err := policy.Sign(policy.PayloadType(policy.DocRequest), payload, signer)
	if err != nil {
		return nil, err
	}
	body, err := wire(e)
	if err != nil {
		return nil, err
	}
	return c.api.SignTokenOperationRequest(ctx, op.OperationID, body)
}

// expectation is what a command asked for, to be found again in the intent that
// the appliance made of it. What is empty is not compared.
type expectation struct {
	operation policy.OperationType
	token     string
	amount    string // base units
	decimals  *int   // by which whole tokens came to the amount, as the appliance says; nil: it was typed in base units
	role      string
	nonce     string // of a CANCEL
	replaces  string
	party     client.Party // recipient, source or subject
	source    client.Party // of a transfer, whose recipient is the party
	performer client.Party
	// called says that one of them was called by a vault's name, which is what the
	// appliance says it is.
	called bool
}

// whole is true where an intent that meets it is just what was typed. A name of a vault,
// and all that a token is deployed with, is in no ledger yet.
func (x *expectation) whole() bool {
	return x.operation != policy.OpDeployToken && !x.called
}

// names notes how a party was written.
func (x *expectation) names(party string) {
	x.called = x.called || !strings.HasPrefix(party, "0x") && !strings.HasPrefix(party, "wallet_") && !strings.HasPrefix(party, "vault_")
}

// met is nil if the intent says what was asked.
func (x *expectation) met(fold *ledger.Fold, i *policy.Intent) error {
	switch {
	case i.OperationType != x.operation:
		return fmt.Errorf("it is a %s, not a %s", i.OperationType, x.operation)
	case i.Token.ID != x.token:
		return fmt.Errorf("it is about token %s, not %s", i.Token.ID, x.token)
	case x.amount != "" && (i.Params.Amount == nil || i.Params.Amount.String() != x.amount):
		return fmt.Errorf("its amount is not %s base units", x.amount)
	case x.decimals != nil && *x.decimals != int(i.Token.Decimals):
		return fmt.Errorf("the appliance said that the token has %d decimals, by the ledger it has %d", *x.decimals, i.Token.Decimals)
	case x.nonce != "" && (i.Params.Nonce == nil || *i.Params.Nonce != x.nonce):
		return fmt.Errorf("it does not use nonce %s up", x.nonce)
	case i.Replaces != x.replaces:
		return fmt.Errorf("it replaces %q, not %q", i.Replaces, x.replaces)
	case x.performer.Type != "" && !concerns(x.performer, fold, i.Network, &i.Performer.Address):
		return fmt.Errorf("%s sends it, which is not whom you named", i.Performer.Address)
	case string(i.Params.Role) != x.role:
		return fmt.Errorf("its role is %q, not %q", i.Params.Role, x.role)
	case x.source.Type != "" && !concerns(x.source, fold, i.Network, i.Params.Source):
		return fmt.Errorf("it takes of %v, which is not whom you named", i.Params.Source)
	case x.party.Type == "":
		return nil
	}
	who := cmp.Or(i.Params.Subject, i.Params.Recipient, i.Params.Source)
	if !concerns(x.party, fold, i.Network, who) {
		return fmt.Errorf("it concerns %v, which is not whom you named", who)
	}
	return nil
}

// concerns compares an address with a party that was named, by the ledger's word on
// wallets.
func concerns(p client.Party, fold *ledger.Fold, network string, a *tx.Address) bool {
	if a == nil {
		return false
	}
	w, ours := fold.WalletByAddress(network, *a)
	switch {
	case p.Address != nil:
		want, err := tx.ParseAddress(*p.Address)
		return err == nil && want == *a
	case p.WalletID != nil:
		return ours && w.WalletID == *p.WalletID
	case p.VaultAccountID != nil:
		return ours && w.VaultAccountID == *p.VaultAccountID
	}
	return false
}
