package operation

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
)

// TestAttack_ANodeThatComesAndGoes says of an operation at every block that it is in one, and at the next that it is in
// none, for weeks. The operation's state stays one that can be written, and its end is told as ever.
func TestAttack_ANodeThatComesAndGoes(t *testing.T) {
	at := time.Date(2026, 4, 27, 10, 14, 0, 0, time.UTC)
	o := &Operation{ID: "op_00000000000000000000000000", Type: policy.OpMint}
	step := func(to Status) {
		t.Helper()
		at = at.Add(15 * time.Second)
		require.NoError(t, o.move(to, at))
		require.Equal(t, Step{to, at}, o.History[len(o.History)-1])
	}
	for _, s := range []Status{Submitted, PendingAuthorization, Approved, PendingSignature, Signed, Broadcasting} {
		step(s)
	}
	for range 50_000 {
		step(Confirming)
		step(Broadcasting)
	}
	require.Less(t, len(o.encode()), 64<<10)
	before := *o
	step(Confirming)
	step(Completed)
	require.Equal(t, []Step{{Completed, at}}, o.History[len(before.History):], "what is told of the end")
	require.Equal(t, Signed, o.History[4].Status)
}
