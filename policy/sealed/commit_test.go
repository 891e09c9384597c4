package sealed

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Mark, then sign: when the journal cannot be written nothing is signed.
func TestNeverFailOpen_TheJournalCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	i, r, stop := inProcess(t, roomOptions{state: dir}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1")
	i.approve(in, 0, 1)
	before := signatures(t)
	require.NoError(t, r.journal.f.Close()) // the disk is gone
	_, err := i.door.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindStore, err)
	require.Equal(t, before, signatures(t), "the token was not asked")
	var fatal *fatalError
	require.ErrorAs(t, stop(), &fatal, "the process ends: what it holds in memory counts no more")

	// The batch is in the log all the same: the next life signs it, once.
	again := newTestRoom(t, i.digest, roomOptions{state: dir})
	start(t, again)
	out, err := again.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
	require.Equal(t, uint64(1), i.verified(out).Nonce)
	require.Equal(t, before+1, signatures(t))
}

// Mark, then sign: when the ledger cannot be written nothing is signed.
func TestNeverFailOpen_TheLedgerCannotBeWritten(t *testing.T) {
	w, cfg := newWire(t)
	i, _, _ := inProcess(t, roomOptions{store: openLog(t, cfg)}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1")
	i.approve(in, 0, 1)
	before := signatures(t)
	w.set(false, true)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := i.door.Authorize(ctx, i.request(in))
	requireKind(t, seal.KindStore, err)
	require.Equal(t, before, signatures(t))
	w.set(false, false)
	out, err := i.door.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
	require.Equal(t, uint64(1), i.verified(out).Nonce, "whatever came of the first attempt, it counts once")
}

// A commit that etcd made and whose answer was lost is found to be made; nothing
// else is decided before.
func TestUnknownCommitOutcome(t *testing.T) {
	w, cfg := newWire(t)
	i, r, _ := inProcess(t, roomOptions{store: openLog(t, cfg)}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("7")
	i.approve(in, 0, 1)
	head, _ := r.known().fold.Head()
	direct := openLog(t, house.store)
	appears := direct.c.Watch(t.Context(), ledger.Key(head+1))

	w.set(true, false)
	type result struct {
		out *seal.AuthorizeResult
		err error
	}
	first, second := make(chan result, 1), make(chan error, 1)
	go func() {
		out, err := i.door.Authorize(t.Context(), i.request(in))
		first <- result{out, err}
	}()
	soon(t, appears, "the batch in etcd") // it has it, we do not know
	other := i.mint("8")
	go func() {
		_, err := i.door.Decide(t.Context(), i.decision(other, policy.Approve, 0, ""))
		second <- err
	}()
	select {
	case <-first:
		t.Fatal("a signature left before the commit was known")
	case err := <-second:
		t.Fatal("something else was decided meanwhile", err)
	default:
	}
	w.set(false, false)
	w.cut()
	got := soon(t, first, "the first answer")
	require.NoError(t, got.err)
	require.Equal(t, head+1, got.out.Sequence)
	i.verified(got.out)
	require.NoError(t, soon(t, second, "the second answer"))
	require.NotZero(t, testutil.ToFloat64(r.metrics.unknown))
	seq, _ := r.known().fold.Head()
	require.Equal(t, head+2, seq, "offered twice, committed once")
}

func TestSixtyFourAtOnceAgainstADailyLimitOfTen(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish(policy.Rule{Type: policy.RuleDailyLimit, Amount: amountPtr("1000"), Operations: []policy.OperationType{policy.OpMint}})
	i.deploy()
	var intents []*policy.Intent
	for range 64 {
		intents = append(intents, i.mint("100"))
	}
	i.approveAll(intents)
	before := signatures(t)
	var signed atomic.Int32
	var mu sync.Mutex
	nonces := map[uint64]bool{}
	var wg sync.WaitGroup
	for _, in := range intents {
		q := i.request(in)
		wg.Go(func() {
			out, err := i.door.Authorize(context.Background(), q)
			if err != nil {
				if kind, _ := seal.KindOf(err); kind != seal.KindDenied {
					t.Error(err)
				}
				return
			}
			signed.Add(1)
			mu.Lock()
			defer mu.Unlock()
			nonces[i.verified(out).Nonce] = true
		})
	}
	wg.Wait()
	require.Equal(t, int32(10), signed.Load())
	require.Len(t, nonces, 10, "ten operations, ten nonces")
	require.Equal(t, before+10, signatures(t))
	used := r.known().fold.Charged(testChain, *i.token.ContractAddress, policy.OpMint, time.Now().Add(-time.Hour))
	require.Equal(t, "1000", used.String())
}

func TestStoreThatIsBehindOrForked(t *testing.T) {
	dir := t.TempDir()
	i, _, stop := inProcess(t, roomOptions{state: dir}, nil)
	i.furnish()
	require.NoError(t, stop())
	older := olderJournal(t, dir)
	s := openLog(t, house.store)
	ctx := t.Context()
	last, err := s.c.Get(ctx, ledger.LogPrefix, clientv3.WithLastKey()...)
	require.NoError(t, err)
	key, value := string(last.Kvs[0].Key), string(last.Kvs[0].Value)

	refused := func(t *testing.T, want string) {
		r := newTestRoom(t, i.digest, roomOptions{state: dir})
		start(t, r)
		before := signatures(t)
		_, err := r.Decide(ctx, i.decision(i.deployIntent(), policy.Approve, 0, ""))
		requireKind(t, seal.KindStore, err)
		require.ErrorContains(t, err, want)
		_, err = r.CharterApply(ctx, i.first)
		requireKind(t, seal.KindStore, err)
		require.Equal(t, before, signatures(t))
		status, err := r.Status(ctx)
		require.NoError(t, err, "status answers all the same")
		require.False(t, status.Sealed)
	}
	t.Run("behind by one batch", func(t *testing.T) {
		_, err := s.c.Delete(ctx, key)
		require.NoError(t, err)
		refused(t, "this appliance has seen")
	})
	t.Run("forked at the last batch", func(t *testing.T) {
		// Another life of this appliance, which crashed before it knew of the last
		// batch, on a copy of the token that was made before, goes on from there: every
		// link and signature of that history holds.
		forgetAnchor(t)
		r := newTestRoom(t, i.digest, roomOptions{state: older})
		halt := start(t, r)
		fork := &instance{t: t, door: r, people: i.people, charter: i.charter, digest: i.digest, wallet: i.wallet}
		_, err := fork.door.Cancel(ctx, seal.CancelRequest{OperationID: newID("op"), Reason: "another history"})
		require.NoError(t, err)
		require.NoError(t, halt())
		refused(t, "this appliance has seen")
	})
	t.Run("emptied", func(t *testing.T) {
		_, err := s.c.Delete(ctx, ledger.LogPrefix, clientv3.WithPrefix())
		require.NoError(t, err)
		refused(t, "the store ends at batch 0")
	})
	t.Run("a hole", func(t *testing.T) {
		_, err := s.c.Put(ctx, key, value)
		require.NoError(t, err)
		refused(t, "no snapshot")
	})
}

// olderJournal is a state directory as it was one line of the journal earlier.
func olderJournal(t *testing.T, state string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(state, "journal"))
	require.NoError(t, err)
	lines := bytes.SplitAfter(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	require.Greater(t, len(lines), 1)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "journal"), bytes.Join(lines[:len(lines)-1], nil), 0o600))
	return dir
}

func TestARestartGoesOnWhereItWas(t *testing.T) {
	dir := t.TempDir()
	i, _, stop := inProcess(t, roomOptions{state: dir}, nil)
	i.furnish()
	i.deploy()
	require.NoError(t, stop())
	for n := uint64(1); n <= 2; n++ {
		r := newTestRoom(t, i.digest, roomOptions{state: dir})
		halt := start(t, r)
		i.door = r
		in := i.mint("5")
		i.approve(in, 1, 2)
		out, err := r.Authorize(t.Context(), i.request(in))
		require.NoError(t, err)
		require.Equal(t, n, i.verified(out).Nonce)
		status, err := r.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, n+1, status.Term, "each life is a term")
		require.NoError(t, halt())
	}
}

// An author that was paused, and replaced meanwhile, writes nothing any more.
func TestPausedAuthorWakesUp(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	s := openLog(t, house.store)
	_, err := s.c.Put(t.Context(), ledger.AuthorKey, "appliance-2")
	require.NoError(t, err)
	head, _ := r.known().fold.Head()
	_, err = i.door.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "late"})
	requireKind(t, seal.KindNotAuthor, err)
	var e *seal.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "appliance-2", e.Appliance)
	there, err := s.batch(t.Context(), head+1)
	require.NoError(t, err)
	require.Nil(t, there)
	_, err = s.c.Delete(t.Context(), ledger.AuthorKey) // its lease ran out
	require.NoError(t, err)
	_, err = i.door.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "our turn again"})
	require.NoError(t, err)
}

// An author hears only when it is author no more that its batch got in. It says nothing of it in the token, where the
// next author's word may stand already and would seem to be contradicted, and leaves the answer to that one.
func TestAnAuthorThatLostItsKeyOverACommitLeavesTheAnchorAlone(t *testing.T) {
	w, cfg := newWire(t)
	i, r, _ := inProcess(t, roomOptions{store: openLog(t, cfg)}, nil)
	i.furnish()
	before := standing(t)
	head, _ := r.known().fold.Head()
	direct := openLog(t, house.store)
	appears := direct.c.Watch(t.Context(), ledger.Key(head+1))
	next := i.nextPolicy()
	asked := make(chan error, 1)
	w.set(true, false)
	go func() {
		_, err := i.door.PolicyApply(t.Context(), next)
		asked <- err
	}()
	soon(t, appears, "the batch in etcd") // it has it, we do not know
	_, err := direct.c.Put(t.Context(), ledger.AuthorKey, "appliance-2")
	require.NoError(t, err)
	w.set(false, false)
	w.cut()
	err = soon(t, asked, "the author's answer")
	requireKind(t, seal.KindNotAuthor, err)
	var e *seal.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "appliance-2", e.Appliance)
	require.Equal(t, before, standing(t), "a policy has the anchor renewed, but not by who is author no more")
	require.Zero(t, testutil.ToFloat64(r.metrics.notices.WithLabelValues(string(noticedAnchor))))

	_, err = direct.c.Delete(t.Context(), ledger.AuthorKey) // its lease ran out
	require.NoError(t, err)
	_, err = i.door.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "our turn again"})
	require.NoError(t, err)
	seq, _ := r.known().fold.Head()
	require.Equal(t, head+2, seq, "what got in counts")
	require.Greater(t, standing(t).Term, before.Term)
	require.Equal(t, head+1, standing(t).Sequence)
}

func TestGroupCommit(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	before, _ := r.known().fold.Head()
	const n = 200
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, err := i.door.Cancel(context.Background(), seal.CancelRequest{OperationID: newID("op"), Reason: "many"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	after, _ := r.known().fold.Head()
	require.Less(t, after-before, uint64(n), "what waits goes into one batch")
}

// Only what etcd itself refuses before it does anything is a certain no; the
// rest has to be settled.
func TestWhatIsCertain(t *testing.T) {
	for err, want := range map[error]bool{
		rpctypes.ErrPermissionDenied: true, rpctypes.ErrNoSpace: true, rpctypes.ErrRequestTooLarge: true,
		rpctypes.ErrTimeout: false, rpctypes.ErrNoLeader: false, rpctypes.ErrTimeoutDueToLeaderFail: false, rpctypes.ErrStopped: false,
		context.DeadlineExceeded: false, io.ErrUnexpectedEOF: false,
	} {
		require.Equal(t, want, certainly(err), "%v", err)
	}
	s := openLog(t, house.store)
	emptyLog(t)
	mine, err := s.campaign(t.Context(), testAppliance)
	require.NoError(t, err)
	defer s.resign(mine)
	_, err = s.commit(t.Context(), 1, make([]byte, 1900<<10), mine)
	require.Error(t, err)
	require.True(t, certainly(err), "%v", err)
}

// Everybody who asks for the same at once gets the same: one record, one nonce.
func TestTheSameAtOnce(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("3")
	e := i.decision(in, policy.Approve, 0, "")
	i.approve(in, 1)
	q := i.request(in)
	const n = 8
	var sequences [n]uint64
	var wg sync.WaitGroup
	for k := range n {
		wg.Go(func() {
			out, err := r.Decide(context.Background(), e)
			if err != nil {
				t.Error(err)
				return
			}
			sequences[k] = out.Sequence
		})
	}
	wg.Wait()
	var results [n]*seal.AuthorizeResult
	for k := range n {
		wg.Go(func() {
			out, err := r.Authorize(context.Background(), q)
			if err != nil {
				t.Error(err)
			}
			results[k] = out
		})
	}
	wg.Wait()
	for k := range n {
		require.Equal(t, sequences[0], sequences[k])
		require.Equal(t, results[0].Authorization, results[k].Authorization)
		require.Equal(t, results[0].Sequence, results[k].Sequence)
		require.Equal(t, uint64(1), i.verified(results[k]).Nonce)
	}
	op, ok := r.known().fold.Operation(in.OperationID)
	require.True(t, ok)
	require.Len(t, op.Decisions, 2)
	require.Equal(t, uint64(2), r.known().fold.NextNonce(i.wallet.WalletID))
}
