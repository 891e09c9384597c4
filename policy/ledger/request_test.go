package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

func signedRequests(c *policy.Charter) { c.Flags.SignedRequests = true }

// by is an intent that the person asks for.
func by(person string) func(*policy.Intent) {
	return func(i *policy.Intent) { i.Requester = person }
}

// request is the requester's own signature over the intent.
func (w *world) request(i *policy.Intent, by ...string) ledger.Record {
	w.t.Helper()
	b, err := i.Encode()
	require.NoError(w.t, err)
	if len(by) == 0 {
		by = []string{i.Requester}
	}
	d := &policy.Request{Format: policy.Format, Intent: b, Requester: i.Requester, RequestedAt: w.now}
	return ledger.Record{Request: sign(w.t, policy.DocRequest, d, by...)}
}

func TestAnOperationWaitsForItsRequestersSignature(t *testing.T) {
	w := begun(t, signedRequests)
	i := w.asked(by("dan"))
	w.commit(w.approve(i, "ann"), w.approve(i, "bob"))
	v := w.judged(i)
	require.Equal(t, policy.Wait, v.Outcome)
	require.Equal(t, policy.ReasonRequest, reported(v))
	require.False(t, v.ApprovalsComplete())

	w.commit(w.request(i))
	v = w.judged(i)
	require.Equal(t, policy.Allow, v.Outcome)
	require.True(t, v.ApprovalsComplete())
	op, ok := w.fold.Operation(i.OperationID)
	require.True(t, ok)
	require.Equal(t, "dan", op.Requests[0].Person)
	require.Equal(t, ids("dan"), op.Requests[0].Keys)
	w.commit(w.authorize(i))
	require.Equal(t, ledger.State(w.again()), ledger.State(w.fold))
}

func TestAttack_ARequestersSignatureIsUsedForWhatHeDidNotAskFor(t *testing.T) {
	w := begun(t, signedRequests)
	i := w.asked(by("dan"))
	w.commit(w.request(i))

	t.Run("for another operation", func(t *testing.T) {
		other := w.asked(by("dan"))
		w.commit(w.approve(other, "ann"), w.approve(other, "bob"))
		require.Equal(t, policy.ReasonRequest, reported(w.judged(other)))
	})
	t.Run("for other bytes of the same operation", func(t *testing.T) {
		more := w.named(w.mint(i.OperationID, by("dan"), amountOf(1_000_000)))
		w.commit(w.approve(more, "ann"), w.approve(more, "bob"))
		v := w.judged(more)
		require.Equal(t, policy.Wait, v.Outcome)
		require.Equal(t, policy.ReasonRequest, reported(v))
	})
	t.Run("by somebody else's key in his name", func(t *testing.T) {
		w.refused(ledger.ReasonEnvelope, "signature is cat's", w.request(w.asked(by("dan")), "cat"))
	})
	t.Run("an approver's signature in its place", func(t *testing.T) {
		other := w.asked(by("dan"))
		theirs := *other
		theirs.Requester = "cat"
		w.commit(w.request(&theirs), w.approve(other, "ann"), w.approve(other, "bob"))
		require.Equal(t, policy.ReasonRequest, reported(w.judged(other)))
	})
	t.Run("a decision's envelope as a request", func(t *testing.T) {
		r := w.approve(w.asked(by("dan")), "dan")
		w.refused(ledger.ReasonEnvelope, "payload type", ledger.Record{Request: r.Decision})
	})
	t.Run("a request's envelope as a decision", func(t *testing.T) {
		r := w.request(w.asked(by("dan")))
		w.refused(ledger.ReasonEnvelope, "payload type", ledger.Record{Decision: r.Request})
	})
}

func TestARequestIsRecordedOnceAndInTime(t *testing.T) {
	w := begun(t, signedRequests)
	i := w.asked(by("dan"))
	first := w.request(i)
	w.commit(first)
	w.refused(ledger.ReasonDuplicate, "recorded in batch", first)
	w.pass(time.Second)
	w.refused(ledger.ReasonDuplicate, "dan signed a request", w.request(i))

	late := w.asked(by("dan"))
	w.pass(time.Hour)
	w.refused(ledger.ReasonExpired, "expired", w.request(late))
	long := w.asked(by("dan"), func(i *policy.Intent) { i.ExpiresAt = i.NotBefore.Add(25 * time.Hour) })
	w.refused(ledger.ReasonDocument, "lives from", w.request(long))
	old := w.asked(by("dan"), func(i *policy.Intent) { i.Epoch = 2 })
	w.refused(ledger.ReasonDocument, "epoch", w.request(old))

	ended := w.asked(by("dan"))
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: ended.OperationID, Reason: "not wanted"}})
	w.refused(ledger.ReasonConflict, "cancelled", w.request(ended))
	gone := w.asked(by("dan"))
	w.authorized(gone)
	w.refused(ledger.ReasonConflict, "authorized", w.request(gone))

	suspend := &policy.Freeze{Format: policy.Format, Instance: "dev-1", Subject: policy.Subject{Person: "dan"}, Frozen: true, CreatedAt: w.now}
	waiting := w.asked(by("dan"))
	w.commit(w.request(waiting), w.approve(waiting, "ann"), w.approve(waiting, "bob"), ledger.Record{Freeze: sign(t, policy.DocFreeze, suspend, "custodian-1")})
	w.refused(ledger.ReasonFrozen, "dan is suspended", w.request(w.asked(by("dan"))))
	require.Equal(t, policy.Wait, w.judged(waiting).Outcome, "what he signed before does not count meanwhile")
}

func TestAttack_TheRequestersKeyIsTakenFromHimBetweenRequestAndSigning(t *testing.T) {
	w := begun(t, signedRequests)
	i := w.asked(by("dan"))
	w.commit(w.request(i), w.approve(i, "ann"), w.approve(i, "bob"))
	require.Equal(t, policy.Allow, w.judged(i).Outcome)
	w.amend(func(c *policy.Charter) { c.Persons[3].Keys = keys("dan's next") })
	v := w.judged(i)
	require.Equal(t, policy.Wait, v.Outcome)
	require.Equal(t, policy.ReasonRequest, reported(v))
	w.pass(time.Second)
	w.commit(w.request(i, "dan's next"))
	require.Equal(t, policy.Allow, w.judged(i).Outcome, "he signs again with the key that is his")
}

// amend commits the next charter.
func (w *world) amend(change func(*policy.Charter)) {
	w.t.Helper()
	c, digest := w.fold.Charter()
	b, err := c.Encode()
	require.NoError(w.t, err)
	next, err := policy.ParseCharter(b)
	require.NoError(w.t, err)
	next.Version, next.Replaces = c.Version+1, &digest
	change(next)
	w.commit(ledger.Record{Charter: sign(w.t, policy.DocCharter, next, "custodian-1", "custodian-2")})
}

// pq gives everybody a key that a charter with requirePostQuantum takes, as their only one or beside
// the old.
func pq(c *policy.Charter) {
	c.Flags.RequirePostQuantum = true
	for n := range c.Persons {
		c.Persons[n].Keys = keys(c.Persons[n].Name + "'s pq")
	}
	for n := range c.Custodians.Members {
		c.Custodians.Members[n].Keys = keys(c.Custodians.Members[n].Name + "'s pq")
	}
}

func TestAttack_AClassicalKeysApprovalIsKeptUntilOnlyPostQuantumOnesCount(t *testing.T) {
	w := begun(t)
	i := w.asked()
	w.commit(w.approve(i, "ann"), w.approve(i, "bob"))
	require.Equal(t, policy.Allow, w.judged(i).Outcome)
	w.amend(pq)
	v := w.judged(i)
	require.Equal(t, policy.Wait, v.Outcome, "ECDSA and Ed25519 approved nothing any more")
	_, have, need := v.Approvals()
	require.Equal(t, 0, have)
	require.Equal(t, 2, need)
	w.refused(ledger.ReasonEnvelope, "not known", w.approve(w.asked(), "ann"))

	w.pass(time.Second)
	next := func(verb policy.Verb, who string) ledger.Record {
		b, err := i.Encode()
		require.NoError(t, err)
		d := &policy.Decision{Format: policy.Format, Decision: verb, Intent: b, Approver: who, DecidedAt: w.now}
		return ledger.Record{Decision: sign(t, policy.DocDecision, d, who+"'s pq")}
	}
	w.commit(next(policy.Approve, "ann"), next(policy.Approve, "bob"))
	require.Equal(t, policy.Allow, w.judged(i).Outcome, "they approve again with the keys that count")
}

func TestACharterAsksForPostQuantumKeysOfEverybody(t *testing.T) {
	for name, change := range map[string]func(*policy.Charter){
		"a person's only key":    func(c *policy.Charter) { c.Persons[1].Keys = keys("bob") },
		"a person's second key":  func(c *policy.Charter) { c.Persons[1].Keys = keys("bob's pq", "bob's other") },
		"a custodian's only key": func(c *policy.Charter) { c.Custodians.Members[0].Keys = keys("custodian-1") },
		"a custodian's other key": func(c *policy.Charter) {
			c.Custodians.Members[1].Keys = keys("custodian-2's pq", "custodian-2's other")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := begun(t)
			c, digest := w.fold.Charter()
			next := charter()
			next.Version, next.Replaces = c.Version+1, &digest
			pq(next)
			_, err := next.Encode()
			require.NoError(t, err)
			change(next)
			_, err = next.Encode()
			require.ErrorIs(t, err, policy.ErrDocument)
			require.ErrorContains(t, err, "ml-dsa-65")
		})
	}
}
