package ledger_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// The sentences of spec/policy.md, “Never fail open”, that concern the ledger.

func TestNeverFailOpen_AnOldRecordUnderAFreshHeadIsRefused(t *testing.T) {
	w := begun(t)
	loose := sign(t, policy.DocPolicy, w.proposed(oneApprover()), "custodian-1", "custodian-3")
	w.commit(ledger.Record{Policy: loose})
	w.amended(threeApprovers())
	i := w.asked()
	approval := w.approve(i, "ann")
	w.commit(approval)
	stop := &policy.Freeze{Format: policy.Format, Instance: "dev-1", Subject: policy.Subject{TokenID: id("token", 1)}, Frozen: true, CreatedAt: w.now}
	w.commit(ledger.Record{Freeze: sign(t, policy.DocFreeze, stop, "custodian-1")})
	stop.Frozen, stop.CreatedAt = false, w.now.Add(time.Second)
	thaw := sign(t, policy.DocFreeze, stop, "custodian-1", "custodian-2")
	w.pass(time.Minute)
	w.commit(ledger.Record{Freeze: thaw})
	first, err := ledger.ParseBatch(w.values[0])
	require.NoError(t, err)
	w.amend(func(c *policy.Charter) { c.Persons[1].Keys = keys("bob's next") })

	t.Run("a batch in the place of a newer one", func(t *testing.T) {
		for at := range w.values {
			for older := range at {
				values := slices.Clone(w.values)
				values[at] = values[older]
				f := ledger.NewFold(w.root)
				var refusal error
				for _, v := range values {
					if _, refusal = f.Apply(v); refusal != nil {
						break
					}
				}
				w.isRefusal(refusal, ledger.ReasonLink, "sequence")
			}
		}
	})
	t.Run("an old batch after the newest", func(t *testing.T) {
		before := ledger.State(w.fold)
		for _, v := range w.values {
			_, err := w.fold.Apply(v)
			w.isRefusal(err, ledger.ReasonLink, "sequence")
		}
		require.Equal(t, before, ledger.State(w.fold))
	})
	t.Run("an old policy in a new batch", func(t *testing.T) {
		w.refused(ledger.ReasonDuplicate, "recorded already", ledger.Record{Policy: loose})
	})
	t.Run("an old charter in a new batch", func(t *testing.T) {
		w.refused(ledger.ReasonDuplicate, "recorded already", first.Records[0])
	})
	t.Run("an old freeze or its end in a new batch", func(t *testing.T) {
		w.refused(ledger.ReasonDuplicate, "recorded already", ledger.Record{Freeze: thaw})
	})
	t.Run("an old decision in a new batch", func(t *testing.T) {
		w.refused(ledger.ReasonDuplicate, "recorded in batch", approval)
	})
	t.Run("an old decision of another epoch, after a recover", func(t *testing.T) {
		later := w.asked(func(i *policy.Intent) { i.Epoch++ })
		w.refused(ledger.ReasonDocument, "epoch", w.approve(later, "ann"))
	})
}

func TestNeverFailOpen_AnApproverRemovedBetweenApprovalAndSigningNoLongerCounts(t *testing.T) {
	for name, change := range map[string]func(*policy.Charter){
		"from the group": func(c *policy.Charter) { c.Groups["approvers"] = []string{"ann", "cat"} },
		"from the charter": func(c *policy.Charter) {
			c.Groups["approvers"], c.Persons = []string{"ann", "cat"}, slices.Delete(c.Persons, 1, 2)
		},
		"his key": func(c *policy.Charter) { c.Persons[1].Keys = keys("bob's next") },
	} {
		t.Run(name, func(t *testing.T) {
			w := begun(t)
			i := w.asked()
			w.commit(w.approve(i, "ann"), w.approve(i, "bob"))
			require.Equal(t, policy.Allow, w.judged(i).Outcome)
			w.amend(change)
			require.Equal(t, policy.Wait, w.judged(i).Outcome)
		})
	}
}

func TestNeverFailOpen_ATokenWithoutAPolicyAcceptsNothing(t *testing.T) {
	w := begun(t)
	i := w.asked()
	w.commit(w.approve(i, "ann"), w.approve(i, "bob"))
	require.Equal(t, policy.Allow, w.judged(i).Outcome)
	p, _ := w.fold.Policy(id("pol", 1))
	retired := *p.Policy
	retired.Version, retired.Replaces, retired.Retired = 2, &p.Digest, true
	w.commit(ledger.Record{Policy: sign(t, policy.DocPolicy, &retired, "custodian-1", "custodian-2")})
	v := w.judged(i)
	require.Equal(t, policy.Deny, v.Outcome)
	require.Equal(t, policy.ReasonPolicy, reported(v))
}
