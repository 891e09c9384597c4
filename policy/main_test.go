package policy_test

import (
	"flag"
	"log/slog"
	"os"
	"testing"
)

// TestMain has rapid draw less under the race detector, which finds nothing in a
// hundred draws that it does not find in twenty: hardly anything here runs at once.
// The rest is drawn without it, and in the long run.
func TestMain(m *testing.M) {
	flag.Parse()
	if brief() && !given("rapid.checks") {
		if err := flag.Set("rapid.checks", "20"); err != nil {
			slog.Error("rapid", "error", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// brief is true of a run that is to be short.
func brief() bool { return underRace && os.Getenv("MINTWARDEN_LONG") != "1" }

func given(name string) (is bool) {
	flag.Visit(func(f *flag.Flag) { is = is || f.Name == name })
	return is
}
