package sealed

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheCollectorsPace(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 800}, {1 << 20, 800}, {8 << 20, 400}, {10 << 20, 300}, {20 << 20, 100}, {30 << 20, 100}, {40 << 20, 100}, {4 << 30, 100}} {
		require.Equal(t, c.want, percentFor(c.live), "%d bytes", c.live)
	}
}
