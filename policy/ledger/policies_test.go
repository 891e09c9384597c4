package ledger_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/policytest"
)

var custodians = []string{"custodian-1", "custodian-2", "custodian-3"}

// TestAttack_ACharterAndATighteningInOneBatch: what shares a batch is the API's choice. A charter that
// lowers the threshold stands before a tightening with just that many signatures; a fold that comes
// back from a snapshot must know that the threshold signed it, or its snapshots part from everybody
// else's, and as the author it writes a trim that no follower takes.
func TestAttack_ACharterAndATighteningInOneBatch(t *testing.T) {
	w := genesis(t, func(c *policy.Charter) { c.Custodians.Threshold = 3 })
	w.commit(ledger.Record{Policy: sign(t, policy.DocPolicy, w.policy(), custodians...)})
	c := w.next(func(c *policy.Charter) { c.Custodians.Threshold = 2 })
	w.commit(ledger.Record{Charter: sign(t, policy.DocCharter, c, custodians...)}, w.version(custodians[:2], addsALimit(5000)))
	restored := w.restored()
	w.pass(72 * time.Hour)
	w.tick()
	_, err := restored.Apply(w.values[len(w.values)-1])
	require.NoError(t, err)
	require.Equal(t, ledger.State(w.fold), ledger.State(restored))
	theirs, err := restored.Snapshot()
	require.NoError(t, err)
	stage := restored.Stage(w.now, w.author)
	require.NoError(t, stage.Add(ledger.Record{Trim: &ledger.Trim{FirstKept: 2, Snapshot: policy.DigestOf(theirs)}}))
	b := w.signed(stage.Batch(w.term))
	value := w.encode(b)
	require.NoError(t, restored.Take(stage, b, value))
	_, err = w.fold.Apply(value)
	require.NoError(t, err)
}

func addsALimit(amount uint64) func(*policy.Policy) {
	return func(p *policy.Policy) {
		p.Rules = append(p.Rules[:len(p.Rules):len(p.Rules)], policy.Rule{Type: policy.RuleMaxAmount, Amount: ptr(policy.AmountOf(amount))})
	}
}

// TestRestoreWhateverChartersAndVersionsShareABatch draws charters that move the threshold and versions
// that anybody signed, in one batch or several, and days that pass: a fold that came back from its
// snapshot, whenever that was, takes and is what the fold is.
func TestRestoreWhateverChartersAndVersionsShareABatch(t *testing.T) {
	first := begun(t)
	charters, taken := 0, 0
	policytest.Check(t, func(r *rapid.T) {
		w := &world{t: t, fold: first.again(), root: first.root, author: first.author, term: first.term, now: first.now}
		others := []*ledger.Fold{w.restored()}
		for range rapid.IntRange(1, 6).Draw(r, "batches") {
			w.pass(time.Duration(rapid.SampledFrom([]int{0, 1, 50_000, 100_000}).Draw(r, "passed")) * time.Second)
			stage := w.fold.Stage(w.now, w.author)
			for range rapid.IntRange(1, 4).Draw(r, "records") {
				by := rapid.SliceOfNDistinct(rapid.SampledFrom(custodians), 1, 3, rapid.ID).Draw(r, "by")
				if rapid.IntRange(0, 2).Draw(r, "record") == 0 {
					in, digest := stage.Charter()
					c := *in
					c.Version, c.Replaces = in.Version+1, &digest
					c.Custodians.Threshold = rapid.Uint32Range(2, 3).Draw(r, "threshold")
					if stage.Add(ledger.Record{Charter: sign(t, policy.DocCharter, &c, by...)}) == nil {
						charters++
					}
					continue
				}
				in, _ := stage.Policy(id("pol", 1))
				p := *in.Policy
				p.Version, p.Replaces, p.CreatedAt = p.Version+1, ptr(in.Digest), w.now
				addsALimit(rapid.Uint64Range(1, 9).Draw(r, "limit"))(&p)
				if len(p.Rules) > 2 && rapid.Bool().Draw(r, "drops a rule") {
					p.Rules = append(p.Rules[:1:1], p.Rules[2:]...)
				}
				if stage.Add(ledger.Record{Policy: sign(t, policy.DocPolicy, &p, by...)}) == nil {
					taken++
				}
			}
			if len(stage.Records()) == 0 {
				require.NoError(r, stage.Add(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}}))
			}
			b := w.signed(stage.Batch(w.term))
			value := w.encode(b)
			require.NoError(r, w.fold.Take(stage, b, value))
			for _, other := range others {
				_, err := other.Apply(value)
				require.NoError(r, err)
				require.Equal(r, ledger.State(w.fold), ledger.State(other))
			}
			others = append(others, w.restored())
		}
	}, func() bool { return charters > 0 && taken > 0 })
}

// TestAttack_OneCustodianEndsSnapshots: long versions, each a tightening, signed by one custodian. The
// snapshot holds them whatever they come to, and they come to no more than a few.
func TestAttack_OneCustodianEndsSnapshots(t *testing.T) {
	w := ruled(t)
	w.commit(ledger.Record{Policy: sign(t, policy.DocPolicy, w.second(), custodians[:2]...)})
	w.commit(w.version(custodians[:1], func(p *policy.Policy) {
		addresses := 900
		if policytest.Brief() {
			addresses = 200
		}
		for n := range addresses {
			p.Rules[4].Addresses = append(p.Rules[4].Addresses, account(fmt.Sprint(n)))
		}
	}))
	lower := func(p *policy.Policy) {
		p.Rules[1].Amount = ptr(policy.AmountOf(p.Rules[1].Amount.Big().Uint64() - 1))
	}
	for range 64 {
		w.commit(w.version(custodians[:1], lower))
	}
	w.refused(ledger.ReasonConflict, "the threshold must sign", w.version(custodians[:1], lower))
	w.refused(ledger.ReasonConflict, "the threshold must sign", w.version(custodians[2:], lower))
	w.restored()
	w.commit(w.trim(3))

	// Nobody else is kept from the first step elsewhere, nor the threshold from any.
	elsewhere := w.second()
	in, _ := w.fold.Policy(elsewhere.ID)
	elsewhere.Version, elsewhere.Replaces = 2, ptr(in.Digest)
	addsALimit(3)(elsewhere)
	w.commit(ledger.Record{Policy: sign(t, policy.DocPolicy, elsewhere, custodians[2])})
	w.restored()

	// Once no intent can name them, the steps between are one step, and there is room again.
	w.pass(25 * time.Hour)
	w.tick()
	_, _, versions, _ := ledger.Held(w.fold)
	require.Equal(t, 4, versions, "two of each policy: what the threshold signed and what is in force")
	w.restored()
	w.commit(w.version(custodians[2:], lower))
	w.restored()
	w.commit(w.version(custodians[1:], func(p *policy.Policy) { p.Rules[1].Amount = ptr(policy.AmountOf(5000)) }))
	w.pass(25 * time.Hour)
	w.tick()
	_, _, versions, _ = ledger.Held(w.fold)
	require.Equal(t, 3, versions)
	w.restored()
}

// TestAttack_StepsThatDoNotMakeOneStep: a custodian picks steps of which no two are one that is seen
// to tighten, so that none can go. They stay within the bound, and the threshold ends it.
func TestAttack_StepsThatDoNotMakeOneStep(t *testing.T) {
	w := begun(t)
	limits := func(amounts ...uint64) func(*policy.Policy) {
		return func(p *policy.Policy) {
			p.Rules = p.Rules[:1:1]
			for _, a := range amounts {
				addsALimit(a)(p)
			}
		}
	}
	w.commit(w.version(custodians[:2], limits(10, 5)))
	for _, step := range []func(*policy.Policy){limits(9, 5), limits(4, 9)} {
		w.commit(w.version(custodians[:1], step))
	}
	before, _ := w.fold.PolicyVersion(id("pol", 1), 2)
	now, _ := w.fold.Policy(id("pol", 1))
	require.Equal(t, policy.Looser, policy.Compare(before.Policy, now.Policy))
	w.pass(72 * time.Hour)
	w.tick()
	_, ok := w.fold.PolicyVersion(id("pol", 1), 3)
	require.True(t, ok, "what is in force rests on it")
	w.restored()
	w.commit(w.version(custodians[1:], func(*policy.Policy) {}))
	w.pass(72 * time.Hour)
	w.tick()
	_, _, versions, _ := ledger.Held(w.fold)
	require.Equal(t, 1, versions)
	w.restored()
}

// second is another policy, of no token that there is.
func (w *world) second() *policy.Policy {
	p := w.policy()
	p.ID, p.Scope = id("pol", 2), policy.Scope{TokenID: id("token", 9)}
	return p
}

// TestATighteningOutlivesWhatItTightened: the version that the threshold signed was superseded days
// before the tightening was. While that one stands, so does what it rests on.
func TestATighteningOutlivesWhatItTightened(t *testing.T) {
	w := ruled(t)
	w.commit(w.version(custodians[2:], tightening["adds a rule"]))
	w.pass(40 * time.Hour)
	w.commit(w.version(custodians[:2], func(p *policy.Policy) { p.Rules = p.Rules[:5] }))
	w.pass(time.Hour)
	w.tick()
	_, ok := w.fold.PolicyVersion(id("pol", 1), 3)
	require.True(t, ok, "an intent may name it")
	w.restored()
	w.pass(25 * time.Hour)
	w.tick()
	_, _, versions, _ := ledger.Held(w.fold)
	require.Equal(t, 1, versions)
	w.restored()
}

// TestAttack_ASnapshotThatItsOwnFoldWouldNotWrite: it says twice when a charter was recorded. Every
// line is well-formed, and the fold that it gives is written otherwise.
func TestAttack_ASnapshotThatItsOwnFoldWouldNotWrite(t *testing.T) {
	w := genesis(t)
	body, err := w.fold.Snapshot()
	require.NoError(t, err)
	before, after, ok := strings.Cut(string(body), `{"lines":0,"section":"documents"}`+"\n")
	require.True(t, ok)
	twice := before + `{"lines":1,"section":"documents"}` + "\n" + `{"payload":"` + string(w.root) + `","sequence":1}` + "\n" + after
	_, err = ledger.RestoreFold(w.vouched([]byte(twice), w.author), w.root)
	require.ErrorIs(t, err, ledger.ErrSnapshot)
	require.ErrorContains(t, err, "is written as")
}
