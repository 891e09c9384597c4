package sealed

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/ledger"
)

// A seal that cannot read what was held back does not start: it would take a DELAY for over that is not.
func TestWithheldIsReadAsItWasWrittenOrNotAtAll(t *testing.T) {
	const id = "op_01J0000000000000000000000A"
	for text, says := range map[string]string{
		``:                      "EOF",
		`{}`:                    "format 0",
		`{"format":2}`:          "format 2",
		`{"format":1,"more":1}`: "more",
		`{"format":1,"operations":{"op_1":{"by":1,"noted":"2026-04-27T12:00:00Z"}}}`:         "malformed id",
		`{"format":1,"operations":{"` + id + `":{"by":0,"noted":"2026-04-27T12:00:00Z"}}}`:   "by 0 ns",
		`{"format":1,"operations":{"` + id + `":{"by":-1,"noted":"2026-04-27T12:00:00Z"}}}`:  "by -1 ns",
		`{"format":1,"operations":{"` + id + `":{"by":1}}}`:                                  "noted at 0001",
		`{"format":1,"operations":{"` + id + `":{"by":1.5,"noted":"2026-04-27T12:00:00Z"}}}`: "1.5",
		`{"format":1,"operations":{"` + id + `":{"by":1,"noted":"2026-04-27T12:00:00Z"}}}{}`: "after top-level value",
		`{"format":1,"format":1,"operations":{}}`:                                            "duplicate",
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, withheldFile), []byte(text), 0o600))
		_, err := newRoom(roomConfig{journal: &journal{}, clock: systemClock, state: dir, registry: prometheus.NewRegistry()})
		require.ErrorContains(t, err, says, text)
	}
	of, err := parseWithheld([]byte(`{"format":1,"operations":{"` + id + `":{"by":60000000000,"noted":"2026-04-27T12:00:00Z"}}}`))
	require.NoError(t, err)
	require.Equal(t, map[string]late{id: {time.Minute, time.Date(2026, 4, 27, 12, 0, 0, 0, time.UTC)}}, of)

	// Of what the ledger does not hold as open nothing is kept.
	w, dir := withheld{of: of, changed: true}, t.TempDir()
	require.NoError(t, w.save(dir, ledger.NewFold("sha256:")))
	again, err := readWithheld(dir)
	require.NoError(t, err)
	require.Empty(t, again.of)
}

// FuzzParseWithheld never panics, and takes nothing that is no file of ours.
func FuzzParseWithheld(f *testing.F) {
	f.Add([]byte(`{"format":1,"operations":{}}`))
	f.Add([]byte(`{"format":1,"operations":{"op_01J0000000000000000000000A":{"by":1,"noted":"2026-04-27T12:00:00Z"}}}`))
	f.Add([]byte(`{"format":1,"operations":{"op_01J0000000000000000000000A":{"by":9223372036854775807,"noted":"0001-01-01T00:00:00Z"}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		of, err := parseWithheld(text)
		if err != nil {
			return
		}
		for id, l := range of {
			if l.by <= 0 || l.noted.IsZero() {
				t.Fatalf("%s: %+v", id, l)
			}
		}
	})
}
