package store

import (
	"bytes"
	"compress/flate"
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
		{BodyHash: "h", Status: 200, Body: []byte(`{"intent":"` + strings.Repeat("YWJj", 200) + `","more":"` + strings.Repeat("YWJj", 200) + `"}`), CreatedAt: at},
		{BodyHash: "h", Status: 200, Body: []byte(`{"intent":"` + strings.Repeat("YWJj", 200) + `YQ="}`), CreatedAt: at},  // no base64
		{BodyHash: "h", Status: 200, Body: []byte(`{"intent":"` + strings.Repeat("YWJj", 200) + `YR=="}`), CreatedAt: at}, // not the one of its bytes
		{BodyHash: "h", Status: 200, Body: []byte(`{"intent":"` + strings.Repeat("AAAA", 200) + `"}`), CreatedAt: at},     // zeros
		{BodyHash: "h", Status: 200, Body: []byte(`"` + strings.Repeat("a", 300)), CreatedAt: at},
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
		if r.Body == nil {
			continue
		}
		got, err = parseRecord(deflated(t, r)) // a later one's
		require.NoError(t, err)
		require.Equal(t, &r, got)
	}
	b, err := (&IdempotencyRecord{BodyHash: "h", Status: 202, Body: answer, CreatedAt: at}).encode()
	require.NoError(t, err)
	require.Less(t, len(b), len(answer)/4)
	_, err = (&IdempotencyRecord{Body: make([]byte, MaxTxBytes+1)}).encode()
	require.ErrorIs(t, err, ErrTooLarge)
	bomb, err := (&IdempotencyRecord{Body: make([]byte, MaxTxBytes), CreatedAt: at}).encode()
	require.NoError(t, err)
	require.Less(t, len(bomb), 10_000)
	old := deflated(t, IdempotencyRecord{Body: make([]byte, MaxTxBytes), CreatedAt: at})
	line, packed, _ := bytes.Cut(old, []byte{'\n'})
	pack := func(text string) []byte { return storedRecords.Pack([]byte(text + strings.Repeat(" ", 300))) }
	for name, bad := range map[string][]byte{
		"nothing": nil, "no line": {'\n'}, "cut off": b[:len(b)-1], "something behind": append(bytes.Clone(b), 0),
		"two bodies": append([]byte(`{"bodyHash":"h","body":"aGk=","createdAt":"2026-04-27T10:00:00Z"}`+"\n"), packed...),
		"no body":    pack(`{"bodyHash":"h","createdAt":"2026-04-27T10:00:00Z"}`), "no such form": pack(`{"bodyHash":"h","createdAt":"2026-04-27T10:00:00Z"}` + "\n2"),
		"not undone": pack(`{"bodyHash":"h","createdAt":"2026-04-27T10:00:00Z"}` + "\n1a\x00b"), "too much": storedRecords.Pack(make([]byte, 3*MaxTxBytes)),
		"unknown": []byte(`{"bodyHash":"h","more":1,"createdAt":"2026-04-27T10:00:00Z"}`), "large": append(bytes.Clone(line), make([]byte, 2*MaxTxBytes)...),
	} {
		_, err := parseRecord(bad)
		require.ErrorIs(t, err, errRecord, name)
	}
}

// deflated is a record as a version before this one kept it.
func deflated(t *testing.T, r IdempotencyRecord) []byte {
	t.Helper()
	body := r.Body
	r.Body = nil
	text, err := json.Marshal(&r)
	require.NoError(t, err)
	out := bytes.NewBuffer(append(text, '\n'))
	w, err := flate.NewWriter(out, flate.BestSpeed)
	require.NoError(t, err)
	_, err = w.Write(body)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func FuzzIdempotencyRecord(f *testing.F) {
	b, err := (&IdempotencyRecord{BodyHash: "h", Status: 202, Body: []byte(`{"id":"op_1"}`), CreatedAt: time.Unix(0, 0).UTC()}).encode()
	require.NoError(f, err)
	f.Add(b)
	b, err = (&IdempotencyRecord{BodyHash: "h", Status: 200, Body: []byte(`{"intent":"` + strings.Repeat("YWJj", 200) + `"}`), CreatedAt: time.Unix(0, 0).UTC()}).encode()
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
