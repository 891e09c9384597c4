package link

import (
	"encoding/json/v2"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func FuzzMessage(f *testing.F) {
	for op, params := range map[seal.Op]any{
		seal.OpCancel: seal.CancelRequest{OperationID: "op_1", Reason: "x"}, seal.OpBump: seal.BumpRequest{OperationID: "op_1"},
		seal.OpDecide: seal.EnvelopeRequest{Envelope: &policy.Envelope{PayloadType: "a", Payload: []byte("b"), Signatures: []policy.Signature{}}},
		seal.OpStatus: seal.Nothing{},
	} {
		b, err := newMessage(op, params)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		op, ask, err := parseMessage(b)
		if err != nil {
			return
		}
		require.NotNil(t, ask)
		require.NotNil(t, ops[op], "only what is listed")
	})
}

func FuzzAnswer(f *testing.F) {
	request := policy.DigestOf([]byte("request"))
	f.Add([]byte(fmt.Sprintf(`{"format":1,"request":%q,"result":{"sequence":1}}`, request)))
	f.Add([]byte(fmt.Sprintf(`{"format":1,"request":%q,"error":{"kind":"busy","message":"m"}}`, request)))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAnswer(b, request)
		if err != nil {
			return
		}
		require.Equal(t, request, a.Request)
		require.NotEqual(t, a.Error == nil, a.Result == nil)
		_, err = json.Marshal(a)
		require.NoError(t, err)
	})
}
