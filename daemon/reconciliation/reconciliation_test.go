package reconciliation_test

import (
	"context"
	"encoding/json/v2"
	"errors"
	"math/big"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/reconciliation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// history is mints in blocks from 1 on, each by an operation, perBlock in one.
func (h *house) history(events, perBlock uint64) (blocks uint64, supply int64) {
	p := &planted{h: h}
	for n := range events {
		block, amount := 1+n/perBlock, n%1000+1
		h.mint(block, n, account(n), amount)
		p.mintOperation(block, n, account(n), amount)
		blocks, supply = block, supply+int64(amount)
	}
	p.flush()
	return blocks, supply
}

// Every event has its operation, in whatever ranges the node takes.
func TestEventsAreMatchedOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	blocks, supply := h.history(700, 3)
	h.node.limit = 7
	h.node.advance(blocks + confirmations - 1)
	r := h.until(settled(blocks))
	require.Equal(t, reconciliation.Agrees, r.Status)
	require.EqualValues(t, 700, r.EventsChecked)
	require.Zero(t, r.UnmatchedTotal)
	require.Zero(t, h.told())
	sameSupply(t, r, supply)
}

// Operations that are archived have no key in the store: their events are theirs all the same, also where the chain
// is looked at from the beginning again, and nothing is frozen.
func TestEventsOfArchivedOperationsAreTheirs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.urls = append(h.urls, h.node.serve(t)) // two agree: what is nobody's freezes
	blocks, supply := h.history(150, 3)
	h.archived()
	h.node.advance(blocks + confirmations - 1)
	r := h.until(settled(blocks))
	require.Equal(t, reconciliation.Agrees, r.Status)
	require.EqualValues(t, 150, r.EventsChecked)
	require.Zero(t, r.UnmatchedTotal)
	require.Zero(t, h.told())
	require.Empty(t, h.freezes)
	sameSupply(t, r, supply)
}

// What is not deep enough is not looked at, and may still go.
func TestOnlyFinalBlocksCount(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	blocks, supply := h.history(9, 1)
	h.node.advance(blocks + confirmations - 1)
	h.mint(blocks+confirmations, 999, account(1), 5) // nobody's, and the newest block's
	r := h.until(settled(blocks))
	require.EqualValues(t, blocks+1, r.BlockNumber)
	sameSupply(t, r, supply)
	h.node.reorg(blocks + 2)
	p := &planted{h: h}
	p.mintOperation(blocks+10, 1000, account(3), 4)
	p.flush()
	h.mint(blocks+10, 1000, account(3), 4)
	h.node.advance(blocks + 20)
	r = h.until(settled(blocks + 10))
	require.Equal(t, reconciliation.Agrees, r.Status)
	sameSupply(t, r, supply+4)
	require.Zero(t, h.told())
}

// A reorg deeper than the confirmations begins anew, and tells what it tells once.
func TestAReorgOfFinalBlocksIsLookedAtFromTheBeginning(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	blocks, _ := h.history(30, 1)
	h.mint(blocks+1, 5000, account(7), 3) // nobody's
	h.node.advance(blocks + 9)
	r := h.until(func(r *reconciliation.Report) bool { return r.UnmatchedTotal == 1 })
	require.Equal(t, reconciliation.Disagrees, r.Status)
	h.node.reorg(blocks - 4)
	h.node.advance(blocks + 12)
	r = h.until(func(r *reconciliation.Report) bool {
		return r.BlockNumber >= blocks+10 && r.UnmatchedTotal == 0 && r.Status == reconciliation.Disagrees
	})
	require.EqualValues(t, blocks-5, r.EventsChecked)
	require.Equal(t, 2, h.told(), "the mint, and that the operations whose blocks went say otherwise than the chain")
}

// Attacks: what a transaction of ours, or of somebody who is trusted elsewhere, does beside what was approved.
func TestWhatIsNotTheOperationsEffectIsNobodys(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := &planted{h: h}
	role := func(r qrc20.Role) common.Hash { return qrc20.RoleID(r) }
	granted := crypto.Keccak256Hash([]byte("RoleGranted(bytes32,address,address)"))
	to, other := account(1), account(2)

	p.mintOperation(2, 1, to, 10)
	h.mint(2, 1, to, 10)
	h.mint(2, 1, to, 10) // the same again, by the same transaction
	p.mintOperation(3, 2, to, 10)
	h.mint(3, 2, to, 11) // another amount
	p.mintOperation(4, 3, to, 10)
	h.mint(4, 3, other, 10) // another recipient
	p.mintOperation(5, 4, to, 10)
	h.node.write(5, h.contract, hashOf(4), []common.Hash{granted, role(qrc20.Minter), word(other), word(to)}, nil) // another effect
	subject := to
	grant := &operation.Operation{ID: store.NewID("op_"), Type: "GRANT_ROLE", Status: operation.Completed, TokenID: h.token.ID, Authorized: true, Role: qrc20.Pauser,
		Subject: &subject, BlockNumber: 6, History: []operation.Step{{Status: operation.Completed, At: time.Now()}}}
	hash := tx.Hash(hashOf(5))
	grant.TransactionHash = &hash
	p.plant(grant)
	h.node.write(6, h.contract, hashOf(5), []common.Hash{granted, role(qrc20.Pauser), word(to), word(other)}, nil)
	h.node.write(6, h.contract, hashOf(5), []common.Hash{granted, role(qrc20.Admin), word(to), word(other)}, nil) // another role beside it
	foreign := &operation.Operation{ID: store.NewID("op_"), Type: "MINT", Status: operation.Completed, TokenID: store.NewID("token_"), Authorized: true,
		Recipient: &to, BlockNumber: 7, History: grant.History}
	hash6 := tx.Hash(hashOf(6))
	foreign.TransactionHash = &hash6
	p.plant(foreign)
	h.mint(7, 6, to, 0) // another token's operation
	never := *foreign
	never.ID, never.TokenID, never.Authorized = store.NewID("op_"), h.token.ID, false
	hash7 := tx.Hash(hashOf(7))
	never.TransactionHash = &hash7
	p.plant(&never)
	h.mint(8, 7, to, 0) // one that the ledger never authorized
	p.flush()
	h.node.advance(20)

	r := h.until(func(r *reconciliation.Report) bool { return r.BlockNumber >= 18 })
	require.EqualValues(t, 9, r.EventsChecked)
	require.EqualValues(t, 7, r.UnmatchedTotal, "%+v", r.Unmatched)
	require.Equal(t, reconciliation.Disagrees, r.Status)
	require.Equal(t, 7, h.told())
	require.Empty(t, h.freezes, "one node alone")
	require.Equal(t, 7, h.count("pending"))
}

// A block that is made before the ledger's authorization was carried into the store is no theft: nothing is told before
// all that the ledger holds was looked at.
func TestABlockMayBeSoonerThanTheLedger(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := &planted{h: h}
	to, amount, hash := account(1), policy.AmountOf(10), tx.Hash(hashOf(1))
	mint := &operation.Operation{ID: store.NewID("op_"), Type: policy.OpMint, Status: operation.Confirming, TokenID: h.token.ID, Network: networkName,
		Amount: &amount, Recipient: &to, TransactionHash: &hash, BlockNumber: 2, History: []operation.Step{{Status: operation.Confirming, At: time.Now()}}}
	p.plant(mint)
	p.flush()
	h.carry = func() {
		carried := *mint
		carried.Authorized, carried.Status = true, operation.Completed
		b, err := json.Marshal(&carried)
		if err != nil {
			panic(err)
		}
		t := h.store.Tx()
		t.Put(store.OpState(mint.ID), b)
		if _, err := t.Commit(context.Background()); err != nil {
			panic(err)
		}
	}
	h.mint(2, 1, to, 10)
	h.node.advance(20)
	r := h.until(func(r *reconciliation.Report) bool { return r.BlockNumber >= 17 })
	require.EqualValues(t, 1, r.EventsChecked)
	require.Zero(t, r.UnmatchedTotal, "%+v", r.Unmatched)
	require.Zero(t, h.told())
	require.Zero(t, h.count("pending"))
}

// Somebody else's role is theirs to use, if the binding lists them, and nobody's otherwise.
func TestExternalHolders(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	holder, multisig, caller := account(1), account(2), account(3)
	h.external = []tx.Address{holder, multisig}
	sent := func(n uint64, from, to tx.Address) {
		c := common.Address(to)
		h.node.sent[hashOf(n)] = &sentBy{Hash: hashOf(n), From: common.Address(from), To: &c}
	}
	address := tx.Address(h.contract)
	h.mint(2, 1, holder, 10)
	sent(1, holder, address)
	h.mint(3, 2, holder, 20)
	sent(2, caller, multisig) // by way of its own contract
	h.mint(4, 3, holder, 30)
	sent(3, caller, address) // to a holder, by somebody else
	paused := crypto.Keccak256Hash([]byte("Paused(address)"))
	h.node.write(5, h.contract, hashOf(4), []common.Hash{paused}, word(caller).Bytes())
	sent(4, holder, address) // the event says who it was
	h.node.advance(20)
	r := h.until(func(r *reconciliation.Report) bool { return r.BlockNumber >= 18 && r.UnmatchedTotal == 2 })
	require.EqualValues(t, 4, r.EventsChecked)
	require.Equal(t, "Paused", r.Unmatched[0].Event)
	require.EqualValues(t, 30, r.Unmatched[1].Amount.Int64())
}

// Two nodes each for itself say that it stands: then, and not on the word of one that lies.
func TestTwoNodesFreezeAndOneDoesNot(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.urls = append(h.urls, h.node.serve(t))
	liar := newNode()
	liar.mu.Lock()
	liar.head = 20
	liar.mu.Unlock()
	honest := h.node
	honest.tells = liar // or the lie would be heard only where the liar is asked first
	h.node = liar
	h.urls[0] = liar.serve(t)
	h.mint(2, 1, account(1), 10) // a lie: the other node has no such transaction
	h.node = honest
	h.node.advance(20)
	r := h.until(func(r *reconciliation.Report) bool { return r.UnmatchedTotal == 1 })
	require.False(t, r.Frozen)
	require.Empty(t, h.freezes)

	h.mint(21, 2, account(1), 10) // and now the truth, which both tell
	h.node = liar
	h.mint(21, 2, account(1), 10)
	h.node = honest
	honest.advance(30)
	liar.mu.Lock()
	liar.head = 30
	liar.mu.Unlock()
	h.until(func(r *reconciliation.Report) bool { return r.Frozen })
	require.Len(t, h.freezes, 1)
	require.Equal(t, h.token.ID, h.freezes[0].TokenID)
	require.Contains(t, h.freezes[0].Event, "10 minted to "+account(1).String())
}

// What if it dies right after the seal froze the token, and has not noted it: it asks again, which the seal answers as
// before, and tells nothing twice. A freeze that custodians lifted is not repeated for what it was for.
func TestAFreezeIsNotedAfterACrash(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.urls = append(h.urls, h.node.serve(t))
	h.mint(2, 1, account(1), 10)
	h.node.advance(10)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	h.dying = cancel
	h.run(ctx, func(*reconciliation.Report) bool { return false })
	require.Len(t, h.freezes, 1)
	require.Equal(t, 1, h.count("pending"))
	h.mu.Lock()
	h.dying = nil
	h.mu.Unlock()
	h.node.advance(12)
	h.until(func(*reconciliation.Report) bool { return h.count("pending") == 0 })
	require.Len(t, h.freezes, 2)
	require.Equal(t, 1, h.told())
	h.mu.Lock()
	h.frozen = false // the custodians' threshold
	h.mu.Unlock()
	p := &planted{h: h}
	p.mintOperation(30, 2, account(1), 5)
	p.flush()
	h.mint(30, 2, account(1), 5)
	h.node.advance(40)
	r := h.until(func(r *reconciliation.Report) bool { return r.BlockNumber >= 30 && r.EventsChecked == 2 })
	require.False(t, r.Frozen)
	require.Len(t, h.freezes, 2)
}

// Killed at any moment, again and again, it ends with the same sums, and has told everything once: of hundreds of
// findings in one block, too, which no single transaction holds.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	blocks, _ := h.history(300, 10)
	for n := range uint64(150) { // nobody's: many in one block, and in one transaction
		h.mint(blocks+1, 10_000+n/40, account(n), 1)
	}
	h.node.limit = 4
	h.node.advance(blocks + 10)
	done := func(r *reconciliation.Report) bool { return r.BlockNumber >= blocks+8 && r.UnmatchedTotal == 150 }
	source := rand.New(rand.NewPCG(1, 2))
	kills := 0
	for ; kills < 200; kills++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(source.IntN(60))*time.Millisecond)
		r := h.run(ctx, done)
		cancel()
		if r != nil && done(r) {
			break
		}
	}
	r := h.until(done)
	t.Logf("killed %d times", kills)
	require.EqualValues(t, 450, r.EventsChecked)
	require.Equal(t, 150, h.told())
	require.Equal(t, 150, h.count("finding"))
	require.Equal(t, big.NewInt(300*301/2+150), r.Events)
}

// An operation that says COMPLETED and has no event on the chain shows in the supplies, and is told once.
func TestAnEffectThatIsMissing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	blocks, supply := h.history(20, 1)
	p := &planted{h: h}
	p.mintOperation(blocks, 777, account(1), 50)
	p.flush()
	h.node.advance(blocks + 5)
	r := h.until(settled(blocks + 3))
	require.Equal(t, reconciliation.Disagrees, r.Status)
	require.EqualValues(t, supply, r.Contract.Int64())
	require.EqualValues(t, supply+50, r.Operations.Int64())
	require.Equal(t, 1, h.told())
	h.node.advance(blocks + 8)
	h.until(settled(blocks + 3))
	require.Equal(t, 1, h.told())
}

// live is what the collector last found in use, in bytes: of the service, and of the etcd and the node that this
// process is, too.
func live() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// BenchmarkReconcile is a token of 100,000 events from its deployment on: events a second, and by how much what is in
// use grows meanwhile, which does not follow the events.
func BenchmarkReconcile(b *testing.B) {
	const events = 100_000
	for range b.N {
		b.StopTimer()
		h := newHouse(b)
		blocks, supply := h.history(events, 50)
		h.node.advance(blocks + confirmations)
		runtime.GC()
		before, most := live(), uint64(0)
		b.StartTimer()
		began := time.Now()
		ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
		r := h.run(ctx, func(r *reconciliation.Report) bool {
			now := live()
			most = max(most, now-min(now, before))
			return r.EventsChecked >= events
		})
		cancel()
		b.StopTimer()
		if r == nil || r.EventsChecked != events || r.UnmatchedTotal != 0 || r.Events.Int64() != supply {
			b.Fatalf("%+v", r)
		}
		b.ReportMetric(events/time.Since(began).Seconds(), "events/s")
		b.ReportMetric(float64(most)/(1<<20), "MiB-live")
		b.ReportMetric(0, "ns/op")
	}
}

// A comparison that took long and failed is made again although no other block comes.
func TestAComparisonThatFailedIsMadeAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.node.advance(20)
	failed := false
	h.node.after = func(method string) error {
		if method != "call" || failed {
			return nil
		}
		failed = true
		time.Sleep(500 * time.Millisecond)
		return errors.New("not now")
	}
	r := h.until(settled(18))
	require.Equal(t, reconciliation.Agrees, r.Status)
	require.Greater(t, h.node.questions("call"), 1)
}

// Somebody mints, the other node does not answer just then, and no other block comes: it is frozen for once that node
// answers again.
func TestAttack_TheOtherNodeIsAwayAndNoBlockComes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	other := newNode()
	away := true // of other's lock
	other.after = func(string) error {
		if away {
			return errors.New("not now")
		}
		return nil
	}
	h.urls = append(h.urls, other.serve(t))
	for _, n := range []*ledgerNode{h.node, other} {
		n.write(4, h.contract, hashOf(2), []common.Hash{transferTopic, zeroWord, word(account(2))}, number(10).Bytes())
		n.advance(20)
	}
	h.until(func(r *reconciliation.Report) bool {
		if r.Contract.Sign() > 0 { // the supplies were compared, and the nodes asked before that
			other.mu.Lock()
			defer other.mu.Unlock()
			away = false
		}
		return r.Frozen
	})
	require.Len(t, h.freezes, 1)
}

// A token is deployed again, under the eyes of one that reconciles, and comes to stand in an earlier block by a reorg: it is
// looked at where it is now.
func TestATokenThatIsElsewhereNow(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.node.advance(20)
	second := tx.Address{0xc1}
	p := &planted{h: h}
	p.mintOperation(28, 1, account(1), 5)
	p.flush()
	step := 0
	r := h.until(func(r *reconciliation.Report) bool {
		switch {
		case step == 0 && settled(18)(r):
			step++
			h.becomes(func(t *registry.Token) { t.ContractAddress, t.BlockNumber = &second, 30 })
			h.node.write(28, common.Address(second), hashOf(1), []common.Hash{transferTopic, zeroWord, word(account(1))}, number(5).Bytes())
			h.node.write(31, common.Address(second), hashOf(2), []common.Hash{transferTopic, zeroWord, word(account(2))}, number(7).Bytes())
			h.node.advance(40)
		case step == 1 && r.FromBlock == 30 && r.UnmatchedTotal == 1:
			step++
			h.becomes(func(t *registry.Token) { t.BlockNumber = 28 })
		}
		return r.FromBlock == 28 && r.EventsChecked == 2
	})
	require.EqualValues(t, 1, r.UnmatchedTotal)
}

// An operation ended for a stranger was said to hold its nonce, and was done all the same, which shows later: it is counted
// then.
func TestAnEndThatWasDisprovedIsCounted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := &planted{h: h}
	to, amount, hash := account(1), policy.AmountOf(10), tx.Hash(hashOf(1))
	mint := &operation.Operation{ID: store.NewID("op_"), Type: policy.OpMint, Status: operation.Failed, TokenID: h.token.ID, Network: networkName, Amount: &amount, Recipient: &to,
		Authorized: true, TransactionHash: &hash, EndBlock: 12, EndHash: &tx.Hash{1}, History: []operation.Step{{Status: operation.Failed, At: time.Now()}}}
	p.plant(mint)
	h.mint(5, 1, to, 10)
	h.node.advance(20)
	p.mintOperation(18, 2, to, 1)
	h.mint(18, 2, to, 1)
	h.node.advance(20)
	p.flush()
	r := h.until(settled(18))
	require.Equal(t, reconciliation.Disagrees, r.Status, "the chain has what is said to have failed")
	done := *mint
	done.Status, done.BlockNumber = operation.Completed, 5
	b, err := json.Marshal(&done)
	require.NoError(t, err)
	change := h.store.Tx()
	change.Put(store.OpState(mint.ID), b)
	_, err = change.Commit(t.Context())
	require.NoError(t, err)
	p.mintOperation(30, 3, to, 4)
	p.flush()
	h.mint(30, 3, to, 4)
	h.node.advance(40)
	r = h.until(settled(30))
	require.Equal(t, reconciliation.Agrees, r.Status)
	sameSupply(t, r, 15)
}
