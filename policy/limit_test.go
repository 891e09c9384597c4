package policy_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	. "github.com/mintwarden/mintwarden/policy"
)

// What is told of a day's limit is what it is judged by: the same day, the same operations.
func TestSpentIsWhatALimitIsJudgedBy(t *testing.T) {
	midnight := time.Date(2026, 3, 28, 23, 0, 0, 0, time.UTC) // in Zurich, where summer time begins on that day
	charges := usage(func(op OperationType, since time.Time) Amount {
		var sum uint64
		for _, c := range []struct {
			op     OperationType
			at     time.Time
			amount uint64
		}{
			{OpMint, midnight.Add(-time.Second), 1000},
			{OpMint, midnight, 20},
			{OpBurn, midnight.Add(time.Hour), 3},
		} {
			if c.op == op && !c.at.Before(since) {
				sum += c.amount
			}
		}
		return AmountOf(sum)
	})
	now := midnight.Add(22 * time.Hour)
	hundred := ptr(AmountOf(100))
	contract := account("token")
	for name, c := range map[string]struct {
		rule Rule
		used string
	}{
		"one sum over what it names": {Rule{Type: RuleDailyLimit, Amount: hundred, Operations: []OperationType{OpMint, OpBurn}, Timezone: "Europe/Zurich"}, "23"},
		"of mints":                   {Rule{Type: RuleTokenMintLimit, PerOperation: hundred, PerDay: hundred, Timezone: "Europe/Zurich"}, "20"},
		"of burns":                   {Rule{Type: RuleTokenBurnLimit, PerOperation: hundred, PerDay: hundred, Timezone: "Europe/Zurich"}, "3"},
	} {
		used, limit, ok := c.rule.Spent(charges, 7, contract, now)
		require.True(t, ok, name)
		require.Equal(t, "100", limit.String(), name)
		require.Equal(t, c.used, used.String(), name)
	}
	utcDay := Rule{Type: RuleDailyLimit, Amount: hundred, Operations: []OperationType{OpMint}}
	used, _, ok := utcDay.Spent(charges, 7, contract, midnight.Add(30*time.Minute))
	require.True(t, ok)
	require.Equal(t, "1020", used.String(), "an hour before UTC's midnight all of it is today's")

	for name, r := range map[string]Rule{
		"another rule": {Type: RuleMaxAmount, Amount: hundred},
		"no zone":      {Type: RuleDailyLimit, Amount: hundred, Timezone: "Europe/Atlantis"},
		"no amount":    {Type: RuleDailyLimit},
	} {
		_, _, ok := r.Spent(charges, 7, contract, now)
		require.False(t, ok, name)
	}
}
