package ledger_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// play draws records that are right, nearly right and wrong.
type play struct {
	*world
	intents []*policy.Intent
}

func (p *play) intent(r *rapid.T) *policy.Intent {
	if len(p.intents) > 0 && rapid.IntRange(0, 3).Draw(r, "known") > 0 {
		return rapid.SampledFrom(p.intents).Draw(r, "intent")
	}
	change := []func(*policy.Intent){}
	switch rapid.IntRange(0, 3).Draw(r, "type") {
	case 0:
		change = append(change, grantTo(wallet(2).Address))
	case 1:
		change = append(change, deployOf(id("token", rapid.IntRange(2, 4).Draw(r, "token")), 5))
	default:
		amount := rapid.Uint64Range(1, 9).Draw(r, "amount")
		change = append(change, func(i *policy.Intent) { i.Params.Amount = ptr(policy.AmountOf(amount)) })
	}
	op := p.op()
	if len(p.intents) > 0 && rapid.IntRange(0, 4).Draw(r, "same op") == 0 {
		op = rapid.SampledFrom(p.intents).Draw(r, "op").OperationID
	}
	i := p.mint(op, change...)
	p.intents = append(p.intents, i)
	return i
}

func (p *play) records(r *rapid.T, stage *ledger.Stage) []ledger.Record {
	i := p.intent(r)
	verb := policy.Approve
	switch rapid.IntRange(0, 9).Draw(r, "record") {
	case 0:
		verb = policy.Reject
		fallthrough
	case 1, 2, 3:
		return []ledger.Record{p.decide(verb, i, rapid.SampledFrom([]string{"ann", "bob", "cat", "dan"}).Draw(r, "who"))}
	case 4, 5, 6:
		nonce := func(a *ledger.Authorize) {
			a.Nonce = stage.NextNonce(a.WalletID) + uint64(rapid.IntRange(0, 8).Draw(r, "skip")/8)
		}
		if i.OperationType != policy.OpDeployToken {
			return []ledger.Record{p.authorize(i, nonce)}
		}
		a := p.authorize(i, func(a *ledger.Authorize) {
			nonce(a)
			for n := range a.Charges {
				a.Charges[n].Contract = tx.CreateAddress(i.Performer.Address, a.Nonce)
			}
		})
		replaced, digest, _, _ := stage.BindingDocument(i.Token.ID)
		b, err := i.DeployBinding(tx.CreateAddress(i.Performer.Address, a.Authorize.Nonce), []string{i.Performer.WalletID}, replaced, digest, p.now)
		require.NoError(r, err)
		return []ledger.Record{a, {DeployBinding: b}}
	case 7:
		return []ledger.Record{{Cancel: &ledger.Cancel{OperationID: i.OperationID, Reason: "changed my mind"}}}
	case 8:
		return []ledger.Record{{Settle: &ledger.Settle{OperationID: i.OperationID, TxHash: tx.Hash{1}}}}
	}
	o, ok := stage.Operation(i.OperationID)
	if !ok || o.Authorized == nil {
		return []ledger.Record{{EventFreeze: &ledger.EventFreeze{TokenID: id("token", rapid.IntRange(3, 4).Draw(r, "token")), Event: "seen"}}}
	}
	raised, _ := fee.Mul(o.Version() + 1)
	return []ledger.Record{{Bump: &ledger.Bump{OperationID: i.OperationID, Version: o.Version() + 1, MaxFee: raised, Tip: raised,
		Tx: p.digest(i, o.Authorized.Nonce, o.Authorized.GasLimit, raised, raised)}}}
}

// TestStageAndApplyAgree: whatever is added to a stage, a follower takes what it took, refuses what
// it refused for the same reason, and ends in the state that the stage had.
func TestStageAndApplyAgree(t *testing.T) {
	first := begun(t)
	rapid.Check(t, func(r *rapid.T) {
		follower := &world{t: t, fold: first.again(), root: first.root, author: first.author, term: first.term, now: first.now}
		author := &play{world: &world{t: t, fold: first.again(), root: first.root, author: first.author, term: first.term, now: first.now}}
		taken, refusals := 0, 0
		for range rapid.IntRange(1, 6).Draw(r, "batches") {
			author.pass(time.Duration(rapid.SampledFrom([]int{0, 1, 600, 3000, 90_000}).Draw(r, "passed")) * time.Second)
			follower.now = author.now
			stage := author.fold.Stage(author.now, author.author)
			var refused []ledger.Record
			var why *ledger.Refusal
			for range rapid.IntRange(1, 12).Draw(r, "records") {
				more := author.records(r, stage)
				before := stage.Records()
				err := stage.Add(more...)
				if err == nil {
					require.Equal(r, append(before, more...), stage.Records())
					continue
				}
				require.ErrorAs(r, err, &why)
				require.Equal(r, before, stage.Records(), "all or none")
				refused = append(before, more...)
				refusals++
			}
			if refused != nil {
				state := ledger.State(follower.fold)
				_, err := follower.fold.Apply(follower.encode(follower.batch(refused...)))
				var theirs *ledger.Refusal
				require.ErrorAs(r, err, &theirs)
				require.Equal(r, why.Error(), theirs.Error())
				require.Equal(r, state, ledger.State(follower.fold))
			}
			if len(stage.Records()) == 0 {
				continue
			}
			taken += len(stage.Records())
			b := author.signed(stage.Batch(author.term))
			value := author.encode(b)
			require.Equal(r, follower.encode(follower.batch(stage.Records()...)), value)
			_, err := follower.fold.Apply(value)
			require.NoError(r, err)
			require.NoError(r, author.fold.Take(stage, b, value))
			require.Equal(r, string(author.snapshot()), string(follower.snapshot()))
			require.Equal(r, ledger.State(author.fold), ledger.State(follower.fold))
		}
		r.Logf("taken %d, refused %d", taken, refusals)
	})
}

func TestStageSeesItself(t *testing.T) {
	w := begun(t)
	stage := w.fold.Stage(w.now.Add(400*time.Millisecond), w.author)
	require.Equal(t, w.now, stage.Time())
	i := w.mint(w.op())
	require.NoError(t, stage.Add(w.approve(i, "ann")))
	require.NoError(t, stage.Add(w.approve(i, "bob"), w.authorize(i)))
	require.Equal(t, uint64(1), stage.NextNonce(id("wallet", 1)))
	require.Equal(t, policy.AmountOf(1000), stage.Charged(chainID, account("contract"), policy.OpMint, noon))
	require.Equal(t, policy.Amount{}, w.fold.Charged(chainID, account("contract"), policy.OpMint, noon))
	require.False(t, w.known(i.OperationID))
	require.Len(t, stage.Records(), 3)
	sequence, _ := stage.Head()
	require.Equal(t, uint64(4), sequence)
}

func TestStageIsForOneHead(t *testing.T) {
	w := begun(t)
	stage := w.fold.Stage(w.now, w.author)
	w.tick()
	w.isRefusal(stage.Add(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}}), ledger.ReasonStale, "the log is at batch 4")
	late := w.fold.Stage(w.now.Add(-time.Second), w.author)
	w.isRefusal(late.Add(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}}), ledger.ReasonLink, "is before the last batch's")
	stranger := w.fold.Stage(w.now, "mallory")
	w.isRefusal(stranger.Add(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}}), ledger.ReasonAuthor, "no appliance")
}

// TestStageFills: a batch takes what fits into 1 MiB, and what it took can be encoded.
func TestStageFills(t *testing.T) {
	w := begun(t)
	stage := w.fold.Stage(w.now, w.author)
	reason := strings.Repeat("x", ledger.MaxReason)
	for {
		err := stage.Add(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: reason}})
		var r *ledger.Refusal
		if errors.As(err, &r) && r.Reason == ledger.ReasonFull {
			break
		}
		require.NoError(t, err)
	}
	b := w.commit(stage.Records()...)
	value := w.encode(b)
	require.LessOrEqual(t, len(value), ledger.MaxBatch)
	require.Greater(t, len(value), ledger.MaxBatch-4096)
}

// TestLimitUnderGroupCommit is the use that stages are for: what waits is judged one by one against
// the stage, and exactly as many as the limit allows are taken, however they fall into batches.
func TestLimitUnderGroupCommit(t *testing.T) {
	for _, size := range []int{1, 3, 10, 64} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			w := begun(t, func(c *policy.Charter) { c.Limits.MaxOutstanding = 1000 })
			limit, allowed := policy.AmountOf(10_000), 0
			for n := 0; n < 64; {
				stage := w.fold.Stage(w.now, w.author)
				for range size {
					i := w.mint(w.op())
					used := stage.Charged(chainID, account("contract"), policy.OpMint, noon.Add(-12*time.Hour))
					if sum, _ := used.Add(*i.Params.Amount); sum.Cmp(limit) <= 0 {
						require.NoError(t, stage.Add(w.authorize(i, func(a *ledger.Authorize) { a.Nonce = stage.NextNonce(a.WalletID) })))
						allowed++
					}
					n++
				}
				if records := stage.Records(); len(records) > 0 {
					w.commit(records...)
				}
			}
			require.Equal(t, 10, allowed)
		})
	}
}
