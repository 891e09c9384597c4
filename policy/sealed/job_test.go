package sealed

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// do approves an operation by two and gives the call that was signed.
func (i *instance) do(in *policy.Intent, method qrc20.Method) qrc20.Call {
	i.t.Helper()
	i.approve(in, 0, 1)
	q := i.request(in)
	_, q.GasLimit = qrc20.GasBounds(method)
	out, err := i.door.Authorize(i.t.Context(), q)
	require.NoError(i.t, err)
	signed := i.verified(out)
	require.Equal(i.t, *i.token.ContractAddress, *signed.To)
	call, err := qrc20.Unpack(signed.Data)
	require.NoError(i.t, err)
	require.Equal(i.t, method, call.Method)
	return call
}

func TestTheMainJob(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	me, stranger := i.wallet.Address, tx.Address{1, 2, 3}
	second, err := r.WalletCreate(t.Context(), seal.WalletCreateRequest{WalletID: newID("wallet"), VaultAccountID: newID("vault"),
		Network: testNetwork, Scheme: tx.MLDSA65, Label: "second"})
	require.NoError(t, err)
	fold := r.known().fold
	performers := func() []string {
		b, ok := fold.Binding(i.token.ID)
		require.True(t, ok)
		return b.Performers
	}
	require.Equal(t, []string{i.wallet.WalletID}, performers())

	mint := i.do(i.mint("1000"), qrc20.Mint)
	require.Equal(t, stranger, tx.Address(mint.Account))
	i.do(i.intent(policy.OpBurn, policy.Params{Amount: amountPtr("500"), Source: &me}), qrc20.Burn)
	burn := i.do(i.intent(policy.OpBurn, policy.Params{Amount: amountPtr("5"), Source: &stranger}), qrc20.BurnFrom)
	require.Equal(t, stranger, tx.Address(burn.Account))

	grant := i.do(i.intent(policy.OpGrantRole, policy.Params{Role: qrc20.Minter, Subject: &second.Address}), qrc20.GrantRole)
	require.Equal(t, second.Address, tx.Address(grant.Account))
	require.True(t, slices.Contains(performers(), second.WalletID), "a wallet of ours that got a role may perform")

	first := i.wallet
	i.wallet = second // it mints with a key of the other scheme
	i.do(i.mint("7"), qrc20.Mint)
	i.wallet = first
	i.do(i.intent(policy.OpRevokeRole, policy.Params{Role: qrc20.Minter, Subject: &second.Address}), qrc20.RevokeRole)

	// The last holder of ADMIN cannot be revoked by himself, and nobody else can.
	own := i.intent(policy.OpRevokeRole, policy.Params{Role: qrc20.Admin, Subject: &me})
	i.approve(own, 0, 1)
	_, err = r.Authorize(t.Context(), i.request(own))
	requireKind(t, seal.KindDenied, err)

	// A token id under which something was authorized is not deployed anew.
	used := i.token.ID
	again := i.deployIntent()
	again.Token.ID = used
	i.approve(again, 0, 1)
	q := i.request(again)
	q.GasLimit, _ = qrc20.Templates()[0].DeployGasBounds()
	_, err = r.Authorize(t.Context(), q)
	requireKind(t, seal.KindConflict, err)
}

// An approver who left between approval and signing does not count any more, and
// the charter that took him out is in force from its batch on.
func TestAnApproverWhoWasRemovedDoesNotCount(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1")
	i.approve(in, 0, 1)
	next := *i.charter
	next.Version, next.Replaces = 2, &i.digest
	next.Persons = slices.Clone(next.Persons)
	next.Persons[1].Keys = []policy.PublicKey{}
	next.Groups = map[string][]string{"approvers": {"approver-1", "approver-3"}}
	payload, err := next.Encode()
	_, err2 := r.CharterApply(t.Context(), sign(t, policy.DocCharter, payload, err, i.people.custodians[0]))
	requireKind(t, seal.KindInvalid, err2) // one custodian widens nothing
	e := sign(t, policy.DocCharter, payload, err, i.people.custodians[:2]...)
	done, err := r.CharterApply(t.Context(), e)
	require.NoError(t, err)
	again, err := r.CharterApply(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, done, again)

	before := signatures(t)
	_, err = r.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindWait, err)
	require.Equal(t, before, signatures(t))
	_, err = r.Decide(t.Context(), i.decision(in, policy.Approve, 1, "again"))
	require.Error(t, err)
	i.approve(in, 2)
	_, err = r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err, "an intent of an ancestor charter, judged by the current one")
}

func TestExpiredIntentIsNotSigned(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1")
	in.ExpiresAt = policy.Seconds(time.Now()).Add(-time.Second)
	in.NotBefore = in.ExpiresAt.Add(-time.Hour)
	_, err := r.Decide(t.Context(), i.decision(in, policy.Approve, 0, ""))
	requireKind(t, seal.KindDenied, err)
	_, err = r.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindDenied, err)
	long := i.mint("1")
	long.ExpiresAt = long.NotBefore.Add(25 * time.Hour)
	_, err = r.Decide(t.Context(), i.decision(long, policy.Approve, 0, ""))
	requireKind(t, seal.KindInvalid, err)
}
