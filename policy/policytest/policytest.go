// Package policytest is how long the tests of package policy and of the ledger are:
// under the race detector, which makes everything some ten times slower, they draw
// less. It is for tests alone.
package policytest

import (
	"flag"
	"log/slog"
	"os"
	"testing"

	"pgregory.net/rapid"
)

// Main is a TestMain that has rapid draw less in a brief run: the race detector finds
// nothing in a hundred draws that it does not find in twenty, for hardly anything there
// runs at once. The rest is drawn without it, and in the long run.
func Main(m *testing.M) {
	flag.Parse()
	if Brief() && !given("rapid.checks") {
		if err := flag.Set("rapid.checks", "20"); err != nil {
			slog.Error("rapid", "error", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// mostDraws is how often Check draws again at most.
const mostDraws = 100

// Check is rapid.Check, done again until seen says that the draws met what the test is about: a brief run may
// draw nothing of it. A property that never does fails.
func Check(t *testing.T, property func(*rapid.T), seen func() bool) {
	t.Helper()
	for range mostDraws {
		if rapid.Check(t, property); t.Failed() || seen() {
			return
		}
	}
	t.Fatalf("in %d runs nothing was drawn that the property is about", mostDraws)
}

// Brief is true of a run that is to be short.
func Brief() bool { return underRace && os.Getenv("MINTWARDEN_LONG") != "1" }

func given(name string) (is bool) {
	flag.Visit(func(f *flag.Flag) { is = is || f.Name == name })
	return is
}
