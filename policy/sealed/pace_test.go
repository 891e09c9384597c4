package sealed

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheCollectorsPace(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 800}, {1 << 20, 800}, {4 << 20, 750}, {10 << 20, 240}, {17 << 20, 100}, {20 << 20, 70}, {30 << 20, 50}, {40 << 20, 50}, {4 << 30, 50}} {
		require.Equal(t, c.want, percentFor(c.live), "%d bytes", c.live)
	}
}
