package policy_test

import (
	"testing"

	. "github.com/mintwarden/mintwarden/policy"
)

// BenchmarkJudge is what one authorization costs the engine, beside its signature.
func BenchmarkJudge(b *testing.B) {
	in := approved(b, twoOf("approvers"), Rule{Type: RuleMaxAmount, Amount: ptr(MaxAmount())},
		Rule{Type: RuleDailyLimit, Amount: ptr(MaxAmount()), Timezone: "Europe/Zurich"},
		Rule{Type: RuleTimeWindow, Days: []Weekday{"MON"}, Start: "00:00", End: "24:00", Timezone: "Europe/Zurich"})
	b.ReportAllocs()
	for b.Loop() {
		if Judge(in).Outcome != Allow {
			b.Fatal("not allowed")
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "verdicts/s")
}

// BenchmarkVerifyDecision is what recording a decision costs, by the algorithm of the approver's key.
func BenchmarkVerifyDecision(b *testing.B) {
	c := charter(b)
	for _, who := range []string{"ann", "bob", "cat"} {
		b.Run(string(signer(b, who).Public().Algorithm()), func(b *testing.B) {
			e := sign(b, DocDecision, decision(b, who, Approve), who)
			for b.Loop() {
				if _, err := c.VerifyDecision(e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
