package sealed

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

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

// What a start reads within a moment is paced by what lives then, not by what lived when
// somebody last looked.
func TestThePaceFollowsEveryCollection(t *testing.T) {
	was := debug.SetGCPercent(100)
	defer debug.SetGCPercent(was)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := &pacer{}
	p.again(ctx)
	wait := func(what string, ok func(percent int64) bool) {
		t.Helper()
		for limit := time.Now().Add(patience); !ok(p.percent.Load()); runtime.GC() {
			require.True(t, time.Now().Before(limit), "%s: %d", what, p.percent.Load())
		}
	}
	wait("a pace", func(percent int64) bool { return percent != 0 })
	large := make([]byte, 2*heapRoom)
	wait("of a heap that outgrew its room", func(percent int64) bool { return percent == leastPercent })
	runtime.KeepAlive(large)
}
