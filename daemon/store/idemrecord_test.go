package store

import (
	"bytes"
	"encoding/json/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestIdempotencyRecordsAreReadAsWritten(t *testing.T) {
	at := time.Date(2026, 4, 27, 10, 0, 0, 0, time.UTC)
	answer := []byte(strings.Repeat(`{"status":"COMPLETED","id":"op_01JS0Z4M9GQ3V1T7T2B5C8D0EF"},`, 30))
	for _, r := range []IdempotencyRecord{
		{BodyHash: "h", Status: 202, Body: answer, CreatedAt: at},
		{BodyHash: "h", Status: 204, Body: []byte{}, CreatedAt: at},
		{BodyHash: "h", Status: 204, CreatedAt: at},
		{BodyHash: "h", Pending: true, ResourceID: "op_1", CreatedAt: at},
		{BodyHash: "h", Status: 200, Body: []byte("a\nb\x00\xff"), CreatedAt: at},
	} {
		b, err := r.encode()
		require.NoError(t, err)
		got, err := parseRecord(b)
		require.NoError(t, err)
		require.Equal(t, &r, got)
		old, err := json.Marshal(&r) // an earlier version's
		require.NoError(t, err)
		got, err = parseRecord(old)
		require.NoError(t, err)
		require.Equal(t, string(r.Body), string(got.Body))
	}
	b, err := (&IdempotencyRecord{BodyHash: "h", Status: 202, Body: answer, CreatedAt: at}).encode()
	require.NoError(t, err)
	require.Less(t, len(b), len(answer)/4)
	_, err = (&IdempotencyRecord{Body: make([]byte, MaxTxBytes+1)}).encode()
	require.ErrorIs(t, err, ErrTooLarge)
	bomb, err := (&IdempotencyRecord{Body: make([]byte, MaxTxBytes), CreatedAt: at}).encode()
	require.NoError(t, err)
	line, packed, _ := bytes.Cut(bomb, []byte{'\n'})
	for name, bad := range map[string][]byte{
		"nothing": nil, "no line": {'\n'}, "cut off": b[:len(b)-1], "something behind": append(bytes.Clone(b), 0),
		"two bodies": append([]byte(`{"bodyHash":"h","body":"aGk=","createdAt":"2026-04-27T10:00:00Z"}`+"\n"), packed...),
		"unknown":    []byte(`{"bodyHash":"h","more":1,"createdAt":"2026-04-27T10:00:00Z"}`), "large": append(bytes.Clone(line), make([]byte, 2*MaxTxBytes)...),
	} {
		_, err := parseRecord(bad)
		require.ErrorIs(t, err, errRecord, name)
	}
}

func FuzzIdempotencyRecord(f *testing.F) {
	b, err := (&IdempotencyRecord{BodyHash: "h", Status: 202, Body: []byte(`{"id":"op_1"}`), CreatedAt: time.Unix(0, 0).UTC()}).encode()
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte(`{"bodyHash":"h","pending":true,"resourceId":"op_1","createdAt":"2026-04-27T10:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(b)
		if err != nil {
			return
		}
		again, err := r.encode()
		if err != nil {
			return // a moment that JSON cannot say
		}
		got, err := parseRecord(again)
		require.NoError(t, err)
		require.Equal(t, string(r.Body), string(got.Body))
	})
}
