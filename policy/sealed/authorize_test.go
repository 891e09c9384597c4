package sealed

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/policy"
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
