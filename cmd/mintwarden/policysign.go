package main

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

func (c *cli) policySign() *cobra.Command {
	var o consent
	var digest string
	cmd := &cobra.Command{
		Use:   "sign POLICY",
		Short: "See what a proposed policy changes, in words, and sign it as a custodian",
		Long: `See what a proposed policy changes, in words, and sign it as a custodian.

The proposal is checked against the verified ledger: it must follow the version
in force there and hold under the charter. If it does not, nothing is signed
(exit code 5). Your signature is over exactly the document that is shown.`,
		Example: `  mintwarden policy sign pol_01J… --key ~/keys/custodian.pem
  mintwarden policy sign mint-conservative --as custodian-1`,
		Args: exactly(1, "one policy: pol_… or its name"),
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&digest, "proposal", "", "which proposal, by its digest, where several are open")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		return c.signPolicy(ctx, &o, args[0], policy.Digest(digest))
	})
}

func (c *cli) signPolicy(ctx context.Context, o *consent, idOrName string, which policy.Digest) error {
	if err := o.check(); err != nil {
		return err
	}
	if which != "" && !which.Valid() {
		return usagef("--proposal %q: want sha256: and 64 hex digits", which)
	}
	signer, fold, err := c.signing(ctx, o.key)
	if err != nil {
		return err
	}
	api := c.api
	charter, _ := fold.Charter()
	custodian, err := c.custodian(charter, signer)
	if err != nil {
		return err
	}
	id, theirs, err := c.signedPolicyID(ctx, fold, idOrName)
	if err != nil {
		return err
	}
	served, err := api.GetPolicy(ctx, id)
	if err != nil {
		return err
	}
	open, err := openProposals(served)
	if err != nil {
		return err
	}
	p, err := pick(id, open, which)
	if err != nil {
		return err
	}
	if theirs && p.Policy.Name != idOrName {
		return unverified("the appliance calls policy %s %q, and what is proposed there is named %q", id, idOrName, p.Policy.Name)
	}
	if slices.Contains(p.SignedBy, custodian.Name) {
		return c.tell(served, "already signed by %s: %d of %d; version %d of %s waits for the others", custodian.Name, len(p.SignedBy), p.RequiredSignatures, p.Policy.Version, id)
	}
	if err := o.askable(c, charter); err != nil {
		return err
	}
	if err := follows(fold, charter, id, p); err != nil {
		return err
	}
	if err := c.showProposal(p, fold); err != nil {
		return err
	}
	if err := o.settled(charter, p.Digest); err != nil {
		return err
	}
	if err := c.ask(ctx, o, fmt.Sprintf("Sign this as %s?", custodian.Name)); err != nil {
		return err
	}
	e, err := policy.Sign(policy.PayloadType(policy.DocPolicy), p.document, signer)
	if err != nil {
		return err
	}
	body, err := wire(e)
	if err != nil {
		return err
	}
	signed, err := api.SignPolicy(ctx, id, body)
	if err != nil {
		return err
	}
	if c.json {
		return c.showJSON(signed)
	}
	c.say("signed: %d of %d; version %d of %s is %s", len(signed.SignedBy), signed.RequiredSignatures, signed.Version, signed.ID, signed.Status)
	return nil
}

// signedPolicyID takes the id of a policy that is to be signed, or its name: by the ledger, where a policy in force has
// it. Any other name is the appliance's word (theirs), which the proposal itself has to bear out.
func (c *cli) signedPolicyID(ctx context.Context, fold *ledger.Fold, idOrName string) (id string, theirs bool, err error) {
	if strings.HasPrefix(idOrName, "pol_") {
		return idOrName, false, checkID("pol", idOrName)
	}
	id, err = only("policy", idOrName, func(yield func(string) bool) error {
		for _, in := range fold.Policies() {
			if in.Policy.Name == idOrName && !in.Policy.Retired && !yield(in.Policy.ID) {
				break
			}
		}
		return nil
	})
	if !errors.Is(err, errNoneNamed) {
		return id, false, err
	}
	id, err = c.policyID(ctx, c.api, idOrName)
	return id, true, err
}

// pick is the proposal that is meant.
func pick(id string, open []proposal, which policy.Digest) (*proposal, error) {
	if which != "" {
		n := slices.IndexFunc(open, func(p proposal) bool { return p.Digest == which })
		if n < 0 {
			return nil, refused("policy %s has no open proposal %s", id, which)
		}
		return &open[n], nil
	}
	switch len(open) {
	case 0:
		return nil, refused("policy %s has no open proposal", id)
	case 1:
		return &open[0], nil
	}
	var digests []string
	for _, p := range open {
		digests = append(digests, string(p.Digest))
	}
	return nil, usagef("policy %s has %d open proposals; say which with --proposal: %s", id, len(open), list(digests))
}

// follows is nil if the ledger would take the proposal as the policy's next version.
func follows(fold *ledger.Fold, charter *policy.Charter, id string, p *proposal) error {
	version, replaces := uint64(1), policy.Digest("")
	if in, ok := fold.Policy(id); ok {
		version, replaces = in.Policy.Version+1, in.Digest
	}
	var named policy.Digest
	if p.Policy.Replaces != nil {
		named = *p.Policy.Replaces
	}
	if p.Policy.Version != version || named != replaces {
		return unverified("the proposal is version %d of policy %s and replaces %s; by the ledger the next one is version %d and replaces %s",
			p.Policy.Version, id, orNothing(named), version, orNothing(replaces))
	}
	if err := policy.CheckPolicy(p.Policy, charter); err != nil {
		return unverified("the proposal does not hold under the charter: %w", err)
	}
	return nil
}

func orNothing(d policy.Digest) string {
	if d == "" {
		return "nothing"
	}
	return string(d)
}

// showProposal is what a custodian reads before he decides.
func (c *cli) showProposal(p *proposal, fold *ledger.Fold) error {
	w := c.people()
	say := func(format string, args ...any) { w.printf("%s\n", wrapped(fmt.Sprintf(format, args...), w.width())) }
	sequence, _ := fold.Head()
	charter, _ := fold.Charter()
	say("Policy %s, %s, version %d, covers %s.", p.Policy.ID, policy.Word(p.Policy.Name), p.Policy.Version, scopeWords(p.Policy.Scope))
	in, there := fold.Policy(p.Policy.ID)
	switch {
	case p.Policy.Retired:
		say("It RETIRES the policy: none of its rules hold any more.")
	case !there:
		say("It is new. All that are in scope must allow. Beside the others it allows more only of operations that no other has an approval rule about, and of fees where no other has a MAX_FEE in place of the charter's limit.")
	}
	if !p.Policy.Retired {
		say("Its rules:")
		for n, words := range rulesWords(p.Policy, fold) {
			say("  %d. %s: %s", n+1, p.Policy.Rules[n].Type, words)
		}
	}
	if there {
		say("Against version %d in force:", in.Policy.Version)
		for _, change := range changes(in.Policy, p.Policy, fold) {
			say("  %s", change)
		}
	}
	need := "the signatures of " + count(int(charter.Custodians.Threshold), "custodian")
	if there && policy.Compare(in.Policy, p.Policy) == policy.Tighter {
		need = "one custodian's signature, for it only tightens"
	}
	say("It takes %s.", need)
	tried, err := c.rehearse(p.Policy)
	if err != nil {
		return err
	}
	showRehearsal(w, tried)
	say("Checked against the ledger of %s, verified here up to batch %d (charter %d, %s).", charter.Instance, sequence, charter.Version, charter.Environment)
	say("Digest of the document: %s", p.Digest)
	return nil
}

// changes says what is other in the new version, in words.
func changes(old, next *policy.Policy, fold *ledger.Fold) []string {
	var out []string
	if old.Name != next.Name {
		out = append(out, "the name was "+policy.Word(old.Name))
	}
	if old.Scope != next.Scope {
		out = append(out, fmt.Sprintf("it covered %s", scopeWords(old.Scope)))
	}
	if old.Retired != next.Retired {
		out = append(out, fmt.Sprintf("retired: %v becomes %v", old.Retired, next.Retired))
	}
	before, after := spelled(old), spelled(next)
	for n, words := range rulesWords(old, fold) {
		if !slices.Contains(after, before[n]) {
			out = append(out, fmt.Sprintf("- no more: %s: %s", old.Rules[n].Type, words))
		}
	}
	for n, words := range rulesWords(next, fold) {
		if !slices.Contains(before, after[n]) {
			out = append(out, fmt.Sprintf("+ new: %s: %s", next.Rules[n].Type, words))
		}
	}
	if len(out) == 0 {
		out = []string{"nothing changes"}
	}
	return out
}

// spelled is each rule's JSON, the same for the same rule.
func spelled(p *policy.Policy) []string {
	out := make([]string, len(p.Rules))
	for n := range p.Rules {
		b, err := json.Marshal(&p.Rules[n], json.Deterministic(true))
		if err != nil {
			panic(err) // rules of a parsed policy have JSON
		}
		out[n] = string(b)
	}
	return out
}
