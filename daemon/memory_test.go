package daemon

import "testing"

// The pace fills the room while little lives, and is never below Go's own, however much does.
func TestThePaceOfTheCollector(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, mostPercent}, {1 << 20, mostPercent}, {50 << 20, 300}, {80 << 20, 150}, {150 << 20, leastPercent}, {heapRoom, leastPercent}, {4 << 30, leastPercent}} {
		if got := percentFor(c.live); got != c.want {
			t.Errorf("%d live bytes: %d %%, want %d", c.live, got, c.want)
		}
	}
}
