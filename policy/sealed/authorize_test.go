package sealed

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func TestDeployThenMint(t *testing.T) {
	i, _, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1000")
	i.approve(in, 0, 2)
	out, err := i.door.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
	s := i.verified(out)
	require.Equal(t, *i.token.ContractAddress, *s.To)
	call, err := qrc20.Unpack(s.Data)
	require.NoError(t, err)
	require.Equal(t, qrc20.Mint, call.Method)
	require.Equal(t, "1000", call.Amount.String())
	require.Equal(t, uint64(1), s.Nonce)
	require.Equal(t, policy.Allow, out.Verdict.Outcome)
}

// Each is a whole, approved operation but for one thing.
func TestAuthorizeRefuses(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish(policy.Rule{Type: policy.RuleMaxAmount, Amount: amountPtr("1000"), Operations: []policy.OperationType{policy.OpMint}})
	i.deploy()
	approved := []int{0, 1}
	type change struct {
		intent    func(*policy.Intent)
		request   func(*seal.AuthorizeRequest)
		approvers []int
		kind      seal.Kind
	}
	for name, c := range map[string]change{
		"nobody approved":      {approvers: []int{}, kind: seal.KindWait},
		"one approved":         {approvers: []int{2}, kind: seal.KindWait},
		"over the amount":      {intent: func(in *policy.Intent) { in.Params.Amount = amountPtr("1001") }, kind: seal.KindDenied},
		"another contract":     {intent: func(in *policy.Intent) { in.Token.ContractAddress = &tx.Address{9} }, kind: seal.KindDenied},
		"another symbol":       {intent: func(in *policy.Intent) { in.Token.Symbol = "EIX" }, kind: seal.KindDenied},
		"other decimals":       {intent: func(in *policy.Intent) { in.Token.Decimals = 6 }, kind: seal.KindDenied},
		"an unbound token":     {intent: func(in *policy.Intent) { in.Token.ID = newID("token") }, kind: seal.KindDenied},
		"another chain":        {intent: func(in *policy.Intent) { in.ChainID = testChain + 1 }, kind: seal.KindDenied},
		"a public chain":       {intent: func(in *policy.Intent) { in.ChainID = 1 }, kind: seal.KindDenied},
		"another network":      {intent: func(in *policy.Intent) { in.Network = "mainnet" }, kind: seal.KindInvalid},
		"another scheme":       {intent: func(in *policy.Intent) { in.Scheme = tx.MLDSA65 }, kind: seal.KindInvalid},
		"an unknown wallet":    {intent: func(in *policy.Intent) { in.Performer.WalletID = newID("wallet") }, kind: seal.KindInvalid},
		"another's address":    {intent: func(in *policy.Intent) { in.Performer.Address = tx.Address{7} }, kind: seal.KindInvalid},
		"another policy":       {intent: func(in *policy.Intent) { in.Policies[0].Digest = policy.DigestOf([]byte("x")) }, kind: seal.KindDenied},
		"a fee above the rule": {intent: func(in *policy.Intent) { in.FeeCap = amount("1000000000000000001") }, kind: seal.KindDenied},
		"not yet": {intent: func(in *policy.Intent) {
			in.NotBefore, in.ExpiresAt = in.NotBefore.Add(time.Hour), in.ExpiresAt.Add(time.Hour)
		}, kind: seal.KindDenied},
		"gas past the cap":        {request: func(q *seal.AuthorizeRequest) { q.MaxFee = amount("1000000000000000") }, kind: seal.KindInvalid},
		"gas below the bounds":    {request: func(q *seal.AuthorizeRequest) { q.GasLimit = 21000 }, kind: seal.KindInvalid},
		"gas above the bounds":    {request: func(q *seal.AuthorizeRequest) { q.GasLimit *= 10 }, kind: seal.KindInvalid},
		"a tip above the fee":     {request: func(q *seal.AuthorizeRequest) { q.Tip = amount("1000000001") }, kind: seal.KindInvalid},
		"no fee":                  {request: func(q *seal.AuthorizeRequest) { q.MaxFee, q.Tip = amount("0"), amount("0") }, kind: seal.KindInvalid},
		"another operation's id":  {request: func(q *seal.AuthorizeRequest) { q.OperationID = newID("op") }, kind: seal.KindInvalid},
		"bytes after the intent":  {request: func(q *seal.AuthorizeRequest) { q.Intent = append(q.Intent, '1') }, kind: seal.KindInvalid},
		"an intent nobody signed": {request: func(q *seal.AuthorizeRequest) { q.Intent = append([]byte(" "), q.Intent...) }, kind: seal.KindWait},
	} {
		t.Run(name, func(t *testing.T) {
			in := i.mint("1000")
			in.Policies = append([]policy.PolicyRef(nil), in.Policies...)
			if c.intent != nil {
				c.intent(in)
			}
			who := c.approvers
			if who == nil {
				who = approved
			}
			i.approve(in, who...)
			q := i.request(in)
			if c.request != nil {
				c.request(&q)
			}
			before := signatures(t)
			next := r.known().fold.NextNonce(i.wallet.WalletID)
			_, err := r.Authorize(t.Context(), q)
			requireKind(t, c.kind, err)
			require.Equal(t, before, signatures(t))
			require.Equal(t, next, r.known().fold.NextNonce(i.wallet.WalletID), "no nonce is spent")
		})
	}
}

// An author that was suspended a moment ago signs nothing, and says of no operation that a policy
// denies it: whoever hears that ends the operation for good, and the next author could have signed it.
func TestASuspendedAuthorDeniesNoOperation(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1")
	i.approve(in, 0, 1)
	_, err := r.Freeze(t.Context(), seal.FreezeRequest{Envelope: i.suspension(testAppliance, true, 1, time.Minute)})
	require.NoError(t, err)
	_, err = r.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindStore, err)
	require.ErrorContains(t, err, "appliance "+testAppliance+" is suspended")
	_, err = r.Freeze(t.Context(), seal.FreezeRequest{Envelope: i.suspension(testAppliance, false, 2, 0)})
	require.NoError(t, err)
	_, err = r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
}

// Under a dev charter no public chain is signed for, whatever the charter says.
func TestDevCharterRefusesPublicChains(t *testing.T) {
	dev := &policy.Charter{Environment: policy.Dev}
	require.NoError(t, mayUse(dev, testChain))
	for _, id := range []uint64{1, 20803, 11155111} {
		requireKind(t, seal.KindDenied, mayUse(dev, id))
		require.NoError(t, mayUse(&policy.Charter{Environment: policy.Production}, id))
	}
	requireKind(t, seal.KindDenied, mayUse(&policy.Charter{}, 1)) // an unknown environment is not production

	emptyLog(t)
	before := newTestRoom(t, "", roomOptions{})
	me, err := before.Init(t.Context())
	require.NoError(t, err)
	c := newPeople(t).charter(me, func(c *policy.Charter) { c.Networks[0].ChainID = 20803 })
	require.ErrorContains(t, c.Check(), "public chain")
}

func TestOutstandingIsBounded(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, func(c *policy.Charter) { c.Limits.MaxOutstanding = 2 })
	i.furnish()
	i.deploy()
	var first *policy.Intent
	for range 2 {
		in := i.mint("1")
		i.approve(in, 0, 1)
		_, err := r.Authorize(t.Context(), i.request(in))
		require.NoError(t, err)
		if first == nil {
			first = in
		}
	}
	in := i.mint("1")
	i.approve(in, 0, 1)
	_, err := r.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindQueued, err)
	settle := seal.SettleRequest{OperationID: first.OperationID, TxHash: tx.Hash{1}}
	done, err := r.Settle(t.Context(), settle)
	require.NoError(t, err)
	again, err := r.Settle(t.Context(), settle)
	require.NoError(t, err)
	require.Equal(t, done, again)
	_, err = r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
}

// A policy that came after the approvals judges all the same; the stricter holds.
func TestTheStricterPolicyHolds(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("500")
	i.approve(in, 0, 1)
	tighter := &policy.Policy{Format: 1, Instance: i.charter.Instance, ID: newID("pol"), Version: 1, Name: "tighter",
		Scope: policy.Scope{TokenID: i.token.ID}, CreatedAt: policy.Seconds(time.Now()),
		Rules: []policy.Rule{{Type: policy.RuleMaxAmount, Amount: amountPtr("499")}}}
	payload, err := tighter.Encode()
	e := sign(t, policy.DocPolicy, payload, err, i.people.custodians[1:]...)
	first, err := r.PolicyApply(t.Context(), e)
	require.NoError(t, err)
	again, err := r.PolicyApply(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, first, again)
	_, err = r.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindDenied, err)
	one := sign(t, policy.DocPolicy, payload, nil, i.people.custodians[0])
	one.Payload = append([]byte(" "), one.Payload...)
	_, err = r.PolicyApply(t.Context(), one)
	requireKind(t, seal.KindInvalid, err) // the threshold is two
}

func TestBumpStaysWithinTheCap(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1")
	i.approve(in, 0, 1)
	q := seal.BumpRequest{OperationID: in.OperationID, MaxFee: amount("2000000000"), Tip: amount("1000000")}
	_, err := r.Bump(t.Context(), q)
	requireKind(t, seal.KindInvalid, err) // not authorized
	first, err := r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
	bumped, err := r.Bump(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, uint64(2), bumped.Version)
	again, err := r.Bump(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, uint64(2), again.Version)
	require.Equal(t, bumped.Sequence, again.Sequence)
	one, err := tx.Decode(tx.KindQuantum, first.RawTx)
	require.NoError(t, err)
	two, err := tx.Decode(tx.KindQuantum, bumped.RawTx)
	require.NoError(t, err)
	require.True(t, two.Verify(i.wallet.Scheme))
	require.Equal(t, one.Nonce, two.Nonce)
	require.Equal(t, one.Data, two.Data)
	require.Equal(t, "2000000000", two.MaxFee.String())
	lower := q
	lower.MaxFee = amount("1500000000")
	_, err = r.Bump(t.Context(), lower)
	requireKind(t, seal.KindConflict, err)
	over := q
	over.MaxFee = amount("100000000000000")
	_, err = r.Bump(t.Context(), over)
	requireKind(t, seal.KindInvalid, err)
}

func TestFrozenTokenIsNotSigned(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1")
	i.approve(in, 0, 1)
	q := seal.FreezeRequest{TokenID: i.token.ID, Event: "supply differs"}
	first, err := r.Freeze(t.Context(), q)
	require.NoError(t, err)
	again, err := r.Freeze(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, first, again)
	_, err = r.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindDenied, err)
	thaw := func(by ...*policy.Signer) error {
		f := policy.Freeze{Format: 1, Instance: i.charter.Instance, Subject: policy.Subject{TokenID: i.token.ID},
			CreatedAt: policy.Seconds(time.Now()).Add(time.Second)}
		payload, err := f.Encode()
		_, err = r.Freeze(t.Context(), seal.FreezeRequest{Envelope: sign(t, policy.DocFreeze, payload, err, by...)})
		return err
	}
	requireKind(t, seal.KindInvalid, thaw(i.people.custodians[0]))
	require.NoError(t, thaw(i.people.custodians[:2]...))
	_, err = r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
}

func TestWallets(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, func(c *policy.Charter) { c.Limits.WalletsPerHour = 2 })
	i.furnish()
	q := seal.WalletCreateRequest{WalletID: newID("wallet"), VaultAccountID: newID("vault"), Network: testNetwork, Scheme: tx.MLDSA65, Label: "second"}
	for name, bad := range map[string]func(*seal.WalletCreateRequest){
		"id":      func(q *seal.WalletCreateRequest) { q.WalletID = "wallet_1" },
		"vault":   func(q *seal.WalletCreateRequest) { q.VaultAccountID = newID("wallet") },
		"network": func(q *seal.WalletCreateRequest) { q.Network = "mainnet" },
		"scheme":  func(q *seal.WalletCreateRequest) { q.Scheme = tx.Secp256k1 },
		"label":   func(q *seal.WalletCreateRequest) { q.Label = "a\x1bb" },
	} {
		wrong := q
		bad(&wrong)
		_, err := r.WalletCreate(t.Context(), wrong)
		requireKind(t, seal.KindInvalid, err)
		_, _, err = house.hsm.SeedPublic(t.Context(), wrong.WalletID)
		require.Error(t, err, "%s: no key is left", name)
	}
	w, err := r.WalletCreate(t.Context(), q)
	require.NoError(t, err)
	again, err := r.WalletCreate(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, w, again)
	other := q
	other.VaultAccountID = newID("vault")
	_, err = r.WalletCreate(t.Context(), other)
	requireKind(t, seal.KindDuplicate, err)
	q.WalletID = newID("wallet")
	_, err = r.WalletCreate(t.Context(), q)
	requireKind(t, seal.KindDenied, err)
	_, _, err = house.hsm.SeedPublic(t.Context(), q.WalletID)
	require.Error(t, err, "a wallet past the limit has no key")
}

// A binding from outside needs the custodians' threshold, and counts once.
func TestBindingsNeedTheThreshold(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	b, _, _, ok := r.known().fold.BindingDocument(i.token.ID)
	require.True(t, ok)
	imported := *b
	imported.TokenID, imported.ContractAddress = newID("token"), tx.Address{9}
	imported.CreatedAt = policy.Seconds(time.Now())
	payload, err := imported.Encode()
	one := sign(t, policy.DocBinding, payload, err, i.people.custodians[0])
	_, err = r.BindingApply(t.Context(), one)
	requireKind(t, seal.KindInvalid, err)
	two := sign(t, policy.DocBinding, payload, nil, i.people.custodians[:2]...)
	first, err := r.BindingApply(t.Context(), two)
	require.NoError(t, err)
	again, err := r.BindingApply(t.Context(), two)
	require.NoError(t, err)
	require.Equal(t, first, again)
	_, _, _, ok = r.known().fold.BindingDocument(imported.TokenID)
	require.True(t, ok)

	imported.TokenID = newID("token") // a second name for the same contract
	payload, err = imported.Encode()
	_, err = r.BindingApply(t.Context(), sign(t, policy.DocBinding, payload, err, i.people.custodians[:2]...))
	require.Error(t, err)
}

// A CANCEL fills the gap that it names, or the lane's next place, and no other:
// a nonce that was spent is spent.
func TestCancelTakesNoSpentNonce(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	i.token = policy.Token{}
	ask := func(nonce string) error {
		in := i.intent(policy.OpCancel, policy.Params{Nonce: &nonce})
		i.approve(in, 0, 1)
		q := i.request(in)
		q.GasLimit = 21_000
		out, err := r.Authorize(t.Context(), q)
		if err == nil {
			signed := i.verified(out)
			require.Equal(t, i.wallet.Address, *signed.To, "to the wallet itself")
			require.Empty(t, signed.Data)
		}
		return err
	}
	before := signatures(t)
	requireKind(t, seal.KindConflict, ask("0")) // the deployment's
	requireKind(t, seal.KindConflict, ask("7")) // far ahead
	require.Equal(t, before, signatures(t))
	require.NoError(t, ask("1"))
	requireKind(t, seal.KindConflict, ask("1"))
}

// The same wallet, asked for by many at once, is one key and one record; one id
// for two wallets is none.
func TestOneWalletAtOnce(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	q := seal.WalletCreateRequest{WalletID: newID("wallet"), VaultAccountID: newID("vault"), Network: testNetwork, Scheme: tx.Dilithium3}
	other := q
	other.VaultAccountID = newID("vault")
	var mu sync.Mutex
	made := map[string]int{}
	var wg sync.WaitGroup
	for n := range 8 {
		ask := q
		if n%2 == 1 {
			ask = other
		}
		wg.Go(func() {
			w, err := r.WalletCreate(context.Background(), ask)
			if err != nil {
				if kind, _ := seal.KindOf(err); kind != seal.KindDuplicate {
					t.Error(err)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			made[w.VaultAccountID+string(w.PublicKey)]++
		})
	}
	wg.Wait()
	require.Len(t, made, 1)
}
