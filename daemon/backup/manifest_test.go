package backup

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
)

func manifest() *Manifest {
	d := policy.DigestOf([]byte("x"))
	m := &Manifest{Format: 1, Instance: "acme-1", Appliance: "appliance-1", Charter1: d, CreatedAt: time.Date(2026, 4, 27, 12, 0, 0, 0, time.UTC), Revision: 7, Ledger: Point{3, d}}
	for _, s := range newSums() {
		m.Parts = append(m.Parts, s.part())
	}
	return m
}

func TestAManifestIsStrict(t *testing.T) {
	text, err := manifest().encode()
	require.NoError(t, err)
	got, err := parseManifest(text)
	require.NoError(t, err)
	require.Equal(t, manifest(), got)
	for name, bad := range map[string]string{
		"an unknown member": strings.Replace(string(text), `"revision"`, `"more":1,"revision"`, 1),
		"a member twice":    strings.Replace(string(text), `"revision":7`, `"revision":7,"revision":7`, 1),
		"another format":    strings.Replace(string(text), `"format":1`, `"format":2`, 1),
		"no ledger":         strings.Replace(string(text), `"sequence":3`, `"sequence":0`, 1),
		"another part":      strings.Replace(string(text), `"name":"audit"`, `"name":"other"`, 1),
		"something behind":  string(text) + "{}",
		"too long":          string(text) + strings.Repeat(" ", maxManifest),
		"nothing":           "",
	} {
		t.Run(name, func(t *testing.T) {
			require.NotEqual(t, string(text), bad)
			_, err := parseManifest([]byte(bad))
			require.ErrorIs(t, err, ErrUnverified)
		})
	}
}

func FuzzManifest(f *testing.F) {
	text, err := manifest().encode()
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err != nil {
			require.ErrorIs(t, err, ErrUnverified)
			return
		}
		again, err := m.encode()
		require.NoError(t, err)
		_, err = parseManifest(again)
		require.NoError(t, err)
	})
}

func FuzzRows(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x05/mw/a\x00\x00\x00\x01v"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		v := visit{row: func(string, string, []byte) error { return nil }}
		if err := v.pass("store", "000000000001", int64(len(b)), strings.NewReader(string(b))); err != nil {
			require.ErrorIs(t, err, ErrUnverified)
		}
	})
}
