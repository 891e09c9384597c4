package seal_test

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// FuzzFrames reads whatever bytes as frames and answers each as a server does: an answer is one that
// a client takes, with the request's id.
func FuzzFrames(f *testing.F) {
	for _, body := range []string{
		`{"id":1,"op":"status"}`, `{"id":1,"op":"cancel","operationId":"op_1","reason":""}`,
		`{"id":1,"op":"decide","envelope":{"payloadType":"a","payload":"AA==","signatures":[{"keyid":"k","sig":"AA=="}]}}`,
		`{"id":1,"op":"authorize","operationId":"","intent":"AA==","gasLimit":1,"maxFee":"1","tip":"1"}`,
		`{"id":1,"op":"checkpoint","tree":{"size":1,"root":"sha256:00"},"proof":{"from":1,"consistency":["AA=="],"ledger":{"sequence":1,"index":0,"inclusion":[]}}}`, `{"id":1,"op":"nonsense"}`,
		`{"id":1,"op":"freeze","tokenId":"token_1","event":"seen"}`,
	} {
		b, err := seal.Frame([]byte(body))
		require.NoError(f, err)
		f.Add(append(b, b...))
	}
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0, 16, 0, 1})
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bytes.NewReader(stream)
		for {
			body, err := seal.ReadFrame(r)
			if err != nil {
				return
			}
			again, err := seal.Frame(body)
			require.NoError(t, err)
			require.True(t, bytes.Contains(stream, again))
			answer := seal.Answer(t.Context(), seal.Refusing{}, body)
			if answer == nil {
				return // the connection ends
			}
			id, result, refused, err := seal.ParseResponse(answer)
			require.NoError(t, err)
			require.Nil(t, result)
			require.Equal(t, seal.KindInvalid, refused.Kind)
			require.True(t, jsontext.Value(answer).IsValid())
			require.LessOrEqual(t, id, uint64(seal.MaxID))
		}
	})
}

// FuzzResponse: what a client takes is a result or an error of a known kind, and what he reads at once is what he
// would read in two steps.
func FuzzResponse(f *testing.F) {
	for _, body := range []string{`{"id":1,"result":{}}`, `{"id":1,"error":{"kind":"busy","message":"m"}}`,
		`{"id":1,"error":{"kind":"notAuthor","message":"m","appliance":"a"}}`, `{"id":1,"result":null}`} {
		f.Add([]byte(body))
	}
	f.Add([]byte(`{"id":9007199254740991,"result":{"sequence":4,"verdict":{"outcome":"ALLOW","rules":[],"reported":null}}}`))
	f.Add([]byte(`{"id":1,"result":{"sequence":4},"error":{"kind":"busy","message":"m"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		id, result, refused, err := seal.ParseResponse(body)
		if first, got, ok := seal.ReadRecorded(body); ok {
			require.NoError(t, err)
			require.Equal(t, id, first)
			var want seal.Recorded
			require.NoError(t, json.Unmarshal(result, &want, json.RejectUnknownMembers(true)))
			require.Equal(t, want, *got)
		}
		if err != nil {
			return
		}
		require.NotEqual(t, result == nil, refused == nil)
		if refused != nil {
			require.True(t, refused.Kind.Valid())
		}
	})
}
