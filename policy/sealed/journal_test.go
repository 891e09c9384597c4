package sealed

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
)

func TestJournalSurvivesTornLines(t *testing.T) {
	dir := t.TempDir()
	j, err := openJournal(dir)
	require.NoError(t, err)
	require.Zero(t, j.last.Sequence)
	for n := uint64(1); n <= 3; n++ {
		require.NoError(t, j.write(mark{Sequence: n, Head: policy.DigestOf([]byte{byte(n)}), Wall: time.Unix(int64(n), 0).UTC()}))
	}
	require.NoError(t, j.close())
	path := filepath.Join(dir, "journal")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)

	for cut := range 40 { // bytes that a crash kept from the disk
		require.NoError(t, os.WriteFile(path, whole[:len(whole)-cut], 0o600))
		j, err := openJournal(dir)
		require.NoError(t, err)
		want := uint64(3)
		if cut > 0 {
			want = 2
		}
		require.Equal(t, want, j.last.Sequence, "cut %d", cut)
		require.NoError(t, j.close())
	}
}

func TestJournalRefusesWhatItDidNotWrite(t *testing.T) {
	head := string(policy.DigestOf(nil))
	line := func(seq, head string) string {
		return `{"format":1,"seq":` + seq + `,"head":"` + head + `","wall":"2026-01-01T00:00:00Z","boot":1,"bootId":"b"}` + "\n"
	}
	_, err := parseJournal([]byte(line("1", head) + line("2", head)))
	require.NoError(t, err)
	for name, text := range map[string]string{
		"backwards":     line("2", head) + line("1", head),
		"no digest":     line("1", "sha256:00"),
		"torn inside":   line("1", head)[:30] + "\n" + line("2", head),
		"unknown field": `{"format":1,"seq":0,"x":1}` + "\n",
		"format":        `{"format":2,"seq":0,"head":"","wall":"2026-01-01T00:00:00Z","boot":1,"bootId":"b"}` + "\n",
		"no line":       `{"format":1`,
	} {
		_, err := parseJournal([]byte(text))
		require.Error(t, err, name)
	}
}

func TestJournalStaysSmall(t *testing.T) {
	j, err := openJournal(t.TempDir())
	require.NoError(t, err)
	j.size = journalLimit + 1 // as after thousands of batches
	require.NoError(t, j.write(mark{Sequence: 9, Head: policy.DigestOf(nil)}))
	require.Less(t, j.size, int64(1000))
	text, err := os.ReadFile(j.path)
	require.NoError(t, err)
	last, err := parseJournal(text)
	require.NoError(t, err)
	require.Equal(t, uint64(9), last.Sequence)
}

func FuzzParseJournal(f *testing.F) {
	f.Add([]byte(`{"format":1,"seq":0,"head":"","wall":"2026-01-01T00:00:00Z","boot":1,"bootId":"b"}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, err := parseJournal(text); err == nil && m.Sequence > 0 && !m.Head.Valid() {
			t.Fatalf("took a mark without a head: %+v", m)
		}
	})
}
