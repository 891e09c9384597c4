package sealed

import (
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// foreignRequest asks for the intent's transaction as somebody else made it, with a change.
func (i *instance) foreignRequest(in *policy.Intent, nonce uint64, change func(*tx.Unsigned)) seal.AuthorizeRequest {
	i.t.Helper()
	q := i.request(in)
	u, err := in.Transaction(nonce, q.GasLimit, q.MaxFee.Big(), q.Tip.Big())
	require.NoError(i.t, err)
	if change != nil {
		change(u)
	}
	q.Unsigned, err = u.EncodeUnsigned()
	require.NoError(i.t, err)
	return q
}

func TestForeignTransactionIsSignedAsItIs(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1000")
	i.approve(in, 0, 1)
	q := i.foreignRequest(in, 1, nil)
	out, err := i.door.Authorize(t.Context(), q)
	require.NoError(t, err)
	s := i.verified(out)
	signed, err := s.Unsigned.EncodeUnsigned()
	require.NoError(t, err)
	require.Equal(t, q.Unsigned, signed, "what came in is what is signed")

	again, err := i.door.Authorize(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, out.Sequence, again.Sequence, "the same request has the same authorization")
	require.Equal(t, uint64(2), r.known().fold.NextNonce(i.wallet.WalletID))
}

// Each is a whole, approved operation, with a transaction that is not the approved one in one thing.
func TestHostileTransactionUnderAnApprovedIntentIsNotSigned(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	call := func(c qrc20.Call) func(*tx.Unsigned) {
		return func(u *tx.Unsigned) {
			data, err := c.Pack()
			require.NoError(t, err)
			u.Data = data
		}
	}
	to := qrc20.Address{1, 2, 3}
	for name, c := range map[string]struct {
		change  func(*tx.Unsigned)
		request func(*seal.AuthorizeRequest)
		kind    seal.Kind
	}{
		"more than was approved":      {change: call(qrc20.Call{Method: qrc20.Mint, Amount: big.NewInt(1001), Account: to})},
		"to somebody else":            {change: call(qrc20.Call{Method: qrc20.Mint, Amount: big.NewInt(1000), Account: qrc20.Address{9}})},
		"a role in place of a mint":   {change: call(qrc20.Call{Method: qrc20.GrantRole, Role: qrc20.Admin, Account: to})},
		"another chain id":            {change: func(u *tx.Unsigned) { u.ChainID = testChain + 1 }},
		"a public chain's id":         {change: func(u *tx.Unsigned) { u.ChainID = 1 }},
		"another contract":            {change: func(u *tx.Unsigned) { u.To = &tx.Address{9} }},
		"coins beside the call":       {change: func(u *tx.Unsigned) { u.Value = big.NewInt(1) }},
		"a creation":                  {change: func(u *tx.Unsigned) { u.To = nil }},
		"more gas than the request":   {change: func(u *tx.Unsigned) { u.Gas-- }},
		"more fee than the request":   {change: func(u *tx.Unsigned) { u.MaxFee.Add(u.MaxFee, big.NewInt(1)) }},
		"a nonce that was used":       {change: func(u *tx.Unsigned) { u.Nonce = 0 }},
		"another wallet's nonce":      {change: func(u *tx.Unsigned) { u.Nonce = 77 }, kind: seal.KindWait},
		"a byte behind it":            {request: func(q *seal.AuthorizeRequest) { q.Unsigned = append(q.Unsigned, 0) }},
		"a hash in its place":         {request: func(q *seal.AuthorizeRequest) { q.Unsigned = make([]byte, 32) }},
		"a signed one in its place":   {request: func(q *seal.AuthorizeRequest) { q.Unsigned = append([]byte{1}, q.Unsigned[1:]...) }},
		"an intent that it is not of": {request: func(q *seal.AuthorizeRequest) { q.Intent = append([]byte(" "), q.Intent...) }, kind: seal.KindWait},
	} {
		t.Run(name, func(t *testing.T) {
			in := i.mint("1000")
			i.approve(in, 0, 1)
			q := i.foreignRequest(in, 1, c.change)
			if c.request != nil {
				c.request(&q)
			}
			if c.kind == "" {
				c.kind = seal.KindInvalid
			}
			before, head := signatures(t), r.known().fold.NextNonce(i.wallet.WalletID)
			_, err := r.Authorize(t.Context(), q)
			requireKind(t, c.kind, err)
			require.Equal(t, before, signatures(t))
			require.Equal(t, head, r.known().fold.NextNonce(i.wallet.WalletID), "no nonce is spent")
		})
	}
}

// The same operation with other bytes of the same meaning (other fees) is signed once, not twice.
func TestForeignTransactionThatChangedAfterItWasSignedIsNotSignedAgain(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1000")
	i.approve(in, 0, 1)
	_, err := r.Authorize(t.Context(), i.foreignRequest(in, 1, nil))
	require.NoError(t, err)
	before := signatures(t)
	for _, change := range []func(*tx.Unsigned, *seal.AuthorizeRequest){
		func(u *tx.Unsigned, q *seal.AuthorizeRequest) { u.MaxFee.Add(u.MaxFee, big.NewInt(1)) },
		func(u *tx.Unsigned, q *seal.AuthorizeRequest) { u.Nonce++ },
	} {
		q := i.foreignRequest(in, 1, nil)
		u, err := tx.DecodeUnsigned(tx.KindQuantum, q.Unsigned)
		require.NoError(t, err)
		change(u, &q)
		q.MaxFee, err = policy.AmountFromBig(u.MaxFee)
		require.NoError(t, err)
		q.Unsigned, err = u.EncodeUnsigned()
		require.NoError(t, err)
		_, err = r.Authorize(t.Context(), q)
		requireKind(t, seal.KindConflict, err)
	}
	require.Equal(t, before, signatures(t))
}

// Nobody's approval is not made up for by bytes that somebody else vouches for.
func TestForeignTransactionThatNobodyApprovedWaits(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1000")
	i.approve(in, 0)
	before := signatures(t)
	_, err := r.Authorize(t.Context(), i.foreignRequest(in, 1, nil))
	requireKind(t, seal.KindWait, err)
	require.Equal(t, before, signatures(t))
}

func TestOwnershipProofIsOfTheWalletAndNothingElse(t *testing.T) {
	i, r, stop := inProcess(t, roomOptions{}, nil)
	i.furnish()
	p, err := i.door.WalletProve(t.Context(), seal.WalletProveRequest{WalletID: i.wallet.WalletID})
	require.NoError(t, err)
	require.Equal(t, i.wallet.Address, p.Address)
	require.Equal(t, i.wallet.PublicKey, p.PublicKey)
	require.True(t, tx.VerifySignature(i.wallet.Scheme, p.PublicKey, tx.OwnershipDigest(p.Address), p.Signature))
	head, _ := r.known().fold.Head()

	_, err = i.door.WalletProve(t.Context(), seal.WalletProveRequest{WalletID: newID("wallet")})
	requireKind(t, seal.KindInvalid, err)
	now, _ := r.known().fold.Head()
	require.Equal(t, head, now)
	require.NoError(t, stop())
}

// A suspended appliance proves nothing.
func TestAttack_ASuspendedApplianceProvesAWallet(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	q := seal.WalletProveRequest{WalletID: i.wallet.WalletID}
	_, err := r.WalletProve(t.Context(), q)
	require.NoError(t, err)
	f := policy.Freeze{Format: 1, Instance: i.charter.Instance, Subject: policy.Subject{ApplianceID: testAppliance}, Frozen: true,
		CreatedAt: policy.Seconds(time.Now())}
	payload, err := f.Encode()
	_, err = r.Freeze(t.Context(), seal.FreezeRequest{Envelope: sign(t, policy.DocFreeze, payload, err, i.people.custodians[0])})
	require.NoError(t, err)
	before := signatures(t)
	_, err = r.WalletProve(t.Context(), q)
	requireKind(t, seal.KindDenied, err)
	require.Equal(t, before, signatures(t))
}
