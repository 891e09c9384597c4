package sealed

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// requested is the requester's own signature over the intent, by the person's key.
func (i *instance) requested(in *policy.Intent, person int) *policy.Envelope {
	i.t.Helper()
	text, err := in.Encode()
	require.NoError(i.t, err)
	d := &policy.Request{Format: policy.Format, Intent: text, Requester: in.Requester, RequestedAt: in.NotBefore}
	payload, err := d.Encode()
	return sign(i.t, policy.DocRequest, payload, err, i.people.approvers[person])
}

// Under signedRequests the API's word about who asked is worth nothing: the third approver's own
// signature over exactly this intent is needed beside the quorum's.
func TestSignedRequests(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy() // before the charter asks
	ctx := t.Context()
	next := *i.charter
	next.Version, next.Replaces, next.Flags.SignedRequests = 2, &i.digest, true
	payload, err := next.Encode()
	e := sign(t, policy.DocCharter, payload, err, i.people.custodians[:2]...)
	_, err = r.CharterApply(ctx, e)
	require.NoError(t, err)
	i.digest = e.PayloadDigest()

	asked := func() *policy.Intent {
		in := i.mint("1")
		in.Requester = "approver-3"
		return in
	}
	t.Run("nothing is signed before it is recorded, then it is", func(t *testing.T) {
		in := asked()
		i.approve(in, 0, 1)
		before := signatures(t)
		_, err := r.Authorize(ctx, i.request(in))
		requireKind(t, seal.KindWait, err)
		require.ErrorContains(t, err, "approver-3's is missing")
		require.Equal(t, before, signatures(t))

		e := i.requested(in, 2)
		first, err := r.Decide(ctx, e)
		require.NoError(t, err)
		require.Equal(t, policy.Allow, first.Verdict.Outcome)
		again, err := r.Decide(ctx, e)
		require.NoError(t, err)
		require.Equal(t, first.Sequence, again.Sequence)
		out, err := r.Authorize(ctx, i.request(in))
		require.NoError(t, err)
		i.verified(out)
	})
	t.Run("a request over other bytes does not fit", func(t *testing.T) {
		in, more := asked(), asked()
		more.OperationID, more.Params.Amount = in.OperationID, amountPtr("1000000")
		_, err := r.Decide(ctx, i.requested(in, 2))
		require.NoError(t, err)
		i.approve(more, 0, 1)
		_, err = r.Authorize(ctx, i.request(more))
		requireKind(t, seal.KindWait, err)
	})
	t.Run("an approver's key signs no request in the requester's name", func(t *testing.T) {
		_, err := r.Decide(ctx, i.requested(asked(), 0))
		requireKind(t, seal.KindInvalid, err)
	})
	t.Run("a requester without a key is denied", func(t *testing.T) {
		in := i.mint("1")
		i.approve(in, 0, 1)
		_, err := r.Authorize(ctx, i.request(in))
		requireKind(t, seal.KindDenied, err)
	})
}
