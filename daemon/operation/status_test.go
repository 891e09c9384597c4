package operation_test

import (
	"os"
	"strings"
	"testing"

	"github.com/mintwarden/mintwarden/daemon/operation"
)

// TestLegalTransitions holds the whole table, every pair of states, to the one that is written down.
func TestLegalTransitions(t *testing.T) {
	b, err := os.ReadFile("testdata/transitions.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		from, to, ok := strings.Cut(strings.TrimSpace(line), " → ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		for s := range strings.SplitSeq(to, " | ") {
			want[from+" → "+s] = true
		}
	}
	legal := 0
	for _, from := range operation.Statuses() {
		for _, to := range operation.Statuses() {
			pair := string(from) + " → " + string(to)
			if got := operation.Legal(from, to); got != want[pair] {
				t.Errorf("%s: legal is %v, written down is %v", pair, got, want[pair])
			} else if got {
				legal++
			}
		}
	}
	if legal != len(want) {
		t.Errorf("%d legal transitions, %d are written down: a state's name is misspelt", legal, len(want))
	}
	for _, s := range operation.Statuses() {
		if !s.Valid() {
			t.Errorf("%s is not valid", s)
		}
	}
	if operation.Status("").Valid() {
		t.Error("the zero status is valid")
	}
}
