package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

func (c *cli) tokenImport() *cobra.Command {
	var body client.TokenImport
	var vault, policyName, network, creation, description, key string
	var external, tags []string
	cmd := &cobra.Command{
		Use:   "import CONTRACT --vault VAULT --policy POLICY",
		Short: "Take over a token that was deployed elsewhere; custodians then sign its binding",
		Long: `Take over a token that was deployed elsewhere.

The contract must be a template's, and nobody but this appliance's wallets may hold
a role on it, save whom --external names. With --creation, the transaction that
made it, the binding is verified: only then is it known what its constructor did.
The token can be used once the custodians' threshold has signed the binding with
'mintwarden token bind'.`,
		Example: `  mintwarden token import 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed --creation 0x… \
      --vault treasury --policy dev-default`,
		Args: exactly(1, "one contract address, 0x…"),
	}
	f := cmd.Flags()
	f.StringVar(&vault, "vault", "", "vault account that administers it: vault_… or its name")
	f.StringVar(&policyName, "policy", "", "policy that its operations need: pol_… or its name")
	f.StringVar(&body.TemplateID, "template", "tpl_qrc20_v1", "contract template")
	f.StringVar(&network, "network", "", "network of the charter (default: its only one)")
	f.StringVar(&creation, "creation", "", "hash of the transaction that made the contract")
	f.StringSliceVar(&external, "external", nil, "account of somebody else that holds a role and keeps it; may be given several times")
	f.StringVar(&description, "description", "", "what it is, for people")
	f.StringSliceVar(&tags, "tag", nil, "a tag; may be given several times")
	keyFlag(f, &key)
	required(cmd, "vault", "policy")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		body.ContractAddress, body.CreationTransactionHash, body.Description = args[0], pointer(creation), pointer(description)
		if external != nil {
			body.ExternalHolders = &external
		}
		if tags != nil {
			body.Tags = &tags
		}
		api, err := c.connect()
		if err != nil {
			return err
		}
		if body.Network, err = c.network(ctx, network); err != nil {
			return err
		}
		if body.Admin.VaultAccountID, err = c.vaultID(ctx, api, vault); err != nil {
			return err
		}
		if body.Admin.ApprovalPolicyID, err = c.policyID(ctx, api, policyName); err != nil {
			return err
		}
		t, err := api.ImportToken(ctx, body, keyed(key)...)
		if err == nil {
			err = answered("token", t.ID)
		}
		if err != nil {
			return err
		}
		if err := c.show(t, func() *rows { return tokenRows(ctx, c.names(ctx), t, nil, nil) }); err != nil {
			return err
		}
		c.say("Next, by as many custodians as the charter asks for: mintwarden token bind %s", t.ID)
		return nil
	})
}

func (c *cli) tokenBind() *cobra.Command {
	var o consent
	cmd := &cobra.Command{
		Use:   "bind TOKEN",
		Short: "See what an imported token's id is to mean, and sign it as a custodian",
		Long: `See what an imported token's id is to mean, and sign it as a custodian.

What is shown is read from exactly the document that you sign. Whether the contract
is verified rests on what the appliance's chain nodes say: look the contract and its
creation up with a node of your own.`,
		Example: `  mintwarden token bind token_01J… --key ~/keys/custodian.pem
  mintwarden token bind token_01J… --as custodian-1`,
		Args: exactly(1, "one token id, token_…"),
	}
	o.flags(cmd)
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		if err := o.check(); err != nil {
			return err
		}
		return c.bindToken(ctx, &o, args[0])
	})
}

func (c *cli) bindToken(ctx context.Context, o *consent, tokenID string) error {
	signer, fold, err := c.signing(ctx, o.key)
	if err != nil {
		return err
	}
	charter, _ := fold.Charter()
	custodian, err := c.custodian(charter, signer)
	if err != nil {
		return err
	}
	served, err := c.api.GetTokenBinding(ctx, tokenID)
	if err != nil {
		return err
	}
	if _, digest, _, ok := fold.BindingDocument(tokenID); ok && policy.DigestOf(served.Document) == digest {
		return c.tell(served, "Token %s is bound already, by exactly this document.", tokenID)
	}
	b, err := bindable(fold, tokenID, served)
	if err != nil {
		return err
	}
	c.showBinding(b, served, fold)
	e, err := c.signDocument(ctx, o, charter, policy.DocBinding, served.Document, signer, custodian.Name)
	if err != nil {
		return err
	}
	body, err := wire(e)
	if err != nil {
		return err
	}
	signed, err := c.api.SignTokenBinding(ctx, b.TokenID, body)
	if err != nil {
		return err
	}
	if c.json {
		return c.showJSON(signed)
	}
	if signed.Bound {
		c.say("Signed: %d of %d; the token can be used.", len(signed.SignedBy), signed.RequiredSignatures)
		return nil
	}
	c.say("Signed: %d of %d; it waits for the others.", len(signed.SignedBy), signed.RequiredSignatures)
	return nil
}

// showBinding is what a custodian reads before he signs.
func (c *cli) showBinding(b *policy.Binding, served *client.TokenBinding, fold *ledger.Fold) {
	out := c.people()
	out.printf("Token %s is to be contract %s on %s (chain %d).\n", printable(b.TokenID), b.ContractAddress, printable(b.Network), b.ChainID)
	out.printf("It is a %s with symbol %s and %d decimals; policy %s judges it.\n", printable(b.TemplateID), policy.Word(b.Symbol), b.Decimals, printable(b.PolicyID))
	for _, id := range b.Performers {
		w, _ := fold.Wallet(id)
		out.printf("Its operations may be sent by wallet %s, %s.\n", id, w.Address)
	}
	for _, a := range b.External {
		out.printf("%s, somebody else's, holds a role and keeps it: what it does asks for nobody's approval.\n", a)
	}
	if b.Verified {
		out.printf("Verified by the appliance: a template's init code made it.\n")
	} else {
		out.printf("NOT VERIFIED: nobody knows who else can mint. By the appliance's word:\n")
		for _, d := range served.Doubts {
			out.printf("  %s\n", printable(d))
		}
	}
	if was, ok := fold.Binding(b.TokenID); ok {
		out.printf("It CHANGES what the token id means since version %d:\n", was.Version)
		for _, words := range policy.BindingDifference(was, b) {
			out.printf("  %s\n", wrapped(words, out.width()-2))
		}
		if was.ContractAddress != b.ContractAddress || was.ChainID != b.ChainID {
			out.printf("Contract %s is then no token's: what this token's own policies ask for does not hold for it any more.\n", was.ContractAddress)
		}
	}
	sequence, _ := fold.Head()
	out.printf("Checked against the ledger of %s, verified here up to batch %d.\n", printable(fold.Instance()), sequence)
}

// bindable reads the token's binding that is served, and refuses what the verified ledger would not take.
func bindable(fold *ledger.Fold, tokenID string, served *client.TokenBinding) (*policy.Binding, error) {
	b, err := policy.ParseBinding(served.Document)
	if err != nil {
		return nil, unverified("what the appliance serves as a binding is none: %w", err)
	}
	charter, _ := fold.Charter()
	network, ok := charter.Network(b.Network)
	switch {
	case policy.DigestOf(served.Document) != policy.Digest(served.DocumentDigest):
		return nil, unverified("the binding's digest is %s, and the appliance calls it %s", policy.DigestOf(served.Document), served.DocumentDigest)
	case b.TokenID != tokenID || b.TokenID != served.TokenID || b.Verified != served.Verified:
		return nil, unverified("the document is of token %s, verified %v; asked for was %s, and the appliance says %s, verified %v", b.TokenID, b.Verified, tokenID, served.TokenID, served.Verified)
	case b.Instance != charter.Instance:
		return nil, unverified("it is of instance %s, this is %s", b.Instance, charter.Instance)
	case !ok || network.ChainID != b.ChainID:
		return nil, unverified("the charter has no network %s with chain id %d", b.Network, b.ChainID)
	}
	version, replaces, named := uint64(1), policy.Digest(""), policy.Digest("")
	if was, digest, _, ok := fold.BindingDocument(tokenID); ok {
		version, replaces = was.Version+1, digest
	}
	if b.Replaces != nil {
		named = *b.Replaces
	}
	if b.Version != version || named != replaces {
		return nil, unverified("it is version %d of the binding of token %s and replaces %s; by the ledger the next one is version %d and replaces %s",
			b.Version, tokenID, orNothing(named), version, orNothing(replaces))
	}
	if other, ok := fold.BindingByContract(b.ChainID, b.ContractAddress); ok && other.TokenID != b.TokenID {
		return nil, unverified("contract %s is token %s already", b.ContractAddress, other.TokenID)
	}
	for _, id := range b.Performers {
		if w, ok := fold.Wallet(id); !ok || w.Network != b.Network {
			return nil, unverified("performer %s is no wallet on %s", id, b.Network)
		}
	}
	return b, nil
}

func (c *cli) tokenReconciliation() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "reconciliation TOKEN",
		Short:   "Supply by events, by the contract and by operations, and what nobody authorized",
		Example: `  mintwarden token reconciliation token_01J…`,
		Args:    exactly(1, "one token id, token_…"),
	}
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		r, err := api.GetTokenReconciliation(ctx, args[0])
		if err != nil {
			return err
		}
		return c.show(r, func() *rows {
			out := &rows{header: []string{"token", r.TokenID}}
			out.add("status", string(r.Status))
			out.add("blocks", fmt.Sprintf("%d to %d", r.FromBlock, r.BlockNumber))
			out.add("supply by events", r.Supply.Events)
			out.add("supply by the contract", r.Supply.Contract)
			out.add("supply by operations", r.Supply.Operations)
			out.add("events", fmt.Sprint(r.EventsChecked))
			out.add("nobody authorized", fmt.Sprint(r.UnmatchedTotal))
			for _, u := range r.Unmatched {
				out.add("", fmt.Sprintf("%s %s %s %s, block %d, transaction %s", u.Event, text(u.Amount), text(u.Role), text(u.Account), u.BlockNumber, u.TransactionHash))
			}
			out.add("frozen", fmt.Sprint(r.Frozen))
			out.add("checked", stamp(r.CheckedAt))
			return out
		})
	})
}
