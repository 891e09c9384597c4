package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	. "github.com/mintwarden/mintwarden/policy"
)

func TestAVerdictIsReadByPeople(t *testing.T) {
	in := approved(t, fullPolicy(t).Rules...)
	in.Policies[0].Policy.Name = "treasury\u202e"
	in.Intent.Params.Amount = ptr(amount(t, "1500000000000000000"))
	in.Usage = usage(func(OperationType, time.Time) Amount { return AmountOf(2000) })
	v := Judge(in)
	g := Glossary{Currency: "QC", Policies: in.Policies}
	lines := v.Words(in.Intent, in.Now, g)
	requireShown(t, lines)
	all := strings.Join(lines, "\n")
	for _, s := range []string{
		`Does not hold: policy "treasury\u202e" v1, at most 0.000000000000001 EIT (1000) an operation (MINT): 1.5 EIT is above 0.000000000000001 EIT.`,
		`at most 0.000000000000005 EIT (5000) a day (Europe/Zurich) (MINT, BURN): 0.000000000000004 EIT used since Mon 2026-04-27 00:00 CEST, with 1.5 EIT now 1.500000000000004 EIT, above 0.000000000000005 EIT.`,
		`only MON TUE from 09:00 to 17:00 (Asia/Tokyo): Mon 21:01 JST is outside the window.`,
		`a fee cap of at most 0.001: a fee of at most 0.01 QC is above 0.001.`,
		`mints of at most 0.000000000000000007 EIT (7) each and 0.00000000000000007 EIT (70) a day (UTC): 1.5 EIT is above 0.000000000000000007 EIT.`,
		`burns of at most 0.000000000000000008 EIT (8) each and 0.00000000000000008 EIT (80) a day (UTC): it is not about MINT.`,
		`Holds: policy "treasury\u202e" v1, never with ` + account("mallory").String() + `: no address is on the list.`,
		`Holds: policy "treasury\u202e" v1, only with `,
		`2 of approvers above 0.00000000000000001 EIT (10) (MINT, BURN): approved by ann, bob`,
		`Waits: policy "treasury\u202e" v1, 1 of traders and`,
	} {
		require.Contains(t, all, s)
	}
	require.Equal(t, "denied", v.Summary())
	require.Contains(t, v.Reason(in.Intent, in.Now, g), "1.5 EIT is above")
	require.Contains(t, strings.Join(v.Words(in.Intent, in.Now, Glossary{}), "\n"), "policy "+id("pol", 1)+" v1", "without the policy its id stands for it")

	in = approved(t)
	v = Judge(in)
	require.Equal(t, "allowed", v.Summary())
	require.Empty(t, v.Reason(in.Intent, in.Now, g))
	require.Contains(t, strings.Join(v.Words(in.Intent, in.Now, g), "\n"), "Holds: the charter's fee limit, a fee of at most 0.01 QC is within 0.01.")
	in.Decisions = in.Decisions[:1]
	require.Equal(t, "not allowed yet", Judge(in).Summary())

	in = approved(t)
	in.Epoch = 2
	v = Judge(in)
	require.Contains(t, v.Words(in.Intent, in.Now, g)[0], "Does not hold: the intent is of epoch 1, this is epoch 2.")

	// A verdict that came over a wire has no rules with it; its messages stand.
	far := again(t, &v)
	requireShown(t, far.Words(in.Intent, in.Now, g))
	in = approved(t, twoOf("approvers"), Rule{Type: RuleBlacklistAddress, Addresses: []tx.Address{account("mallory")}})
	v = Judge(in)
	far = again(t, &v)
	require.Contains(t, strings.Join(far.Words(in.Intent, in.Now, Glossary{Policies: in.Policies}), "\n"), "policy dev-default v1, no address is on the list")

	// What cannot be evaluated is said in the engine's own words.
	in = approved(t)
	in.Policies[0].Policy.Rules = append(in.Policies[0].Policy.Rules, Rule{Type: RuleMaxFee}, Rule{Type: RuleMaxAmount},
		Rule{Type: RuleDailyLimit, Amount: ptr(AmountOf(1)), Timezone: "Nowhere/Land"})
	v = Judge(in)
	all = strings.Join(v.Words(in.Intent, in.Now, Glossary{Policies: in.Policies}), "\n")
	require.Contains(t, all, `time zone "Nowhere/Land" is not known`)
	require.Contains(t, all, "the rule has no amount")
	require.Contains(t, all, "cannot be evaluated")
}
