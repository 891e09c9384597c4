package sealed

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Attacks on the seal's socket, by whoever runs the API process, and on etcd, by
// whoever runs that; each is named for what it does.

func TestAttack_AnotherOperationsApprovals(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	approved, other := i.mint("10"), i.mint("10")
	i.approve(approved, 0, 1)
	before := signatures(t)
	_, err := r.Authorize(t.Context(), i.request(other))
	requireKind(t, seal.KindWait, err)
	q := i.request(approved)
	q.OperationID = other.OperationID
	_, err = r.Authorize(t.Context(), q)
	requireKind(t, seal.KindInvalid, err)
	require.Equal(t, before, signatures(t))
}

// Two approvers are shown two intents under one operation id, so that each adds to
// a quorum that neither of them means.
func TestAttack_DecoyIntentsUnderOneOperationID(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	small, large := i.mint("1"), i.mint("1000000")
	large.OperationID = small.OperationID
	i.approve(small, 0)
	i.approve(large, 1)
	before := signatures(t)
	for _, in := range []*policy.Intent{small, large} {
		_, err := r.Authorize(t.Context(), i.request(in))
		requireKind(t, seal.KindWait, err)
	}
	require.Equal(t, before, signatures(t))
	i.approve(small, 2)
	out, err := r.Authorize(t.Context(), i.request(small))
	require.NoError(t, err)
	call, err := qrc20.Unpack(i.verified(out).Data)
	require.NoError(t, err)
	require.Equal(t, "1", call.Amount.String())
	_, err = r.Authorize(t.Context(), i.request(large))
	requireKind(t, seal.KindConflict, err)
}

// One authorization yields one transaction, whatever is asked for again.
func TestAttack_TwoTransactionsFromOneAuthorization(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("10")
	i.approve(in, 0, 1)
	out, err := r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
	first := i.verified(out)
	for name, change := range map[string]func(*seal.AuthorizeRequest){
		"a replay":        func(*seal.AuthorizeRequest) {},
		"another gas":     func(q *seal.AuthorizeRequest) { q.GasLimit-- },
		"other fees":      func(q *seal.AuthorizeRequest) { q.MaxFee, q.Tip = amount("2000000000"), amount("2") },
		"fees of nothing": func(q *seal.AuthorizeRequest) { q.MaxFee, q.Tip = amount("0"), amount("0") },
	} {
		t.Run(name, func(t *testing.T) {
			q := i.request(in)
			change(&q)
			again, err := r.Authorize(t.Context(), q)
			require.NoError(t, err)
			same, err := first.Unsigned.SigningHash()
			require.NoError(t, err)
			got, err := i.verified(again).Unsigned.SigningHash()
			require.NoError(t, err)
			require.Equal(t, same, got, "the very same digest is signed again")
		})
	}
	require.Equal(t, first.Nonce+1, r.known().fold.NextNonce(i.wallet.WalletID))
}

// A token id of their own for a contract that is bound would have a counter, and
// policies, of its own.
func TestAttack_ASecondTokenRecordForTheSameContract(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	b, ok := r.known().fold.Binding(i.token.ID)
	require.True(t, ok)
	twin := *b
	twin.TokenID, twin.Version, twin.Replaces, twin.CreatedAt = newID("token"), 1, nil, policy.Seconds(time.Now())
	payload, err := twin.Encode()
	_, err = r.BindingApply(t.Context(), sign(t, policy.DocBinding, payload, err, i.people.custodians[:2]...))
	requireKind(t, seal.KindConflict, err)
}

// Creation code that is not the template's for these parameters could hold a
// MINTER of its own: approvers see the parameters, and the seal makes the code.
func TestAttack_AHiddenMinterInCreationCode(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	in := i.deployIntent()
	hidden := tx.HashOf([]byte("code with a back door"))
	in.Params.InitcodeKeccak = &hidden
	i.approve(in, 0, 1)
	q := i.request(in)
	q.GasLimit, _ = qrc20.Templates()[0].DeployGasBounds()
	before := signatures(t)
	_, err := r.Authorize(t.Context(), q)
	requireKind(t, seal.KindInvalid, err)

	stranger := i.deployIntent()
	admin := tx.Address{6, 6, 6}
	stranger.Params.Admin = &admin
	i.approve(stranger, 0, 1)
	q = i.request(stranger)
	q.GasLimit, _ = qrc20.Templates()[0].DeployGasBounds()
	_, err = r.Authorize(t.Context(), q)
	require.Error(t, err)
	require.Equal(t, before, signatures(t))
}

func TestAttack_AChainIDReused(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	next := *i.charter
	next.Version, next.Replaces = 2, &i.digest
	twin := next.Networks[0]
	twin.Name = "quantum-chain-twin"
	next.Networks = append([]policy.Network{}, append(next.Networks, twin)...)
	_, err := next.Encode()
	require.ErrorContains(t, err, "chain")
	// Spelled by hand, for no tool of ours writes it.
	honest := *i.charter
	honest.Version, honest.Replaces = 2, &i.digest
	text, err := honest.Encode()
	require.NoError(t, err)
	network, err := json.Marshal(next.Networks[0])
	require.NoError(t, err)
	again, err := json.Marshal(twin)
	require.NoError(t, err)
	forged := bytes.Replace(text, network, append(append(network, ','), again...), 1)
	require.NotEqual(t, text, forged)
	_, err = r.CharterApply(t.Context(), sign(t, policy.DocCharter, forged, nil, i.people.custodians...))
	requireKind(t, seal.KindInvalid, err)
}

// frameOf is a request as a client writes it.
func frameOf(t *testing.T, id uint64, op seal.Op, params any) []byte {
	t.Helper()
	body, err := json.Marshal(params)
	require.NoError(t, err)
	body = append(fmt.Appendf(nil, `{"id":%d,"op":%q,`, id, op), body[1:]...)
	return body
}

// exchange sends one frame on a connection of its own; ok is false where the seal
// hung up.
func exchange(t *testing.T, path string, body []byte) (answer []byte, ok bool) {
	t.Helper()
	c, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	require.NoError(t, err)
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, false
	}
	answer = make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err = io.ReadFull(c, answer)
	require.NoError(t, err)
	return answer, true
}

// doorOf serves a room on a socket.
func doorOf(t *testing.T, r *room) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "seal")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- seal.Serve(ctx, l, r, seal.Options{Log: r.log}) }()
	t.Cleanup(func() { cancel(); soon(t, served, "the door's end") })
	return path
}

// Every byte of a recorded request is changed in turn. Whatever comes of it, only
// the one transaction that was approved is ever signed, within its fee cap.
func TestAttack_EveryByteOfARecordedAuthorizeChanged(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("10")
	i.approve(in, 0, 1)
	path := doorOf(t, r)
	frame := frameOf(t, 7, seal.OpAuthorize, i.request(in))
	next := r.known().fold.NextNonce(i.wallet.WalletID)
	bits := []int{-1}
	if long() {
		bits = []int{0, 1, 2, 3, 4, 5, 6, 7}
	}
	signed := 0
	for at := range frame {
		for _, bit := range bits {
			if bit < 0 {
				bit = at % 8
			}
			changed := bytes.Clone(frame)
			changed[at] ^= 1 << bit
			answer, ok := exchange(t, path, changed)
			if !ok {
				continue
			}
			var a struct {
				ID     uint64                `json:"id"`
				Result *seal.AuthorizeResult `json:"result,omitzero"`
				Error  jsontext.Value        `json:"error,omitzero"`
			}
			require.NoError(t, json.Unmarshal(answer, &a))
			if a.Result == nil {
				continue
			}
			signed++
			s := i.verified(a.Result)
			call, err := qrc20.Unpack(s.Data)
			require.NoError(t, err)
			require.Equal(t, "10", call.Amount.String())
			require.Equal(t, *in.Params.Recipient, tx.Address(call.Account))
			require.Equal(t, *i.token.ContractAddress, *s.To)
			require.Equal(t, next, s.Nonce)
			perGas, err := policy.AmountFromBig(s.MaxFee)
			require.NoError(t, err)
			cost, ok := perGas.Mul(s.Gas)
			require.True(t, ok)
			require.LessOrEqual(t, cost.Cmp(in.FeeCap), 0)
		}
	}
	t.Logf("%d bytes changed, %d answers with the one transaction", len(frame), signed)
	require.LessOrEqual(t, r.known().fold.NextNonce(i.wallet.WalletID), next+1)
}

// The same with a person's decision: none of it is anybody's approval.
func TestAttack_EveryByteOfARecordedDecisionChanged(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("10")
	path := doorOf(t, r)
	frame := frameOf(t, 7, seal.OpDecide, seal.EnvelopeRequest{Envelope: i.decision(in, policy.Approve, 0, "")})
	taken := 0
	for at := range frame {
		changed := bytes.Clone(frame)
		changed[at] ^= 1 << (at % 8)
		answer, ok := exchange(t, path, changed)
		if ok && !bytes.Contains(answer, []byte(`"error"`)) {
			taken++
			require.True(t, bytes.HasPrefix(changed, []byte(`{"id":`)) && !bytes.HasPrefix(changed, frame[:7]), "only the id may differ: byte %d", at)
		}
	}
	t.Logf("%d bytes changed, %d taken", len(frame), taken)
	op, _ := r.known().fold.Operation(in.OperationID)
	require.LessOrEqual(t, len(op.Decisions), 1)
	if len(op.Decisions) == 1 {
		require.Equal(t, policy.DigestOf(mustEncode(t, in)), op.Decisions[0].Intent)
	}
}

func mustEncode(t *testing.T, in *policy.Intent) []byte {
	t.Helper()
	text, err := in.Encode()
	require.NoError(t, err)
	return text
}

// logOf is every key of the log.
func logOf(t *testing.T) (keys []string, values map[string]string) {
	t.Helper()
	all, err := openLog(t, house.store).c.Get(t.Context(), ledger.LogPrefix, clientv3.WithPrefix())
	require.NoError(t, err)
	values = map[string]string{}
	for _, kv := range all.Kvs {
		keys = append(keys, string(kv.Key))
		values[string(kv.Key)] = string(kv.Value)
	}
	return keys, values
}

// The one who runs etcd takes every key of the log away in turn, gives it an older
// or a neighbour's value, or flips a bit of it, beneath the head that is known.
// Neither a seal with its journal nor one that has the token's anchor only signs
// anything then.
func TestAttack_EveryKeyOfTheStore(t *testing.T) {
	dir := t.TempDir()
	i, _, stop := inProcess(t, roomOptions{state: dir}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1")
	i.approve(in, 0, 1)
	i.many(1)
	require.NoError(t, stop())
	keys, values := logOf(t)
	s := openLog(t, house.store)
	put := func(key, value string) {
		t.Helper()
		var err error
		if value == "" {
			_, err = s.c.Delete(t.Context(), key)
		} else {
			_, err = s.c.Put(t.Context(), key, value)
		}
		require.NoError(t, err)
	}
	restore := func() {
		for _, k := range keys {
			put(k, values[k])
		}
	}
	before := signatures(t)
	_, _, known, err := (&anchoring{token: house.hsm}).read(t.Context())
	require.NoError(t, err)
	turn := 0
	refused := func(t *testing.T) {
		t.Helper()
		states := []string{copyJournal(t, dir), t.TempDir()}
		if turn++; !long() { // an odd number of changes a key: each is met by both, over the keys
			states = states[turn%2:][:1]
		}
		for _, state := range states {
			r := newTestRoom(t, i.digest, roomOptions{state: state, store: s})
			halt := start(t, r)
			_, err := r.Authorize(t.Context(), i.request(in))
			requireKind(t, seal.KindStore, err)
			require.NoError(t, halt())
		}
		require.Equal(t, before, signatures(t))
		_, _, now, err := (&anchoring{token: house.hsm}).read(t.Context())
		require.NoError(t, err)
		require.Equal(t, known, now, "nor is the anchor touched")
	}
	for n, key := range keys {
		other := keys[(n+1)%len(keys)]
		for name, change := range map[string]func(){
			"absent":      func() { put(key, "") },
			"swapped":     func() { put(key, values[other]); put(other, values[key]) },
			"a neighbour": func() { put(key, values[other]) },
			"bit-flipped": func() { b := []byte(values[key]); b[(n*37)%len(b)] ^= 1 << (n % 8); put(key, string(b)) },
			"an older store": func() {
				for _, k := range keys[n:] {
					put(k, "")
				}
			},
		} {
			t.Run(fmt.Sprintf("%d %s", n+1, name), func(t *testing.T) {
				change()
				defer restore()
				refused(t)
			})
		}
	}
	r := newTestRoom(t, i.digest, roomOptions{state: dir})
	start(t, r)
	_, err = r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err, "and with the store as it was, it signs")
}

// liar is an etcd that says of one transaction what is not so.
type liar struct {
	clientv3.KV
	mu   sync.Mutex
	next func(clientv3.Txn) (*clientv3.TxnResponse, error) // for the next transaction; nil: honest
}

func (l *liar) lies(next func(clientv3.Txn) (*clientv3.TxnResponse, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = next
}

func (l *liar) Txn(ctx context.Context) clientv3.Txn { return &lyingTxn{l.KV.Txn(ctx), l} }

type lyingTxn struct {
	clientv3.Txn
	of *liar
}

func (x *lyingTxn) If(c ...clientv3.Cmp) clientv3.Txn  { x.Txn = x.Txn.If(c...); return x }
func (x *lyingTxn) Then(o ...clientv3.Op) clientv3.Txn { x.Txn = x.Txn.Then(o...); return x }
func (x *lyingTxn) Else(o ...clientv3.Op) clientv3.Txn { x.Txn = x.Txn.Else(o...); return x }
func (x *lyingTxn) Commit() (*clientv3.TxnResponse, error) {
	x.of.mu.Lock()
	lie := x.of.next
	x.of.next = nil
	x.of.mu.Unlock()
	if lie == nil {
		return x.Txn.Commit()
	}
	return lie(x.Txn)
}

// etcd says that a batch is committed and drops it. What it authorized is spent
// for this seal all the same, nothing follows it, and no later life forgets it.
func TestAttack_SuccessClaimedAndNotDone(t *testing.T) {
	s := openLog(t, house.store)
	l := &liar{KV: s.c.KV}
	s.c.KV = l
	dir := t.TempDir()
	i, r, stop := inProcess(t, roomOptions{state: dir, store: s}, nil)
	i.furnish(policy.Rule{Type: policy.RuleDailyLimit, Amount: amountPtr("1000"), Operations: []policy.OperationType{policy.OpMint}})
	i.deploy()
	first, second := i.mint("1000"), i.mint("1000")
	i.approve(first, 0, 1)
	i.approve(second, 0, 1)
	l.lies(func(clientv3.Txn) (*clientv3.TxnResponse, error) { return &clientv3.TxnResponse{Succeeded: true}, nil })
	before := signatures(t)
	out, err := r.Authorize(t.Context(), i.request(first))
	require.NoError(t, err)
	i.verified(out)
	_, err = r.Authorize(t.Context(), i.request(second))
	requireKind(t, seal.KindDenied, err) // over the limit
	_, err = r.Cancel(t.Context(), seal.CancelRequest{OperationID: second.OperationID, Reason: "a batch that would follow"})
	requireKind(t, seal.KindStore, err)
	require.NoError(t, stop())
	again := newTestRoom(t, i.digest, roomOptions{state: dir})
	start(t, again)
	for _, in := range []*policy.Intent{first, second} {
		_, err = again.Authorize(t.Context(), i.request(in))
		requireKind(t, seal.KindStore, err)
	}
	require.Equal(t, before+1, signatures(t))
}

// etcd holds a commit back, says nothing, and makes it when the seal has long
// offered it again.
func TestAttack_ACommitDeliveredLater(t *testing.T) {
	s := openLog(t, house.store)
	l := &liar{KV: s.c.KV}
	s.c.KV = l
	i, r, _ := inProcess(t, roomOptions{store: s}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1")
	i.approve(in, 0, 1)
	var held clientv3.Txn
	l.lies(func(x clientv3.Txn) (*clientv3.TxnResponse, error) {
		held = x
		return nil, context.DeadlineExceeded
	})
	out, err := r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err, "offered again, and committed")
	i.verified(out)
	seq, head := r.known().fold.Head()
	late, err := held.Commit()
	if err == nil { // its context may have ended
		require.False(t, late.Succeeded, "the copy that comes late finds the place taken")
	}
	now, digest := r.known().fold.Head()
	require.Equal(t, seq, now)
	require.Equal(t, head, digest)
	there, err := openLog(t, house.store).batch(t.Context(), seq+1)
	require.NoError(t, err)
	require.Nil(t, there)
}

// etcd claims that a commit failed which it made: the seal finds its own batch and
// counts it once.
func TestAttack_FailureClaimedAndDone(t *testing.T) {
	s := openLog(t, house.store)
	l := &liar{KV: s.c.KV}
	s.c.KV = l
	i, r, _ := inProcess(t, roomOptions{store: s}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1")
	i.approve(in, 0, 1)
	seq, _ := r.known().fold.Head()
	l.lies(func(x clientv3.Txn) (*clientv3.TxnResponse, error) {
		done, err := x.Commit()
		if err == nil {
			done.Succeeded = false
		}
		return done, errors.Join(err, errors.New("etcdserver: request timed out"))
	})
	out, err := r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
	require.Equal(t, seq+1, out.Sequence)
	require.Equal(t, uint64(2), r.known().fold.NextNonce(i.wallet.WalletID))
}

// Many ask at once for what a limit allows ten times. Exactly ten get it.
func TestAttack_ALimitOfTenAskedAtOnce(t *testing.T) {
	runs := 1
	if long() {
		runs = 50
	}
	for _, clients := range []int{64, 512} {
		t.Run(fmt.Sprint(clients), func(t *testing.T) {
			for range runs {
				i, r, stop := inProcess(t, roomOptions{}, nil)
				i.furnish(policy.Rule{Type: policy.RuleDailyLimit, Amount: amountPtr("1000"), Operations: []policy.OperationType{policy.OpMint}})
				i.deploy()
				intents := make([]*policy.Intent, clients)
				for n := range intents {
					intents[n] = i.mint("100")
				}
				i.approveAll(intents)
				var signed atomic.Int32
				var all sync.WaitGroup
				for _, in := range intents {
					q := i.request(in)
					all.Go(func() {
						_, err := r.Authorize(context.Background(), q)
						if err == nil {
							signed.Add(1)
						} else if kind, _ := seal.KindOf(err); kind != seal.KindDenied {
							t.Error(err)
						}
					})
				}
				all.Wait()
				require.Equal(t, int32(10), signed.Load())
				require.NoError(t, stop())
			}
		})
	}
}

// The one custodian who is left alone with the API cannot make a history: what no
// appliance of the charter signed is no batch.
func TestAttack_ABatchThatNoApplianceSigned(t *testing.T) {
	dir := t.TempDir()
	i, r, stop := inProcess(t, roomOptions{state: dir}, nil)
	i.furnish()
	require.NoError(t, stop())
	seq, head := r.fold.Head()
	b := &ledger.Batch{Format: 1, Instance: "test", Epoch: 1, Term: 2, Sequence: seq + 1, Previous: head, Author: testAppliance,
		Time: policy.Seconds(time.Now()), Records: []ledger.Record{{Cancel: &ledger.Cancel{OperationID: newID("op"), Reason: "forged"}}}, Signature: make([]byte, 64)}
	value, err := b.Encode()
	require.NoError(t, err)
	_, err = openLog(t, house.store).c.Put(t.Context(), ledger.Key(seq+1), string(value))
	require.NoError(t, err)
	again := newTestRoom(t, i.digest, roomOptions{state: dir})
	start(t, again)
	_, err = again.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "behind the forgery"})
	requireKind(t, seal.KindStore, err)
	require.ErrorContains(t, err, "signature")
}
