package ledger_test

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// log is the world's batches as a reader gets them.
func (w *world) log() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, v := range w.values {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// explained is the explanation from nothing but the log.
func (w *world) explained(op string, change ...func(*ledger.Question)) *ledger.Explanation {
	w.t.Helper()
	q := ledger.Question{OperationID: op}
	for _, f := range change {
		f(&q)
	}
	e, err := ledger.Explain(w.log(), w.root, q)
	require.NoError(w.t, err)
	for _, l := range e.Words() {
		for _, r := range l {
			require.True(w.t, unicode.IsPrint(r), "%q", l)
		}
	}
	return e
}

// says asserts that the explanation's words hold each text, in that order.
func says(t testing.TB, e *ledger.Explanation, texts ...string) {
	t.Helper()
	all := strings.Join(e.Words(), "\n")
	at := 0
	for _, s := range texts {
		n := strings.Index(all[at:], s)
		require.GreaterOrEqual(t, n, 0, "%q in order in:\n%s", s, all)
		at += n + len(s)
	}
}

func office() policy.Rule {
	return policy.Rule{Type: policy.RuleTimeWindow, Days: []policy.Weekday{"MON", "TUE", "WED", "THU", "FRI"}, Start: "09:00", End: "17:00", Timezone: "Europe/Zurich"}
}

func TestAnAuthorizationIsExplainedAtItsBatch(t *testing.T) {
	w := begun(t)
	w.amended(twoApprovers(), dailyLimit(2500, "Europe/Zurich"), office(), policy.Rule{Type: policy.RuleMaxAmount, Amount: ptr(policy.AmountOf(1000))})
	w.authorized(w.asked())
	w.pass(time.Minute)
	i := w.asked()
	w.commit(w.approve(i, "ann"))
	w.pass(time.Minute)
	w.commit(w.approve(i, "cat"), w.authorize(i))
	sequence, _ := w.fold.Head()
	// What comes later changes nothing: tighter rules, a day that is used up, a person who is gone.
	w.amended(twoApprovers(), policy.Rule{Type: policy.RuleMaxAmount, Amount: ptr(policy.AmountOf(1))})
	w.pass(48 * time.Hour)
	w.amend(func(c *policy.Charter) { c.Persons, c.Groups["approvers"] = c.Persons[1:], []string{"bob", "cat"} })

	e := w.explained(i.OperationID)
	require.Equal(t, ledger.RecordedAuthorized, e.Recorded)
	require.Equal(t, sequence, e.Sequence)
	require.False(t, e.Differs, e.Why)
	require.False(t, e.Partial)
	require.Equal(t, policy.Allow, e.Verdict.Outcome)
	says(t, e, "Mint 0.000000000000001 EIT (1000) to "+account("alice").String(), "asked by oscar",
		"ann approved it, recorded in batch 6 at 2026-04-27T12:01:00Z, with ecdsa-p256 sha256:",
		"cat approved it, recorded in batch 7 at 2026-04-27T12:02:00Z, with ml-dsa-65 sha256:",
		"It was authorized in batch 7 of appliance-1 at 2026-04-27T12:02:00Z, charged 1,000 base units as MINT",
		"judged again as they stood at 2026-04-27T12:02:00Z: allowed.",
		"Holds: policy dev-default v2, at most 0.000000000000001 EIT (1000) an operation: 0.000000000000001 EIT is within 0.000000000000001 EIT.",
		"0.000000000000001 EIT used since Mon 2026-04-27 00:00 CEST, with 0.000000000000001 EIT now 0.000000000000002 EIT, within 0.0000000000000025 EIT",
		"only MON TUE WED THU FRI from 09:00 to 17:00 (Europe/Zurich): Mon 14:02 CEST is inside the window",
		"a fee of at most 0.01 QC is within 0.01",
		"2 of approvers: approved by ann, cat")
}

func TestAttack_AnAuthorizationThatThePoliciesDenyIsExplainedAsDiffering(t *testing.T) {
	for name, forge := range map[string]func(w *world) string{
		"with one approval of two": func(w *world) string {
			i := w.asked()
			w.commit(w.approve(i, "ann"), w.authorize(i))
			return i.OperationID
		},
		"above the limit": func(w *world) string {
			i := w.asked(amountOf(2501))
			w.commit(w.approve(i, "ann"), w.approve(i, "bob"), w.authorize(i))
			return i.OperationID
		},
		"above what is left of the day": func(w *world) string {
			w.authorized(w.asked(amountOf(2000)))
			i := w.asked()
			w.authorized(i)
			return i.OperationID
		},
		"at night": func(w *world) string {
			w.pass(8 * time.Hour)
			i := w.asked()
			w.authorized(i)
			return i.OperationID
		},
		"with nobody's approval and no intent": func(w *world) string {
			i := w.asked()
			w.commit(w.authorize(i))
			return i.OperationID
		},
		"a role, with nobody's approval": func(w *world) string {
			i := w.asked(grantTo(wallet(2).Address))
			w.commit(w.authorize(i))
			return i.OperationID
		},
		"its requester's approval": func(w *world) string {
			i := w.asked(by("ann"))
			w.authorized(i)
			return i.OperationID
		},
		"a suspended person's approval": func(w *world) string {
			i := w.asked()
			suspend := &policy.Freeze{Format: policy.Format, Instance: "dev-1", Subject: policy.Subject{Person: "bob"}, Frozen: true, CreatedAt: w.now}
			w.commit(w.approve(i, "ann"), w.approve(i, "bob"), ledger.Record{Freeze: sign(w.t, policy.DocFreeze, suspend, "custodian-1")}, w.authorize(i))
			return i.OperationID
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := begun(t)
			w.amended(twoApprovers(), dailyLimit(2500, ""), office())
			e := w.explained(forge(w))
			require.True(t, e.Differs)
			require.NotEqual(t, policy.Allow, e.Verdict.Outcome)
			says(t, e, "It was authorized", "THIS DOES NOT AGREE WITH WHAT IS RECORDED")
		})
	}
}

func TestWhatAskedNobodyIsExplainedAsFarAsTheLedgerKnowsIt(t *testing.T) {
	w := begun(t)
	w.amended(policy.Rule{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers", Operations: []policy.OperationType{policy.OpMint}, AboveAmount: ptr(policy.AmountOf(1000))},
		twoApproversOf(policy.OpGrantRole), policy.Rule{Type: policy.RuleDailyLimit, Amount: ptr(policy.AmountOf(1500)), Operations: []policy.OperationType{policy.OpMint}})
	small, large := w.asked(), w.asked(amountOf(1001))
	w.commit(w.authorize(small))
	e := w.explained(small.OperationID)
	require.False(t, e.Differs, e.Why)
	require.True(t, e.Partial)
	require.Nil(t, e.Intent)
	says(t, e, "what was asked for is not in the ledger", "It was authorized", "holds only the digest", "asks nobody up to 1000")

	bytes, err := small.Encode()
	require.NoError(t, err)
	e = w.explained(small.OperationID, func(q *ledger.Question) { q.Intent = bytes })
	require.False(t, e.Partial)
	require.False(t, e.Differs)
	says(t, e, "Mint", account("alice").String())

	other := *small
	other.Params.Recipient = ptr(account("mallory"))
	bytes, err = other.Encode()
	require.NoError(t, err)
	e = w.explained(small.OperationID, func(q *ledger.Question) { q.Intent = bytes })
	require.True(t, e.Partial, "bytes of another digest are not taken")

	w.pass(24 * time.Hour)
	large.NotBefore, large.ExpiresAt = w.now, w.now.Add(time.Hour)
	w.commit(w.authorize(large))
	e = w.explained(large.OperationID)
	require.True(t, e.Differs, "nobody approved what is above the amount that asks nobody")
}

func twoApproversOf(ops ...policy.OperationType) policy.Rule {
	r := twoApprovers()
	r.Operations = ops
	return r
}

func TestWhatWaitsIsExplainedAtTheMomentAskedFor(t *testing.T) {
	w := begun(t)
	w.amended(twoApprovers(), office())
	i := w.asked()
	w.commit(w.approve(i, "ann"))
	e := w.explained(i.OperationID)
	require.Equal(t, ledger.RecordedPending, e.Recorded)
	require.Equal(t, policy.Wait, e.Verdict.Outcome)
	require.False(t, e.Differs)
	says(t, e, "Nothing that ends it is recorded up to batch 5. It is judged as at 2026-04-27T12:00:00Z", "not allowed yet", "Waits: policy dev-default v2, 2 of approvers: 1 of 2 needed approvals")

	e = w.explained(i.OperationID, func(q *ledger.Question) { q.At = w.now.Add(8 * time.Hour) })
	require.Equal(t, policy.Deny, e.Verdict.Outcome)
	says(t, e, "Does not hold: policy dev-default v2, only MON TUE WED THU FRI from 09:00 to 17:00 (Europe/Zurich): Mon 22:00 CEST is outside the window")
}

func TestARejectionIsExplained(t *testing.T) {
	w := begun(t)
	i := w.asked()
	w.commit(w.approve(i, "ann"))
	w.commit(w.decide(policy.Reject, i, "cat"))
	w.pass(time.Hour)
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: i.OperationID, Reason: "REJECTED: rejected by cat"}})
	e := w.explained(i.OperationID)
	require.Equal(t, ledger.RecordedRejected, e.Recorded)
	require.Equal(t, policy.Deny, e.Verdict.Outcome)
	require.False(t, e.Differs)
	says(t, e, "cat rejected it", "It was rejected in batch 5", "rejected by cat")
}

func TestACancellationIsExplained(t *testing.T) {
	cancel := func(w *world, i *policy.Intent, reason string) *ledger.Explanation {
		w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: i.OperationID, Reason: reason}})
		w.commit(w.authorize(w.asked()))
		e := w.explained(i.OperationID)
		require.Equal(t, ledger.RecordedCancelled, e.Recorded)
		says(t, e, "It was cancelled", reason)
		return e
	}
	approvedMint := func(w *world) *policy.Intent {
		i := w.asked()
		w.commit(w.approve(i, "ann"), w.approve(i, "bob"))
		return i
	}
	t.Run("refused at signing, and the policies did", func(t *testing.T) {
		w := begun(t)
		w.amended(twoApprovers(), dailyLimit(2500, ""))
		i := approvedMint(w)
		w.authorized(w.asked(amountOf(2000)))
		require.False(t, cancel(w, i, "REJECTED: DAILY_LIMIT: too much").Differs)
	})
	t.Run("refused at signing, a moment before the day ended", func(t *testing.T) {
		w := begun(t)
		w.amended(twoApprovers(), dailyLimit(2500, ""))
		w.pass(11*time.Hour + 59*time.Minute)
		i := approvedMint(w)
		w.authorized(w.asked(amountOf(2000)))
		w.pass(2 * time.Minute)
		require.False(t, cancel(w, i, "REJECTED: DAILY_LIMIT: too much").Differs)
	})
	t.Run("refused at signing, a moment before the policies changed", func(t *testing.T) {
		w := begun(t)
		i := approvedMint(w)
		window := w.beside(policy.Rule{Type: policy.RuleTimeWindow, Days: []policy.Weekday{"MON"}, Start: "12:00", End: "12:01"})
		e := sign(t, policy.DocPolicy, window, "custodian-1", "custodian-3")
		w.commit(ledger.Record{Policy: e})
		w.pass(time.Minute)
		gone := *window
		gone.Version, gone.Replaces, gone.Retired = 2, ptr(e.PayloadDigest()), true
		w.commit(ledger.Record{Policy: sign(t, policy.DocPolicy, &gone, "custodian-1", "custodian-3")})
		require.False(t, cancel(w, i, "REJECTED: TIME_WINDOW: outside").Differs)
	})
	t.Run("attack: refused at signing, says serve, and no policy did", func(t *testing.T) {
		w := begun(t)
		e := cancel(w, approvedMint(w), "REJECTED: DAILY_LIMIT: too much")
		require.True(t, e.Differs)
		require.Equal(t, policy.Allow, e.Verdict.Outcome)
	})
	t.Run("expired", func(t *testing.T) {
		w := begun(t)
		i := approvedMint(w)
		w.pass(time.Hour)
		require.False(t, cancel(w, i, "CANCELLED: expired at 2026-04-27T13:00:00Z").Differs)
	})
	t.Run("attack: expired, says serve, and it had not", func(t *testing.T) {
		w := begun(t)
		i := approvedMint(w)
		w.pass(time.Minute)
		require.True(t, cancel(w, i, "CANCELLED: expired at 2026-04-27T13:00:00Z").Differs)
	})
	t.Run("withdrawn", func(t *testing.T) {
		w := begun(t)
		require.False(t, cancel(w, approvedMint(w), "CANCELLED: by oscar").Differs)
	})
	t.Run("before anybody signed it", func(t *testing.T) {
		w := begun(t)
		i := w.asked()
		e := cancel(w, i, "CANCELLED: by oscar")
		require.False(t, e.Differs)
		require.Nil(t, e.Verdict)
	})
}

func TestWhyASignatureDoesNotCountIsExplained(t *testing.T) {
	w := begun(t, signedRequests)
	i := w.asked(by("ann"))
	decoy := w.named(w.mint(i.OperationID, by("ann"), amountOf(5)))
	w.commit(w.request(i), w.approve(i, "ann"), w.approve(decoy, "bob"), w.approve(i, "dan"), w.approve(i, "cat"))
	w.pass(time.Minute)
	w.amend(func(c *policy.Charter) { c.Persons[2].Keys = keys("cat's pq") })
	e := w.explained(i.OperationID)
	says(t, e, "1 other intent(s)", "ann signed the request, recorded in batch 4", "ann approved it", "nobody approves what he asked for himself",
		"bob approved it", "another intent", "cat approved it", "the key was no longer cat's", "ann signed the request")
	require.Equal(t, []bool{true, false, false, true, false}, []bool{e.People[0].Counts, e.People[1].Counts, e.People[2].Counts, e.People[3].Counts, e.People[4].Counts})
}

func TestNothingIsExplainedFromALogThatDoesNotVerify(t *testing.T) {
	w := begun(t)
	i := w.asked()
	w.authorized(i)
	q := ledger.Question{OperationID: i.OperationID}

	_, err := ledger.Explain(w.log(), policy.DigestOf([]byte("another charter")), q)
	var r *ledger.Refusal
	require.ErrorAs(t, err, &r)

	values := slices.Clone(w.values)
	w.values[2] = slices.Clone(values[2])
	w.values[2][100] ^= 1
	_, err = ledger.Explain(w.log(), w.root, q)
	require.ErrorAs(t, err, &r)

	w.values = slices.Delete(slices.Clone(values), 2, 3)
	_, err = ledger.Explain(w.log(), w.root, q)
	require.ErrorAs(t, err, &r)

	w.values = values
	_, err = ledger.Explain(w.log(), w.root, ledger.Question{OperationID: w.op()})
	require.ErrorIs(t, err, ledger.ErrUnknown)
	_, err = ledger.Explain(w.log(), w.root, ledger.Question{OperationID: "op_1"})
	require.Error(t, err)
	bytes, err := i.Encode()
	require.NoError(t, err)
	_, err = ledger.Explain(w.log(), w.root, ledger.Question{OperationID: w.op(), Intent: bytes})
	require.ErrorContains(t, err, "is of operation")
	_, err = ledger.Explain(w.log(), w.root, ledger.Question{OperationID: w.op(), Intent: []byte("{}")})
	require.ErrorIs(t, err, policy.ErrDocument)

	broken := errors.New("the disk is gone")
	_, err = ledger.Explain(func(yield func([]byte, error) bool) { yield(nil, broken) }, w.root, q)
	require.ErrorIs(t, err, broken)
}

func TestAnExplanationFromASnapshotsFold(t *testing.T) {
	w := begun(t)
	i := w.asked()
	w.commit(w.approve(i, "ann"))
	f, head := w.again(), len(w.values)
	w.commit(w.approve(i, "bob"), w.authorize(i))
	rest := &world{values: w.values[head:]}
	e, err := f.Explain(rest.log(), ledger.Question{OperationID: i.OperationID})
	require.NoError(t, err)
	require.False(t, e.Differs)
	require.Len(t, e.People, 2)
	require.NotNil(t, e.Intent)

	_, err = w.again().Explain((&world{}).log(), ledger.Question{OperationID: i.OperationID})
	require.ErrorIs(t, err, ledger.ErrUnknown)
	require.ErrorContains(t, err, "ended in batch")
}
