package operation

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mintwarden/mintwarden/policy"
)

// TestEventsOfEveryTransition holds every legal transition of every type of operation to the events that are
// written down.
func TestEventsOfEveryTransition(t *testing.T) {
	b, err := os.ReadFile("testdata/events.txt")
	if err != nil {
		t.Fatal(err)
	}
	want, used := map[string][]string{}, map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] != "#" {
			want[f[0]+" "+f[1]] = f[2:]
		}
	}
	for _, kind := range policy.OperationTypes() {
		if _, ok := eventsOf[kind]; !ok {
			t.Errorf("%s has no row of events", kind)
		}
		for from, tos := range legal {
			for _, to := range tos {
				name := string(to)
				if from.Terminal() {
					name = "ended→" + name
				}
				keys := []string{string(kind) + " " + name, "* " + name}
				at := slices.IndexFunc(keys, func(k string) bool { return want[k] != nil })
				var expected []string
				if at >= 0 {
					expected, used[keys[at]] = want[keys[at]], true
				}
				if got := eventsInto(kind, from, to); !slices.Equal(got, expected) {
					t.Errorf("%s from %q to %s tells %v, written down is %v", kind, from, to, got, expected)
				}
			}
		}
	}
	for k := range want {
		if !used[k] {
			t.Errorf("%s: no transition is like that", k)
		}
	}
}
